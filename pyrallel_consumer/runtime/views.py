"""The operators' view of one running consumer: its snapshots, its endpoint, its exported metrics.

It changes nothing. An error here is noted and ends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from pyrallel_consumer.observability.ailments import SignsOfLife
from pyrallel_consumer.observability.http.shared_endpoint import Seat
from pyrallel_consumer.observability.http.watched import Watched
from pyrallel_consumer.observability.metrics.exports import export
from pyrallel_consumer.observability.metrics.series import Measured
from pyrallel_consumer.observability.snapshot import FixedFacts, take_snapshot
from pyrallel_consumer.observability.status.close_up import UnderWay
from pyrallel_consumer.observability.status.identity import Identity
from pyrallel_consumer.observability.status.status_feed import StatusFeed
from pyrallel_consumer.runtime.engine_look import EngineLook
from pyrallel_consumer.runtime.outcomes.failure_watch import counted_failures

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pyrallel_consumer.config import MetricsConfig
    from pyrallel_consumer.control_plane.offsets.commit_sequence import CommitSequence
    from pyrallel_consumer.control_plane.work_manager import WorkManager
    from pyrallel_consumer.dto import RuntimeSnapshot
    from pyrallel_consumer.execution_plane.engine import ExecutionEngine
    from pyrallel_consumer.observability.watch.loop_watchdog import LoopWatchdog
    from pyrallel_consumer.runtime.pump.control_loop import ControlLoop
    from pyrallel_consumer.runtime.surroundings import Poller

MOST_ATTEMPTS_TOLD = 2_000
"""How many running attempts a close-up asks the engine for; with an order per key it needs none of them."""


class Views:
    """``registry`` is the user's own registry of metrics. ``engine_look`` is told when the engine has started."""

    def __init__(
        self,
        control: ControlLoop,
        poller: Poller,
        watchdog: LoopWatchdog,
        *,
        facts: FixedFacts,
        metrics: MetricsConfig,
        group: str,
        worker_name: str,
        registry: CollectorRegistry | None,
        clock: Callable[[], float],
    ) -> None:
        self._control = control
        self._manager: WorkManager = control.manager
        self._engine: ExecutionEngine = control.engine
        self._commits: CommitSequence = control.commits
        self._pictures = control.pictures
        self._note_failure = control.pictures.note
        self._poller = poller
        self._watchdog = watchdog
        self._facts = facts
        self._metrics = metrics
        self._group = group
        self._registry = registry
        self._clock = clock
        self._seat: Seat | None = None
        self._export_ends: list[Callable[[], None]] = []
        self._worker_name = worker_name
        self.engine_look = EngineLook(control.engine, control.pictures.note)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of the endpoint, None if there is none."""
        return None if self._seat is None else self._seat.address

    def open_endpoint(self, metrics: Callable[[], Mapping[str, Any]], picture: Callable[[], RuntimeSnapshot]) -> None:
        """Show the consumer's numbers where the user wants them; open or join the endpoint, unless it is off."""
        measured = Measured(self._group, self._metrics.group_label, metrics, self._note_failure)
        is_open_telemetry = self._metrics.open_telemetry
        self._export_ends = export(measured, self._registry, is_open_telemetry=is_open_telemetry)
        if not self._metrics.enabled:
            return
        feed = StatusFeed(
            self._manager,
            picture=picture,
            under_way=self._under_way,
            log_ends=lambda: self._poller.get_metrics().get("log_end_offsets", {}),
            clock=self._clock,
        )
        self._pictures.add(feed.tick)
        watched = Watched(
            group=self._group,
            metrics=metrics,
            picture=picture,
            signs_of_life=lambda: self._signs_of_life(picture()),
            limits=self._metrics.health_limits(),
            moments=lambda: feed.moments,
            look=feed.look,
            note_failure=self._note_failure,
            has_group_label=self._metrics.group_label,
            identity=Identity(self._worker_name, self._clock()),
            failures=counted_failures(self._engine, self._control.exhausted, self._clock),
        )
        self._seat = Seat(self._metrics.host, self._metrics.port, watched)

    def close_endpoint(self) -> Future[None]:
        """Leave the endpoint; if it was the last user, the future is done when the port is free. For any thread."""
        seat, self._seat = self._seat, None
        ends, self._export_ends = self._export_ends, []
        try:
            for end in ends:
                end()
            if seat is not None:
                return seat.leave()
        except Exception as error:  # noqa: BLE001 -- the rest of the stop matters more than a port
            self._note_failure("closing the endpoint", error)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def picture(self, state: str) -> RuntimeSnapshot:
        """The snapshot that operators see, as of now."""
        now = self._clock()
        self.engine_look.look(now)
        self._manager.observe_slowness(now, free_slots=self.engine_look.free_slots)
        return take_snapshot(
            now=now,
            state=state,
            manager=self._manager,
            commits=self._commits,
            engine=self.engine_look.figures,
            facts=self._facts,
            is_rebalancing=self._control.is_rebalancing,
            letters=None if self._control.dead_letters is None else self._control.dead_letters.queue,
            poller=self._poller.get_metrics(),
            blocked_loops=self._watchdog.blocked_count,
            picture_failures=self._pictures.failures,
            group_protocol=self._poller.group_protocol,
            starts_held_seconds=self._control.lease.held_seconds(now),
            output=None if self._control.output is None else self._control.output.figures(now),
        )

    def _under_way(self) -> UnderWay:
        running = self._engine.longest_running(MOST_ATTEMPTS_TOLD)
        return UnderWay(
            running={each.item: (each.attempt, each.started_at) for each in running},
            failing=frozenset(self._engine.waiting()),
            stuck=frozenset(each.item for each in self._engine.stuck(self._clock())),
        )

    def _signs_of_life(self, picture: RuntimeSnapshot) -> SignsOfLife:
        now = self._clock()
        return SignsOfLife(
            loop_age_seconds=now - self._control.heartbeat,
            poll_age_seconds=now - self._poller.get_metrics()["last_poll_at"],
            is_poll_thread_alive=self._poller.is_alive,
            picture_age_seconds=now - picture.taken_at,
        )
