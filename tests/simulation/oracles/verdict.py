"""What an oracle says."""

from __future__ import annotations


class RuleBroken(AssertionError):  # noqa: N818 -- says what happened
    """A rule of the design does not hold; ``rule`` is its number there."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"rule {rule}: {what}")
