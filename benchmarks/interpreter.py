"""A Python that is measured: its place, and which of the clients it has."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Final

ABOUT: Final = """
import json, platform, sys, confluent_kafka
clients = confluent_kafka.version(), confluent_kafka.libversion()[0]
print(json.dumps([platform.python_version(), sys.version_info[:2], *clients]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """``version_pair`` is (3, 13) for Python 3.13.0."""

    executable: str
    version: str
    version_pair: tuple[int, int]
    confluent_kafka: str
    librdkafka: str


def describe(executable: str) -> Interpreter:
    """Ask an interpreter about itself; raises CalledProcessError where it lacks the library's requirements."""
    told = subprocess.run([executable, "-c", ABOUT], capture_output=True, text=True, check=True)
    version, pair, client, library = json.loads(told.stdout)
    return Interpreter(executable, version, (pair[0], pair[1]), client, library)
