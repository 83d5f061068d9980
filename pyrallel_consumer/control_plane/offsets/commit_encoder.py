"""The map of the finished offsets above a committed offset, as the text in the commit's metadata.

Text: ``pyrallel/2/`` and base64 without padding of: CRC-32 (4 bytes, big endian), leader epoch of the map's top (LEB128
varint), form (1 byte), body. A map without a leader epoch is ``pyrallel/1/`` and has no such field: older releases read
version 1, and ignore version 2 with a warning. The body holds the lengths of alternating runs of unfinished and
finished offsets from the committed offset on, as LEB128 varints, or a bitset of the finished offsets (little endian,
bit 0 = committed offset), deflated without header or not. The CRC covers topic, partition, committed offset and, from
version 2 on, the version too: a map that was copied to another place (MirrorMaker translates offsets and keeps
metadata) is refused. An offset that is not in the map counts as unfinished. So messages whose offsets were cut off run
again, and nothing is lost.
The cost grows with the gaps, never with the range. The cost of decoding is bounded, whatever the text says.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from binascii import a2b_base64
from itertools import chain

from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition

# The broker takes 4,096 bytes at most (`offset.metadata.max.bytes`).
METADATA_LIMIT_BYTES = 4000
# The most that a map may cost its reader: offsets held in memory, and bytes of the inflated body (two runs of at most
# nine bytes for each offset).
UNFINISHED_LIMIT = 131_072
BODY_LIMIT_BYTES = 18 * UNFINISHED_LIMIT

_MAGIC = "pyrallel/"
_WITHOUT_LEADER_EPOCH, _WITH_LEADER_EPOCH = 1, 2
_PREFIXES = {version: f"{_MAGIC}{version}/" for version in (_WITHOUT_LEADER_EPOCH, _WITH_LEADER_EPOCH)}
_PREFIX_BYTES = len(_PREFIXES[_WITH_LEADER_EPOCH])
_CRC_BYTES = 4
_RUNS, _BITSET, _DEFLATED = 0, 1, 2
_LARGEST_OFFSET = 2**63 - 1
_LARGEST_SHIFT = 56
_LARGEST_LEADER_EPOCH = 2**31 - 1
# The first guess at how many gaps fit. A map with at most this many gaps is tried whole.
_FIRST_GUESS_GAPS = 4096
# The search for more gaps stops when the map fills the first share of the room; it aims at the second share.
_FULL_ENOUGH, _FULL = 0.97, 0.985
# Sizes are nearly proportional to gaps. After this many tries the search halves instead, so that it ends.
_PROPORTIONAL_TRIES = 6


class MetadataRefused(ValueError):  # noqa: N818 -- states what happened to a text that others may have written
    """The text is no map for this place: foreign, corrupt, of another version, or copied from another offset."""


def encode(offset_map: OffsetMap, tp: TopicPartition, limit_bytes: int = METADATA_LIMIT_BYTES) -> str:
    """The metadata to commit with offset ``offset_map.base``: ASCII of at most ``limit_bytes``, never over 4,000.

    Empty if no offset above the base is finished, or if not even one gap fits. A map that is too large loses its
    highest offsets, and a few more of them than necessary.
    """
    version, stamp = _stamp(offset_map.leader_epoch)
    room_bytes = _room_bytes(limit_bytes, stamp)
    if offset_map.is_empty or room_bytes <= 0:
        return ""
    body = _fit(_run_lengths(offset_map), room_bytes)
    return _written(body, stamp, version, tp, offset_map.base) if body else ""


def encode_whole(offset_map: OffsetMap, tp: TopicPartition, limit_bytes: int = METADATA_LIMIT_BYTES) -> str | None:
    """Like ``encode``, but None if the whole map does not fit: nothing is cut off."""
    if offset_map.is_empty:
        return ""
    version, stamp = _stamp(offset_map.leader_epoch)
    if len(offset_map.unfinished) > UNFINISHED_LIMIT:
        return None
    body = _pack(_run_lengths(offset_map))
    if len(body) > _room_bytes(limit_bytes, stamp):
        return None
    return _written(body, stamp, version, tp, offset_map.base)


def _stamp(leader_epoch: int | None) -> tuple[int, bytes]:
    """The version of the format, and the leader epoch as written in that version."""
    if leader_epoch is None or leader_epoch < 0:  # Kafka's own value for an unknown leader epoch.
        return _WITHOUT_LEADER_EPOCH, b""
    return _WITH_LEADER_EPOCH, _write_varints([leader_epoch])


def _room_bytes(limit_bytes: int, stamp: bytes) -> int:
    return (min(limit_bytes, METADATA_LIMIT_BYTES) - _PREFIX_BYTES) * 3 // 4 - _CRC_BYTES - len(stamp)


def _written(body: bytes, stamp: bytes, version: int, tp: TopicPartition, base: int) -> str:
    content = stamp + body
    crc = _checksum(content, tp, base, version)
    return _PREFIXES[version] + _to_text(crc.to_bytes(_CRC_BYTES, "big") + content)


def decode(metadata: str | None, tp: TopicPartition, committed_offset: int) -> OffsetMap:
    """The map that was committed with ``committed_offset``; the empty map if there is no metadata.

    Raises MetadataRefused, and nothing else, whatever the text.
    """
    if not metadata:
        return OffsetMap(committed_offset, committed_offset)
    if not metadata.startswith(_MAGIC):
        raise MetadataRefused("it was not written by this library")
    version = next((each for each, prefix in _PREFIXES.items() if metadata.startswith(prefix)), None)
    if version is None:
        theirs = metadata[len(_MAGIC) :].partition("/")[0][:8]
        raise MetadataRefused(f"it has format version {theirs!r}, and this release reads versions 1 and 2")
    if len(metadata) > METADATA_LIMIT_BYTES:
        raise MetadataRefused(f"its {len(metadata)} characters are more than any map has")
    packet = _from_text(metadata[_PREFIX_BYTES:])
    if len(packet) <= _CRC_BYTES:
        raise MetadataRefused("it is too short to hold a map")
    body = packet[_CRC_BYTES:]
    if int.from_bytes(packet[:_CRC_BYTES], "big") != _checksum(body, tp, committed_offset, version):
        raise MetadataRefused("its checksum does not fit: it is corrupt, or it belongs to another partition or offset")
    leader_epoch = None
    if version == _WITH_LEADER_EPOCH:
        leader_epoch, body = _split_leader_epoch(body)
    runs = _runs_of(body[0], body[1:])
    return _map_of_runs(runs, committed_offset, leader_epoch)


def _split_leader_epoch(body: bytes) -> tuple[int, bytes]:
    """The leader epoch at the beginning of ``body``, and the rest of ``body``: at least one byte."""
    length = next((at for at, byte in enumerate(body, 1) if byte < 0x80), len(body))  # noqa: PLR2004 -- ends a varint
    [leader_epoch] = _read_varints(body[:length])
    if leader_epoch > _LARGEST_LEADER_EPOCH or length == len(body):
        raise MetadataRefused("its leader epoch is no leader epoch, or no map follows it")
    return leader_epoch, body[length:]


def _runs_of(form: int, content: bytes) -> list[int]:
    if form & _DEFLATED:
        content = _inflate(content)
    if form & ~_DEFLATED == _RUNS:
        return _read_varints(content)
    if form & ~_DEFLATED == _BITSET:
        return _runs_of_bits(content)
    raise MetadataRefused(f"it has the unknown form {form}")


def _run_lengths(offset_map: OffsetMap) -> list[int]:
    """Alternating lengths, unfinished first (may be 0). The last run is a finished one: later offsets do not matter."""
    unfinished, top = offset_map.unfinished, offset_map.top
    if len(unfinished) > UNFINISHED_LIMIT:
        unfinished, top = unfinished[:UNFINISHED_LIMIT], unfinished[UNFINISHED_LIMIT]
    runs: list[int] = []
    run_start = expected = offset_map.base
    for offset in unfinished:
        if offset != expected:
            runs.append(expected - run_start)
            runs.append(offset - expected)
            run_start = offset
        expected = offset + 1
    if top > expected:
        runs.append(expected - run_start)
        runs.append(top - expected)
    return runs


def _fit(runs: list[int], room_bytes: int) -> bytes:
    """The body with as many of the lowest gaps as nearly fill the room; empty if not one fits.

    Grows from a first guess instead of shrinking from the whole, so that the cost of a huge map follows the part that
    fits.
    """
    gaps = len(runs) // 2
    best, fitting, too_many = b"", 0, gaps + 1
    guess, tries = min(gaps, _FIRST_GUESS_GAPS), 0
    while fitting < guess < too_many:
        body = _pack(runs[: 2 * guess])
        tries += 1
        proportional = int(guess * room_bytes * _FULL / len(body))
        if len(body) <= room_bytes:
            best, fitting = body, guess
        else:
            too_many = guess
        if too_many > gaps:
            guess = min(gaps, max(2 * fitting, min(proportional, 8 * fitting)))
        elif len(best) >= room_bytes * _FULL_ENOUGH or too_many - fitting <= fitting // 64:
            break
        elif tries < _PROPORTIONAL_TRIES:
            guess = max(fitting + 1, min(too_many - 1, proportional))
        else:
            guess = (fitting + too_many) // 2
    return best


def _pack(runs: list[int]) -> bytes:
    body = _smallest(_RUNS, _write_varints(runs))
    # A bitset, deflated or not, is shorter only below this length. So the range alone never costs anything.
    if sum(runs) <= 16 * len(body):
        body = min(body, _smallest(_BITSET, _bits_of_runs(runs)), key=len)
    return body


def _smallest(form: int, content: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(content) + deflater.flush()
    if len(deflated) < len(content):
        return bytes((form | _DEFLATED,)) + deflated
    return bytes((form,)) + content


def _write_varints(numbers: list[int]) -> bytes:
    if max(numbers) < 128:  # noqa: PLR2004 -- seven bits: the usual case needs no loop
        return bytes(numbers)
    out = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:  # noqa: PLR2004 -- seven bits to a byte
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def _read_varints(content: bytes) -> list[int]:
    numbers: list[int] = []
    number = shift = 0
    for byte in content:
        number |= (byte & 0x7F) << shift
        if byte & 0x80:
            shift += 7
            if shift > _LARGEST_SHIFT:
                raise MetadataRefused("a run in it is longer than offsets go")
        else:
            numbers.append(number)
            number = shift = 0
    if shift:
        raise MetadataRefused("it ends within a number")
    return numbers


def _bits_of_runs(runs: list[int]) -> bytes:
    digits = "".join(["0" * low + "1" * high for low, high in zip(runs[::2], runs[1::2], strict=True)])
    return int(digits[::-1], 2).to_bytes((len(digits) + 7) // 8, "little")


def _runs_of_bits(content: bytes) -> list[int]:
    digits = f"{int.from_bytes(content, 'little'):b}"[::-1]
    # Each "10" ends a pair of runs. A lone "0" fails the checks of all runs below.
    pairs = digits.replace("10", "1 0").split(" ")
    return list(chain.from_iterable((low := pair.count("0"), len(pair) - low) for pair in pairs))


def _map_of_runs(runs: list[int], base: int, leader_epoch: int | None) -> OffsetMap:
    if not runs or len(runs) % 2 or not all(runs[1:]):
        raise MetadataRefused("its runs do not alternate")
    if sum(runs[::2]) > UNFINISHED_LIMIT:
        raise MetadataRefused(f"it holds more than {UNFINISHED_LIMIT} unfinished offsets")
    top = base + sum(runs)
    if top > _LARGEST_OFFSET:
        raise MetadataRefused("it reaches past the largest offset")
    unfinished: list[int] = []
    position = base
    for length, finished in zip(runs[::2], runs[1::2], strict=True):
        unfinished.extend(range(position, position + length))
        position += length + finished
    return OffsetMap(base, top, tuple(unfinished), leader_epoch)


def _inflate(content: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(content, BODY_LIMIT_BYTES)
    except zlib.error as error:
        raise MetadataRefused(f"it does not inflate: {error}") from error
    if not inflater.eof or inflater.unused_data:
        raise MetadataRefused("it inflates to more than any map has, or ends too early or too late")
    return inflated


def _checksum(body: bytes, tp: TopicPartition, base: int, version: int) -> int:
    place = f"{tp.topic}\0{tp.partition}\0{base}\0"
    if version != _WITHOUT_LEADER_EPOCH:
        place += f"{version}\0"
    return zlib.crc32(body, zlib.crc32(place.encode()))


def _to_text(packet: bytes) -> str:
    return b64encode(packet).decode("ascii").rstrip("=")


def _from_text(text: str) -> bytes:
    try:
        packet = a2b_base64(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise MetadataRefused(f"it is not base64: {error}") from error
    # base64 readers skip unknown characters and ignore the padding bits of the last character.
    if _to_text(packet) != text:
        raise MetadataRefused("it is not base64 as this library writes it")
    return packet
