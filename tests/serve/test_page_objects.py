"""Boxes and instances on the page in a real browser: drawn, moved, resized, deleted, switched."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browser import Page, example_page, numbers, serving
from helpers.toys import random_image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.keys import Keys

from homolog.data.formats import coco
from homolog.example import pair
from homolog.serve import Options

HEAD = (109.0, 163.0)  # of the fox


@pytest.fixture
def page(browser, address) -> Iterator[Page]:
    """The example pair, loaded."""
    with example_page(browser, address) as found:
        yield found


def panel(page: Page, index: int, selector: str) -> list:
    return page.all(f'.panel[data-index="{index}"] {selector}')


def box_of(page: Page, index: int) -> list[int]:
    """x, y, width and height of the chosen box, as its label says."""
    text = panel(page, index, ".box.current .chip")[0].get_attribute("aria-label")
    words = text.replace(",", "").split()
    return [int(words[i]) for i in (3, 5, 6, 8)]


def loaded(page: Page, *parts: str) -> list[str]:
    """Requests of the pair with all of these parts in their address."""
    return [
        name for name in page.requests()
        if "/identity" in name and "/point" not in name and all(part in name for part in parts)
    ]  # fmt: skip


def draw(page: Page, index: int, start: tuple[int, int], end: tuple[int, int]) -> None:
    before = len(panel(page, index, ".box"))
    page.press("b")
    page.draw(panel(page, index, ".stage")[0], start, end)
    page.until(lambda: len(panel(page, index, ".box")) == before + 1)


def test_a_box_is_matched_alone(page, matcher):
    draw(page, 0, (8, 20), (60, 80))
    assert panel(page, 0, ".stage.drawing") == panel(page, 1, ".stage.drawing") == []
    box = box_of(page, 0)
    assert box == pytest.approx([51, 96, 333, 288], abs=3)
    page.until(lambda: loaded(page, "box0="))
    sent = loaded(page, "box0=")[-1].split("box0=")[1].replace("%2C", ",")
    exact = [float(value) for value in sent.split(",")]
    page.click(0, HEAD)
    page.until(page.pins)
    first, second, score = page.pins()[0]
    with pair() as example:
        expected = matcher.transfer(example.image0, example.image1, [numbers(first)], box0=exact)
    assert numbers(second) == pytest.approx(expected.keypoints1[0], abs=2)
    assert float(score) == pytest.approx(expected.matching_scores[0], abs=0.02)
    # Beyond it nothing is matched, which is said.
    page.click(0, (600, 60))
    page.until(lambda: "outside box 1" in page.find("#toast").text)
    assert len(page.pins()) == 1
    page.hover(0, (600, 60))
    page.until(lambda: page.heat(1) is None)
    page.hover(0, (200, 240))
    page.until(lambda: page.heat(1))


def test_hovering_a_box_is_the_library_s_arithmetic(page, matcher):
    """What the browser computes in regions is what the matcher computes."""
    box0, box1 = [50, 100, 330, 280], [150, 40, 400, 400]
    points = [[109.0, 163.0], [200.0, 240.0], [300.0, 330.0]]
    with pair() as example:
        expected = matcher.transfer(example.image0, example.image1, points, box0=box0, box1=box1)
    found = page.browser.execute_async_script(
        """const [points, query, done] = arguments;
           const { Pair } = await import("/static/heat.js");
           const { example } = await (await fetch("/api/start")).json();
           const answer = await fetch(`/api/pairs/${example[0]}/${example[1]}/identity?${query}`);
           const pair = new Pair(await answer.arrayBuffer());
           done([points.map((point) => pair.heatmap(0, point).point),
                 pair.maps[0].holds([2, 2]), pair.maps[0].holds([109, 163])])""",
        points, "box0=50,100,330,280&box1=150,40,400,400",
    )  # fmt: skip
    assert found[0] == pytest.approx(expected.keypoints1, abs=640 / 41)
    assert found[1:] == [False, True]


def test_several_boxes_moved_resized_and_deleted(page):
    draw(page, 0, (10, 20), (50, 60))
    draw(page, 0, (55, 30), (90, 80))
    draw(page, 0, (20, 65), (45, 95))
    names = [button.text for button in panel(page, 0, ".objects button")]
    assert names == ["Whole image", "1", "2", "3", "Draw box"]
    # Chosen in the list, or by its label on the image.
    panel(page, 0, '[data-name="Box 2"]')[0].click()
    page.until(lambda: panel(page, 0, ".box.current .chip")[0].text == "2")
    panel(page, 0, ".box:not(.current) .chip")[0].click()
    page.until(lambda: panel(page, 0, ".box.current .chip")[0].text == "1")
    x, y, width, height = box_of(page, 0)
    before = len(loaded(page, "box0="))
    page.drag(panel(page, 0, ".box.current .chip")[0], 40, 25)
    moved = box_of(page, 0)
    assert moved[2:] == [width, height] and moved[0] > x + 20 and moved[1] > y + 10
    page.until(lambda: len(loaded(page, "box0=")) == before + 1)
    page.drag(panel(page, 0, ".box.current .corner.right.lower")[0], 30, 20)
    wider = box_of(page, 0)
    assert wider[:2] == moved[:2] and wider[2] > width + 15 and wider[3] > height + 10
    # The keyboard: from the label the box moves, from a corner it is resized.
    panel(page, 0, ".box.current .chip")[0].send_keys(Keys.ARROW_LEFT, Keys.SHIFT, Keys.ARROW_UP)
    assert box_of(page, 0) == pytest.approx([wider[0] - 1, wider[1] - 10, *wider[2:]], abs=1)
    panel(page, 0, ".box.current .corner.left.upper")[0].send_keys(Keys.ARROW_RIGHT)
    assert box_of(page, 0)[2] == pytest.approx(wider[2] - 1, abs=1)
    panel(page, 0, ".box.current .chip")[0].send_keys(Keys.DELETE)
    page.until(lambda: len(panel(page, 0, ".box")) == 2)
    assert panel(page, 0, ".box.current") == []
    assert panel(page, 0, '[data-name="Whole image"]')[0].get_attribute("aria-pressed") == "true"
    panel(page, 0, '[data-name="Box 3"]')[0].click()
    panel(page, 0, ".box.current .remove")[0].click()
    page.until(lambda: len(panel(page, 0, ".box")) == 1)


def test_a_box_stays_within_its_image(page):
    draw(page, 1, (60, 60), (95, 95))
    page.drag(panel(page, 1, ".box.current .chip")[0], 150, 200)
    x, y, width, height = box_of(page, 1)
    assert x + width <= 640 and y + height <= 480 and width > 150
    page.drag(panel(page, 1, ".box.current .corner.left.upper")[0], 200, 200)
    x, y, width, height = box_of(page, 1)
    assert x + width <= 640 and y + height <= 480 and min(width, height) >= 1


def test_drawn_with_the_keyboard_and_given_up(page):
    stage = panel(page, 0, ".stage")[0]
    stage.send_keys("b")
    page.until(lambda: panel(page, 0, ".stage.drawing"))
    stage.send_keys(Keys.ESCAPE)
    page.until(lambda: not panel(page, 0, ".stage.drawing"))
    stage.send_keys("b", Keys.ENTER)
    page.until(lambda: panel(page, 0, ".box.current"))
    assert box_of(page, 0) == pytest.approx([160, 120, 320, 240], abs=2)
    assert page.run("return document.activeElement.className") == "chip"
    # A click in place of a drag draws nothing.
    page.press("b")
    page.click(1, (300, 200))
    assert panel(page, 1, ".box") == [] and page.pins() == []


def test_exports_say_which_boxes(page, saved, tmp_path):
    page.click(0, HEAD)
    page.until(lambda: len(page.pins()) == 1)
    draw(page, 0, (8, 20), (60, 80))
    draw(page, 1, (25, 5), (90, 95))
    page.until(lambda: loaded(page, "box0=", "box1="))
    page.click(0, (200, 240))
    page.until(lambda: len(page.pins()) == 2)

    def download(format: str, name: str) -> str:
        path = saved / name
        path.unlink(missing_ok=True)
        page.find(f"[data-format={format}]").click()
        page.until(lambda: path.is_file() and path.stat().st_size)
        return path.read_text()

    found = json.loads(download("json", "fox-husky.json"))
    assert found["boxes0"][0] is found["boxes1"][0] is None
    box0, box1 = found["boxes0"][1], found["boxes1"][1]
    assert box0 == pytest.approx([51, 96, 333, 288], abs=3)
    lines = download("csv", "fox-husky.csv").splitlines()
    assert lines[0].endswith(",corrected,box0,box1") and lines[1].endswith("false,,")
    assert lines[2].endswith(",".join(" ".join(map(str, box)) for box in (box0, box1)))
    path = tmp_path / "labels.json"
    path.write_text(download("coco", "fox-husky.coco.json"))
    annotations = coco.read_document(path)["annotations"]
    assert [a["image_id"] for a in annotations] == [1, 2, 1, 2]
    assert [a["bbox"] for a in annotations[2:]] == [box0, box1]
    assert annotations[2]["keypoints"][:3] == [0, 0, 0] and annotations[2]["num_keypoints"] == 1


def test_zoom_matches_points_beyond_the_box_in_the_whole_image(page, matcher):
    draw(page, 0, (8, 20), (60, 80))
    page.find("#zoom").click()
    page.until(lambda: loaded(page, "box0=", "zoom=auto"))
    page.until(lambda: page.find("#zoom").get_attribute("aria-pressed") == "true")
    page.hover(0, HEAD)
    page.until(lambda: page.heat(1))
    page.click(0, (600, 60))
    page.until(page.pins)
    first, second, _ = page.pins()[0]
    with pair() as example:
        expected = matcher.transfer(example.image0, example.image1, [numbers(first)])
    assert numbers(second) == pytest.approx(expected.keypoints1[0], abs=2)


def entry(id: int, image: int, box: list[float], doubtful: list[int], track: int) -> dict:
    x, y, width, height = box
    points = [x + 5, y + 5, 2, x + width - 5, y + 5, 2, x + 5, y + height - 5, 2]
    return {
        "id": id, "image_id": image, "category_id": 1, "bbox": box, "area": width * height,
        "iscrowd": 0, "num_keypoints": 3, "keypoints": points, "track_id": track,
        "homolog": {"scores": [0.9, 0.2, 0.4], "doubtful": doubtful, "reviewed": [],
                    "predicted": list(points)},
    }  # fmt: skip


@pytest.fixture
def labels(tmp_path) -> Path:
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        random_image(400, 200, number).save(tmp_path / name)
    images = [
        {"id": n, "file_name": name, "width": 400, "height": 200}
        for n, name in ((1, "a.png"), (2, "b.png"), (3, "c.png"))
    ]
    category = {"id": 1, "name": "bee", "keypoints": ["head", "left_wing", "right_wing"],
                "skeleton": [[1, 2], [1, 3]]}  # fmt: skip
    annotations = [
        entry(1, 1, [20, 40, 100, 80], [1], 11),
        entry(2, 1, [150, 40, 100, 80], [0, 2], 12),
        entry(3, 1, [280, 40, 100, 80], [], 13),
        entry(4, 2, [50, 40, 100, 80], [2], 11),
    ]
    path = tmp_path / "labels.json"
    path.write_text(
        json.dumps({"images": images, "categories": [category], "annotations": annotations})
    )
    return path


@pytest.fixture
def review(browser, colour_matcher, labels) -> Iterator[Page]:
    with serving(colour_matcher, Options(labels=labels)) as address:
        page = Page(browser, address)
        page.until(lambda: page.all("#review-stage .box"))
        yield page
        wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert wrong == []


def facts(page: Page) -> str:
    return page.find("#point-facts").text


def chosen(page: Page) -> str:
    return page.run(
        "return document.querySelector('#review-stage .box.current .chip')?.textContent"
    )


def annotations(path: Path) -> list[dict]:
    return json.loads(path.read_text())["annotations"]


def test_switching_between_instances(review, labels):
    assert chosen(review) == "11" and "object 11" in facts(review)
    rows = [row.text.split("\n") for row in review.all("#instances .choose-instance")]
    assert rows == [["11", "3 of 3, 1 doubtful"], ["12", "3 of 3, 2 doubtful"], ["13", "3 of 3"]]
    review.press("i")
    review.until(lambda: chosen(review) == "12" and "object 12" in facts(review))
    review.press("I")
    review.until(lambda: chosen(review) == "11")
    review.press("3")
    review.until(lambda: chosen(review) == "13")
    assert not review.find("#point").is_displayed(), "none of its points is doubtful"
    review.press("z")
    review.find('#review-stage .chip[aria-label^="object 12,"]').click()
    review.until(lambda: chosen(review) == "12")
    # The keys go on with the points of the object that was clicked.
    review.press(Keys.ENTER)
    review.until(lambda: annotations(labels)[1]["homolog"]["reviewed"] == [0])
    review.find("#instances li:first-child .choose-instance").click()
    review.until(lambda: chosen(review) == "11")
    review.press(Keys.ENTER)
    review.until(lambda: annotations(labels)[0]["homolog"]["reviewed"] == [1])
    review.until(lambda: chosen(review) == "12" and "right wing" in review.find("#point-name").text)


def test_images_without_labels_are_reached(review):
    review.press(Keys.PAGE_DOWN, Keys.PAGE_DOWN)
    review.until(lambda: "c.png · image 3 of 3" in review.find(".images-here").text)
    review.until(lambda: review.find("#no-instances").is_displayed())
    review.find("#next-image").click()
    review.until(lambda: chosen(review) == "11" and "a.png" in facts(review))
    review.press(Keys.PAGE_UP)
    review.until(lambda: "c.png" in review.find(".images-here").text)


def test_a_new_instance_from_box_to_points(review, labels):
    review.press(Keys.PAGE_UP)
    review.until(lambda: review.find("#no-instances").is_displayed())
    review.find("#draw").click()
    review.draw(review.find("#review-stage"), (20, 40), (60, 70))
    review.until(lambda: len(annotations(labels)) == 5)
    added = annotations(labels)[4]
    assert added["image_id"] == 3 and added["track_id"] == 14 and added["num_keypoints"] == 0
    review.until(lambda: chosen(review) == "14" and review.find("#left").text == "7 of 7")
    assert review.find("#point-name").text == "head"
    stage = review.find("#review-stage").rect
    for place in ((30, 45), (50, 50)):
        chain, pointer = review.pointer()
        pointer.move_to_location(
            round(stage["x"] + stage["width"] * place[0] / 100),
            round(stage["y"] + stage["height"] * place[1] / 100),
        )
        pointer.click()
        chain.perform()
    # A point that was placed leads to the next one.
    review.press(Keys.ENTER)  # it cannot be seen
    review.until(lambda: annotations(labels)[4]["homolog"]["reviewed"] == [0, 1, 2])
    assert annotations(labels)[4]["keypoints"][2::3] == [2, 2, 0]
    assert annotations(labels)[:4] == json.loads(labels.read_text())["annotations"][:4]


def test_boxes_are_moved_and_resized(review, labels):
    review.press("z", "2")
    review.until(lambda: chosen(review) == "12")
    review.drag(review.find("#review-stage .box.current .chip"), 20, 30)
    review.until(lambda: annotations(labels)[1]["bbox"][0] > 152)
    x, y, width, height = annotations(labels)[1]["bbox"]
    assert (width, height) == pytest.approx((100, 80), abs=0.02) and y > 42
    review.drag(review.find("#review-stage .box.current .corner.right.lower"), 30, 20)
    review.until(lambda: annotations(labels)[1]["bbox"][2] > width + 2)
    wider = annotations(labels)[1]["bbox"]
    assert wider[:2] == pytest.approx([x, y], abs=0.02) and wider[3] > height + 2
    review.drag(review.find("#review-stage .box.current .edge.tall:not(.far)"), -20, 0)
    review.until(lambda: annotations(labels)[1]["bbox"][0] < x - 2)
    review.find("#review-stage .box.current .chip").send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    review.until(lambda: annotations(labels)[1]["bbox"][1] == pytest.approx(y + 2, abs=0.03))
    assert annotations(labels)[1]["keypoints"] == [155, 45, 2, 245, 45, 2, 155, 115, 2]
    for _ in range(4):
        review.press("u")
    review.until(lambda: annotations(labels)[1]["bbox"] == [150, 40, 100, 80])
    ActionChains(review.browser).key_down(Keys.CONTROL).send_keys("y").key_up(
        Keys.CONTROL
    ).perform()
    review.until(lambda: annotations(labels)[1]["bbox"][0] == pytest.approx(x, abs=0.02))


def test_points_on_the_edge_of_a_box_are_placed(review, labels):
    """The edges resize the box when they are dragged; a click is for the point below."""
    review.press("z")
    edge = review.find("#review-stage .box.current .edge.wide.far")
    review.until(lambda: edge.rect["y"] > 0)
    chain, pointer = review.pointer()
    pointer.move_to(edge)
    pointer.click()
    chain.perform()
    review.until(lambda: annotations(labels)[0]["homolog"]["reviewed"] == [1])
    assert annotations(labels)[0]["keypoints"][3:6] == pytest.approx([70, 120, 2], abs=2)
    assert annotations(labels)[0]["bbox"] == pytest.approx([20, 40, 100, 80], abs=1)


def test_an_instance_is_deleted_and_comes_back(review, labels):
    before = annotations(labels)
    review.find('#instances [aria-label="Delete object 12"]').click()
    review.until(lambda: len(annotations(labels)) == 3)
    review.until(lambda: "is deleted" in review.find("#toast").text)
    assert review.find("#left").text == "2 of 2"
    ActionChains(review.browser).key_down(Keys.CONTROL).send_keys("z").key_up(
        Keys.CONTROL
    ).perform()
    review.until(lambda: annotations(labels) == before)
    review.until(lambda: chosen(review) == "12")
    # By its label on the image; restored after the page was loaded anew.
    review.find("#review-stage .box.current .chip").send_keys(Keys.DELETE)
    review.until(lambda: len(annotations(labels)) == 3)
    review.browser.refresh()
    review.find('#instances [aria-label="Restore object 12"]').click()
    review.until(lambda: len(annotations(labels)) == 4)
    assert sorted(annotations(labels), key=lambda entry: entry["id"]) == before


def test_instances_on_a_phone(review):
    review.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
    )
    review.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        assert review.run("return document.documentElement.scrollWidth") == 390
        review.run("document.querySelector('#draw').click()")
        stage = review.find("#review-stage").rect
        touches = [(0.4, 0.55), (0.5, 0.58), (0.6, 0.6)]
        for kind, place in zip(("touchStart", "touchMove", "touchMove"), touches, strict=True):
            point = {"x": stage["x"] + stage["width"] * place[0],
                     "y": stage["y"] + stage["height"] * place[1]}  # fmt: skip
            review.browser.execute_cdp_cmd(
                "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]}
            )
        review.browser.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []}
        )
        review.until(lambda: len(review.all("#review-stage .box")) == 4)
        # Every handle can be hit with a finger.
        for part in review.all("#review-stage .box.current .corner"):
            size = review.run(
                "const s = getComputedStyle(arguments[0], '::before'); return [s.width, s.height]",
                part,
            )
            assert min(float(value.removesuffix("px")) for value in size) >= 24
    finally:
        review.browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        review.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_everything_has_a_name(review):
    """Whatever can be focused says what it is."""
    nameless = review.run(
        """const parts = "button, [tabindex], select";
           return [...document.querySelector("#review").querySelectorAll(parts)]
             .filter((each) => each.offsetParent && !each.disabled && !each.closest("label")
               && !(each.getAttribute("aria-label") || each.textContent.trim()))
             .map((each) => each.outerHTML)"""
    )
    assert nameless == []
