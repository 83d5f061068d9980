"""mypy (strict) and pyright accept and refuse the lines of the files beside this one as these say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
RIGHT, WRONG = FOLDER / "must_check.py", FOLDER / "must_not_check.py"
MARK = "# refused"


def mypy(file: Path) -> dict[int, str]:
    """Errors of mypy by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])
    found = re.findall(rf"{file.name}:(\d+): error: (.*)", done.stdout)
    assert found or not done.returncode, done.stdout + done.stderr
    return {int(line): said for line, said in found}


def pyright(file: Path) -> dict[int, str]:
    """What pyright says, by line. It runs on node, which its package fetches where there is none."""
    if shutil.which("node") is None:
        pytest.skip("pyright needs node, and none was found")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=FOLDER.parents[1])
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        each["range"]["start"]["line"] + 1: each["message"]
        for each in found
        if each["severity"] == "error" and Path(each["file"]).name == file.name
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_right_is_accepted(checker: object) -> None:
    assert callable(checker)
    assert checker(RIGHT) == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_refused_line_by_line(checker: object) -> None:
    assert callable(checker)
    said = checker(WRONG)
    lines = WRONG.read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith(MARK)}
    assert [lines[number - 1] for number in sorted(marked - set(said))] == [], "accepted"
    assert {number: said[number] for number in set(said) - marked} == {}, "refused"
