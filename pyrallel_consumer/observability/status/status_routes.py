"""The status page's files and its data, as WSGI applications by path.

The files are package data, read once. The policy sent with the page lets it load only from its own origin. So it works
without internet, and injected content could not send data away.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from pyrallel_consumer.observability.http.watched import AllWatched
from pyrallel_consumer.observability.status.status import status_document

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

FILES: Final = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/status/page.css": ("page.css", "text/css; charset=utf-8"),
    "/status/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/status/curves.js": ("curves.js", "text/javascript; charset=utf-8"),
    "/status/facts.js": ("facts.js", "text/javascript; charset=utf-8"),
    "/status/failures.js": ("failures.js", "text/javascript; charset=utf-8"),
    "/status/partitions.js": ("partitions.js", "text/javascript; charset=utf-8"),
    "/status/text.js": ("text.js", "text/javascript; charset=utf-8"),
    "/status/icon.svg": ("icon.svg", "image/svg+xml"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def status_routes(watched: AllWatched) -> dict[str, WSGIApplication]:
    """Path -> application, for the endpoint's table."""
    folder = files("pyrallel_consumer.observability.status") / "status_page"
    served = {path: _file((folder / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}
    return {**served, "/status.json": _data(watched)}


def _file(content: bytes, kind: str) -> WSGIApplication:
    headers = [
        ("Content-Type", kind),
        ("Content-Length", str(len(content))),
        ("Content-Security-Policy", POLICY),
        ("Referrer-Policy", "no-referrer"),
    ]

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return [content]

    return application


def _data(watched: AllWatched) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        document = status_document(watched(), asked.get("consumer", [""])[-1], _number(asked.get("since", [""])[-1]))
        body = json.dumps(document, separators=(",", ":")).encode()
        headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]

    return application


def _number(text: str) -> float:
    """A time; the beginning of all times if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return -math.inf
