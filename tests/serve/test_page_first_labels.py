"""First labels in a real browser: from nothing, keypoint by keypoint, image by image."""

import json
from pathlib import Path

import pytest
from helpers.browser import Page, serving
from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from selenium.webdriver.common.keys import Keys

from homolog.serve import Options
from homolog.serve.first_labels import begin_labels


@pytest.fixture
def folder(tmp_path) -> Path:
    toy_data(tmp_path / "images", 4)
    return tmp_path / "images"


def click(page: Page, point: tuple[float, float], size: tuple[int, int]) -> None:
    """Click on a point of the image, wherever the view is."""
    at = page.run(
        """const sheet = document.querySelector("#review-stage .sheet").getBoundingClientRect();
           return [sheet.left + sheet.width * arguments[0], sheet.top + sheet.height * arguments[1]]
        """,
        point[0] / size[0], point[1] / size[1],
    )  # fmt: skip
    chain, pointer = page.pointer()
    pointer.move_to_location(round(at[0]), round(at[1]))
    pointer.click()
    chain.perform()


def annotations(path: Path) -> list[dict]:
    return json.loads(path.read_text())["annotations"]


def test_labels_from_nothing(browser, folder, tmp_path):
    names, out = tmp_path / "names.txt", tmp_path / "labels.json"
    names.write_text("\n".join(SCHEMA.names))
    assert begin_labels(out, folder, str(names)) == []
    document = json.loads(out.read_text())
    assert document["annotations"] == [] and len(document["images"]) == 4
    truth = {a.path.name: a for a in toy_data(tmp_path / "again", 4).annotations}
    with serving(
        toy_matcher(), Options(folder=folder, labels=out, keypoints=str(names))
    ) as address:
        page = Page(browser, address)
        page.until(lambda: page.all("#review-stage.filled"))
        count = len(SCHEMA.names)
        assert page.find("#left").text == "0 of 4"
        first = truth[document["images"][0]["file_name"]]
        size = document["images"][0]["width"], document["images"][0]["height"]
        for k, name in enumerate(SCHEMA.names):
            page.until(lambda name=name: page.find("#point-name").text == name.replace("_", " "))
            if k == 1:
                page.press("o")  # the next click is of an occluded keypoint
                page.until(lambda: "occluded" in page.find("#point-hint").text)
            if k == count - 1:
                page.press("v")  # nowhere
            else:
                click(page, tuple(first.keypoints[k]), size)
        page.until(lambda: len(annotations(out)) == 1)
        page.until(lambda: len(annotations(out)[0]["homolog"]["reviewed"]) == count)
        entry = annotations(out)[0]
        assert entry["keypoints"][2::3] == [2, 1, *[2] * (count - 3), 0]
        for k in range(count - 1):
            found = entry["keypoints"][3 * k : 3 * k + 2]
            assert found == pytest.approx(first.keypoints[k], abs=1.5)
        xs = entry["keypoints"][0::3][: count - 1]
        assert entry["bbox"][0] == pytest.approx(min(xs)), "the box is around the keypoints"
        # The next image is predicted from this one.
        page.press(Keys.ENTER)
        page.until(lambda: len(annotations(out)) == 2)
        predicted = annotations(out)[1]
        assert predicted["image_id"] == 2 and predicted["homolog"]["scores"]
        page.until(lambda: page.find("#left").text == "1 of 4")
        page.until(lambda: len(page.all("#review-stage .pin")) >= count - 2)
        # Accepted with one key; undone, which takes it back.
        page.press("a")
        page.until(lambda: page.find("#left").text == "2 of 4")
        page.until(lambda: len(annotations(out)) == 3)
        assert annotations(out)[1]["homolog"]["reviewed"] == list(range(count))
        wrong = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert wrong == []
    # Another run goes on where this one ended.
    assert begin_labels(out, folder, str(names)) == []
    assert len(annotations(out)) == 3


def test_sides_are_asked_for_once(browser, folder, tmp_path):
    names, out = tmp_path / "names.txt", tmp_path / "labels.json"
    names.write_text("nose\none\ntwo\n")
    begin_labels(out, folder, str(names))
    options = Options(folder=folder, labels=out, keypoints=str(names))
    with serving(toy_matcher(), options) as address:
        page = Page(browser, address)
        page.until(lambda: page.all("#sides[open]"))
        page.all("#sides-body select")[1].send_keys("two")
        assert [s.get_attribute("value") for s in page.all("#sides-body select")] == ["0", "2", "1"]
        page.find("#sides-save").click()
        page.until(
            lambda: json.loads(out.read_text())["categories"][0].get("flip_indices") == [0, 2, 1]
        )
        page.browser.refresh()
        page.until(lambda: page.all("#review-stage.filled"))
        assert page.all("#sides[open]") == []
