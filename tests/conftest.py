"""What holds for every test: results count and not speed, and signals have their defaults.

Hypothesis judges no speed, since two busy cores make any deadline a lie. Programs that a shell starts in the background
ignore SIGINT, and programs that tests start would inherit that.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId
from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("shared-machine")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked ``long`` start first, so that none is left running alone; an ``xdist_group`` stays in one process.

    pytest-xdist 3.8 finds the group in the test's id, and cannot put it there since pytest 9.2. Coverage of a folder is
    measured in its unit tests and in tests marked ``measured``: they reach every branch of the deciding code, and
    measuring makes the other tests three times as slow.
    """
    folders = _folders_that_count(config)
    for item in items:
        if not (any(map(item.path.is_relative_to, folders)) or item.get_closest_marker("measured")):
            item.add_marker("no_cover")
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    if config.getoption("loadgroup", default=False):
        for item in items:
            group = item.get_closest_marker("xdist_group")
            if group is not None and "@" not in item.nodeid.rpartition("]")[2]:
                item._id = NodeId.parse(f"{item.nodeid}@{group.args[0]}")  # noqa: SLF001 -- as xdist tried


def _folders_that_count(config: pytest.Config) -> list[Path]:
    """For ``--cov=pyrallel_consumer/ingress/reading`` the unit tests of ingress; for ``--cov`` all unit tests."""
    sources = config.getoption("cov_source", default=None) or [True]
    parts = ["" if source is True else Path(source).parts[1] for source in sources]
    return [config.rootpath / "tests" / "unit" / part for part in parts]
