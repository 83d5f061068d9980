"""What holds for every test: results count and not speed, and signals have their defaults.

Hypothesis judges no speed, since two busy cores make any deadline a lie. A shell ignores SIGINT for what it starts in
the background, and the programs that tests start would inherit that.
"""

from __future__ import annotations

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("shared-machine")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
