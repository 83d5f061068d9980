"""Takes the pictures of the documents from real runs: the demo, and the status page of a consumer at work.

    make pictures            all of them, into docs/pictures (two minutes; needs Chromium and chromedriver)
    make pictures ARGS=demo  one of them: demo, page

Nothing in a picture is drawn by hand: the demo's frames are what it showed, the page is what a browser showed.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.text import Text

sys.path[:0] = [str(Path(__file__).parents[1])]

from pyrallel_consumer import ExecutionConfig, KafkaConfig, MetricsConfig, PyrallelConsumer, WorkItem
from pyrallel_consumer.cli.demo.display import live_view, verdict_panel
from pyrallel_consumer.cli.demo.picture import Picture
from pyrallel_consumer.cli.demo.plan import DemoPlan
from pyrallel_consumer.cli.demo.run import DemoRun
from pyrallel_consumer.cli.demo.verdict import Verdict
from pyrallel_consumer.testing import TrialKafka
from tests.integration.browser import Browser

FOLDER = Path(__file__).with_name("pictures")
COLUMNS, LINES = 104, 30
ORDERS, KEYS, PARTITIONS = 200_000, 5_000, 6
WIDE, PHONE = 1400, 375
FILL_SECONDS = 25.0
"""How long the consumer runs before its page is photographed: the curves need something to show."""


class FilmedDemo:
    """A display that keeps what the demo told, and its frame when both consumers had worked for a while."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []
        self.frame: tuple[int, Picture] | None = None
        self.verdict: Verdict | None = None
        self._began_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def tell(self, event: str) -> None:
        self.told.append((time.monotonic() - self._began_at, event))

    def show(self, picture: Picture) -> None:
        if {row.consumer for row in picture.rows} == {"first", "second"}:
            self.frame = len(self.told), picture

    def conclude(self, verdict: Verdict) -> None:
        self.verdict = verdict

    def drawn(self) -> RenderableType:
        """The frame between the events before and after it, and the verdict."""
        assert self.frame is not None
        assert self.verdict is not None
        at, picture = self.frame
        events = [Text.assemble((f"{when:6.1f} s  ", "dim"), event) for when, event in self.told]
        frame = live_view(picture, COLUMNS, LINES)
        return Group(*events[:at], frame, Text(), *events[at:], Text(), verdict_panel(self.verdict))


def film_demo() -> None:
    display = FilmedDemo()
    plan = DemoPlan(ORDERS, KEYS, PARTITIONS, worker_ms=5.0, bootstrap_servers=None, seed=1)
    with display:
        display.conclude(asyncio.run(DemoRun(plan, display).run()))
    with Path("/dev/null").open("w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(display.drawn())
        drawing = console.export_svg(title="pyrallel-consumer demo")
    # Fonts that are loaded from elsewhere are left out; a reader's own monospaced one has the same widths.
    drawing = re.sub(r"\s*@font-face \{.*?\}", "", drawing, flags=re.DOTALL)
    (FOLDER / "demo.svg").write_text(drawing, "utf-8")
    with _browser() as browser:  # For the index, which shows no SVG of others.
        width, height = (round(float(each)) for each in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)[0])
        browser.look_like(width=width, scheme="light", height=height)
        browser.open((FOLDER / "demo.svg").as_uri())
        browser.save_picture(FOLDER / "demo.png", height)


async def handle_order(item: WorkItem) -> None:
    """Works for 10 ms. Some orders fail the first time, and one takes very long."""
    await asyncio.sleep(0.01)
    if item.offset % 41 == 0 and item.attempt == 1:
        raise ConnectionError("the payment service refused")
    if item.offset % 97 == 0 and item.attempt == 1:
        raise TimeoutError("the stock service did not answer")
    if item.partition == 1 and item.offset % 1500 == 1400:  # noqa: PLR2004 -- one of many offsets
        await asyncio.sleep(6)


async def photograph_page() -> None:
    with TrialKafka() as kafka:
        topic = kafka.topic("orders", partitions=2)
        config = KafkaConfig(
            bootstrap_servers=kafka.config.bootstrap_servers,
            consumer_group="billing",
            auto_offset_reset="earliest",
            group_protocol=kafka.config.group_protocol,
            metrics=MetricsConfig(enabled=True, port=0),
        )
        execution = ExecutionConfig(max_in_flight=400, retry_backoff_ms=400)
        async with PyrallelConsumer(config, handle_order, topic, execution_config=execution) as consumer:
            assert consumer.metrics_address is not None
            url = "http://{}:{}/".format(*consumer.metrics_address)
            photographs = asyncio.create_task(asyncio.to_thread(photographs_of, url))
            number = 0
            while not photographs.done():
                orders = [(f"customer-{at % 700}".encode(), b'{"items": 3}') for at in range(number, number + 150)]
                await asyncio.to_thread(kafka.append, topic, orders)
                number += len(orders)
                await asyncio.sleep(0.1)
            await photographs


def photographs_of(url: str) -> None:
    with _browser() as browser:
        browser.open(url)
        time.sleep(FILL_SECONDS)
        for name, width in (("status-page", WIDE), ("status-page-phone", PHONE)):
            browser.look_like(width=width, scheme="light")
            browser.until(lambda: "blocked for" in browser.text("#reasons"))
            browser.save_picture(FOLDER / f"{name}.png", height=1240)


@contextmanager
def _browser() -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        sys.exit("Pictures need Chromium and chromedriver (Debian's packages chromium and chromium-driver).")
    browser = Browser(chromium, driver)
    try:
        yield browser
    finally:
        browser.close()


def main(wanted: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    if not wanted or "demo" in wanted:
        film_demo()
    if not wanted or "page" in wanted:
        asyncio.run(photograph_page())
    for path in sorted(FOLDER.iterdir()):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
