"""The committed offsets of a kit's group."""

from __future__ import annotations

from pyrallel_consumer.dto import TopicPartition


class CommittedOffsets(dict[TopicPartition, int]):
    """Offsets by topic and partition: ``committed["orders", 0]``; and ``committed[0]`` if there is only one topic.

    Compared with a mapping whose keys are numbers of partitions, the topic is left out.
    """

    def __getitem__(self, place: tuple[str, int] | int) -> int:
        return self.by_partition[place] if isinstance(place, int) else super().__getitem__(TopicPartition(*place))

    @property
    def by_partition(self) -> dict[int, int]:
        """The offsets of the only topic; empty if there are several."""
        is_one = len({tp.topic for tp in self}) == 1
        return {tp.partition: offset for tp, offset in self.items()} if is_one else {}

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dict) and other and all(isinstance(key, int) for key in other):
            return self.by_partition == other
        return super().__eq__(other)

    __hash__ = None  # as of any dict
