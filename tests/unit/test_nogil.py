"""Free-threaded builds of CPython: what this library imports must not turn the GIL on again."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
EVERYTHING = """
import sys
import pyrallel_consumer
for name in pyrallel_consumer.__all__:
    getattr(pyrallel_consumer, name)
import pyrallel_consumer.cli.demo.run
import pyrallel_consumer.cli.run.options
import pyrallel_consumer.observability.http.http_endpoint
import pyrallel_consumer.observability.http.routes
import pyrallel_consumer.observability.tracing.spans
print(sys._is_gil_enabled())
"""


@pytest.mark.skipif(not IS_FREE_THREADED, reason="this build of CPython cannot do without its GIL")
def test_nothing_that_is_imported_turns_the_gil_on() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EVERYTHING], env=environment, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("False\n", "")
