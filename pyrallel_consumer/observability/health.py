"""``/livez`` and ``/readyz``: 200 or 503, with the reasons of every consumer of the process as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from pyrallel_consumer.control_plane.health import Ailment, HealthLimits, SignsOfLife, ailments, ailments_of_life
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.observability.watched import AllWatched, Watched

Diagnosis = Callable[[RuntimeSnapshot, SignsOfLife, HealthLimits], tuple[Ailment, ...]]


def liveness(watched: AllWatched) -> tuple[HTTPStatus, dict[str, Any]]:
    """Whether all consumers are alive."""
    return _examined(watched, ailments_of_life)


def readiness(watched: AllWatched) -> tuple[HTTPStatus, dict[str, Any]]:
    """Whether all consumers are ready."""
    return _examined(watched, ailments)


def _examined(watched: AllWatched, diagnose: Diagnosis) -> tuple[HTTPStatus, dict[str, Any]]:
    consumers = [_examined_one(each, diagnose) for each in watched()]
    is_well = all(consumer["status"] == "ok" for consumer in consumers)
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {"status": _word(is_well=is_well), "consumers": consumers}


def _examined_one(each: Watched, diagnose: Diagnosis) -> dict[str, Any]:
    picture = each.picture()
    found = diagnose(picture, each.signs_of_life(), each.limits)
    reasons = [{name: value for name, value in asdict(one).items() if value is not None} for one in found]
    return {"group": each.group, "state": picture.state, "status": _word(is_well=not found), "reasons": reasons}


def _word(*, is_well: bool) -> str:
    return "ok" if is_well else "unavailable"
