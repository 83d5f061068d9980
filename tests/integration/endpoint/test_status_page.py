"""The status page in a real browser, on busy consumers: what it shows and requests, and on which screens it works."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import pytest
from selenium.webdriver import Keys
from selenium.webdriver.support.select import Select

from pyrallel_consumer import MetricsConfig, PyrallelConsumer, __version__
from pyrallel_consumer.dto import BatchFigures, Durations, Sizes
from pyrallel_consumer.observability.http.http_endpoint import HttpEndpoint
from pyrallel_consumer.observability.status.close_up import fingerprint
from pyrallel_consumer.observability.status.status_feed import FINGERPRINT_SECRET
from pyrallel_consumer.observability.status.status_routes import status_routes
from pyrallel_consumer.record import Delivery, OutputFigures
from pyrallel_consumer.testing.broker.embedded_broker import EmbeddedBroker
from tests.integration.browser import Browser, browser
from tests.integration.conftest import Produce
from tests.integration.consuming import ignore, kafka, new_group
from tests.integration.endpoint.busy_shop import HANGS_AT, KEY_IN_CLEAR, PAYLOAD, BusyShop
from tests.unit.control_plane.pictures import partition, picture
from tests.unit.observability.status.test_status_routes import watched

__all__ = ["browser"]

pytestmark = pytest.mark.xdist_group("browser")  # one browser and one shop for all of them

WIDE, NARROW, PHONE = 1280, 390, 375
STATES = ("finished", "running", "queued", "failing")


@pytest.fixture(scope="module")
def shop(embedded_broker: EmbeddedBroker, new_topic: Callable[[int], str], produce: Produce) -> Iterator[BusyShop]:
    with BusyShop(embedded_broker, new_topic, produce) as running:
        yield running


@pytest.fixture
def page(browser: Browser, shop: BusyShop) -> Browser:
    """The page with its first pictures drawn."""
    browser.look_like(width=WIDE, scheme="light")
    browser.open(shop.url)
    browser.until(lambda: browser.find_all("#partitions .lane"))
    return browser


def number(text: str) -> float:
    return float(text.replace(",", ""))


def lanes(page: Browser, partition: str) -> dict[str, int]:
    """The lanes of a partition's picture with the numbers beside them; only those that have bars."""
    script = """
        const bodies = [...document.querySelectorAll("#partitions tbody")];
        const body = bodies.find((each) => each.dataset.key === arguments[0]);
        const groups = [...body.querySelectorAll("svg g")];
        const drawn = new Set(groups.filter((each) => each.querySelector(".lane").getBBox().width > 0)
            .map((each) => each.dataset.key));
        return [...body.querySelectorAll(".lanes li")].filter((each) => drawn.has(each.dataset.key))
            .map((each) => [each.dataset.key, each.querySelector("b").textContent]);
    """
    return {state: int(number(count)) for state, count in page.run(script, partition)}


def test_it_shows_what_a_running_consumer_does_and_what_holds_it_back(page: Browser, shop: BusyShop) -> None:
    page.until(lambda: number(page.text("#tiles .figure span") or "0") > 0)
    assert shop.group in page.text("#who")
    assert {each.text for each in page.find_all("#partitions tbody th")} == {f"{shop.topic}[{at}]" for at in (0, 1)}
    page.until(lambda: set(lanes(page, f"{shop.topic}[0]")) >= set(STATES))
    key = fingerprint(f"{KEY_IN_CLEAR}-{2 * HANGS_AT}".encode(), FINGERPRINT_SECRET)
    page.until(lambda: f"Offset {HANGS_AT} holds the commit back" in page.text("#partitions"))
    assert f"key #{key}" in page.text("#partitions")
    assert f"#{key}" in page.text("#keys")
    page.until(lambda: "% blocked" in page.text(f'#partitions tbody[data-key="{shop.topic}[0]"]'))
    page.until(lambda: "blocked for" in page.text("#reasons"))
    assert page.complaints() == []


def test_it_asks_nobody_but_the_consumer_and_shows_no_key_and_no_payload(page: Browser, shop: BusyShop) -> None:
    before = len(page.requested())  # By the pages of other tests, too.
    page.open(shop.url)
    page.until(lambda: page.find_all("#partitions .lane"))
    everything = page.run("return document.documentElement.outerHTML") + page.run(
        "return fetch('status.json').then((answer) => answer.text())"
    )
    assert KEY_IN_CLEAR not in everything
    assert PAYLOAD not in everything
    requested = page.requested()[before:]
    assert len(requested) > 5
    assert [url for url in requested if not url.startswith(shop.url)] == []


def test_it_can_be_used_by_keyboard_alone(page: Browser) -> None:
    page.press(Keys.TAB)
    assert page.focused == "skip"
    page.press(Keys.ENTER)
    assert page.focused == "partitions-title"
    page.press(Keys.TAB)
    assert page.focused == "filter"
    page.press(Keys.TAB)
    assert page.focused == "scroll"
    for expected in ("filter", "hold", "chooser"):
        page.driver.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
        assert page.focused == expected
    page.press(Keys.TAB, Keys.SPACE)
    assert page.find("#hold").get_attribute("aria-pressed") == "true"
    assert page.text("#age") == "updates are paused"
    page.press(Keys.SPACE)
    page.until(lambda: page.text("#age") == "live")


def asked(page: Browser) -> int:
    """How often the page has asked for data."""
    return int(
        page.run("return performance.getEntriesByType('resource').filter((e) => e.name.includes('.json')).length")
    )


def pass_time(page: Browser, milliseconds: int) -> None:
    """Wait while nothing is to happen: there is no condition to wait for."""
    page.run("return new Promise((done) => setTimeout(done, arguments[0]))", milliseconds)


def asked_when_at_rest(page: Browser) -> int:
    """The same, and a request that is under way may be cut short."""
    pass_time(page, 300)
    return asked(page)


def test_it_asks_nothing_while_held_still_or_hidden_and_goes_on_afterwards(page: Browser) -> None:
    page.find("#hold").click()
    before = asked_when_at_rest(page)
    pass_time(page, 1500)
    assert asked(page) == before
    page.find("#hold").click()
    page.until(lambda: asked(page) >= before + 2)

    page.hide()
    before = asked_when_at_rest(page)
    pass_time(page, 1500)
    assert asked(page) == before
    page.show()
    page.until(lambda: asked(page) >= before + 2)


def test_another_consumer_of_the_process_can_be_chosen(page: Browser, shop: BusyShop) -> None:
    chooser = Select(page.find("#chooser"))
    assert [option.text for option in chooser.options] == [shop.group, shop.quiet_group]
    chooser.select_by_visible_text(shop.quiet_group)
    page.until(lambda: shop.quiet_group in page.text("#who"))
    assert [each.text for each in page.find_all("#partitions tbody th")] == [f"{shop.quiet_topic}[0]"]
    page.until(lambda: page.text("#headline").startswith(("Idle", "Just started")))


def test_only_partitions_that_are_held_back_can_be_shown(page: Browser, shop: BusyShop) -> None:
    page.until(lambda: "blocked for" in page.text("#reasons"))
    Select(page.find("#filter")).select_by_value("trouble")
    page.until(lambda: f"{shop.topic}[0]" in page.text("#partitions"))
    Select(page.find("#chooser")).select_by_visible_text(shop.quiet_group)
    page.until(lambda: page.text("#partitions-note") == "None of the 1 partitions is held back.")


def test_an_endpoint_that_does_not_answer_is_told_and_so_is_its_return(page: Browser) -> None:
    page.block("*status.json*")
    page.until(lambda: "does not answer" in page.text("#unreachable"))
    page.block()
    page.until(lambda: page.text("#unreachable") == "" and page.text("#age") == "live")
    page.complaints()  # That it could not be reached is in the console, too.


@pytest.mark.skipif(find_spec("axe_selenium_python") is None, reason="axe-selenium-python needs Python 3.12")
@pytest.mark.parametrize(("width", "scheme"), [(WIDE, "light"), (NARROW, "dark")])
def test_axe_finds_nothing_that_keeps_people_out(page: Browser, width: int, scheme: str) -> None:
    page.look_like(width=width, scheme=scheme)
    page.until(lambda: "blocked for" in page.text("#reasons"))
    axe = files("axe_selenium_python") / "node_modules" / "axe-core" / "axe.min.js"
    page.run(axe.read_text())
    found: dict[str, Any] = page.run("return axe.run(document, {resultTypes: ['violations']})")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    assert len(found["passes"]) > 20
    assert page.run("return document.documentElement.scrollWidth") <= width


async def test_an_outage_of_all_brokers_is_a_red_banner_and_an_unknown_lag(browser: Browser) -> None:
    with EmbeddedBroker({"orders": 1}) as broker:
        config = kafka(broker.bootstrap_servers, new_group(), metrics=MetricsConfig(enabled=True, port=0))
        async with PyrallelConsumer(config, ignore, "orders") as consumer:
            assert consumer.metrics_address is not None
            browser.look_like(width=WIDE, scheme="light")
            await asyncio.to_thread(browser.open, "http://{}:{}/".format(*consumer.metrics_address))
            await asyncio.to_thread(browser.until, lambda: browser.find_all("#partitions tbody"))
            shown = "return document.getElementById('outage').checkVisibility()"
            assert not await asyncio.to_thread(browser.run, shown)
            broker.set_down()

            # Never on the loop's thread: the page changes only while the loop runs.
            for holds in (
                lambda: browser.run(shown),
                lambda: "No broker answers, so it is unknown how much there is to do." in browser.text("body"),
                lambda: "no answer for" in browser.text("#broker"),
                lambda: browser.run("return document.getElementById('verdict').className") == "bad",
                lambda: "unknown not committed" in browser.run("return document.body.innerText"),
            ):
                await asyncio.to_thread(browser.until, holds)
            broker.set_up()
            await asyncio.to_thread(browser.until, lambda: not browser.run(shown))


def cut_parts(page: Browser) -> list[str]:
    """The elements whose content is wider than they are: it is cut, or must be scrolled."""
    script = """
        return [...document.body.querySelectorAll("*")]
            .filter((each) => each.checkVisibility() && !each.classList.contains("heard") && each.clientWidth > 0)
            .filter((each) => each.scrollWidth > each.clientWidth)
            .map((each) => `${each.tagName} ${each.id} ${each.scrollWidth} > ${each.clientWidth}`)
    """
    found: list[str] = page.run(script)
    return found


def test_the_header_says_which_process_it_is(page: Browser) -> None:
    page.until(lambda: "up for" in page.text("#where"))
    said = page.text("#where")
    for expected in ("worker BusyShop._work", f"host {socket.gethostname()}", f"pid {os.getpid()}", __version__):
        assert expected in said


def test_the_button_that_pauses_updates_is_on_the_right_and_has_a_name(page: Browser) -> None:
    button = page.find("#hold")
    assert button.text == "Pause updates"
    assert button.accessible_name == "Pause updates of this page"
    for width in (WIDE, PHONE):
        page.look_like(width=width, scheme="light")
        edges = page.run("""
            const right = (selector) => document.querySelector(selector).getBoundingClientRect().right;
            return [right("#hold"), right("#verdict")];
        """)
        assert edges[0] == pytest.approx(edges[1], abs=1)


def test_failures_are_shown_by_the_type_of_their_error(page: Browser, shop: BusyShop) -> None:
    row = '#failures tr[data-key="ValueError"]'
    page.until(lambda: page.find_all(row))
    cells = [each.text for each in page.find_all(f"{row} td")]
    assert number(cells[0]) > 0
    assert cells[3] in {f"{shop.topic}[{at}]" for at in (0, 1)}
    assert page.text("#failures-note") == ""


@pytest.mark.parametrize("table", ["partitions", "keys"])
def test_a_legend_stands_below_what_it_explains(page: Browser, table: str) -> None:
    script = """
        const table = document.getElementById(arguments[0]);
        const legends = table.closest("section").querySelectorAll(".legend");
        const isBelow = (each) => table.compareDocumentPosition(each) & Node.DOCUMENT_POSITION_FOLLOWING;
        return [...legends].map((each) => Boolean(isBelow(each)));
    """
    assert page.run(script, table) == [True]


@pytest.mark.parametrize("width", [1400, PHONE])
def test_nothing_is_cut_and_nothing_must_be_scrolled_to_sideways(page: Browser, width: int) -> None:
    page.look_like(width=width, scheme="light")
    page.until(lambda: page.find_all("#failures tbody tr") and page.find_all("#keys tbody tr"))
    page.find("#hold").click()
    assert cut_parts(page) == []
    assert page.run("return document.documentElement.scrollWidth") <= width


def test_on_a_phone_each_figure_is_there_with_its_label(page: Browser) -> None:
    page.look_like(width=PHONE, scheme="dark")
    page.until(lambda: page.find_all("#failures tbody tr") and page.find_all("#keys tbody tr"))
    page.find("#hold").click()
    for table, labels in (("partitions", 9), ("keys", 7), ("failures", 6)):
        script = """
            const row = document.querySelector(`#${arguments[0]} tbody tr`);
            return [...row.querySelectorAll("[data-label]")].filter((each) => each.checkVisibility())
                .map((each) => getComputedStyle(each, "::before").content);
        """
        shown = page.run(script, table)
        assert len(shown) == labels
        assert "none" not in shown


def test_the_state_of_the_broker_is_shown(page: Browser) -> None:
    page.until(lambda: "answers" in page.text("#broker"))
    assert "group protocol\nclassic" in page.text("#broker")
    for part in ("batches", "records", "transactions"):
        assert page.text(f"#{part}-section") == "", "this consumer has none"


def test_batches_records_and_transactions_are_shown_where_there_are_any(browser: Browser) -> None:
    sizes, waits = Sizes((0, 0, 4) + (0,) * 11, 18), Durations((4,) + (0,) * 16, 0.02)
    figures = BatchFigures(size_limit=5, sizes=sizes, waits=waits, searches=3, search_calls=9)
    output = OutputFigures(Delivery.EXACTLY_ONCE, written=1234, waiting=7, transactions=12, aborts=1, rewritten=40)
    seen = picture(partition(), batches=figures, output=output)
    endpoint = HttpEndpoint("127.0.0.1", 0, status_routes(lambda: [replace(watched(), picture=lambda: seen)]))
    endpoint.start()
    try:
        browser.look_like(width=PHONE, scheme="light")
        browser.open("http://{}:{}/".format(*endpoint.address))
        browser.until(lambda: browser.text("#transactions"))
        assert "4.5 of 5" in browser.text("#batches")
        assert "1,234" in browser.text("#records")
        assert "exactly once" in browser.text("#records")
        assert "12" in browser.text("#transactions")
        assert cut_parts(browser) == []
    finally:
        endpoint.close().result(10)
