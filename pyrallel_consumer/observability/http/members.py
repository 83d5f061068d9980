"""One endpoint for several members in processes of their own: it asks the endpoint of each, and merges the answers.

Counters never go back: the last counts of an ended member are kept. Gauges are merged as the table of families says, as
for several consumers in one process. A member that does not answer counts as alive, because its supervisor starts it
again, and as not ready.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode
from urllib.request import urlopen

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from pyrallel_consumer.observability.http.http_endpoint import json_route
from pyrallel_consumer.observability.metrics.families import FAMILIES, Merge
from pyrallel_consumer.observability.status.status_routes import status_routes

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

Ports = Callable[[], Mapping[int, int]]
"""Of each member that runs: the port of its endpoint on this machine."""
Series = tuple[str, tuple[tuple[str, str], ...]]
"""A sample's name and labels."""

ASK_SECONDS: Final = 3.0
MOST_AT_ONCE: Final = 8
_MERGES: Final = {family.name: family.merge for family in FAMILIES}


def member_routes(ports: Ports) -> dict[str, WSGIApplication]:
    """Path -> WSGI application; each asks all members at every request."""
    members = MemberEndpoints(ports)
    registry = CollectorRegistry()
    registry.register(_MemberCollector(members))
    return {
        **status_routes(lambda: ()),
        "/metrics": make_wsgi_app(registry),
        "/livez": json_route(lambda: members.health("/livez", is_well_unasked=True)),
        "/readyz": json_route(lambda: members.health("/readyz", is_well_unasked=False)),
        "/snapshot.json": json_route(members.snapshots),
        "/status.json": members.status,
    }


class MemberEndpoints:
    """Asks members. For any thread."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="pyrallel-members")

    def answers(self, path: str) -> dict[int, tuple[int, bytes] | None]:
        """For each member its port and its answer, None without an answer."""
        ports = dict(sorted(self._ports().items()))
        answers = self._pool.map(lambda port: _asked(port, path), ports.values())
        return {
            number: None if answer is None else (port, answer)
            for (number, port), answer in zip(ports.items(), answers, strict=True)
        }

    def health(self, path: str, *, is_well_unasked: bool) -> tuple[HTTPStatus, dict[str, Any]]:
        """Whether all members are well, and what each says of its consumers."""
        consumers: list[dict[str, Any]] = []
        is_well = True
        answers = self.answers(path)
        for number, answer in answers.items():
            found = _document(answer)
            if found is None:
                is_well &= is_well_unasked
                reasons = [{"kind": "unexamined", "text": "it does not answer"}]
                status = "ok" if is_well_unasked else "unavailable"
                consumers.append({"member": number, "state": "unknown", "status": status, "reasons": reasons})
                continue
            is_well &= found.get("status") == "ok"
            consumers += [{"member": number, **each} for each in found.get("consumers", [])]
        if not answers:
            is_well = is_well_unasked
        status_code = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return status_code, {"status": "ok" if is_well else "unavailable", "consumers": consumers}

    def snapshots(self) -> tuple[HTTPStatus, object]:
        """The pictures of all members, one after the other, each with its number."""
        consumers = [
            {"member": number, **each}
            for number, answer in self.answers("/snapshot.json").items()
            for each in (_document(answer) or {}).get("consumers", [])
        ]
        return HTTPStatus.OK, {"consumers": consumers}

    def status(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """The data of the status page: one member with its ``group``, and the names of all."""
        asked = parse_qs(environ.get("QUERY_STRING", ""))
        ports = {f"member {number}": port for number, port in sorted(self._ports().items())}
        wanted = asked.get("consumer", [""])[-1]
        chosen = wanted if wanted in ports else next(iter(ports), None)
        found: dict[str, Any] = {}
        if chosen is not None:
            query = urlencode({"since": asked.get("since", [""])[-1]})
            answer = _asked(ports[chosen], f"/status.json?{query}")
            found = json.loads(answer) if answer else {}
            found |= {"group": found.get("consumer"), "consumer": chosen}
        body = json.dumps(found | {"consumers": list(ports)}, separators=(",", ":")).encode()
        headers = [("Content-Type", "application/json; charset=utf-8"), ("Content-Length", str(len(body)))]
        start_response("200 OK", headers)
        return [body]


class _MemberCollector(Collector):
    def __init__(self, members: MemberEndpoints) -> None:
        self._members = members
        self._sums = Sums()

    def describe(self) -> Iterable[Metric]:
        """No series: the members' series are known only when they are asked."""
        return []

    def collect(self) -> Iterable[Metric]:
        answers = self._members.answers("/metrics")
        pages = {
            (number, answer[0]): list(text_string_to_metric_families(answer[1].decode()))
            for number, answer in answers.items()
            if answer is not None
        }
        return self._sums.merged(pages)


class Sums:
    """Adds up what members show. A member is known by its number and its port: a new process has another port."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[tuple[int, int], dict[Series, float]] = {}
        """The last known counters of each member, including ended ones."""

    def merged(self, pages: Mapping[tuple[int, int], Iterable[Metric]]) -> list[Metric]:
        """One page of all."""
        shown: dict[str, Metric] = {}
        values: dict[str, dict[Series, float]] = {}
        with self._lock:
            for member, page in pages.items():
                counted = self._counted[member] = {}
                for metric in page:
                    shown.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                    of_metric = values.setdefault(metric.name, {})
                    for sample in metric.samples:
                        series = sample.name, tuple(sorted(sample.labels.items()))
                        if metric.type == "gauge":
                            before = of_metric.get(series)
                            of_metric[series] = (
                                sample.value if before is None else _merge(metric.name, before, sample.value)
                            )
                        else:
                            counted[series] = sample.value
            names = {series[0]: name for name, series in self._names(pages)}
            for counted in self._counted.values():
                for series, value in counted.items():
                    name = names.get(series[0])
                    if name is not None:
                        of_metric = values[name]
                        of_metric[series] = of_metric.get(series, 0.0) + value
        for name, of_metric in values.items():
            for (sample_name, labels), value in of_metric.items():
                shown[name].add_sample(sample_name, dict(labels), value)
        return list(shown.values())

    def _names(self, pages: Mapping[tuple[int, int], Iterable[Metric]]) -> list[tuple[str, Series]]:
        return [
            (metric.name, (sample.name, ()))
            for page in pages.values()
            for metric in page
            if metric.type != "gauge"
            for sample in metric.samples
        ]


def _merge(name: str, one: float, other: float) -> float:
    match _MERGES.get(name, Merge.SUM):
        case Merge.MAX:
            return max(one, other)
        case Merge.MIN:
            return min(one, other)
        case Merge.SUM:
            return one + other


def _asked(port: int, path: str) -> bytes | None:
    """The answer of that endpoint, with any status; None without an answer."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=ASK_SECONDS) as answer:
            body: bytes = answer.read()
            return body
    except HTTPError as error:
        return error.read()
    except OSError:
        return None


def _document(answer: tuple[int, bytes] | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    try:
        found = json.loads(answer[1])
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
