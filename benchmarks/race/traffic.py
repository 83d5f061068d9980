"""The traffic of a case: which key and which flag each message has. Seeded, so that every run sees the same."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

ZIPF_EXPONENT: Final = 1.0
SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Traffic:
    """``slow_every``: one message in this many (chosen at random) is slow; 0: none."""

    messages: int
    keys: int
    distribution: str = "uniform"
    """uniform (keys dealt out in turn) or zipf (exponent 1: the second key half as often as the first)."""
    slow_every: int = 0

    def key_numbers(self) -> Sequence[int]:
        """The key of each message, in the order of sending."""
        if self.distribution == "uniform":
            return [number % self.keys for number in range(self.messages)]
        weights = (1 / (rank + 1) ** ZIPF_EXPONENT for rank in range(self.keys))
        chosen = random.Random(SEED)
        return chosen.choices(range(self.keys), cum_weights=list(itertools.accumulate(weights)), k=self.messages)

    def is_slow(self) -> Sequence[bool]:
        """Whether each message is slow."""
        if not self.slow_every:
            return [False] * self.messages
        chosen = random.Random(SEED + 1)
        slow = set(chosen.sample(range(self.messages), self.messages // self.slow_every))
        return [number in slow for number in range(self.messages)]

    def to_dict(self) -> Mapping[str, Any]:
        return asdict(self)
