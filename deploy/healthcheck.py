"""The image's HEALTHCHECK: exit code 0 while ``/livez`` answers 200. Kubernetes asks by itself and ignores this."""

from __future__ import annotations

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 4.0
OK = 200


def main() -> int:
    connection = HTTPConnection("127.0.0.1", int(os.environ.get("METRICS_PORT") or 9091), timeout=SECONDS)
    try:
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        print(answer.status, answer.read().decode("utf-8", "replace").strip())
    except (OSError, HTTPException) as error:
        print(f"no answer: {error}")
        return 1
    return 0 if answer.status == OK else 1


if __name__ == "__main__":
    sys.exit(main())
