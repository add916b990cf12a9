"""Means of pictures that are brought together first, against copies whose places are known."""

from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_picture
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications.averaging import average
from homolog.image.geometry import FLIP
from homolog.utils import progress

PLACES = [(24, 24), (0, 0), (48, 12), (12, 48), (48, 48)]  # the toy's cells are 12 pixels apart


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


@pytest.fixture
def copies(tmp_path) -> list[Path]:
    """One patchwork in five places."""
    thing = random_picture(96, 96, seed=3)
    paths = []
    for index, place in enumerate(PLACES):
        picture = Image.new("RGB", (144, 144), (128, 128, 128))
        picture.paste(thing, place)
        picture.save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    return paths


def pixels(picture: Image.Image | Path) -> np.ndarray:
    if isinstance(picture, Path):
        with Image.open(picture) as read:
            return np.asarray(read.convert("RGB"), float)
    return np.asarray(picture, float)


def test_the_mean_of_copies_is_the_copy(colour_matcher, copies):
    found = average(colour_matcher, copies, copies[0])
    assert (found.used, found.reference, found.left_out) == (5, copies[0], ())
    inside = (slice(32, 112), slice(32, 112))
    truth = pixels(copies[0])
    naive = np.mean([pixels(path) for path in copies], axis=0)
    off, naively_off = (
        np.abs(mean - truth)[inside].mean() for mean in (pixels(found.picture), naive)
    )
    assert off < 0.4 * naively_off
    sharp, naively_sharp = (
        np.abs(np.diff(mean[inside], axis=1)).mean() for mean in (pixels(found.picture), naive)
    )
    assert sharp > 1.15 * naively_sharp


def test_without_motion_it_is_the_weighted_mean(colour_matcher, tmp_path):
    """Pictures on a flat ground have one colour wherever the flow goes: the mean is known."""
    paths = []
    for index, level in enumerate((40, 80, 120)):
        Image.new("RGB", (48, 32), (level, level, level)).save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    found = pixels(average(colour_matcher, paths, paths[1]).picture)
    assert found.shape == (32, 48, 3) and found.min() >= 40 and found.max() <= 120
    assert (found[0, 0] > 50).all() and (found[0, 0] < 110).all()


def test_the_reference_is_the_one_nearest_to_the_others(colour_matcher, tmp_path):
    """Of a row of blends between two pictures the middle is nearest to all."""
    ends = random_picture(96, 96, seed=1), random_picture(96, 96, seed=2)
    paths = []
    for index, share in enumerate((0.0, 1.0, 0.25, 0.5, 0.75)):
        Image.blend(*ends, share).save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    all_of_them = colour_matcher.extract(paths)
    sums = [sum(colour_matcher.distance(a, b) for b in all_of_them) for a in all_of_them]
    found = average(colour_matcher, paths)
    assert found.reference == paths[int(np.argmin(sums))] and found.used == 5


def test_a_reference_from_elsewhere_lends_its_shape_alone(colour_matcher, copies):
    found = average(colour_matcher, copies[1:], copies[0], size=72)
    assert found.used == 4 and found.picture.size == (72, 72)


def test_flipped_pictures_are_flipped_back(colour_matcher, copies):
    for path in copies[1:]:
        with Image.open(path) as picture:
            flipped = FLIP.apply(picture.convert("RGB"))
        flipped.save(path)
    truth, inside = pixels(copies[0]), (slice(32, 112), slice(32, 112))
    off = {
        poses: np.abs(
            pixels(average(colour_matcher, copies, copies[0], poses=poses).picture) - truth
        )[inside].mean()
        for poses in ("none", "flip")
    }
    assert off["flip"] < 0.6 * off["none"]


def test_broken_pictures_are_left_out_and_said(colour_matcher, copies, tmp_path):
    broken = tmp_path / "a.png"
    broken.write_bytes(copies[0].read_bytes()[:300])
    text = tmp_path / "z.png"
    text.write_text("no picture")
    for reference in (None, copies[0]):
        found = average(colour_matcher, [broken, *copies, text], reference)
        assert found.used == 5 and found.reference in copies
        assert len(found.left_out) == 2 and all("\n" not in line for line in found.left_out)
        assert "a.png cannot be read" in found.left_out[0]
        assert "z.png is not a picture" in found.left_out[1]
    for reference in (None, copies[0]):
        with pytest.raises(HomologError, match="pictures: none of 2 can be read"):
            average(colour_matcher, [broken, text], reference)
    with pytest.raises(HomologError, match="reference: there is no file"):
        average(colour_matcher, copies, tmp_path / "none.png")
    with pytest.raises(HomologError, match="size: got 0"):
        average(colour_matcher, copies, size=0)


def test_many_pictures_are_not_held(colour_matcher, copies, monkeypatch):
    """However many there are, no more than the reference's candidates and a few have features."""
    import gc

    from homolog.descriptors import Features

    held = []
    flow = Matcher.flow

    def counted(self, *arguments, **keywords):
        held.append(sum(type(thing) is Features for thing in gc.get_objects()))
        return flow(self, *arguments, **keywords)

    monkeypatch.setattr(Matcher, "flow", counted)
    found = average(colour_matcher, copies * 4)
    assert found.used == 20 and max(held) <= 16


def test_the_command(capsys, copies, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("cut.png").write_bytes(copies[0].read_bytes()[:300])
    for _ in range(2):  # the second time, the first one's result lies in the folder
        cli.main(["average", ".", "--out", "mean.png", "--reference", "2.png", "--size", "100"])
        printed = capsys.readouterr()
        assert "mean of 5 of 6 pictures, on the shape of 2.png" in printed.out
        assert "left out: image: cut.png cannot be read" in printed.err
    with Image.open("mean.png") as made:
        assert made.size == (100, 100)
    Path("empty").mkdir()
    for wrong, reason in (
        (["empty", "--out", "o.png"], "pictures: there are none in empty"),
        (["none", "--out", "o.png"], "there is no file or folder none"),
        ([".", "--out", "o.gif"], "must end in"),
        ([".", "--out", "o.png", "--poses", "sideways"], "'sideways'"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["average", *wrong])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1 and reason in error
    assert not Path("o.png").exists()
