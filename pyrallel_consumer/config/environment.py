"""Where settings come from when no argument gave them: the process environment, then ``.env``.

They are read for every object that is built, never at import. A setting may have several names. An earlier name
wins over a later one, wherever each is set; for one name the process environment wins over the file. Names of
equal rank (``EXECUTION_MAX_ATTEMPTS``, ``EXECUTION_MAX_RETRIES``) must have the same value if several are set. Empty
values count as not set, names are compared without case, and other variables are ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from pyrallel_consumer.errors import ConfigurationError

ENV_FILE = Path(".env")

# Older releases of python-dotenv (1.1 still) take the comment of `NAME=   # comment` for the value.
_EMPTY_WITH_COMMENT = re.compile(r"^(\s*(?:export\s+)?[A-Za-z_]\w*\s*=)[ \t]+#.*$", re.MULTILINE)
_TRAILING_COMMENT = re.compile(r"\s+#.*$")
_FREE_TEXT = (str, SecretStr, list, dict)


class Variable(NamedTuple):
    """A variable that is set and not empty: its name as spelled, and its file if it comes from one."""

    name: str
    value: str
    file: Path | None


class EnvironmentSource(PydanticBaseSettingsSource):
    """Values of one settings class from the environment and ``.env``, as text; constructor arguments override them."""

    def __init__(self, settings_cls: type[BaseSettings], variables_of: Callable[[str], list[list[str]]]) -> None:
        super().__init__(settings_cls)
        self._variables_of = variables_of
        self._environment = environment()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[str | None, str, bool]:
        variable = named_variable(self._environment, self._variables_of(field_name))
        return None if variable is None else _cleaned(variable.value, field), field_name, False

    def __call__(self) -> dict[str, Any]:
        values = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
            if not _is_settings(field.annotation)
        }
        return {name: value for name, value in values.items() if value is not None}


def environment() -> dict[str, Variable]:
    """Every variable that is not empty, of the process and of ``.env``, by its upper-case name."""
    merged: dict[str, Variable] = {}
    for variables, file in ((_file_variables(ENV_FILE), ENV_FILE), (os.environ, None)):
        filled = [Variable(name, value, file) for name, value in variables.items() if value]
        merged |= {variable.name.upper(): variable for variable in filled}
        merged |= {variable.name: variable for variable in filled if variable.name.isupper()}
    return merged


def named_variable(variables: dict[str, Variable], ranks: list[list[str]]) -> Variable | None:
    """The variable that is used for a setting: the first rank of which one is set.

    Raises ConfigurationError if variables of one rank have different values.
    """
    for names in ranks:
        found = [variables[name] for name in names if name in variables]
        if len({_TRAILING_COMMENT.sub("", variable.value).strip() for variable in found}) > 1:
            said = " and ".join(f"{variable.name} is {variable.value!r}" for variable in found)
            raise ConfigurationError(f"{said}: these are two names of one setting; set one of them")
        if found:
            return found[0]
    return None


def _file_variables(path: Path) -> dict[str, str | None]:
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error.__class__.__name__}); make it a readable UTF-8 file or remove it"
        ) from None
    return dict(_parsed(text))


@lru_cache(maxsize=4)
def _parsed(text: str) -> Mapping[str, str | None]:
    """The variables of a file's text, read once for all classes: dotenv warns of a bad line each time."""
    return dotenv_values(stream=StringIO(_EMPTY_WITH_COMMENT.sub(r"\1", text)))


def _cleaned(value: str, field: FieldInfo) -> str:
    # `docker run --env-file` passes comments on. They are certainly comments only if the setting cannot contain a #.
    return value if _holds_free_text(field.annotation) else _TRAILING_COMMENT.sub("", value).strip()


def _holds_free_text(annotation: Any) -> bool:
    return any((get_origin(part) or part) in _FREE_TEXT for part in (annotation, *get_args(annotation)))


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseSettings)
