"""The command of a JVM that runs Kafka, with an archive of the classes that it loads: a start costs half of it.

The archive is Java's class data sharing. A broker writes the archive as it stops, so a broker is started only for that,
once for this Java and these jars. Parallel runs wait for the run that writes it. A Java that cannot read it loads the
classes as ever.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

from tests.kafka_jars import CACHE, java_executable, kafka_jars

OPTIONS = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.apache.logging.log4j.level=WARN")


def kafka_command(report: Callable[[str], None]) -> list[str]:
    """Java with Kafka's classes, to be followed by the class to run. Raises KafkaUnavailableError when it lacks one."""
    return [java_executable(), *OPTIONS, "-cp", f"{kafka_jars(report)}/*"]


def with_archive(command: list[str], make: Callable[[list[str]], None]) -> list[str]:
    """The command with the archive of its classes.

    ``make`` is called where there is none yet: it runs a broker by the command that it is given, and stops it.
    """
    java, *rest = command
    archive = CACHE / f"classes-{_identity(command)}.jsa"
    if not archive.exists():
        with (CACHE / "classes.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not archive.exists():
                written = archive.with_suffix(".incomplete")
                written.unlink(missing_ok=True)
                make([java, f"-XX:ArchiveClassesAtExit={written}", *rest])
                if not written.exists():
                    return command
                written.rename(archive)
    return [java, "-Xshare:auto", f"-XX:SharedArchiveFile={archive}", *rest]


def _identity(command: list[str]) -> str:
    """Java compares the jars' paths and times with the archive's."""
    java, jars = Path(command[0]).resolve(), Path(command[-1]).parent
    files = sorted((jar.name, jar.stat().st_mtime_ns) for jar in jars.iterdir())
    return hashlib.sha256(repr((java, command, files)).encode()).hexdigest()[:12]
