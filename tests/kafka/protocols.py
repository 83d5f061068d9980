"""Tests that are run under both protocols of groups."""

from __future__ import annotations

import pytest

each_group_protocol = pytest.mark.parametrize("group_protocol", ["classic", "consumer"], indirect=True)
"""For members that come by ``settings`` or ``start_member``. The session of ``consumer`` is the broker's, 6 s."""
