"""Images without Docker: a Dockerfile's instructions, carried out in a root folder of this machine.

The base image is this machine's own root under an overlay, with a Python in ``/usr/local`` as in Python's images; what
is written goes into the overlay. Needs Linux and root. Everything is unmounted at the end, whatever happens.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.deploy.dockerfile import Instruction, Stage, expanded

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
REGISTRY = ("PIP_", "UV_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy")
"""Variables that say how this machine reaches a package index."""
STEP_SECONDS = 300


def why_not() -> str | None:
    """The reason why no image can be made here, None if one can."""
    if os.geteuid() != 0:
        return "not root"
    with tempfile.TemporaryDirectory() as folder:
        try:
            with _overlay(Path("/usr"), Path(folder)):
                return None
        except (OSError, subprocess.CalledProcessError):
            return "overlays cannot be mounted"


@dataclass(slots=True)
class Image:
    """A root folder and what its configuration says."""

    root: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH, "LD_LIBRARY_PATH": "/usr/local/lib"})
    arguments: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)

    def path(self, inside: str) -> Path:
        """Where a path of the image lies on this machine."""
        return self.root / os.path.normpath(Path(self.workdir) / inside).lstrip("/")

    def shell(self, words: list[str]) -> list[str]:
        """The command line that runs these words inside, in the image's folder, as its user."""
        script = 'cd "$0" && exec "$@"'
        enter = ["chroot", f"--userspec={self.user}", str(self.root)]
        return [*enter, "/bin/sh", "-c", script, self.workdir, *words]

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Run as Kubernetes does with ``readOnlyRootFilesystem``: only an empty ``/tmp`` can be written to."""
        temporary = self.root / "tmp"
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True, capture_output=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", temporary], check=True, capture_output=True)
        try:
            yield
        finally:
            _unmount(temporary)
            subprocess.run(["mount", "-o", "remount,rw", self.root], check=True, capture_output=True)

    def carry_out(self, stage: Stage, context: Path, images: Mapping[str, Image]) -> None:
        for instruction in stage.instructions:
            self._carry_out_one(instruction, context, images)

    def _carry_out_one(self, instruction: Instruction, context: Path, images: Mapping[str, Image]) -> None:
        word, rest = instruction
        match word:
            case "ENV":
                self.env |= {name: expanded(value, self.env) for name, value in instruction.assigned().items()}
            case "ARG":
                self.arguments |= instruction.assigned()
            case "WORKDIR":
                self.workdir = rest
                self.path(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = rest if ":" in rest else f"{rest}:{rest}".replace("root", "0")
            case "RUN":
                self._run(rest)
            case "COPY":
                self._copy(rest.split(), context, images)
            case "ENTRYPOINT":
                self.entrypoint = instruction.command
            case "CMD":
                self.command = instruction.command
            case "HEALTHCHECK":
                self.healthcheck = json.loads(rest.partition("CMD ")[2])
            case _:
                assert word in {"EXPOSE", "STOPSIGNAL"}

    def _run(self, script: str) -> None:
        registry = {name: value for name, value in os.environ.items() if name.startswith(REGISTRY)}
        done = subprocess.run(
            self.shell(["/bin/sh", "-ec", script]),
            env=registry | self.env | self.arguments,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"RUN {script}\n{done.stdout}\n{done.stderr}"

    def _copy(self, words: list[str], context: Path, images: Mapping[str, Image]) -> None:
        base = context
        if words[0].startswith("--from="):
            base = images[words.pop(0).removeprefix("--from=")].root
        *sources, target = words
        for source in sources:
            found = base / source.lstrip("/")
            inside = self.path(target)
            if found.is_dir():
                shutil.copytree(found, inside, symlinks=True, dirs_exist_ok=True)
            else:
                inside = inside / found.name if target.endswith("/") or inside.is_dir() else inside
                inside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, inside)


@contextmanager
def images(stages: list[Stage], context: Path, python: Path, folder: Path) -> Iterator[dict[str, Image]]:
    """Every stage's image by its name, in order; a stage may begin with an image of an earlier one."""
    made: dict[str, Image] = {}
    with ExitStack() as mounts:
        for number, stage in enumerate(stages):
            if stage.base in made:
                image = made[stage.base]
            else:
                root = mounts.enter_context(_root(folder / str(number), python))
                image = Image(root)
            image.carry_out(stage, context, made)
            made[stage.name] = image
        yield made


@contextmanager
def _root(folder: Path, python: Path) -> Iterator[Path]:
    """This machine's root with another /usr/local, both under an overlay that takes the writes."""
    with ExitStack() as mounts:
        root = mounts.enter_context(_overlay(Path("/"), folder / "root"))
        local = mounts.enter_context(_overlay(python, folder / "local"))
        for source in (local, Path("/proc"), Path("/dev")):
            target = root / ("usr/local" if source == local else source.name)
            subprocess.run(["mount", "--bind", source, target], check=True, capture_output=True)
            mounts.callback(_unmount, target)
        yield root


@contextmanager
def _overlay(lower: Path, folder: Path) -> Iterator[Path]:
    merged, upper, work = (folder / name for name in ("merged", "upper", "work"))
    for each in (merged, upper, work):
        each.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", merged], check=True, capture_output=True)
    try:
        yield merged
    finally:
        _unmount(merged)


def _unmount(target: Path) -> None:
    subprocess.run(["umount", "--lazy", target], check=True)
