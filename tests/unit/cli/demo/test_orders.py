"""The demo's orders: the same every time, numbered by customer, with some customers far more eager than others."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest

from pyrallel_consumer.cli.demo.orders import Order, is_eager, shop_orders


def test_the_same_numbers_and_seed_make_the_same_orders() -> None:
    assert list(shop_orders(500, 40, seed=7)) == list(shop_orders(500, 40, seed=7))


def test_another_seed_makes_other_orders() -> None:
    assert list(shop_orders(500, 40, seed=7)) != list(shop_orders(500, 40, seed=8))


def test_orders_are_numbered_in_the_shop_and_within_each_customer() -> None:
    by_customer: defaultdict[str, list[int]] = defaultdict(list)
    numbers = []
    for order in shop_orders(2000, 30, seed=1):
        numbers.append(order.number)
        by_customer[order.customer].append(order.nth)

    assert numbers == list(range(1, 2001))
    assert all(nths == list(range(1, len(nths) + 1)) for nths in by_customer.values())
    assert len(by_customer) == 30


def test_an_eager_customer_orders_several_times_as_often_as_the_rest() -> None:
    counted = Counter(order.customer for order in shop_orders(20_000, 200, seed=3))
    eager = [counted[f"customer-{number:03}"] for number in range(200) if is_eager(number)]
    rest = [counted[f"customer-{number:03}"] for number in range(200) if not is_eager(number)]

    assert len(eager) == 2
    assert min(eager) > 3 * sum(rest) / len(rest)


def test_one_customer_can_place_all_orders() -> None:
    assert {order.key for order in shop_orders(10, 1, seed=1)} == {b"customer-0"}


def test_an_order_comes_back_from_its_message_as_it_was() -> None:
    for order in shop_orders(50, 5, seed=2):
        assert Order.from_json(order.to_json()) == order
        assert order.total_cents > 0
        assert order.lines


@pytest.mark.parametrize("payload", [None, b"", b"no order", b"[]", b'{"number": 1}', b'{"colour": "red"}'])
def test_a_message_that_is_no_order_is_refused(payload: bytes | None) -> None:
    with pytest.raises((ValueError, TypeError)):
        Order.from_json(payload)
