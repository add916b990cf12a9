"""The page as users meet it: the first heatmap, hovering, and eight clients at once.

    python benchmarks/serve.py

Needs chromium and chromedriver. Times are medians; the images are those of the example pair, as
they are and enlarged to twelve megapixels.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from homolog.example import pair

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")

# A pair of random numbers, packed as the server packs it; the values do not change the time.
HOVER = """
const [cells, consensus, done] = arguments;
const { Pair, paint } = await import("/static/heat.js");
const count = cells * cells, channels = 128, arrays = [], parts = [];
const add = (array) => {
  const name = array.constructor.name.replace("Array", "").toLowerCase();
  arrays.push({ type: name, length: array.length });
  parts.push(new Uint8Array(array.buffer), new Uint8Array((4 - array.byteLength % 4) % 4));
};
for (let index = 0; index < 2; index++) {
  add(Int8Array.from({ length: count * channels }, () => 250 * Math.random() - 125));
  add(new Float32Array(channels).fill(0.0006));
  add(new Uint8Array(count).fill(1));
}
const layout = {
  side: cells - 1, source_mean: [0.5, 0.5], target_mean: [0.5, 0.5],
  affine: [[1, 0], [0, 1]], variance: 0.02,
};
if (consensus) for (let index = 0; index < 2; index++) add(new Float32Array(count));
const scale = cells / 640;
const image = {
  size: [640, 640], grid: [cells, cells], channels,
  to_cells: [[scale, 0], [0, scale], [-0.5, -0.5]],
  to_points: [[1 / scale, 0], [0, 1 / scale], [0.5 / scale, 0.5 / scale]],
};
const guides = [0, 1].map(() => (consensus ? { layout } : null));
const header = new TextEncoder().encode(JSON.stringify({
  arrays, sides: [image, image], guides, window: 4, temperature: 0.02, pose: "identity",
  guidance: consensus ? { surroundings: 0.3, reach: 2, layout: 0.02 } : null,
}).padEnd(4096));
const length = new Uint8Array(new Uint32Array([header.length]).buffer);
const pair = new Pair(await new Blob([length, header, ...parts]).arrayBuffer());
const canvas = document.createElement("canvas"), times = [];
for (let i = 0; i < 200; i++) {
  const begin = performance.now();
  paint(canvas, pair.heatmap(0, [640 * Math.random(), 640 * Math.random()]));
  times.push(performance.now() - begin);
}
done(times.slice(20));
"""

# Points at the centre until the other image shows a heatmap.
HEAT = """
const done = arguments[0], stage = document.querySelector("#match .stage");
const next = () => {
  if (!document.querySelectorAll(".heat")[1].hidden) return done();
  const box = stage.getBoundingClientRect();
  stage.dispatchEvent(new PointerEvent("pointermove", {
    pointerType: "mouse", clientX: box.left + box.width / 2, clientY: box.top + box.height / 2,
  }));
  requestAnimationFrame(next);
};
next();
"""

# The whole page: the pointer moves at every frame for three seconds.
FRAMES = """
const done = arguments[0], stage = document.querySelector("#match .stage");
const box = stage.getBoundingClientRect(), begin = performance.now();
let frames = 0;
const next = () => {
  const turn = performance.now() - begin;
  if (turn > 3000) return done(frames / 3);
  frames++;
  stage.dispatchEvent(new PointerEvent("pointermove", {
    pointerType: "mouse", bubbles: true,
    clientX: box.left + box.width * (0.5 + 0.4 * Math.cos(turn / 300)),
    clientY: box.top + box.height * (0.5 + 0.4 * Math.sin(turn / 170)),
  }));
  requestAnimationFrame(next);
};
requestAnimationFrame(next);
"""


@contextmanager
def server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "homolog", "serve", "--port", "0", "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    try:
        ask(f"{address}api/start")
        yield address, process
    finally:
        process.terminate()
        process.wait()


def ask(address: str, content: bytes | None = None) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(address, data=content)) as answer:
        return answer.read()


@contextmanager
def browser() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver") or ""))
    driver.set_script_timeout(60)
    driver.implicitly_wait(10)
    yield driver
    driver.quit()


def first_heatmap(driver: Any, address: str, images: list[Path]) -> float:
    """Seconds from the moment that both files are chosen to the heatmap of a point."""
    driver.get(address)
    driver.find_element("css selector", "body[data-mode]")
    choosers = driver.execute_script("return [...document.querySelectorAll('input[type=file]')]")
    # Two files chosen at once go to both panels.
    driver.execute_script("arguments[0].multiple = true", choosers[0])
    begin = time.perf_counter()
    choosers[0].send_keys("\n".join(map(str, images)))
    driver.execute_async_script(HEAT)
    return time.perf_counter() - begin


def clients(address: str, contents: list[bytes], count: int) -> tuple[list[float], int]:
    """Seconds that each client waited for a pair and a point, and how many failed."""
    waited: list[float] = []
    failures = []

    def client() -> None:
        begin = time.perf_counter()
        try:
            sent = [json.loads(ask(f"{address}api/pictures?name=a.jpg", c)) for c in contents]
            route = f"{address}api/pairs/{sent[0]['id']}/{sent[1]['id']}/identity"
            ask(route)
            ask(f"{route}/point?source=0&x=100&y=100")
            waited.append(time.perf_counter() - begin)
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waited, len(failures)


def peak_mib(process: subprocess.Popen[str]) -> float:
    """The peak memory of a process so far."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    with pair() as example, tempfile.TemporaryDirectory() as folder, browser() as driver:
        small = [example.image0, example.image1]
        large = [Path(folder) / path.name for path in small]
        for source, target in zip(small, large, strict=True):
            with Image.open(source) as image:
                image.resize((4000, 3000)).save(target, quality=90)
        print("| the page | | limit |\n|---|---|---|")
        with server() as (address, _):
            for name, images in (("640 x 480", small), ("4000 x 3000", large)):
                times = [first_heatmap(driver, address, images) for _ in range(5)]
                found = statistics.median(times)
                print(f"| first heatmap after two uploads, {name} | {found:.2f} s | 2 s |")
            for cells in (41, 60):
                for consensus in (True, False):
                    times = driver.execute_async_script(HOVER, cells, consensus)
                    median, worst = statistics.median(times), sorted(times)[-len(times) // 20]
                    what = f"{cells} x {cells} cells{', consensus' if consensus else ''}"
                    print(
                        f"| hovering, {what}: median, 95th percentile | "
                        f"{median:.1f}, {worst:.1f} ms | 33 ms |"
                    )
            frames = driver.execute_async_script(FRAMES)
            print(f"| frames a second while the pointer moves, 41 x 41 cells | {frames:.0f} | 30 |")
        for name, images in (("640 x 480", small), ("4000 x 3000", large)):
            contents = [path.read_bytes() for path in images]
            for count in (1, 8):
                with server() as (address, process):
                    waited, failed = clients(address, contents, count)
                    who = f"{count} {'client' if count == 1 else 'clients at once'}, {name}"
                    print(
                        f"| {who}: failures, longest wait, peak memory | {failed}, "
                        f"{max(waited):.1f} s, {peak_mib(process):.0f} MiB | 0 failures |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
