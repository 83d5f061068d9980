"""The map that travels in a commit's metadata: it comes back exactly, or is refused with its reason."""

from __future__ import annotations

import base64
import string
import zlib
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyrallel_consumer.control_plane.offsets.commit_encoder import (
    METADATA_LIMIT_BYTES,
    UNFINISHED_LIMIT,
    MetadataRefused,
    decode,
    encode,
    encode_whole,
)
from pyrallel_consumer.control_plane.offsets.offset_map import OffsetMap
from pyrallel_consumer.dto import TopicPartition
from tests.unit.control_plane.offsets.made_maps import (
    BASE,
    TP,
    dense_maps,
    finished,
    irregular_map,
    lowest_part,
    map_of_bits,
    map_of_runs,
    without_silent_end,
)

RUNS, BITSET, DEFLATED_RUNS = 0, 1, 2
bases = st.integers(0, 2**62)
runs_of_any_length = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**40)), max_size=60)


def text_of(form: int, content: bytes, tp: TopicPartition = TP, base: int = BASE) -> str:
    """Metadata without a leader epoch, written by the letter of the module's docstring."""
    return packed(1, bytes([form]) + content, f"{tp.topic}\0{tp.partition}\0{base}\0")


def text_with_leader_epoch(stamp: bytes, form: int, content: bytes) -> str:
    """Metadata with a leader epoch, written exactly as the encoder's module docstring says."""
    return packed(2, stamp + bytes([form]) + content, f"{TP.topic}\0{TP.partition}\0{BASE}\0" + "2\0")


def packed(version: int, body: bytes, place: str) -> str:
    packet = zlib.crc32(place.encode() + body).to_bytes(4, "big") + body
    return f"pyrallel/{version}/" + base64.b64encode(packet).decode().rstrip("=")


def deflated(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-15)


# ---- round trip


@given(base=bases, bits=dense_maps)
@example(base=0, bits=[True])
@example(base=0, bits=[False, True])
def test_what_was_finished_comes_back_exactly(base: int, bits: list[bool]) -> None:
    offset_map = map_of_bits(base, bits)
    decoded = decode(encode(offset_map, TP), TP, base)
    assert finished(decoded) == {base + i for i, is_finished in enumerate(bits) if is_finished}


@given(base=bases, runs=runs_of_any_length)
def test_long_runs_come_back_as_the_same_map(base: int, runs: list[tuple[int, int]]) -> None:
    offset_map = map_of_runs(base, runs)
    decoded = decode(encode(offset_map, TP), TP, base)
    if offset_map.is_empty:
        assert decoded == OffsetMap(base, base)
    else:
        assert decoded == without_silent_end(offset_map)


@given(base=bases, bits=dense_maps)
def test_encoding_a_restored_map_again_gives_the_same_text(base: int, bits: list[bool]) -> None:
    text = encode(map_of_bits(base, bits), TP)
    assert encode(decode(text, TP, base), TP) == text


@pytest.mark.parametrize("text", ["", None])
def test_no_metadata_is_the_empty_map(text: str | None) -> None:
    assert decode(text, TP, 42) == OffsetMap(42, 42)


def test_a_map_that_says_nothing_is_no_metadata() -> None:
    assert encode(OffsetMap(9, 9), TP) == ""
    assert encode(OffsetMap(9, 12, (9, 10, 11)), TP) == ""


@pytest.mark.parametrize(
    ("text", "offset_map"),
    [
        (text_of(RUNS, b"\x01\x02"), OffsetMap(BASE, BASE + 3, (BASE,))),
        (text_of(RUNS, b"\x00\x80\x01"), OffsetMap(BASE, BASE + 128)),
        (text_of(BITSET, b"\x16"), OffsetMap(BASE, BASE + 5, (BASE, BASE + 3))),
        (text_of(BITSET, b"\x05"), OffsetMap(BASE, BASE + 3, (BASE + 1,))),
        (text_of(DEFLATED_RUNS, deflated(b"\x01\x02")), OffsetMap(BASE, BASE + 3, (BASE,))),
    ],
)
def test_the_documented_format_is_read(text: str, offset_map: OffsetMap) -> None:
    assert decode(text, TP, BASE) == offset_map


def test_the_format_stays_as_it_was_released() -> None:
    text = encode(OffsetMap(100, 105, (100, 103)), TopicPartition("orders", 0))
    assert text == text_of(BITSET, b"\x16", TopicPartition("orders", 0), 100)
    assert text == "pyrallel/1/+cHPSgEW"


# ---- leader epochs


@given(base=bases, bits=dense_maps, leader_epoch=st.integers(0, 2**31 - 1), limit=st.integers(40, METADATA_LIMIT_BYTES))
def test_the_leader_epoch_of_the_top_comes_back_with_the_map(
    base: int, bits: list[bool], leader_epoch: int, limit: int
) -> None:
    offset_map = replace(map_of_bits(base, bits), leader_epoch=leader_epoch)
    text = encode(offset_map, TP, limit)
    decoded = decode(text, TP, base)
    assert len(text) <= limit
    assert decoded.leader_epoch == (leader_epoch if text else None)
    assert finished(decoded) == finished(lowest_part(offset_map, decoded.top))


@pytest.mark.parametrize("unknown", [None, -1])
def test_a_map_without_a_leader_epoch_is_written_as_older_releases_read_it(unknown: int | None) -> None:
    text = encode(OffsetMap(BASE, BASE + 3, (BASE,), unknown), TP)
    assert text == text_of(BITSET, b"\x06")
    assert decode(text, TP, BASE).leader_epoch is None


@pytest.mark.parametrize(("stamp", "leader_epoch"), [(b"\x00", 0), (b"\x05", 5), (b"\xac\x02", 300)])
def test_the_documented_format_with_a_leader_epoch_is_read_and_written(stamp: bytes, leader_epoch: int) -> None:
    offset_map = OffsetMap(BASE, BASE + 3, (BASE,), leader_epoch)
    text = text_with_leader_epoch(stamp, BITSET, b"\x06")
    assert decode(text, TP, BASE) == offset_map
    assert encode(offset_map, TP) == text


def test_the_largest_map_leaves_room_for_the_largest_leader_epoch() -> None:
    offset_map = replace(irregular_map(5_000, 100_000), leader_epoch=2**31 - 1)
    text = encode(offset_map, TP, 1_000_000)
    assert METADATA_LIMIT_BYTES * 0.9 < len(text) <= METADATA_LIMIT_BYTES
    assert decode(text, TP, BASE).leader_epoch == 2**31 - 1


def test_a_map_is_not_believed_under_the_name_of_another_version() -> None:
    for leader_epoch in (None, 1):
        text = encode(OffsetMap(BASE, BASE + 3, (BASE,), leader_epoch), TP)
        renamed = text.replace("/1/", "/2/") if leader_epoch is None else text.replace("/2/", "/1/")
        with pytest.raises(MetadataRefused, match="checksum"):
            decode(renamed, TP, BASE)


# ---- refusals


@given(bits=dense_maps, at=st.integers(0), other=st.sampled_from(string.ascii_letters + string.digits + "+/=. \n\0é€"))
@example(bits=[False, True], at=-1, other="B")
def test_any_changed_character_is_refused(bits: list[bool], at: int, other: str) -> None:
    text = encode(map_of_bits(BASE, [False, True, *bits]), TP)
    at %= len(text)
    if text[at] == other:
        return
    with pytest.raises(MetadataRefused):
        decode(text[:at] + other + text[at + 1 :], TP, BASE)


def test_every_changed_bit_of_a_map_is_refused() -> None:
    text = encode(irregular_map(50, 100), TP)
    for at in range(len(text)):
        for bit in range(7):
            changed = text[:at] + chr(ord(text[at]) ^ (1 << bit)) + text[at + 1 :]
            with pytest.raises(MetadataRefused):
                decode(changed, TP, BASE)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 10])
def test_a_map_cut_short_or_followed_by_more_is_refused(cut: int) -> None:
    text = encode(irregular_map(50, 100), TP)
    for changed in (text[:-cut], text + "A" * cut, text + "=" * cut):
        with pytest.raises(MetadataRefused):
            decode(changed, TP, BASE)


@given(text=st.text(min_size=1))
@example(text="\ud800")
@example(text="pyrallel")
def test_foreign_text_is_refused_without_another_error(text: str) -> None:
    with pytest.raises(MetadataRefused):
        decode(text, TP, BASE)


def test_the_metadata_of_another_library_is_refused_as_such() -> None:
    with pytest.raises(MetadataRefused, match="not written by this library"):
        decode("consumer-1:192", TP, BASE)


@given(rest=st.text(alphabet=st.characters(codec=None)))
@example(rest="")
@example(rest="AAAA")
@example(rest="A")
@example(rest="\ud800")
def test_whatever_follows_the_magic_is_refused_without_another_error(rest: str) -> None:
    for text in ("pyrallel/" + rest, "pyrallel/1/" + rest, "pyrallel/2/" + rest):
        with pytest.raises(MetadataRefused):
            decode(text, TP, BASE)


@given(stamp=st.binary(max_size=6), form=st.integers(0, 255), content=st.binary(max_size=60))
def test_a_body_of_any_bytes_is_read_or_refused(stamp: bytes, form: int, content: bytes) -> None:
    text = text_with_leader_epoch(stamp, form, content) if stamp else text_of(form, content)
    try:
        decoded = decode(text, TP, BASE)
    except MetadataRefused:
        return
    assert not decoded.is_empty
    assert list(decoded.unfinished) == sorted(set(decoded.unfinished))
    assert all(BASE <= offset < decoded.top for offset in decoded.unfinished)


@pytest.mark.parametrize(
    ("tp", "offset"),
    [(TopicPartition("orders2", 3), BASE), (TopicPartition("orders", 4), BASE), (TP, BASE + 1), (TP, BASE - 1)],
)
def test_the_map_of_another_place_is_refused(tp: TopicPartition, offset: int) -> None:
    text = encode(OffsetMap(BASE, BASE + 3, (BASE,)), TP)
    with pytest.raises(MetadataRefused, match="another partition or offset"):
        decode(text, tp, offset)


def test_a_newer_version_is_refused_by_its_name() -> None:
    with pytest.raises(MetadataRefused, match="format version '3'"):
        decode("pyrallel/3/whatever", TP, BASE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("pyrallel/1/" + "A" * METADATA_LIMIT_BYTES, "more than any map has"),
        ("pyrallel/1/", "too short"),
        (text_of(4, b"\x01\x02"), "unknown form 4"),
        (text_with_leader_epoch(b"\x07", 4, b"\x01\x02"), "unknown form 4"),
        (text_with_leader_epoch(b"\x80\x80\x80\x80\x08", RUNS, b"\x01\x02"), "no leader epoch"),
        (text_with_leader_epoch(b"", 7, b""), "no map follows it"),
        (text_with_leader_epoch(b"\x80", 0x80, b"\x80"), "ends within a number"),
        (text_of(RUNS, b""), "do not alternate"),
        (text_of(RUNS, b"\x01\x02\x03"), "do not alternate"),
        (text_of(RUNS, b"\x01\x02\x00\x01"), "do not alternate"),
        (text_of(RUNS, b"\x01\x00"), "do not alternate"),
        (text_of(RUNS, b"\x01\x82"), "ends within a number"),
        (text_of(RUNS, b"\x01" + b"\xff" * 9 + b"\x01"), "longer than offsets go"),
        (text_of(RUNS, b"\x01" + b"\xff" * 8 + b"\x7f"), "past the largest offset"),
        (text_of(RUNS, b"\x80\x80\x80\x80\x80\x80\x01\x01"), "unfinished offsets"),
        (text_of(BITSET, b""), "do not alternate"),
        (text_of(BITSET, b"\x00"), "do not alternate"),
        (text_of(DEFLATED_RUNS, b"\xff\xff"), "does not inflate"),
        (text_of(DEFLATED_RUNS, deflated(b"\x01\x02")[:-1]), "too early"),
        (text_of(DEFLATED_RUNS, deflated(b"\x01\x02") + b"\x00"), "too late"),
        (text_of(DEFLATED_RUNS, deflated(b"\x01" * (19 * UNFINISHED_LIMIT))), "more than any map has"),
        (text_of(DEFLATED_RUNS | BITSET, deflated(bytes(UNFINISHED_LIMIT) + b"\x01")), "unfinished offsets"),
    ],
)
def test_a_malformed_map_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(MetadataRefused, match=f"^[a-z].*{reason}"):  # it goes on a sentence
        decode(text, TP, BASE)


def test_a_whole_map_is_told_or_nothing() -> None:
    offset_map = OffsetMap(0, 9, (0, 1, 5))
    assert encode_whole(offset_map, TP) == encode(offset_map, TP)
    assert encode_whole(OffsetMap(4, 4), TP) == ""
    assert encode_whole(offset_map, TP, 20) is None
    too_many = tuple(range(0, 2 * UNFINISHED_LIMIT + 4, 2))
    assert encode_whole(OffsetMap(0, too_many[-1] + 2, too_many), TP) is None
