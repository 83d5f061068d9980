"""The demo's messages: orders of a shop, keyed by customer, some customers ordering far more often than the rest.

Deterministic: the same numbers and seed make the same orders in the same sequence. Each order carries which one of its
customer it is (``nth``, from 1), so that a reader can check that it came in its turn, once, and not too soon.
"""

from __future__ import annotations

import bisect
import itertools
import json
import random
from collections.abc import Iterator
from typing import NamedTuple

EAGER_SHARE = 100
"""One customer in this many is eager, and at least one."""
EAGERNESS = 5
"""An eager customer orders this many times as often."""
CATALOGUE = (
    ("TEA-ASSAM-250", 690),
    ("TEA-SENCHA-100", 1250),
    ("COFFEE-FILTER-500", 980),
    ("COFFEE-ESPRESSO-1000", 2190),
    ("CUP-BLUE", 1400),
    ("KETTLE-STEEL", 4900),
    ("SUGAR-CANE-500", 320),
)
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
MOST_LINES = 3
MOST_PIECES = 4


class Order(NamedTuple):
    """One order: the ``number``-th of the shop and the ``nth`` of its customer, both from 1."""

    number: int
    customer: str
    nth: int
    lines: dict[str, int]
    total_cents: int

    @property
    def key(self) -> bytes:
        return self.customer.encode()

    def to_json(self) -> bytes:
        return _ENCODE(self._asdict()).encode()

    @classmethod
    def from_json(cls, payload: bytes | None) -> Order:
        """Raises ValueError or TypeError if it is not an order."""
        return cls(**json.loads(payload or b""))


def shop_orders(count: int, customers: int, seed: int) -> Iterator[Order]:
    """``count`` orders of ``customers`` customers, in the sequence in which they are placed."""
    chance = random.Random(seed).random  # the one call that is cheap enough for a million orders
    weights = list(itertools.accumulate(EAGERNESS if is_eager(number) else 1 for number in range(customers)))
    width = len(str(customers - 1))
    names = [f"customer-{number:0{width}}" for number in range(customers)]
    placed = [0] * customers
    for number in range(1, count + 1):
        customer = bisect.bisect_right(weights, chance() * weights[-1])
        placed[customer] += 1
        lines: dict[str, int] = {}
        total_cents = 0
        for _ in range(1 + int(chance() * MOST_LINES)):
            article, price_cents = CATALOGUE[int(chance() * len(CATALOGUE))]
            pieces = 1 + int(chance() * MOST_PIECES)
            lines[article] = lines.get(article, 0) + pieces
            total_cents += pieces * price_cents
        yield Order(number, names[customer], placed[customer], lines, total_cents)


def is_eager(customer_number: int) -> bool:
    """Whether the customer of this number, from 0, orders often."""
    return customer_number % EAGER_SHARE == 0
