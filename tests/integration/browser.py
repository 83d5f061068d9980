"""A headless Chromium with what tests ask of a page: what it shows, what it asked for, what it complained about.

Chromium and its driver are Debian's. Where they are missing tests are skipped with the reason; with
PYRALLEL_REQUIRE_BROWSER set they fail instead.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

_T = TypeVar("_T")

PATIENCE_SECONDS = 90.0
MISSING = "Chromium and chromedriver are not installed (Debian's packages chromium and chromium-driver)"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


class Browser:
    """One window."""

    def __init__(self, chromium: str, driver: str) -> None:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in FLAGS:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=ChromeService(driver))
        self._requested: list[str] = []

    def close(self) -> None:
        self.driver.quit()

    def open(self, url: str) -> None:
        self.driver.get(url)

    def look_like(self, *, width: int, scheme: str, height: int = 1200) -> None:
        """Set the window's width and height, and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._command("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._command("Emulation.setEmulatedMedia", {"features": features})

    def hide(self) -> None:
        """Minimise the window, so that nobody can see the page."""
        self.driver.minimize_window()
        self.until(lambda: self.run("return document.hidden"))

    def show(self) -> None:
        """Bring the window back."""
        self.driver.set_window_rect(0, 0, 1280, 1200)
        self.until(lambda: not self.run("return document.hidden"))

    def block(self, *addresses: str) -> None:
        """Have requests for these addresses (with ``*``) fail from now on, and no others."""
        self._command("Network.enable", {})
        self._command("Network.setBlockedURLs", {"urls": addresses})

    def until(self, holds: Callable[[], _T]) -> _T:
        """Wait until ``holds()`` is true, and return what it returned."""
        try:
            return WebDriverWait(self.driver, PATIENCE_SECONDS, poll_frequency=0.1).until(lambda _: holds())
        except TimeoutException:
            pytest.fail(f"waited in vain; the page says:\n{self.text()}")

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def find_all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str = "body") -> str:
        """The visible text of an element, or ""; read in one call, because the page changes all the time."""
        return str(
            self.run(
                "const e = document.querySelector(arguments[0]); return e?.checkVisibility() ? e.innerText : ''",
                selector,
            )
        )

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    @property
    def focused(self) -> str:
        """The id, or the class, or the tag of what has the focus."""
        script = "const e = document.activeElement; return e.id || e.className || e.tagName"
        return str(self.run(script))

    def requested(self) -> list[str]:
        """Every address that was requested since the window was opened, in order."""
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                self._requested.append(event["params"]["request"]["url"])
        return [url for url in self._requested if urlsplit(url).scheme not in {"data", "chrome"}]

    def complaints(self) -> list[str]:
        """The console's lines since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def save_picture(self, path: Path, height: int | None = None) -> None:
        """The whole page as PNG, or the upper ``height`` pixels."""
        shot: dict[str, Any] = {"format": "png", "captureBeyondViewport": True}
        if height is not None:
            width = self.run("return document.documentElement.clientWidth")
            shot["clip"] = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        picture = self._command("Page.captureScreenshot", shot)
        path.write_bytes(base64.b64decode(picture["data"]))

    def _command(self, name: str, arguments: dict[str, Any]) -> Any:
        return self.driver.execute_cdp_cmd(name, arguments)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a module."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get("PYRALLEL_REQUIRE_BROWSER"):
            pytest.fail(f"PYRALLEL_REQUIRE_BROWSER is set, and: {MISSING}")
        pytest.skip(MISSING)
    found = Browser(chromium, driver)
    yield found
    found.close()
