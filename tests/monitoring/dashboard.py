"""The provisioned dashboard as data: its panels, and its queries as Grafana would send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MONITORING: Final = Path(__file__).parents[2] / "monitoring"
DASHBOARD: Final = json.loads((MONITORING / "grafana/dashboards/pyrallel-consumer.json").read_text())

# "All" of both variables, and what Grafana makes of the interval: four scrapes, of 5 s each.
VARIABLES: Final = {"$instance": ".*", "$topic": ".*", "$__rate_interval": "20s"}


def panels() -> list[dict[str, Any]]:
    """The panels that show something; rows only divide."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def filled_in(query: str) -> str:
    """With values for the variables."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def queries() -> dict[str, str]:
    """Every query of a panel, by a name that says whose it is."""
    return {
        f"{panel['title']} {target['refId']}": filled_in(target["expr"])
        for panel in panels()
        for target in panel["targets"]
    }
