"""``package.module:function`` to the worker: the object that is found, or whose fault it is that none is."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyrallel_consumer import ConfigurationError, ExecutionConfig, ExecutionMode, WorkerMismatchError, WorkItem
from pyrallel_consumer.cli.run.worker_place import WorkerImportError, check_for_command_line, find_worker

NAMES = (f"user_module_{number}" for number in itertools.count())
Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Writes a module of a name that no test has had, and returns the name."""
    before, known = list(sys.path), set(sys.modules)

    def write(source: str) -> str:
        name = next(NAMES)
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    sys.path[:] = before
    for name in set(sys.modules) - known:
        if name.startswith("user_"):
            del sys.modules[name]


def test_functions_and_what_hangs_on_other_names_are_found(write: Write, tmp_path: Path) -> None:
    name = write(
        "def handle(item): return 'function'\n"
        "class Handlers:\n    def handle(self, item): return 'method'\n"
        "all = Handlers()\n"
    )

    assert find_worker(f"{name}:handle", str(tmp_path))(None) == "function"
    assert find_worker(f"{name}:all.handle", str(tmp_path))(None) == "method"
    assert sys.path[0] == str(tmp_path)


@pytest.mark.parametrize("place", ["handle", "app:", ":handle", "app.py:handle", ""])
def test_what_is_no_place_is_refused_with_the_form_of_one(tmp_path: Path, place: str) -> None:
    with pytest.raises(ConfigurationError, match=r"package\.module:function"):
        find_worker(place, str(tmp_path))


def test_a_module_that_is_not_there_is_named_with_the_folder_that_was_looked_into(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no module 'no_such'.*{tmp_path}.*--app-dir"):
        find_worker("no_such.inner:handle", str(tmp_path))


def test_a_folder_that_is_none_is_the_flag_s_fault(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--app-dir"):
        find_worker("app:handle", str(tmp_path / "none"))


def test_a_name_that_is_not_there_gets_the_best_guess_or_the_functions_there_are(write: Write, tmp_path: Path) -> None:
    name = write("from json import dumps\ndef handle_order(item): ...\ndef other(item): ...\n")
    with pytest.raises(ConfigurationError, match="did you mean 'handle_order'"):
        find_worker(f"{name}:handle_orders", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"it defines handle_order, other$"):
        find_worker(f"{name}:x", str(tmp_path))
    with pytest.raises(ConfigurationError, match="defines no function"):
        find_worker(f"{write('')}:x", str(tmp_path))


@pytest.mark.parametrize(
    ("source", "said", "frames"),
    [
        ("def broken():\n    return 1 / 0\nbroken()\n", "ZeroDivisionError", 2),
        ("import no_such_dependency\n", "ModuleNotFoundError: No module named 'no_such_dependency'", 1),
        ("def f(:\n", "SyntaxError", 1),
        ("raise SystemExit(3)\n", "SystemExit: 3", 1),
    ],
)
def test_what_the_module_raises_is_shown_from_the_first_line_of_its_own_code_on(
    write: Write, tmp_path: Path, source: str, said: str, frames: int
) -> None:
    name = write(source)

    with pytest.raises(WorkerImportError) as raised:
        find_worker(f"{name}:handle", str(tmp_path))

    lines = [line for line in raised.value.shown.splitlines() if line.lstrip().startswith("File ")]
    assert said in raised.value.shown
    assert len(lines) == frames
    assert all(f"{name}.py" in line for line in lines)


def plain(item: object) -> None: ...


async def awaiting(item: object) -> None: ...


def running(mode: ExecutionMode, batch_size: int = 1) -> ExecutionConfig:
    return ExecutionConfig(mode=mode, batch_size=batch_size)


def test_a_worker_of_another_mode_is_refused_with_the_flags_that_fit() -> None:
    with pytest.raises(WorkerMismatchError, match=r"\(here: --mode thread or --mode process or --mode ray\)$"):
        check_for_command_line(plain, running(ExecutionMode.ASYNC))
    with pytest.raises(WorkerMismatchError, match=r"\(here: --mode async or --mode process or --mode ray\)$"):
        check_for_command_line(awaiting, running(ExecutionMode.THREAD))
    with pytest.raises(WorkerMismatchError, match=r"\(here: --mode thread or --mode ray\)$"):
        check_for_command_line(lambda item: None, running(ExecutionMode.PROCESS))
    check_for_command_line(plain, running(ExecutionMode.PROCESS))


async def awaiting_many(items: list[WorkItem]) -> None: ...
async def awaiting_typed(item: WorkItem[int]) -> None: ...


def test_a_worker_that_takes_a_list_runs_with_batches() -> None:
    check_for_command_line(awaiting_many, running(ExecutionMode.ASYNC, batch_size=500))
    with pytest.raises(ConfigurationError, match="EXECUTION_BATCH_SIZE"):
        check_for_command_line(awaiting_many, running(ExecutionMode.ASYNC))
    with pytest.raises(WorkerMismatchError, match=r"\(here: --mode async or --mode process or --mode ray\)$"):
        check_for_command_line(awaiting_many, running(ExecutionMode.THREAD, batch_size=500))


def test_a_worker_of_typed_values_needs_a_consumer_that_decodes_them() -> None:
    with pytest.raises(ConfigurationError, match=r"takes WorkItem\[int\].*takes the place of such a PyrallelConsumer"):
        check_for_command_line(awaiting_typed, running(ExecutionMode.ASYNC))
