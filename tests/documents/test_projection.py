"""The guide's figures for more cores are computed from measured ones."""

from __future__ import annotations

import subprocess
import sys

from tests.documents.snippets import ROOT


def test_the_guide_has_the_projection_that_is_computed_from_measured_figures() -> None:
    script = ROOT / "benchmarks" / "projection.py"
    computed = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert computed in (ROOT / "docs" / "guides" / "scaling.md").read_text("utf-8")
