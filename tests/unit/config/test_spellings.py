"""Type checkers know exactly the settings that exist: every field, in both spellings."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

from pyrallel_consumer import config
from pyrallel_consumer.config.settings import Settings
from pyrallel_consumer.config.typed import arguments, attributes, choices

CLASSES: list[type[Settings]] = [
    config.ExecutionConfig,
    config.KafkaConfig,
    config.MetricsConfig,
    config.OutputConfig,
    config.ParallelConsumerConfig,
    config.RayConfig,
]
CHOICES = {
    "mode": choices.ModeText,
    "batch_by": choices.BatchByText,
    "on_exhausted": choices.OnExhaustedText,
    "ordering_mode": choices.OrderingText,
    "rebalance_state_strategy": choices.StateStrategyText,
    "null_key_ordering": choices.NullKeyText,
    "dlq_payload_mode": choices.PayloadModeText,
    "delivery": choices.DeliveryText,
}


def base(cls: type[Settings]) -> str:
    return cls.__name__.removesuffix("Config")


def declared_in_mixin(name: str) -> dict[str, str]:
    """Attributes that a class of ``attributes`` declares for type checkers."""
    tree = ast.parse(Path(attributes.__file__).read_text())
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return {
        node.target.id: ast.unparse(node.annotation)
        for node in ast.walk(found)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


@pytest.mark.parametrize("cls", CLASSES, ids=base)
def test_arguments_are_the_fields_in_both_spellings(cls: type[Settings]) -> None:
    """A field was added or removed: ``config/typed/arguments.py`` has each of them in both spellings."""
    told = getattr(arguments, f"{base(cls)}Arguments").__annotations__
    names = {*cls.model_fields, *cls.other_names}
    assert set(told) == names | {name.upper() for name in names}
    for name in names:
        assert told[name] == told[name.upper()]


@pytest.mark.parametrize("cls", CLASSES, ids=base)
def test_attributes_are_the_fields_in_the_other_spelling(cls: type[Settings]) -> None:
    """A field was added or removed: ``config/typed/attributes.py`` has each of them in upper case."""
    declared = declared_in_mixin(f"{base(cls)}Attributes")
    assert set(declared) == {name.upper() for name in cls.model_fields} | {
        spelled for name in cls.other_names for spelled in (name, name.upper())
    }


def test_a_choice_is_told_by_the_words_of_its_enum() -> None:
    for cls in CLASSES:
        for name, field in cls.model_fields.items():
            if name in CHOICES:
                kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
                [enum] = [kind for kind in kinds if kind is not type(None)]
                assert set(get_args(CHOICES[name])) == {str(member) for member in enum}  # type: ignore[attr-defined]


@pytest.mark.parametrize("cls", CLASSES, ids=base)
def test_at_run_time_the_mixins_add_nothing(cls: type[Settings]) -> None:
    assert not {name for name in vars(getattr(attributes, f"{base(cls)}Attributes")) if not name.startswith("__")}
