"""``run --check``: checks everything that a run needs, changes nothing, and goes on after a problem.

Looking joins no group, creates no topic and calls no worker. The worker's module is imported, and with ``process`` one
worker process is started and ended, which calls the initializer. A lifespan is found and not entered.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console

from pyrallel_consumer.cli.check.letters import check_letters, letters_checked
from pyrallel_consumer.cli.check.output import output_checked
from pyrallel_consumer.cli.check.protocol import protocol_finding
from pyrallel_consumer.cli.check.table import Finding, Verdict, exit_code_of, json_of, print_findings
from pyrallel_consumer.cli.run.plan import Flags
from pyrallel_consumer.cli.run.program import FlagsRefusedError, Program, found_program
from pyrallel_consumer.cli.run.settings import DEFAULT, RunSettings, settings_of, typos
from pyrallel_consumer.cli.run.worker_place import WorkerImportError
from pyrallel_consumer.cli.terminal import say_json
from pyrallel_consumer.config import ExecutionConfig, KafkaConfig, MetricsConfig, OutputConfig
from pyrallel_consumer.config.likely_mistakes import default_group_warning
from pyrallel_consumer.consumer import PyrallelConsumer
from pyrallel_consumer.dto import ExecutionMode, TopicPartition
from pyrallel_consumer.errors import ConfigurationError, PyrallelConsumerError
from pyrallel_consumer.execution_plane.engine import CompletionChannel
from pyrallel_consumer.execution_plane.engine_choice import made_engine
from pyrallel_consumer.execution_plane.worker.kind import Worker, is_async, name_of
from pyrallel_consumer.execution_plane.worker.returned import returns_records
from pyrallel_consumer.ingress.admin.group_reader import GroupReader
from pyrallel_consumer.ingress.client.client_settings import consumer_configuration, producer_configuration
from pyrallel_consumer.ingress.reading.subscription import Subscription, parse_topic

MOST_TOPICS_NAMED: Final = 5
MOST_PARTITIONS_ASKED: Final = 200
"""Each partition is two questions to the broker; with more partitions the group's lag is left out."""


def run_check(flags: Flags) -> int:
    """Check, print the findings, and return the exit code."""
    logging.disable()  # the findings contain the client's errors
    try:
        findings, as_json = _found(flags)
    finally:
        logging.disable(logging.NOTSET)
    if as_json:
        say_json(json_of(findings))
    else:
        print_findings(Console(highlight=False), findings)
    return exit_code_of(findings)


def _found(flags: Flags) -> tuple[list[Finding], bool]:
    findings: list[Finding] = []
    try:
        settings = settings_of(flags)
    except ConfigurationError as error:
        findings.append(Finding("settings", Verdict.WRONG, str(error)))
        findings += [Finding(name, Verdict.SKIPPED, "not looked at") for name in ("worker", "broker")]
        return findings, flags.log_format == "json"
    worker, consumers, output = _worker(settings)
    findings += _settings(settings) if not consumers else []
    findings.append(worker)
    for consumer in consumers:
        findings += _consumer(consumer, settings, is_alone=len(consumers) == 1)
    if not consumers:
        findings += [*_cluster(settings), *output_checked(settings.kafka, output)]
    ports = {(each.metrics.host, each.metrics.port): each.metrics for each in _kafka_of(settings, consumers)}
    findings += [_metrics_port(metrics) for metrics in ports.values() if metrics.enabled]
    return findings, settings.run.log_format == "json"


def _kafka_of(settings: RunSettings, consumers: Sequence[PyrallelConsumer]) -> list[KafkaConfig]:
    return [consumer.config for consumer in consumers] or [settings.kafka]


def _consumer(consumer: PyrallelConsumer, settings: RunSettings, *, is_alone: bool) -> list[Finding]:
    """As for a worker on topics, with the settings that the consumer has."""
    topics = [consumer.topic] if isinstance(consumer.topic, str) else consumer.topic
    run = settings.run.validate_all()
    run.topic = topics
    own = RunSettings(run, consumer.config, consumer.execution_config, {})
    findings = [*_settings(own), *_cluster(own), *output_checked(consumer.config, consumer.output_config)]
    if is_alone:
        return findings
    name = ", ".join(topics)
    return [replace(finding, text=f"{name}: {finding.text}") for finding in findings]


def _settings(settings: RunSettings) -> list[Finding]:
    chosen = sum(origin is not DEFAULT for origin in settings.origins.values())
    execution, parallel = settings.execution, settings.kafka.parallel_consumer
    findings = [Finding("settings", Verdict.WARNING, sentence) for sentence in typos()]
    if (sentence := default_group_warning(settings.kafka)) is not None:
        findings.append(Finding("group", Verdict.WARNING, sentence))
    try:
        execution.exhaustion(dlq_enabled=settings.kafka.dlq_enabled)
        consumer_configuration(settings.kafka)
        producer_configuration(settings.kafka)
    except ConfigurationError as error:
        return [*findings, Finding("settings", Verdict.WRONG, str(error))]
    if execution.mode is ExecutionMode.ASYNC and execution.max_in_flight > parallel.queue_max_messages:
        sentence = (
            f"max_in_flight is {execution.max_in_flight}, and no more than queue_max_messages = "
            f"{parallel.queue_max_messages} are read at a time"
        )
        findings.append(Finding("settings", Verdict.WARNING, sentence))
    text = f"{chosen} set, the others are defaults; `pyrallel-consumer config` lists them"
    if not settings.origins:
        text = "the consumer's own, from its arguments and the environment"
    return [Finding("settings", Verdict.OK, text), *findings]


def _worker(settings: RunSettings) -> tuple[Finding, list[PyrallelConsumer], OutputConfig | None]:
    """The finding about the place, and the consumers that it names; none if it names a worker.

    Behind them the settings of the records that this worker returns, None if it returns none.
    """
    try:
        found = found_program(settings)
        if not isinstance(found, Program):
            many = _counted(len(found), "consumer")
            return (
                Finding("worker", Verdict.OK, f"{settings.worker()}: {many}, each with settings of its own"),
                found,
                None,
            )
        output = OutputConfig() if returns_records(found.worker) else None
    except WorkerImportError as error:
        return Finding("worker", Verdict.FAILED, f"{error}: its own code raises", error.shown), [], None
    except FlagsRefusedError as error:
        return Finding("worker", Verdict.WRONG, str(error)), error.consumers, None
    except ConfigurationError as error:
        return Finding("worker", Verdict.WRONG, str(error)), [], None
    pool, slots = settings.execution.worker_pool_size or "as many as fit", settings.execution.max_in_flight
    processes = f"in processes: {pool}"
    where = {
        ExecutionMode.ASYNC: f"as tasks, {slots} at once",
        ExecutionMode.THREAD: f"in threads: {pool}",
        ExecutionMode.RAY: f"on the actors of a Ray cluster, {slots} at once",
        ExecutionMode.PROCESS: f"as tasks {processes}, {slots} at once" if is_async(found.worker) else processes,
    }
    runs = f"{settings.worker()} ({name_of(found.worker)}) runs {where[settings.execution.mode]}"
    if settings.run.lifespan is not None:
        runs += f", within {settings.run.lifespan}"
    return _loaded_in_a_process(settings, found.worker) or Finding("worker", Verdict.OK, runs), [], output


def _loaded_in_a_process(settings: RunSettings, worker: Worker) -> Finding | None:
    """The error that prevents a worker process from starting, the initializer included; None if one starts and ends."""
    if settings.execution.mode is not ExecutionMode.PROCESS:
        return None
    one = settings.execution.validate_all()
    one.worker_pool_size = 1
    try:
        asyncio.run(_start_and_stop(worker, one))
    except ConfigurationError as error:
        return Finding("worker", Verdict.WRONG, str(error))
    except PyrallelConsumerError as error:
        return Finding("worker", Verdict.FAILED, str(error))
    return None


async def _start_and_stop(worker: Worker, execution: ExecutionConfig) -> None:
    engine = made_engine(
        worker, execution, contextvars.copy_context(), is_async=is_async(worker), is_shutting_down=lambda: False
    )
    await engine.start(CompletionChannel(lambda: None), time.monotonic)
    await engine.stop(0.0)


def _cluster(settings: RunSettings) -> list[Finding]:
    config = settings.kafka
    subscription: Subscription | ConfigurationError
    try:
        subscription = parse_topic(settings.topic(), config.dlq_topic_suffix if config.dlq_enabled else None)
        check_letters(settings, subscription)
    except ConfigurationError as error:
        subscription = error
    try:
        with GroupReader(config, config.consumer_group) as reader:
            return _looked_up(reader, settings, subscription)
    except PyrallelConsumerError as error:
        findings = [Finding("broker", Verdict.FAILED, str(error))]
        if isinstance(subscription, ConfigurationError):
            return [*findings, Finding("topic", Verdict.WRONG, str(subscription))]
        return [*findings, Finding("topic", Verdict.SKIPPED, "not looked at")]


def _looked_up(
    reader: GroupReader, settings: RunSettings, subscription: Subscription | ConfigurationError
) -> list[Finding]:
    brokers, known = reader.cluster()
    servers = ",".join(settings.kafka.bootstrap_servers)
    answer = f"{servers} answers: {_counted(len(brokers), 'broker')}, {_counted(len(known), 'topic')}"
    findings = [Finding("broker", Verdict.OK, answer), protocol_finding(reader.protocol_trial(), settings.kafka)]
    if isinstance(subscription, ConfigurationError):
        return [*findings, Finding("topic", Verdict.WRONG, str(subscription))]
    topics = {name: known[name] for name in subscription.matching(known) if name in known}
    findings += _topics(subscription, topics)
    if topics:
        findings += _consumers(settings.run.consumers or 1, sum(topics.values()))
        findings.append(_group(reader, settings, topics))
        findings += letters_checked(settings, topics, known)
    return findings


def _consumers(count: int, partitions: int) -> list[Finding]:
    """The findings about ``--consumers``; none for a single consumer."""
    if count == 1:
        return []
    share = f"{count} consumers for {_counted(partitions, 'partition')}"
    if count <= partitions:
        return [Finding("consumers", Verdict.OK, share)]
    idle = count - partitions
    return [Finding("consumers", Verdict.WARNING, f"{share}: {idle} of them will have nothing to do")]


def _topics(subscription: Subscription, topics: Mapping[str, int]) -> list[Finding]:
    findings = [
        Finding("topic", Verdict.OK, f"{name}: {_counted(count, 'partition')}")
        for name, count in list(topics.items())[:MOST_TOPICS_NAMED]
    ]
    if len(topics) > MOST_TOPICS_NAMED:
        findings.append(Finding("topic", Verdict.OK, f"and {len(topics) - MOST_TOPICS_NAMED} more"))
    missing = [name for name in subscription.names if name not in topics]
    findings += [
        Finding("topic", Verdict.FAILED, f"{name} does not exist, or may not be seen: create it, or correct its name")
        for name in missing
    ]
    if subscription.pattern is not None and not topics:
        findings.append(Finding("topic", Verdict.WARNING, f"nothing matches {subscription} yet"))
    return findings


def _group(reader: GroupReader, settings: RunSettings, topics: Mapping[str, int]) -> Finding:
    group, reset = settings.kafka.consumer_group, settings.kafka.auto_offset_reset
    tps = [TopicPartition(name, number) for name, count in topics.items() for number in range(count)]
    if len(tps) > MOST_PARTITIONS_ASKED:
        return Finding("group", Verdict.OK, f"{group}; what it has to do is not asked for {len(tps)} partitions")
    committed = lag = 0
    try:
        for tp in tps:
            noted, (start, end) = reader.noted(tp).offset, reader.ends(tp)
            committed += noted is not None
            begin = start if reset == "earliest" else end
            lag += max(0, end - (max(noted, start) if noted is not None else begin))
    except PyrallelConsumerError as error:
        return Finding("group", Verdict.FAILED, f"{group}: {error}")
    if committed == len(tps):
        return Finding("group", Verdict.OK, f"{group} has committed everywhere; {_counted(lag, 'message')} to do")
    if reset == "none":
        sentence = f"{group} has committed {committed} of {len(tps)} partitions, and auto_offset_reset is none"
        return Finding("group", Verdict.WRONG, f"{sentence}: the others stop the consumer")
    some = (
        f"{committed} of {_counted(len(tps), 'partition')}; the others begin" if committed else "nothing yet; it begins"
    )
    sentence = f"{group} has committed {some} at the {reset} offset"
    return Finding("group", Verdict.OK, f"{sentence}; {_counted(lag, 'message')} to do")


def _metrics_port(metrics: MetricsConfig) -> Finding:
    try:
        with socket.create_server((metrics.host, metrics.port)):
            return Finding("metrics", Verdict.OK, f"http://{metrics.host}:{metrics.port}/metrics is free")
    except OSError as error:
        return Finding("metrics", Verdict.WRONG, f"{metrics.host}:{metrics.port} cannot be listened on: {error}")


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
