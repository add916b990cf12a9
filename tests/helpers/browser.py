"""The page in a browser, and what a person does on it."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service

from homolog import Matcher
from homolog.serve import Options, create_app

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-dev-shm-usage", "--window-size=1200,900",
)  # fmt: skip


@contextmanager
def serving(matcher: Matcher, options: Options | None = None) -> Iterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    settings = uvicorn.Config(create_app(matcher, options), log_level="warning", access_log=False)
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


@contextmanager
def chromium(downloads: Path) -> Iterator[Any]:
    """A browser that saves files in a folder; without one, tests are skipped, or fail in CI."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        reason = "no chromium or chromedriver is installed here"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(programs[1]))
    try:
        driver.implicitly_wait(10)
        yield driver
    finally:
        driver.quit()


class Page:
    """What a person does on the page."""

    def __init__(self, browser: Any, address: str):
        self.browser = browser
        browser.get(address)
        self.find("body[data-mode]")  # it has started

    def find(self, selector: str) -> Any:
        return self.browser.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return self.browser.execute_script(
            "return [...document.querySelectorAll(arguments[0])]", selector
        )

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.execute_script(script, *arguments)

    def until(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 20
        while not (found := condition()):
            assert time.monotonic() < deadline, "timed out"
            time.sleep(0.02)
        return found

    def position(self, index: int, point: tuple[float, float]) -> tuple[int, int]:
        """Where a point of an image of 640 x 480 pixels is in the window."""
        x, y = self.run(
            """const box = document.querySelectorAll("#match .stage")[arguments[0]]
                 .getBoundingClientRect();
               const scale = Math.min(box.width / 640, box.height / 480);
               return [box.left + box.width / 2 + scale * (arguments[1] - 320),
                       box.top + box.height / 2 + scale * (arguments[2] - 240)]""",
            index, *point,
        )  # fmt: skip
        return round(x), round(y)

    def pointer(self) -> Any:
        chain = ActionChains(self.browser, duration=10)
        return chain, chain.w3c_actions.pointer_action

    def hover(self, index: int, point: tuple[float, float]) -> None:
        chain, pointer = self.pointer()
        pointer.move_to_location(*self.position(index, point))
        chain.perform()

    def click(self, index: int, point: tuple[float, float]) -> None:
        chain, pointer = self.pointer()
        pointer.move_to_location(*self.position(index, point))
        pointer.click()
        chain.perform()

    def drag(self, element: Any, dx: int, dy: int) -> None:
        chain, pointer = self.pointer()
        pointer.move_to(element)
        pointer.pointer_down()
        pointer.move_by(dx, dy)
        pointer.pointer_up()
        chain.perform()

    def draw(self, stage: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Drag from one place of a stage to another, in percent of its width and height."""
        box = stage.rect
        places = [
            (round(box["x"] + box["width"] * x / 100), round(box["y"] + box["height"] * y / 100))
            for x, y in (start, ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), end)
        ]
        chain, pointer = self.pointer()
        pointer.move_to_location(*places[0])
        pointer.pointer_down()
        for place in places[1:]:
            pointer.move_to_location(*place)
        pointer.pointer_up()
        chain.perform()

    def press(self, *keys: str) -> None:
        ActionChains(self.browser, duration=10).send_keys(*keys).perform()

    def heat(self, index: int) -> str | None:
        """The heatmap's pixels, if it is shown."""
        return self.run(
            """const heat = document.querySelectorAll("#match canvas.heat")[arguments[0]];
               return heat.hidden ? null : heat.toDataURL()""",
            index,
        )

    def requests(self) -> list[str]:
        return self.run("return performance.getEntriesByType('resource').map((e) => e.name)")

    def pins(self) -> list[list[str]]:
        """From, to and score of each pinned pair."""
        return [
            [row.find_element("css selector", f".{part}").text for part in ("from", "to", "score")]
            for row in self.all("#pins li")
        ]


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(", ")]


@contextmanager
def example_page(browser: Any, address: str) -> Iterator[Page]:
    """The page with the example pair loaded; no script may fail on it."""
    found = Page(browser, address)
    found.find("#example").click()
    found.until(lambda: found.all("body.ready"))
    yield found
    wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert wrong == []
