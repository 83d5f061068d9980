"""Apache Kafka's jars: copied once by Maven into the project's cache.

The folder is named after the pom's content, so a new version never mixes with an old one, and it appears whole or not
at all: a copy is made beside it and renamed. A lock file lets parallel runs wait for the run that copies.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "kafka"
POM = ROOT / "tests" / "kafka" / "pom.xml"

JAVA_VERSION_MIN = 17
MAVEN_TIMEOUT_SECONDS = 600


class KafkaUnavailableError(Exception):
    """No Apache Kafka can be had on this machine; the message says in one sentence what is missing."""


@functools.cache
def java_executable() -> str:
    """The path of a Java that runs Kafka 4. Raises KafkaUnavailableError when there is none."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise KafkaUnavailableError(f"A real Kafka needs Java {JAVA_VERSION_MIN} or newer, and no java was found.")
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', shown)
    if version is None or int(version[1]) < JAVA_VERSION_MIN:
        raise KafkaUnavailableError(f"A real Kafka needs Java {JAVA_VERSION_MIN} or newer; {java} is older.")
    return java


def kafka_jars(report: Callable[[str], None]) -> Path:
    """The folder of Kafka's jars, copied first if need be. Raises KafkaUnavailableError when they cannot be had."""
    jars = CACHE / f"libs-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if jars.is_dir():
        return jars
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            report("Copying Apache Kafka's jars with Maven (about 44 MB, once) ...")
            _copy_jars(jars)
    return jars


def _copy_jars(jars: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError("A real Kafka needs Maven to copy its jars, and no mvn was found.")
    incomplete = jars.with_name(jars.name + ".incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={incomplete}"]
    try:
        copied = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAVEN_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaUnavailableError(f"Maven did not copy Kafka's jars within {MAVEN_TIMEOUT_SECONDS} s.") from error
    if copied.returncode != 0:
        lines = [line for line in (copied.stdout + copied.stderr).splitlines() if line.strip()]
        raise KafkaUnavailableError(f"Maven could not copy Kafka's jars: {lines[0] if lines else copied.returncode}")
    incomplete.rename(jars)
