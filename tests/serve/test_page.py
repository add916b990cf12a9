"""The page in a real browser; nothing leaves this machine."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Page, example_page, numbers, serving
from helpers.toys import random_image
from selenium.webdriver.common.keys import Keys

from homolog.data import coco, labels
from homolog.example import pair
from homolog.serve import Options

POINT = (109.0, 163.0)  # on the fox's head


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """The example pair, loaded."""
    with example_page(browser, address) as found:
        yield found


def test_two_files(browser, address):
    page = Page(browser, address)
    with pair() as example:
        for chooser, path in zip(
            page.all("#match input[type=file]"), (example.image0, example.image1), strict=True
        ):
            chooser.send_keys(str(path))
        page.until(lambda: page.all("body.ready"))
    assert [name.text for name in page.all(".caption .name")] == ["left.jpg", "right.jpg"]
    assert page.find("#verdict").text.split() == [
        "pair", "score", "0.60", "same", "kind", "of", "object"
    ]  # fmt: skip
    assert {name.split("/")[2] for name in page.requests()} == {address.split("/")[2]}


def test_a_file_that_is_no_image(browser, address, tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    page = Page(browser, address)
    page.all("#match input[type=file]")[0].send_keys(str(tmp_path / "a.jpg"))
    page.until(lambda: page.find("#toast").text.startswith("a.jpg: expected a JPEG, PNG, WebP, "))
    browser.get_log("browser")  # the answer 400, which browsers take note of


def test_hovering_sends_no_request(page):
    page.until(lambda: len(page.requests()) >= 5)
    before = page.requests()
    page.hover(0, POINT)
    first = page.until(lambda: page.heat(1))
    page.hover(0, (300, 330))
    second = page.until(lambda: (now := page.heat(1)) != first and now)
    page.hover(1, (237, 99))
    page.until(lambda: page.heat(0))
    assert page.heat(1) is None and second
    assert page.requests() == before


def test_the_arithmetic_of_the_browser(page, matcher):
    """Matches and scores computed there are the matcher's, up to quantisation."""
    with pair() as example:
        points = example.keypoints0[example.visible]
        expected = matcher.transfer(example.image0, example.image1, points, poses=["identity"])
    found = page.browser.execute_async_script(
        """const [points, done] = arguments;
           const { Pair } = await import("/static/heat.js");
           const { example } = await (await fetch("/api/start")).json();
           const answer = await fetch(`/api/pairs/${example[0]}/${example[1]}/identity`);
           const pair = new Pair(await answer.arrayBuffer());
           const heatmaps = points.map((point) => pair.heatmap(0, point));
           done(heatmaps.map(({ point, score }) => [...point, score]))""",
        points.tolist(),
    )
    positions, scores = np.array(found)[:, :2], np.array(found)[:, 2]
    cell = 640 / 41
    near = np.abs(positions - expected.keypoints1).max(axis=1) < cell
    assert near.mean() > 0.9
    assert np.abs(scores - expected.matching_scores)[near].max() < 0.05


def test_pins(page, matcher):
    page.click(0, POINT)
    page.until(page.pins)
    (first, second, score) = page.pins()[0]
    with pair() as example:
        expected = matcher.transfer(example.image0, example.image1, [numbers(first)])
    assert numbers(second) == pytest.approx(expected.keypoints1[0], abs=2)
    assert float(score) == pytest.approx(expected.matching_scores[0], abs=0.02)
    # Moved at its match, the pin is corrected; its origin stays.
    page.drag(page.all(".panel[data-index='1'] .pin")[0], 30, 12)
    page.until(lambda: page.pins()[0][2] == "corrected")
    moved = page.pins()[0]
    assert moved[0] == first and numbers(moved[1])[0] > numbers(second)[0] + 15
    # The keyboard: a pixel, ten pixels.
    page.all(".panel[data-index='1'] .pin")[0].send_keys(Keys.ARROW_LEFT, Keys.SHIFT, Keys.ARROW_UP)
    stepped = numbers(page.pins()[0][1])
    assert np.subtract(numbers(moved[1]), stepped) == pytest.approx([1, 10], abs=0.11)
    # Moved at its origin, it is matched again.
    page.drag(page.all(".panel[data-index='0'] .pin")[0], 60, 60)
    page.until(lambda: page.pins()[0][2] != "corrected")
    assert page.pins()[0][0] != first
    # Picked in the second image.
    page.click(1, (550, 60))
    page.until(lambda: len(page.pins()) == 2)
    page.all(".panel[data-index='0'] .pin")[0].send_keys(Keys.DELETE)
    page.until(lambda: len(page.pins()) == 1)


def test_without_a_mouse(page):
    stage = page.all("#match .stage")[0]
    stage.send_keys(Keys.SHIFT, Keys.ARROW_LEFT, Keys.ARROW_UP, Keys.SHIFT, Keys.ARROW_LEFT)
    page.until(lambda: page.heat(1))
    stage.send_keys(Keys.ENTER)
    page.until(page.pins)
    assert numbers(page.pins()[0][0]) == pytest.approx([309, 230])
    stage.send_keys("h")
    page.until(lambda: page.find("#show-heat").get_attribute("aria-pressed") == "false")
    stage.send_keys(Keys.TAB)
    assert page.run("return document.activeElement.className").startswith("pin")


def test_poses(page, matcher):
    with pair() as example:
        prepared = matcher.pair(example.image0, example.image1, poses="flip")
        distances = {pose.name: prepared.distance(pose) for pose in prepared.poses}
    page.find("[data-pose=flip]").click()
    page.until(lambda: page.find("[data-pose=flip]").get_attribute("aria-pressed") == "true")
    for name, distance in distances.items():
        assert page.find(f"[data-pose={name}] small").text == f"IMD {distance:.3f}"
    assert "right" in page.find("#note").text
    page.hover(0, POINT)
    page.until(lambda: page.heat(1))


def test_matches_and_warp(page):
    bare = page.run("return document.querySelectorAll('canvas.marks')[0].toDataURL()")
    page.find("#show-matches").click()
    page.until(
        lambda: page.run("return document.querySelectorAll('canvas.marks')[0].toDataURL()") != bare
    )
    page.find("#show-warp").click()
    page.until(lambda: page.run("return document.querySelectorAll('.warp')[1].naturalWidth") == 640)
    assert page.find("#warp-slider").is_displayed()


def download(page: Page, saved: Path, format: str, name: str) -> bytes:
    page.find(f"[data-format={format}]").click()
    path = saved / name
    page.until(lambda: path.is_file() and path.stat().st_size)
    return path.read_bytes()


def test_exports(page, saved, tmp_path):
    for count, point in enumerate((POINT, (41, 186), (300, 330)), start=1):
        page.click(0, point)
        page.until(lambda count=count: len(page.pins()) == count)
    found = json.loads(download(page, saved, "json", "fox-husky.json"))
    assert found["pose"] == "identity" and found["size1"] == [640, 480]
    assert len(found["keypoints0"]) == len(found["matching_scores"]) == 3
    assert found["keypoints0"][0] == pytest.approx(POINT, abs=1)
    lines = download(page, saved, "csv", "fox-husky.csv").decode().splitlines()
    assert lines[0] == "number,x0,y0,x1,y1,score,pose,corrected" and len(lines) == 4
    drawing = download(page, saved, "png", "fox-husky.png")
    assert drawing.startswith(b"\x89PNG") and len(drawing) > 100_000
    path = tmp_path / "labels.json"
    path.write_bytes(download(page, saved, "coco", "fox-husky.coco.json"))
    with pair() as example:
        for name, source in (("fox.jpg", example.image0), ("husky.jpg", example.image1)):
            (tmp_path / name).write_bytes(source.read_bytes())
    data = coco.load(path)
    assert len(data.pairs) == 2
    assert np.allclose(data.pairs[0].source.keypoints, found["keypoints0"])


def test_phones(page):
    page.run("window.name = 'phone'")
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    try:
        boxes = [stage.rect for stage in page.all("#match .stage")]
        assert boxes[1]["y"] > boxes[0]["y"] + boxes[0]["height"]
        assert page.run("return document.documentElement.scrollWidth") == 390
        x, y = page.position(0, POINT)
        for kind in ("touchStart", "touchEnd"):
            points = [{"x": x, "y": y}] if kind == "touchStart" else []
            page.browser.execute_cdp_cmd(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": points}
            )
        page.until(page.pins)
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def reviewed(tmp_path) -> Path:
    random_image(200, 100).save(tmp_path / "a.png")
    random_image(200, 100, 1).save(tmp_path / "b.png")
    points = [20, 30, 2, 90, 50, 2, 150, 60, 2]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [10, 20, 160, 60], "area": 9600,
         "iscrowd": 0, "num_keypoints": 3, "keypoints": points,
         "homolog": {"scores": [0.9, 0.2, 0.4], "doubtful": doubtful, "reviewed": [],
                     "predicted": points}}
        for n, doubtful in ((1, [1, 2]), (2, [0]))
    ]  # fmt: skip
    path = tmp_path / "labels.json"
    images = [{"id": n, "file_name": f, "width": 200, "height": 100}
              for n, f in ((1, "a.png"), (2, "b.png"))]  # fmt: skip
    category = {"id": 1, "name": "bee", "keypoints": ["head", "left_wing", "right_wing"],
                "skeleton": [[1, 2], [1, 3]]}  # fmt: skip
    path.write_text(
        json.dumps({"images": images, "categories": [category], "annotations": annotations})
    )
    return path


def test_review(browser, colour_matcher, reviewed):
    with serving(colour_matcher, Options(labels=reviewed)) as address:
        page = Page(browser, address)

        def keypoints(annotation: int) -> list[float]:
            return labels.Labels.read(reviewed).annotations[annotation - 1]["keypoints"]

        def left() -> str:
            return page.find("#left").text

        def name() -> str:
            return page.find("#point-name").text

        page.until(lambda: left() == "3 of 3" and page.all("#review-stage.filled"))
        assert name() == "left wing"
        # Accepted as it is.
        page.press(Keys.ENTER)
        page.until(lambda: left() == "2 of 3" and name() == "right wing")
        assert keypoints(1)[3:6] == [90, 50, 2]
        # Dragged, then a step with the keyboard.
        page.drag(page.find("#review-stage .pin.current"), 40, 20)
        page.until(lambda: left() == "1 of 3")
        moved = keypoints(1)[6:8]
        assert moved[0] > 151 and moved[1] > 60.5
        page.press(Keys.ARROW_LEFT)
        page.until(lambda: keypoints(1)[6] == pytest.approx(moved[0] - 1))
        # The other image; not visible, visible, clicked.
        page.press("n")
        page.until(lambda: name() == "head" and "b.png" in page.find("#point-facts").text)
        page.press("v")
        page.until(lambda: keypoints(2)[:3] == [0, 0, 0])
        page.press("v")
        page.until(lambda: keypoints(2)[:3] == [20, 30, 2])
        page.press("z")
        box = page.find("#review-stage").rect
        chain, pointer = page.pointer()
        pointer.move_to_location(
            round(box["x"] + box["width"] / 2), round(box["y"] + box["height"] / 2)
        )
        pointer.click()
        chain.perform()
        page.until(lambda: keypoints(2)[:2] == pytest.approx([100, 50], abs=1))
        assert left() == "Nothing is doubtful"
