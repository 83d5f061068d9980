"""The folder that mutmut works in: a copy of the package and its tests, and settings that choose tests of seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from random import Random

ROOT = Path(__file__).resolve().parents[2]
MUTATED = ("pyrallel_consumer/control_plane", "pyrallel_consumer/ingress/reading")
TESTS = (
    "tests/unit/control_plane",
    "tests/unit/ingress/reading",
    "tests/simulation/test_simulation.py::test_every_rule_holds_after_every_step_and_all_drains_when_faults_end[0]",
    "tests/simulation/test_simulation.py::test_every_rule_holds_after_every_step_and_all_drains_when_faults_end[100000]",
)
PYTEST = ("-p", "no:randomly", "-p", "no:xdist", "-p", "no:cacheprovider", "--hypothesis-profile=mutants")
SETTINGS = """[tool.mutmut]
source_paths = ["pyrallel_consumer"]
only_mutate = {patterns}
also_copy = ["tests", "conftest.py"]
pytest_add_cli_args = {arguments}
pytest_add_cli_args_test_selection = {tests}
use_git_change_detection = false

[tool.pytest]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
filterwarnings = ["error"]
markers = ["long", "measured", "no_cover", "xdist_group"]
timeout = "300"
"""
CONFTEST = '''"""The same examples for every mutant, and no shrinking: a mutant is killed by its first failure."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=40,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
'''
SURVIVED, UNTESTED = "survived", "no test calls it"
VERDICTS = {0: SURVIVED, 1: "killed", 3: "killed", 5: UNTESTED, 33: UNTESTED, 36: "timed out", -24: "timed out"}
"""By mutmut's exit codes; a code that is not here is an end by a signal: killed."""


class Workshop:
    """``folder`` keeps the outcomes of mutants; a second run tries only the mutants that no test has noticed yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Copy the present sources; files that did not change keep their times, and so their mutants their verdicts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("pyrallel_consumer", "tests"):
            shutil.copytree(ROOT / name, self.folder / name, dirs_exist_ok=True, ignore=_not_sources)
        patterns = [f"{path}/{part}" for path in MUTATED for part in ("*", "**/*")]
        settings = SETTINGS.format(patterns=json.dumps(patterns), arguments=json.dumps(PYTEST), tests=json.dumps(TESTS))
        (self.folder / "pyproject.toml").write_text(settings)
        (self.folder / "conftest.py").write_text(CONFTEST)

    def names(self) -> list[str]:
        """Every mutant that mutmut would make, sorted."""
        code = (
            "import sys; from pathlib import Path\n"
            "from mutmut.mutation.file_mutation import mutate_file_contents\n"
            "from mutmut.utils.file_utils import walk_mutatable_files\n"
            "from mutmut.utils.format_utils import get_mutant_name\n"
            "for path in walk_mutatable_files():\n"
            "    for name in mutate_file_contents(str(path), path.read_text()).mutant_names:\n"
            "        print(get_mutant_name(path, name))\n"
        )
        told = self._python("-c", code, capture=True)
        told.check_returncode()
        return sorted(line for line in told.stdout.splitlines() if "__mutmut_" in line)

    def sample(self, seed: int, size: int) -> list[str]:
        """``size`` names, the same for the same seed and sources."""
        names = self.names()
        return Random(seed).sample(names, min(size, len(names)))

    def run(self, names: Sequence[str], jobs: int) -> None:
        """Try each mutant that no test has noticed yet; mutmut tells its progress."""
        known = self.verdicts(names)
        left = [name for name in names if known.get(name) in (None, SURVIVED, UNTESTED)]
        if not left:
            return
        ended = self._python("-c", "from mutmut.__main__ import cli; cli()", "run", f"--max-children={jobs}", *left)
        if ended.returncode:
            sys.exit(f"mutmut ended with {ended.returncode}: what it wrote above says why")

    def verdicts(self, names: Iterable[str]) -> dict[str, str]:
        """The outcome of each mutant that was tried."""
        codes = dict(self._codes())
        return {name: VERDICTS.get(code, "killed") for name in names if (code := codes.get(name)) is not None}

    def _codes(self) -> Iterator[tuple[str, int | None]]:
        for path in (self.folder / "mutants").rglob("*.meta"):
            yield from json.loads(path.read_text("utf-8"))["exit_code_by_key"].items()

    def difference(self, name: str) -> tuple[str, str]:
        """The removed text and its replacement, each without indentation, lines joined by a space."""
        told = self._python("-c", "from mutmut.__main__ import cli; cli()", "show", name, capture=True).stdout
        lines = [line for line in told.splitlines() if not line.startswith(("---", "+++"))]
        gone, come = ([line[1:].strip() for line in lines if line.startswith(sign)] for sign in "-+")
        return " ".join(gone), " ".join(come)

    def is_refused_by_mypy(self, name: str) -> bool:
        """Whether the type checker of ``make lint`` would not let this mutant pass."""
        path = self.folder / f"{name.partition('.x')[0].replace('.', '/')}.py"
        source = path.read_text("utf-8")
        times = path.stat()
        try:
            self._python("-c", "from mutmut.__main__ import cli; cli()", "apply", name, capture=True)
            command = [f"{ROOT}/.venv/bin/mypy", f"--config-file={ROOT / 'pyproject.toml'}", "pyrallel_consumer"]
            return subprocess.run(command, cwd=self.folder, capture_output=True, check=False).returncode == 1
        finally:
            path.write_text(source)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def _python(self, *arguments: str, capture: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, text=True, capture_output=capture, check=False
        )


def _not_sources(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "__pycache__"]
