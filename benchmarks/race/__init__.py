"""The race: this library and its peers over the same topic with the same work, one process after the other.

`lap_plan` is what a contender is told, `stopwatch` what it measures, `workers` what it runs; `contender_*` are the
programs (`benchmarks/peers/java` is Java's). These run in other environments, too, and import the standard library and
their client only. The rest is the harness: `traffic` → `track` (topics) → `cases` and `contenders` → `laps` → `report`.
"""
