"""Secrets are shown nowhere: not in text, logs, errors or pickles that somebody prints."""

from __future__ import annotations

import traceback

import pytest

from pyrallel_consumer.config import KafkaConfig
from pyrallel_consumer.errors import ConfigurationError
from tests.unit.config.settings_table import ids

SECRET = "hunter2-never-shown"
SECRET_NUMBER = 4711_0815


def shown_everywhere(config: KafkaConfig) -> str:
    return "\n".join(
        [
            repr(config),
            str(config),
            f"{config}",
            str(config.model_dump()),
            config.model_dump_json(),
            str(vars(config)["sasl_password"]),
        ]
    )


def test_secrets_are_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", SECRET)
    config = KafkaConfig(
        ssl_key_password=SECRET,
        librdkafka={"sasl.password": SECRET, "ssl.key.pem": SECRET, "sasl.oauthbearer.client.secret": SECRET},
    )
    assert SECRET not in shown_everywhere(config)
    config.sasl_password = SECRET  # type: ignore[assignment]
    config.librdkafka = {"ssl.keystore.password": SECRET, "sasl.oauthbearer.config": SECRET}
    assert SECRET not in shown_everywhere(config)
    config.librdkafka["anything.at.all"] = SECRET
    assert SECRET not in repr(config) + str(config)
    assert "anything.at.all" in repr(config)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sasl_password", [SECRET]),
        ("ssl_key_password", {"a": SECRET}),
        ("sasl_password", SECRET_NUMBER),
        ("librdkafka", f'{{"sasl.password": "{SECRET}"'),
        ("librdkafka", {"sasl.password": [SECRET]}),
        ("librdkafka", {"sasl.password": SECRET, "enable.auto.commit": True}),
        ("librdkafka", [SECRET]),
        ("metrics", {"port": 1, "password": SECRET}),
    ],
    ids=ids,
)
def test_errors_show_no_secrets(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as constructed:
        KafkaConfig(**{name: value, "sasl_username": "alice", "session_timeout_ms": 1})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as assigned:
        setattr(KafkaConfig(), name, value)
    for refused in (constructed.value, assigned.value):
        printed = "".join(traceback.TracebackException.from_exception(refused).format())
        assert SECRET not in printed
        assert str(SECRET_NUMBER) not in printed
