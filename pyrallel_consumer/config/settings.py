"""The common behaviour of all settings: ``Settings``, the root of the classes in ``config``.

It accepts names in any case, refuses unknown ones, turns pydantic's errors into ``ConfigurationError``, and prints no
secret. The other files of ``config`` have the settings and their ranges. Invariant: an assigned value is as valid as a
constructed one, and a refused assignment changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from pyrallel_consumer.config.environment import EnvironmentSource, environment, named_variable
from pyrallel_consumer.errors import ConfigurationError

_S = TypeVar("_S", bound="Settings")

MASK = "**********"
_LONGEST_VALUE_SHOWN = 80
NAMES_ELSEWHERE = {
    "brokers": "bootstrap_servers",
    "concurrency": "max_in_flight",
    "group": "consumer_group",
    "group_id": "consumer_group",
    "max_concurrency": "max_in_flight",
    "max_poll_records": "poll_batch_size",
    "max_workers": "worker_pool_size",
    "process_count": "worker_pool_size",
    "sasl_plain_password": "sasl_password",
    "sasl_plain_username": "sasl_username",
    "shutdown_grace_timeout_ms": "shutdown_drain_timeout_ms",
}
"""The names of our settings in other clients, and in other releases of this name."""
_SECRET_NAME = re.compile(r"password|passphrase|secret|\.pem$|_key$|oauthbearer\.config$", re.IGNORECASE)
_SHOWN_NAMES = frozenset(
    {
        "client.id",
        "client.rack",
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "isolation.level",
        "partition.assignment.strategy",
    }
)
"""Settings of librdkafka whose text is not a secret. Any other text of the mapping may be one."""


def is_secret_name(name: str) -> bool:
    """Whether the librdkafka setting of this name holds a secret: a password, a key, a token."""
    return _SECRET_NAME.search(name) is not None


def shown_mapping(mapping: dict[str, Any]) -> dict[str, Any]:
    """The settings of librdkafka as they may be printed: numbers and harmless names in clear, other values masked."""
    return {
        name: value if name in _SHOWN_NAMES or isinstance(value, int | float) else MASK
        for name, value in mapping.items()
    }


class Problem(NamedTuple):
    """Why one setting was refused. ``subject`` is its name as the user wrote it: ``KafkaConfig.consumer_group``.

    ``text`` is the problem with the value, and names the variable if the value came from one.
    """

    field: str
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}" if self.subject else self.text


class SettingsError(ConfigurationError):
    """Settings of one class were refused; ``problems`` has one entry for each."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)

    def given_by(self, names: Mapping[str, str]) -> SettingsError:
        """The same error, with these fields named as the user gave them: by a flag of the command line."""
        return SettingsError(
            [problem._replace(subject=names.get(problem.field, problem.subject)) for problem in self.problems]
        )


class Settings(BaseSettings):
    """Settings that are read from arguments, environment and ``.env``, and validated on every assignment.

    Names may be written in any case. Raises ``ConfigurationError`` that names the setting for an unknown name
    or a value that does not fit, at construction and at assignment alike.
    """

    model_config = SettingsConfigDict(extra="forbid", validate_assignment=True, hide_input_in_errors=True)

    environment_prefixes: ClassVar[tuple[str, ...]]
    argument: ClassVar[str] = ""
    """The argument of PyrallelConsumer that takes this class; "" for a class that is nested in another."""
    other_names: ClassVar[Mapping[str, str]] = {}
    """Second names of settings, and the fields that they mean: for arguments, attributes and variables alike."""
    masked_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields that are mappings of librdkafka's settings: shown by ``shown_mapping``."""

    def __init__(self, **values: Any) -> None:
        spelled = self._spellings(values)
        try:
            super().__init__(**{field: values[name] for field, name in spelled.items()})
        except ValidationError as error:
            raise _settings_error(type(self), error, spelled) from None

    if not TYPE_CHECKING:  # Type checkers know the attributes of each class, in both spellings, and no others.

        def __getattr__(self, name: str) -> Any:
            field = self._field_of(name)
            if field != name and field in type(self).model_fields:
                return getattr(self, field)
            raise AttributeError(_unknown_setting(type(self), name), name=name, obj=self)

        def __setattr__(self, name: str, value: Any) -> None:
            field = self._field_of(name)
            if field not in type(self).model_fields:
                raise ConfigurationError(_unknown_setting(type(self), name))
            try:
                super().__setattr__(field, value)
            except ValidationError as error:
                raise _settings_error(type(self), error, {field: name}) from None

    def validate_all(self) -> Self:
        """An independent copy in which every setting, nested ones included, was checked once more.

        Finds mistakes that assignment could not see: a list or mapping changed in place, values set past pydantic.
        Raises ``ConfigurationError``. It reads neither environment nor ``.env``, and keeps ``model_fields_set``.
        """
        stored = {name: self.__dict__.get(name) for name in type(self).model_fields}
        copy = type(self)(
            **{name: value.validate_all() if isinstance(value, Settings) else value for name, value in stored.items()}
        )
        copy.model_fields_set.intersection_update(self.model_fields_set)
        return copy

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- ours takes its place
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- ours takes its place
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- not offered
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        if (
            isinstance(init_settings, InitSettingsSource)
            and init_settings.init_kwargs.keys() >= cls.model_fields.keys()
        ):
            return (init_settings,)  # Nothing is left to look for: neither the environment nor .env is read.
        return init_settings, EnvironmentSource(settings_cls, cls.variables_of)

    @classmethod
    def variables_of(cls, field: str) -> list[list[str]]:
        """The names of the variables that set ``field``: earlier lists win, and names of one list are equal."""
        names = [field, *(name for name, meant in cls.other_names.items() if meant == field)]
        return [[f"{prefix}{name}".upper() for name in names] for prefix in cls.environment_prefixes]

    @classmethod
    def _field_of(cls, name: str) -> str:
        lowered = name.lower()
        return cls.other_names.get(lowered, lowered)

    @classmethod
    def _spellings(cls, values: Mapping[str, Any]) -> dict[str, str]:
        """Of each field that is given: its name as the user wrote it, a key of ``values``."""
        spelled: dict[str, str] = {}
        for name, value in values.items():
            field = cls._field_of(name)
            if field not in cls.model_fields:
                raise ConfigurationError(_unknown_setting(cls, name))
            before = spelled.setdefault(field, name)
            if before != name and (values[before] != value or before.lower() == name.lower()):
                raise ConfigurationError(
                    f"{cls.__name__}.{field} is given twice, as {before} and as {name}: give one of them"
                )
        return spelled

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            if name in self.masked_fields and isinstance(value, dict):
                yield name, shown_mapping(value)
            else:
                yield name, value


def checked_settings(value: object, kind: type[_S], name: str) -> _S:
    """The settings that were given as ``name``, every field valid. Raises ConfigurationError otherwise."""
    if not isinstance(value, kind):
        raise ConfigurationError(f"{name} must be of type {kind.__name__}, not {type(value).__name__}")
    return value.validate_all()


def _unknown_setting(cls: type[Settings], name: str) -> str:
    """The sentence that refuses a name, with a guess at the intended one."""
    field = name.lower()
    message = f"{cls.__name__} has no setting {name!r}"
    if "." in name and "librdkafka" in cls.model_fields:
        return f"{message}; settings of the client go into librdkafka={{{name!r}: ...}}"
    for holder, nested in cls.model_fields.items():
        rest = field.removeprefix(f"{holder}_")
        if rest != field and rest in getattr(nested.annotation, "model_fields", ()):
            return f"{message}; did you mean config.{holder}.{rest}?"
    for other in Settings.__subclasses__():
        if other._field_of(field) in other.model_fields:  # noqa: SLF001 -- a class of this kind
            return f"{message}; it is a setting of {other.__name__}{_way_to(cls, other, field)}"
        if (ours := NAMES_ELSEWHERE.get(field)) in other.model_fields:
            return f"{message}; did you mean {other.__name__}.{ours}?"
    close = get_close_matches(field, cls.model_fields, n=1)
    return f"{message}; did you mean {close[0]!r}?" if close else f"{message}; it has {', '.join(cls.model_fields)}"


def _way_to(cls: type[Settings], nested: type[Settings], field: str) -> str:
    """How ``field`` of ``nested`` is given: through ``cls`` if it is nested there, else by the consumer's argument."""
    for name, holder in cls.model_fields.items():
        if holder.annotation is nested:
            return f", reached as config.{name}.{field}"
    return f", given to PyrallelConsumer as {nested.argument}=" if nested.argument else ""


def _settings_error(cls: type[Settings], error: ValidationError, given: Mapping[str, str]) -> SettingsError:
    """The error of ``cls``. ``given``: fields that were arguments or assigned, and their names as the user wrote them.

    The values of the other fields came from variables.
    """
    return SettingsError([_problem(cls, detail, given) for detail in error.errors(include_url=False)])


def _problem(cls: type[Settings], detail: ErrorDetails, given: Mapping[str, str]) -> Problem:
    cause = detail.get("ctx", {}).get("error")
    field = str(detail["loc"][0])
    if isinstance(cause, ConfigurationError):
        return Problem(field, "", str(cause))  # A nested class: its error names the setting and its source.
    text = str(cause) if cause is not None else detail["msg"][:1].lower() + detail["msg"][1:]
    text += _shown_value(cls, field, detail["input"])
    if field not in given:
        variable = named_variable(environment(), cls.variables_of(field))
        if variable is not None:
            text += f" ({variable.file or 'environment'}: {variable.name})"
    return Problem(field, f"{cls.__name__}.{given.get(field, field).lower()}", text)


def _shown_value(cls: type[Settings], field: str, value: object) -> str:
    is_secret = field in cls.masked_fields or "SecretStr" in str(cls.model_fields[field].annotation)
    if is_secret or not isinstance(value, str | int | float):
        return ""
    text = repr(value)
    return f", got {text if len(text) <= _LONGEST_VALUE_SHOWN else text[:_LONGEST_VALUE_SHOWN] + '...'}"


def as_secret(value: Any) -> Any:
    """The value as a secret that does not print itself; a secret stays as it is."""
    return SecretStr(value) if isinstance(value, str) else value


def revealed(value: Any) -> Any:
    """The value inside a secret; any other value as it is."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value
