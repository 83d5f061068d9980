"""The metrics by name: type, labels, and the shown value if several consumers of a process share an endpoint.

The names and labels of the first nine are fixed: users' dashboards depend on them. Each family here is shown, and
``figures`` has a number for each.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """Prometheus' types that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """How the numbers of several consumers become one, if they are the same series."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


class Family(NamedTuple):
    """One metric. ``merge`` decides the shown value if several consumers share an endpoint."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM


_PLACE: Final = ("topic", "partition")
_COUNTER, _GAUGE, _HISTOGRAM = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

FAMILIES: Final = (
    Family("consumer_processed_total", _COUNTER, "Finished messages.", (*_PLACE, "status")),
    Family(
        "consumer_processing_latency_seconds", _HISTOGRAM, "From submission to completion, retries included.", _PLACE
    ),
    Family("consumer_in_flight_count", _GAUGE, "Messages started and not finished."),
    Family("consumer_parallel_lag", _GAUGE, "True lag: last fetched offset less last committed one.", _PLACE),
    Family("consumer_gap_count", _GAUGE, "Gaps that hold the commit back.", _PLACE),
    Family("consumer_internal_queue_depth", _GAUGE, "Messages read that wait for their key or a slot.", _PLACE),
    Family(
        "consumer_oldest_task_duration_seconds",
        _GAUGE,
        "How long the blocking offset has blocked.",
        _PLACE,
        Merge.MAX,
    ),
    Family("consumer_backpressure_active", _GAUGE, "1 while fetching is paused.", merge=Merge.MAX),
    Family(
        "consumer_metadata_size_bytes",
        _GAUGE,
        "Size of the commit metadata, of the topic's largest partition; the broker takes 4095.",
        ("topic",),
        Merge.MAX,
    ),
    Family("consumer_retries_total", _COUNTER, "Attempts after the first one."),
    Family("consumer_batch_size", _HISTOGRAM, "Messages of each batch that was complete."),
    Family("consumer_batch_wait_seconds", _HISTOGRAM, "How long the first message of each batch waited for others."),
    Family(
        "consumer_batch_fill_ratio", _GAUGE, "Messages in a batch on average, as a part of batch_size.", merge=Merge.MIN
    ),
    Family("consumer_batch_searches_total", _COUNTER, "Batches that failed as a whole, and were searched by halves."),
    Family("consumer_batch_search_calls_total", _COUNTER, "Calls of the worker that those searches took."),
    Family("consumer_timeouts_total", _COUNTER, "Attempts that ran longer than task_timeout_ms."),
    Family("consumer_skipped_total", _COUNTER, "Messages not run, for an earlier owner had finished them.", _PLACE),
    Family("consumer_fenced_completions_total", _COUNTER, "Completions that came after their assignment had ended."),
    Family("consumer_rebalances_total", _COUNTER, "Rebalances that moved a partition to or from this member."),
    Family("consumer_assigned_partitions", _GAUGE, "Partitions assigned now."),
    Family(
        "consumer_starved_seconds_total",
        _COUNTER,
        "Time in which no message of the partition waited, though slots were free and fetching was not held back.",
        _PLACE,
    ),
    Family(
        "consumer_paused_seconds_total",
        _COUNTER,
        "Time in which fetching was held back (load, circuit, user) and no message waited but for the circuit.",
        _PLACE,
    ),
    Family(
        "consumer_blocked_seconds_total",
        _COUNTER,
        "Time in which all messages of the partition that waited stood behind one key, or behind keys that failed.",
        _PLACE,
    ),
    Family(
        "consumer_rate_limited_seconds_total",
        _COUNTER,
        "Time in which messages waited for nothing but max_per_second.",
    ),
    Family("consumer_held_count", _GAUGE, "Messages that failed permanently and have no outcome yet.", _PLACE),
    Family("consumer_stuck_count", _GAUGE, "Attempts that timed out or were cancelled, and have not ended."),
    Family("consumer_dlq_records_total", _COUNTER, "Dead letters that the broker has acknowledged."),
    Family("consumer_dlq_failures_total", _COUNTER, "Dead letters that could not be produced, by error.", ("reason",)),
    Family("consumer_dlq_waiting", _GAUGE, "Dead letters not acknowledged yet."),
    Family("consumer_dlq_failing", _GAUGE, "1 while a dead-letter topic takes nothing.", merge=Merge.MAX),
    Family(
        "consumer_output_records_total", _COUNTER, "Records of workers that are written: acknowledged, or committed."
    ),
    Family("consumer_output_waiting", _GAUGE, "Records of workers that are not written yet."),
    Family("consumer_output_refused_total", _COUNTER, "Messages that failed because one of their records was refused."),
    Family("consumer_transactions_total", _COUNTER, "Transactions that were committed."),
    Family("consumer_transaction_aborts_total", _COUNTER, "Transactions that were aborted and are written again."),
    Family("consumer_output_rewritten_total", _COUNTER, "Records of aborted transactions, written again."),
    Family(
        "consumer_transaction_open_seconds",
        _GAUGE,
        "For how long the transaction under way is open.",
        merge=Merge.MAX,
    ),
    Family("consumer_circuit_open", _GAUGE, "1 while the circuit for outages is open.", merge=Merge.MAX),
    Family("consumer_commits_total", _COUNTER, "Requests to commit."),
    Family("consumer_commit_latency_seconds", _HISTOGRAM, "From a request to commit to the broker's answer."),
    Family("consumer_commit_failures_total", _COUNTER, "Partitions whose commit failed, by error.", ("reason",)),
    Family(
        "consumer_broker_lag",
        _GAUGE,
        "End of the log less last committed offset; no series while no broker answers.",
        _PLACE,
    ),
    Family("consumer_broker_connected", _GAUGE, "1 while any broker of the cluster answers.", merge=Merge.MIN),
    Family("consumer_loop_blocked_total", _COUNTER, "Times that the event loop stood still for blocking_warn_seconds."),
    Family("consumer_picture_failures_total", _COUNTER, "Errors in what operators look at; the log tells each once."),
)
