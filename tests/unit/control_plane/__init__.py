"""The control plane by its public behaviour: examples to read, and Hypothesis against naive models."""

from __future__ import annotations

import pytest

# Else a machine's failed assertion does not tell what it compared.
pytest.register_assert_rewrite(
    *(f"{__name__}.{machine}" for machine in ("judged_manager", "work_machine", "run_machine"))
)
