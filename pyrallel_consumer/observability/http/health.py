"""``/livez`` and ``/readyz``: 200 or 503, with the reasons of every consumer of the process as JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from pyrallel_consumer.control_plane.policies import HealthLimits
from pyrallel_consumer.dto import RuntimeSnapshot
from pyrallel_consumer.observability.ailments import Ailment, SignsOfLife, ailments, ailments_of_life
from pyrallel_consumer.observability.http.watched import AllWatched, Watched

Diagnosis = Callable[[RuntimeSnapshot, SignsOfLife, HealthLimits], tuple[Ailment, ...]]


def liveness(watched: AllWatched) -> tuple[HTTPStatus, dict[str, Any]]:
    """Whether all consumers are alive. One that cannot be examined counts as alive, so that nobody kills it."""
    return _examined(watched, ailments_of_life, is_well_unexamined=True)


def readiness(watched: AllWatched) -> tuple[HTTPStatus, dict[str, Any]]:
    """Whether all consumers are ready. One that cannot be examined counts as not ready."""
    return _examined(watched, ailments, is_well_unexamined=False)


def _examined(
    watched: AllWatched, diagnose: Diagnosis, *, is_well_unexamined: bool
) -> tuple[HTTPStatus, dict[str, Any]]:
    consumers = [_examined_one(each, diagnose, is_well_unexamined=is_well_unexamined) for each in watched()]
    is_well = all(consumer["status"] == "ok" for consumer in consumers)
    status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return status, {"status": _word(is_well=is_well), "consumers": consumers}


def _examined_one(each: Watched, diagnose: Diagnosis, *, is_well_unexamined: bool) -> dict[str, Any]:
    state = "unknown"
    try:
        picture = each.picture()
        state = picture.state
        found = diagnose(picture, each.signs_of_life(), each.limits)
        is_well = not found
    except Exception as error:  # noqa: BLE001 -- pictures end nothing: see ``Pictures``
        each.note_failure("the health check", error)
        found = (Ailment("unexamined", f"the health check itself failed with {type(error).__name__}"),)
        is_well = is_well_unexamined
    reasons = [{name: value for name, value in asdict(one).items() if value is not None} for one in found]
    return {"group": each.group, "state": state, "status": _word(is_well=is_well), "reasons": reasons}


def _word(*, is_well: bool) -> str:
    return "ok" if is_well else "unavailable"
