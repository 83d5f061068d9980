"""Which release this is, and whether it is the installed one: PyPI has another package of the same name.

Both code bases install a package ``pyrallel_consumer``, and pip replaces one by the other. ``__version__`` is the
version of this code. ``__distribution__`` is the distribution that pip installed. PyPI's other package has no
``__distribution__``.
"""

from __future__ import annotations

import os
import warnings
from typing import Final

VERSION: Final = "1.0.0rc1"
NAME: Final = "pyrallel-consumer"

_FOLDER: Final = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120 -- importing pathlib takes milliseconds
_PREFIX: Final = "pyrallel_consumer-"
_SUFFIX: Final = ".dist-info"


def distribution() -> str:
    """Name and version of the installed distribution, as pip knows it; "not installed" without one."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 -- takes 20 milliseconds

    try:
        return f"{NAME} {version(NAME)}"
    except PackageNotFoundError:
        return "not installed"


def warn_of_another(folder: str = _FOLDER) -> None:
    """Warn if ``folder``, which holds this package, has the metadata of another release and none of this one.

    So it is after an installation into a folder that already held the other package. It reads one list of names.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 -- as above
    except OSError:  # The package is in an archive.
        return
    found = [
        each[len(_PREFIX) : -len(_SUFFIX)] for each in names if each.startswith(_PREFIX) and each.endswith(_SUFFIX)
    ]
    if found and VERSION not in found:
        warnings.warn(
            f"this is pyrallel_consumer {VERSION}, but {folder} says that {NAME} {found[0]} is installed there. PyPI "
            "has another package of this name. Remove both (pip uninstall pyrallel-consumer) and install the one you "
            "want",
            RuntimeWarning,
            stacklevel=3,
        )
