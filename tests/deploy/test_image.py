"""The image: the text of its Dockerfile, and the result of its steps."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrallel_consumer.testing import TrialKafka
from tests.deploy.chart import ROOT
from tests.deploy.dockerfile import Stage, expanded, read, read_file
from tests.deploy.image import Image, images
from tests.kafka.deadline import wait_until

DOCKERFILE = ROOT / "Dockerfile"
OF_A_USER = """
FROM pyrallel-consumer:1.0.0rc1
USER root
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
USER 10001
COPY shop.py .
ENV PYRALLEL_WORKER=shop:handle PYRALLEL_TOPIC=orders
"""
SHOP = """
import os
from pathlib import Path

import iniconfig  # of requirements.txt


async def handle(item):
    with Path("/tmp/seen").open("a") as file:
        file.write(f"{item.payload.decode()} {os.getuid()}\\n")
"""


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return read_file(DOCKERFILE)


def test_the_last_stage_is_slim_runs_as_nobody_special_and_has_no_tools(stages: list[Stage]) -> None:
    build, final = stages
    assert re.fullmatch(r"python:3\.\d+-slim", final.base)
    assert build.base == final.base
    assert final.last("USER").rest == "10001:10001"
    assert "uv" not in " ".join(each.rest for each in final.all("RUN"))
    assert final.last("STOPSIGNAL").rest == "SIGTERM"
    assert final.last("ENTRYPOINT").command + final.last("CMD").command == ["pyrallel-consumer", "run"]


def test_everything_that_is_fetched_is_pinned_with_hashes(stages: list[Stage]) -> None:
    for run in (each for stage in stages for each in stage.all("RUN")):
        for command in run.rest.split("&&"):
            if re.search(r"\b(pip install|uv build)\b", command):
                assert "--require-hashes" in command or "--constraints dev-requirements.txt" in command, command


def test_what_is_copied_is_there_and_is_let_into_the_context(stages: list[Stage]) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source
        for stage in stages
        for each in stage.all("COPY")
        if not each.rest.startswith("--from=")
        for source in each.rest.split()[:-1]
    }
    assert copied == let_in
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_a_line_that_goes_on_is_one_instruction() -> None:
    [stage] = read("ARG V=3\nFROM python:${V} AS build\n# said\nRUN a \\\n    # why\n    && b\nENV A=1 B=$A\n")
    assert stage.base == "python:3"
    assert [each.rest for each in stage.instructions] == ["a && b", "A=1 B=$A"]
    assert expanded("$A/${B}", {"A": "1", "B": "2"}) == "1/2"


@pytest.fixture(scope="module")
def shop(root_folders: None, stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """A user's image, made FROM the project's."""
    context = tmp_path_factory.mktemp("context")
    (context / "shop.py").write_text(SHOP, "utf-8")
    pinned = (ROOT / "dev-requirements.txt").read_text("utf-8")
    found = re.search(r"^iniconfig==\S+", pinned, re.MULTILINE)
    assert found
    (context / "requirements.txt").write_text(found[0] + "\n", "utf-8")
    python = Path(sys.base_prefix)
    with images(stages, ROOT, python, tmp_path_factory.mktemp("roots")) as made:
        [stage] = read(OF_A_USER)
        project = made[""]
        project.carry_out(stage, context, {})
        yield project


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def is_healthy(image: Image, settings: dict[str, str]) -> bool:
    command = image.shell(image.healthcheck)
    return subprocess.run(command, env=image.env | settings, capture_output=True, check=False).returncode == 0


def start(image: Image, settings: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        image.shell([*image.entrypoint, *image.command]),
        env=image.env | settings,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_consumes_is_healthy_and_drains_on_sigterm_and_writes_nothing_beside_tmp(shop: Image) -> None:
    with TrialKafka() as kafka, shop.read_only():
        orders = kafka.topic("orders", ((b"k", b"%d" % number) for number in range(20)), partitions=2)
        settings = {
            "KAFKA_BOOTSTRAP_SERVERS": ",".join(kafka.config.bootstrap_servers),
            "KAFKA_CONSUMER_GROUP": kafka.config.consumer_group,
            "KAFKA_GROUP_PROTOCOL": kafka.config.group_protocol,
            "PYRALLEL_TOPIC": orders,
            "METRICS_PORT": str(free_port()),
        }
        assert not is_healthy(shop, settings)
        running = start(shop, settings)
        try:
            wait_until(lambda: running.poll() is not None or kafka.lag(orders) == 0, "20 messages are committed")
            assert running.poll() is None, running.communicate()
            assert is_healthy(shop, settings)
            running.send_signal(signal.SIGTERM)
            _, log = running.communicate(timeout=60)
        finally:
            running.kill()
        assert running.returncode == 0, log
        seen = shop.path("/tmp/seen").read_text("ascii").splitlines()  # noqa: S108 -- of the image
    assert len(seen) == 20
    assert {line.split()[1] for line in seen} == {"10001"}
