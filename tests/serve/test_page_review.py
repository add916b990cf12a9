"""The review in a real browser: what is accepted, undone, gone back to, counted and exported."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.browser import Page, serving
from helpers.toys import random_image
from selenium.webdriver.common.keys import Keys

from homolog.serve import Options

NAMES = ["head", "left_wing", "right_wing"]


def entry(id: int | str, image: int | str, scores: list[float], doubtful: list[int]) -> dict:
    points = [40, 30, 2, 90, 50, 2, 150, 60, 2]
    return {
        "id": id, "image_id": image, "category_id": "bee", "bbox": [30, 20, 130, 50], "area": 6500,
        "iscrowd": 0, "num_keypoints": 3, "keypoints": points,
        "homolog": {"scores": scores, "doubtful": doubtful, "reviewed": [],
                    "predicted": list(points)},
    }  # fmt: skip


@pytest.fixture
def labels(tmp_path) -> Path:
    """Three images, the second of which is most doubtful; all ids are text."""
    for number, name in enumerate(("a.png", "b.png", "c.png")):
        random_image(200, 100, number).save(tmp_path / name)
    images = [{"id": f"i{n}", "file_name": f"{n}.png", "width": 200, "height": 100} for n in "abc"]
    annotations = [
        entry("x/1", "ia", [0.9, 0.6, 0.95], [1]),
        entry("x/2", "ib", [0.1, 0.2, 0.9], [0, 1]),
        entry("x/3", "ic", [0.9, 0.9, 0.5], [2]),
    ]
    path = tmp_path / "labels.json"
    category = {"id": "bee", "name": "bee", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}
    path.write_text(
        json.dumps({"images": images, "categories": [category], "annotations": annotations})
    )
    return path


@pytest.fixture
def review(browser, colour_matcher, labels) -> Iterator[Page]:
    with serving(colour_matcher, Options(labels=labels, folder=labels.parent)) as address:
        page = Page(browser, address)
        page.until(lambda: page.all("#review-stage .pin.current"))
        yield page
        wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert wrong == []


def here(page: Page) -> tuple[str, str]:
    """The image and the keypoint that are shown."""
    return page.find("#point-facts").text.split(" · ")[0], page.find("#point-name").text


def annotations(path: Path) -> list[dict]:
    return json.loads(path.read_text())["annotations"]


def reviewed(path: Path) -> list[list[int]]:
    return [each["homolog"]["reviewed"] for each in annotations(path)]


def test_the_most_doubtful_image_comes_first(review, labels):
    assert here(review) == ("b.png", "head") and review.find("#left").text == "4 of 4"
    assert "image 1 of 3" in review.find(".images-here").text
    for expected in (("b.png", "left wing"), ("c.png", "right wing"), ("a.png", "left wing")):
        review.press(Keys.ENTER)
        review.until(lambda expected=expected: here(review) == expected)
    # Back, to points that are accepted: one is moved, and undone.
    review.press("p")
    review.until(lambda: here(review) == ("c.png", "right wing"))
    assert "reviewed" in review.find("#point-facts").text
    review.press("p")
    review.until(lambda: here(review) == ("b.png", "left wing"))
    review.press(Keys.ARROW_RIGHT)
    review.until(lambda: annotations(labels)[1]["keypoints"][3] == 91)
    review.press("n")
    review.until(lambda: here(review) == ("a.png", "left wing"))
    review.press("u")
    review.until(lambda: annotations(labels)[1]["keypoints"][3] == 90)
    review.until(lambda: here(review) == ("b.png", "left wing"))
    review.press("U")
    review.until(lambda: annotations(labels)[1]["keypoints"][3] == 91)


def test_a_whole_image_with_one_key(review, labels):
    review.press("a")
    review.until(lambda: here(review) == ("c.png", "right wing"))
    assert reviewed(labels) == [[], [0, 1, 2], []]
    review.press("u")
    review.until(lambda: here(review) == ("b.png", "head") and reviewed(labels)[1] == [])
    review.press("U")
    review.until(lambda: review.find("#left").text == "2 of 4")
    assert reviewed(labels)[1] == [0, 1, 2]
    review.press(Keys.PAGE_UP)
    review.until(lambda: "a.png" in review.find(".images-here").text)
    review.press("a")
    review.until(lambda: reviewed(labels) == [[0, 1, 2], [0, 1, 2], []])


def test_occluded_and_not_visible(review, labels):
    review.press("o")
    review.until(lambda: annotations(labels)[1]["keypoints"][:3] == [40, 30, 1])
    assert "occluded" in review.find("#point-facts").text
    # It stays so when it is moved and accepted.
    review.drag(review.find("#review-stage .pin.current"), 30, 0)
    review.until(lambda: annotations(labels)[1]["keypoints"][0] > 41)
    review.press(Keys.ENTER)
    review.until(lambda: here(review) == ("b.png", "left wing"))
    assert annotations(labels)[1]["keypoints"][2] == 1
    assert len(review.all("#review-stage .pin.occluded")) == 1
    review.press("p", "o")
    review.until(lambda: annotations(labels)[1]["keypoints"][2] == 2)
    review.press("v")
    review.until(lambda: annotations(labels)[1]["keypoints"][:3] == [0, 0, 0])
    for _ in range(5):
        review.press("u")
    review.until(lambda: annotations(labels)[1] == entry("x/2", "ib", [0.1, 0.2, 0.9], [0, 1]))


def table(page: Page) -> dict[str, list[str]]:
    rows = [row.text.split("\n") for row in page.all("#keypoints-body tr")]
    cells = [" ".join(row).rsplit(" ", 4) for row in rows]
    return {name: values for name, *values in cells}


def test_a_table_of_keypoints_that_filters(review, labels):
    review.until(lambda: table(review)["left wing"] == ["2", "0", "0", "0.57"])
    review.press("n")
    review.drag(review.find("#review-stage .pin.current"), 30, 10)
    review.until(lambda: table(review)["left wing"] == ["1", "1", "1", "0.57"])
    review.find("#keypoints-body tr:nth-child(3) button").click()
    review.until(lambda: here(review) == ("c.png", "right wing"))
    review.press("n")
    assert here(review) == ("c.png", "right wing"), "the only one"
    review.find("#all-keypoints").click()
    review.until(lambda: here(review) == ("b.png", "head"))


def test_objects_are_renamed(review, labels):
    for given, expected in (("queen", "queen"), ("12", 12)):
        review.find('[aria-label^="Rename object"]').click()
        asked = review.browser.switch_to.alert
        asked.send_keys(given)
        asked.accept()
        review.until(
            lambda expected=expected: annotations(labels)[1].get("instance_id") == expected
        )
    review.press("u", "u")
    review.until(lambda: "instance_id" not in annotations(labels)[1])


def test_exports(review, labels, saved):
    review.press("a")
    review.until(lambda: reviewed(labels)[1] == [0, 1, 2])
    review.find(".exports summary").click()
    review.find('[data-export="csv"]').click()
    path = saved / "labels.csv"
    review.until(lambda: path.is_file() and path.stat().st_size)
    text = path.read_text()
    assert "b.png" in text and "left_wing" in text
    review.until(lambda: "labels.csv" in review.find("#toast").text)


def test_the_match_tab_offers_the_folder(review):
    review.find("[data-mode=match]").click()
    assert [b.get_attribute("title") for b in review.all("#strip button")] == [
        "a.png", "b.png", "c.png"
    ]  # fmt: skip
