"""A record as another language's client may write it: names of headers are bytes, which Python's client cannot send.

It is produced by librdkafka itself, through ctypes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from pyrallel_consumer.testing.broker.embedded_server import mapped_library

NOT_UTF8 = b"caf\xe9"
TEXT_BYTES = 512
TIMEOUT_MS = 10_000
PRODUCER = 0
END, TOPIC, VALUE, KEY, FLAGS, HEADERS = 0, 1, 4, 5, 7, 10
COPY = 2


def produce_raw(
    bootstrap_servers: str, topic: str, key: bytes, value: bytes, headers: Iterable[tuple[bytes, bytes | None]]
) -> None:
    """Produces one record; returns when the broker has it."""
    library = ctypes.CDLL(mapped_library())
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_headers_new"):
        getattr(library, name).restype = ctypes.c_void_p
    text = ctypes.create_string_buffer(TEXT_BYTES)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap_servers.encode(), text, TEXT_BYTES)
    client = ctypes.c_void_p(library.rd_kafka_new(PRODUCER, conf, text, TEXT_BYTES))
    assert client.value, text.value
    sent = ctypes.c_void_p(library.rd_kafka_headers_new(4))
    for header, data in headers:
        library.rd_kafka_header_add(sent, header, len(header), data, 0 if data is None else len(data))
    failed = library.rd_kafka_producev(
        client,
        *(ctypes.c_int(TOPIC), topic.encode()),
        *(ctypes.c_int(VALUE), value, ctypes.c_size_t(len(value))),
        *(ctypes.c_int(KEY), key, ctypes.c_size_t(len(key))),
        *(ctypes.c_int(FLAGS), ctypes.c_int(COPY)),
        *(ctypes.c_int(HEADERS), sent),
        ctypes.c_int(END),
    )
    assert not failed
    assert not library.rd_kafka_flush(client, TIMEOUT_MS)
    library.rd_kafka_destroy(client)
