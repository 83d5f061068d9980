"""Debian's Prometheus as a process of this test, with the configuration that the stack ships."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.monitoring.dashboard import MONITORING

START_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 30.0
_LISTENING: Final = re.compile(r'msg="Listening on" address=(\S+)')
_READY: Final = "Server is ready to receive web requests"


class PrometheusServer:
    """Runs within a ``with`` block, its data in ``folder``.

    ``addresses`` replaces the targets of ``prometheus.yml``. Nothing else of the configuration is replaced.
    """

    def __init__(self, folder: Path, addresses: Mapping[str, str]) -> None:
        text = (MONITORING / "prometheus.yml").read_text()
        for shipped, here in addresses.items():
            assert text.count(f'"{shipped}"') == 1, f"{shipped} is not scraped by prometheus.yml, or twice"
            text = text.replace(f'"{shipped}"', f'"{here}"')
        (folder / "prometheus.yml").write_text(text)
        shutil.copy(MONITORING / "alerts.yml", folder)
        self._folder = folder
        self._said: deque[str] = deque(maxlen=50)
        self._address = ""
        self._is_ready = threading.Event()

    def __enter__(self) -> Self:
        command = ["prometheus", "--web.listen-address=127.0.0.1:0", "--log.level=info"]
        command += [f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._is_ready.wait(START_SECONDS) or not self._address:
            self._end()
            raise AssertionError("Prometheus does not get ready; it says:\n" + "".join(self._said))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, path: str, **parameters: str) -> Any:
        """What the HTTP API answers as ``data``."""
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[float]:
        """The values of an instant query."""
        return [float(found["value"][1]) for found in self.ask("query", query=expression)["result"]]

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said.append(line)
            found = _LISTENING.search(line)
            if found and not self._address:
                self._address = found[1].strip('"')
            if _READY in line:  # Before that it listens, and answers 503.
                self._is_ready.set()
        self._is_ready.set()

    def _end(self) -> None:
        self._process.kill()  # What it has stored is thrown away: there is nothing to end in order.
        self._process.wait()
        self._reader.join(ANSWER_SECONDS)
        assert self._process.stderr is not None
        self._process.stderr.close()
