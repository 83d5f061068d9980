"""Tables on terminals that are too narrow for them."""

from __future__ import annotations

from pyrallel_consumer.cli.table import fitting_columns, plain_table

ROWS = [("name", "first", "second"), ("a", "1", "22222222")]


def test_columns_are_left_out_in_their_order_and_only_as_many_as_must_be() -> None:
    assert fitting_columns(ROWS, 23, (1, 2)) == [0, 1, 2]
    assert fitting_columns(ROWS, 22, (1, 2)) == [0, 2]
    assert fitting_columns(ROWS, 15, (1, 2)) == [0]
    assert fitting_columns(ROWS, 1, (1,)) == [0, 2]


def test_a_pipe_gets_all_of_it_on_lines_of_their_own() -> None:
    assert plain_table(ROWS, (0,)) == ["name  first    second", "a         1  22222222"]
