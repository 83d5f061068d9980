"""The notes of every report: how it was measured, and what must not be concluded."""

from __future__ import annotations

from typing import Final

HOW: Final = """## How it was measured

- Every lap is a process of its own with a new group on the same topic; within a case all consumers run one after the
  other, in the next round in reverse. The broker runs on the same cores, and everyone pays for it alike.
- Messages per second: from the client's first delivery to the last completion. A lap that lasts too long is stopped at
  a cap, and its rate is that of what was finished by then: a slow consumer is not charged for its length.
- Latency is taken of a sample (of every message where they are sent at a pace): from delivery, which is when the
  client hands messages to whoever polls, to the end; at a pace from the moment at which the message should have been
  sent, which a late sender or a stalled consumer does not move. Where all messages lie in the topic before the lap,
  latency from delivery is mostly waiting in the consumer's own buffer.
- This library runs with its defaults; where a case needs more than 1,000 in flight the case says so. uvloop is shown
  beside.
- Everyone in Python has the garbage collector look after 30,000 new objects, as this library has by itself.
- The plain loops: `poll` and the client's defaults, as most programs have it; and tuned with this library's own client
  settings (or with answers of 1 MiB a partition, where that is faster), `consume(1000)`, nothing committed. The tuned
  one does no more than read: nobody can be faster with this client.
- aiokafka: `getmany`; where there is work, in a task of its own for each partition. It keeps order by partition.
- PyPI's pyrallel-consumer 1.0.0 and Java's parallel consumer run in their best variant (below); the capacity of their
  tuning (threads, shards) goes up to the number of keys. Java has one virtual machine for all laps, warmed up by laps
  until one is no faster than those before. Its laps last longer (up to 6 s), and a long one is rated without its
  first 2 s where that is better, for its load factor takes that long to grow.
  Its commits are asynchronous, its keys strings. `UNORDERED` and `PARTITION` promise less and are shown among the
  variants.
- sha256: the same rounds are not the same time in every language. CPU per message shows what they take in each; the
  target compares with Python's own sequential loop.
- Restart: the process is killed, not stopped, so whatever was finished since its last commit runs again: commits are
  every second here, every 5 s in Java's and in the plain loop, as their defaults are. Rounds are killed at two moments.
- Metrics on: the endpoint is open and scraped once a second, by the measured process itself. What metrics cost
  is told by laps in which durations are taken and not taken in turn, for some milliseconds each: such a stretch is
  held against its neighbours, and a scrape every 5 s is added. Whole laps cannot tell per cent.
- CPU per message is of the consumer's own process from the first delivery to the last completion.
- Bare lanes: one asyncio task per key that sleeps for each of its messages, without Kafka.
""".splitlines()

NOT_TO_CONCLUDE: Final = """
## What not to conclude

- Absolute rates are of this machine, at this hour. Ratios within a round carry over, rates do not.
- A consumer without work is a measure of overhead. Work that takes a millisecond hides most of it.
- One broker without replication on the same machine says nothing about a cluster's network.
- Two cores: these figures show neither what Java gains from many cores, nor what several processes would.
""".splitlines()
