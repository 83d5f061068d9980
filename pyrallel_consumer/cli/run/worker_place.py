"""Finds the worker at ``package.module:function``; if that fails, a short error says whose fault it is.

A missing module or name is one sentence. An exception of the worker's own module is shown with its traceback, from the
first line of the user's code on.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, cast

from pyrallel_consumer.config import ExecutionConfig
from pyrallel_consumer.dto import ExecutionMode
from pyrallel_consumer.errors import ConfigurationError, WorkerMismatchError
from pyrallel_consumer.execution_plane.worker.kind import Worker, check_values, check_worker


class WorkerImportError(Exception):
    """The user's code raised while it was imported or called; ``shown`` is the error as Python shows it."""

    def __init__(self, doing: str, shown: str) -> None:
        super().__init__(f"{doing} failed")
        self.shown = shown


def find_worker(place: str, app_dir: str) -> Worker:
    """The object at the worker's place, see ``find_object``. Other code checks that it is a worker."""
    return cast("Worker", find_object(place, app_dir, "worker"))


def find_object(place: str, app_dir: str, what: str) -> Any:
    """The object at ``place``, its module imported from ``app_dir`` before all other folders.

    Raises ConfigurationError if the place is not valid or empty, WorkerImportError if its code raises.
    ``what`` is the expected kind: a worker, a lifespan.
    """
    module_name, colon, attribute = place.partition(":")
    if not (colon and module_name and attribute) or module_name.endswith(".py"):
        raise ConfigurationError(
            f"{what} {place!r} is no place of a {what}: write package.module:function, as in app.orders:handle"
        )
    folder = Path(app_dir).resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"--app-dir {app_dir} is no folder")
    sys.path[:] = [str(folder), *(entry for entry in sys.path if entry != str(folder))]
    module = _imported(module_name, place, folder, what)
    found: Any = module
    for name in attribute.split("."):
        if not hasattr(found, name):
            raise ConfigurationError(_nothing_there(module, found, name, f"{what} {place!r}"))
        found = getattr(found, name)
    return found


def check_for_command_line(worker: Worker, execution: ExecutionConfig) -> None:
    """Like ``check_worker`` and ``check_values``, but the error also names the flag that helps.

    The command decodes no values: a consumer with a type or a deserializer is built in the worker's module.
    """
    mode, size = execution.mode, execution.batch_size
    try:
        check_worker(worker, mode, batch_size=size)
    except WorkerMismatchError as error:
        fitting = [str(other) for other in ExecutionMode if other is not mode and _fits(worker, other, size)]
        flag = f" (here: --mode {' or --mode '.join(fitting)})" if fitting else ""
        raise WorkerMismatchError(f"{error}{flag}") from error
    check_values(worker, is_decoded=False)


def _fits(worker: Worker, mode: ExecutionMode, batch_size: int) -> bool:
    try:
        check_worker(worker, mode, batch_size=batch_size)
    except ConfigurationError:
        return False
    return True


def raised_by(error: BaseException, doing: str) -> WorkerImportError:
    """The error to raise after the user's code raised ``error`` during ``doing``."""
    return WorkerImportError(doing, _shown(error))


def _imported(name: str, place: str, folder: Path, what: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r} for {what} {place!r} in {folder}, nor installed; "
                "--app-dir names another folder"
            ) from None
        raise raised_by(error, f"importing {place}") from error
    except (Exception, SystemExit) as error:
        # The user's module may raise anything, and end the program too; that is its fault and not ours.
        raise raised_by(error, f"importing {place}") from error


def _nothing_there(module: ModuleType, holder: object, name: str, sought: str) -> str:
    names = [known for known, value in vars(holder).items() if callable(value) and not known.startswith("_")]
    own = [known for known in names if getattr(vars(holder)[known], "__module__", None) == module.__name__]
    close = get_close_matches(name, names, n=1)
    sentence = f"{module.__name__} ({module.__file__}) has no {name!r} for {sought}"
    if close:
        return f"{sentence}; did you mean {close[0]!r}?"
    return f"{sentence}; it defines {', '.join(own)}" if own else f"{sentence}, and defines no function"


def _shown(error: BaseException) -> str:
    trace: TracebackType | None = error.__traceback__
    while trace is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _is_ours(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename in {__file__, importlib.__file__}
