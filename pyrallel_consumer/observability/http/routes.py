"""The table of the endpoint: its paths and their applications."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from pyrallel_consumer.observability.http.health import liveness, readiness
from pyrallel_consumer.observability.http.http_endpoint import json_route
from pyrallel_consumer.observability.http.snapshot_json import snapshot_document
from pyrallel_consumer.observability.http.watched import AllWatched
from pyrallel_consumer.observability.metrics.metrics import metrics_application
from pyrallel_consumer.observability.status.status_routes import status_routes

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication


def made_routes(watched: AllWatched) -> dict[str, WSGIApplication]:
    """Path -> WSGI application; each calls ``watched`` for every request."""
    return {
        "/metrics": metrics_application(watched),
        "/livez": json_route(partial(liveness, watched)),
        "/readyz": json_route(partial(readiness, watched)),
        "/snapshot.json": json_route(partial(_snapshots, watched)),
        **status_routes(watched),
    }


def _snapshots(watched: AllWatched) -> tuple[HTTPStatus, object]:
    return HTTPStatus.OK, snapshot_document([each.picture() for each in watched()], time.monotonic())
