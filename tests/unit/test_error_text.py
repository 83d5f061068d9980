"""What is shown of a worker's errors, with and without their texts."""

from __future__ import annotations

import pytest

from pyrallel_consumer.error_text import ErrorText

SECRET = "the card number"


class ResistingError(Exception):
    """Cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError(SECRET)


def raised(error: BaseException) -> BaseException:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise error from cause
    except BaseException as caught:  # noqa: BLE001 -- all that is raised here is ours
        caught.add_note(SECRET) if not isinstance(caught, ResistingError) else None
        return caught


def test_texts_are_told_unless_they_are_to_be_left_out() -> None:
    error = raised(ValueError(SECRET))
    shown, hidden = ErrorText(), ErrorText(is_shown=False)

    assert shown.reason(error) == f"ValueError: {SECRET}"
    assert shown.trace(error).count(SECRET) >= 2
    assert hidden.reason(error) == "ValueError"
    assert SECRET not in hidden.trace(error)
    assert "ValueError" in hidden.trace(error)
    assert "KeyError" in hidden.trace(error)
    assert "in raised" in hidden.trace(error)


@pytest.mark.parametrize("is_shown", [False, True])
def test_an_error_that_resists_being_read_raises_nothing(is_shown: bool) -> None:
    error, text = raised(ResistingError()), ErrorText(is_shown=is_shown)

    assert text.reason(error).startswith("ResistingError")
    assert text.trace(error)
