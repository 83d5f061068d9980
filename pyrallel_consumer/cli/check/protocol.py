"""``run --check``: which group protocol a run would choose, and why. Does not join the group."""

from __future__ import annotations

from typing import Final

from pyrallel_consumer.cli.check.table import Finding, Verdict
from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.ingress.admin.group_outlook import MIGRATION_POLICY, group_outlook
from pyrallel_consumer.ingress.reading.group_protocol import ProtocolTrial

_KEEPS_CLASSIC: Final = frozenset({"disabled", "downgrade"})
_KEEPS_APART: Final = "disabled"


def protocol_finding(trial: ProtocolTrial, config: KafkaConfig) -> Finding:
    """The finding from the brokers (``trial``), the group's members and the broker's policy."""
    if not trial.check_offer():
        sentence = "group_protocol is consumer, and no broker has it: choose auto or classic"
        return Finding("protocol", Verdict.WRONG, sentence)
    if trial.must_change:
        trial.change()
    may_change = trial.may_change
    spoken, policy = group_outlook(config)
    if spoken == "classic" and trial.in_use == "consumer":
        if policy in _KEEPS_CLASSIC:
            if not trial.hear_refusal("GROUP_ID_NOT_FOUND"):
                return _refused(config, "consumer", "classic", policy)
            trial.change()
        elif may_change:
            sentence = "consumer where the broker lets the group change while its members speak classic, else classic"
            return Finding("protocol", Verdict.OK, sentence)
    elif spoken == "consumer" and trial.in_use == "classic" and policy == _KEEPS_APART:
        return _refused(config, "classic", "consumer", policy)
    why = f": {trial.why}" if trial.why else ""
    return Finding("protocol", Verdict.OK, f"{trial.in_use}{why}")


def _refused(config: KafkaConfig, ours: str, theirs: str, policy: str | None) -> Finding:
    sentence = (
        f"{ours}, and the members of {config.consumer_group} speak {theirs}: the broker's "
        f"{MIGRATION_POLICY} = {policy} allows no mixture; set group_protocol to {theirs}, or stop all members first"
    )
    return Finding("protocol", Verdict.WRONG, sentence)
