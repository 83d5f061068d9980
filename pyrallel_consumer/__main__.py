"""``python -m pyrallel_consumer``: the command line, where its script is not on the path."""

from __future__ import annotations

from pyrallel_consumer.cli import main

main(prog_name="pyrallel-consumer")
