"""Which group protocol a member speaks: ``classic``, or ``consumer`` (KIP-848).

``choose`` decides from the settings. If they leave the decision to the broker, a ``ProtocolTrial`` makes it: the
member begins with ``consumer``, and changes to ``classic`` if a broker does not support ``consumer`` or the group
refuses it. That happens at most once, and only before the first partition is assigned. Silence decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pyrallel_consumer.errors import ConfigurationError

Protocol = Literal["classic", "consumer"]

_LIVE_CLASSIC: Final = (
    "the group has members that speak classic, and the broker does not let it change while they are there (it does "
    "where group.consumer.migration.policy allows it and they do not use cooperative-sticky)"
)
# The broker's answers to a member that asks for `consumer`, after which `classic` may work. Names of Kafka's errors.
REFUSALS: Final = {
    "GROUP_ID_NOT_FOUND": _LIVE_CLASSIC,
    "INCONSISTENT_GROUP_PROTOCOL": _LIVE_CLASSIC,
    "INVALID_REQUEST": "the broker does not understand how this client asks for consumer",
    "UNRELEASED_INSTANCE_ID": (
        "the group still has a member of this group.instance.id, and only a classic member takes its place at once"
    ),
    "UNSUPPORTED_ASSIGNOR": "the broker does not have the group.remote.assignor",
    "UNSUPPORTED_VERSION": "the broker has consumer turned off",
}
NOT_OFFERED: Final = "a broker does not have consumer (Apache Kafka has it since 4.0)"
UNKNOWN_OFFER: Final = "the client does not tell whether the broker has consumer"


@dataclass(frozen=True, slots=True)
class ProtocolChoice:
    """The first protocol. ``may_change``: a broker may make it ``classic``. ``why`` names the deciding settings."""

    first: Protocol
    may_change: bool = False
    why: str = ""


def choose(
    wanted: Literal["auto", "classic", "consumer"], in_mapping: str | None, classic_only: Sequence[str]
) -> ProtocolChoice:
    """The choice from ``group_protocol``, ``group.protocol`` of the librdkafka mapping, and the names of settings that
    were set and exist only in ``classic``.

    Raises ConfigurationError if the first two contradict each other.
    """
    if in_mapping is not None and wanted not in ("auto", in_mapping):
        raise ConfigurationError(
            f"KafkaConfig.group_protocol is {wanted}, and group.protocol in KafkaConfig.librdkafka is {in_mapping}: "
            "leave out one of them"
        )
    named = in_mapping or wanted
    if named == "auto" and not classic_only:
        return ProtocolChoice("consumer", may_change=True)
    settings = f"{', '.join(classic_only)} {'is' if len(classic_only) == 1 else 'are'} set"
    if named == "auto":
        return ProtocolChoice("classic", why=f"{settings}, which only classic has")
    if named == "consumer":
        return ProtocolChoice("consumer", why=f"{settings}, without effect here" if classic_only else "")
    return ProtocolChoice("classic")


class ProtocolTrial:
    """The protocol of one started consumer. ``why`` is the reason for it, empty if there is none to report.

    ``hear_broker`` and ``hear_refusal`` take in facts. ``must_change`` is then true until ``change`` is called.
    """

    def __init__(self, choice: ProtocolChoice) -> None:
        self.in_use: Protocol = choice.first
        self.why = choice.why
        self._may_change = choice.may_change
        self._reason = ""
        self._is_offered = False
        self._is_missing = False
        self._is_joining = False

    @property
    def may_change(self) -> bool:
        """Whether this member would begin again with ``classic`` after a refusal."""
        return self._may_change

    @property
    def must_change(self) -> bool:
        """Whether this member must begin again with ``classic``."""
        return bool(self._reason)

    def hear_broker(self, *, has_it: bool, is_coordinator: bool) -> None:
        """One broker of the cluster supports ``consumer``, or does not.

        In a cluster with both kinds ``consumer`` is not tried. After it was tried, only the group's coordinator counts.
        """
        self._is_offered |= has_it
        if not has_it:
            self._is_missing = True
            if is_coordinator or not self._is_joining:
                self._fall_back(NOT_OFFERED)

    def hear_refusal(self, code: str) -> bool:
        """The group refuses this member. Returns whether beginning again with ``classic`` may help."""
        return code in REFUSALS and self._fall_back(REFUSALS[code])

    def check_offer(self) -> bool:
        """Before joining: ``consumer`` is tried only if a broker has said that it supports it.

        Returns False if the settings allow ``consumer`` only, and no broker supports it.
        """
        self._is_joining = True
        if self.in_use == "classic" or self._is_offered:
            return True
        return self._fall_back(UNKNOWN_OFFER) or not self._is_missing

    def settle(self) -> None:
        """A partition was assigned: from now on the protocol stays."""
        self._may_change, self._reason = False, ""

    def change(self) -> None:
        """Speak ``classic`` from now on."""
        self.in_use, self.why = "classic", self._reason
        self.settle()

    def _fall_back(self, reason: str) -> bool:
        if self._may_change and not self._reason:
            self._reason = reason
        return self._may_change
