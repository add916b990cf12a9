"""Means of images that are warped together first, against copies whose places are known."""

from pathlib import Path

import numpy as np
import pytest
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications.averaging import average
from homolog.example import pair
from homolog.image.poses import FLIP
from homolog.pair import ImagePair
from homolog.utils import progress

PLACES = [(24, 24), (0, 0), (48, 12), (12, 48), (48, 48)]  # the toy's cells are 12 pixels apart


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


@pytest.fixture
def copies(tmp_path) -> list[Path]:
    """One patchwork in five places."""
    patchwork = random_image(96, 96, seed=3)
    paths = []
    for index, place in enumerate(PLACES):
        image = Image.new("RGB", (144, 144), (128, 128, 128))
        image.paste(patchwork, place)
        image.save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    return paths


def pixels(image: Image.Image | Path) -> np.ndarray:
    if isinstance(image, Path):
        with Image.open(image) as read:
            return np.asarray(read.convert("RGB"), float)
    return np.asarray(image, float)


def test_the_mean_of_copies_is_the_copy(colour_matcher, copies):
    found = average(colour_matcher, copies, copies[0])
    assert (found.used, found.reference, found.skipped) == (5, copies[0], ())
    inside = (slice(32, 112), slice(32, 112))
    truth = pixels(copies[0])
    naive = np.mean([pixels(path) for path in copies], axis=0)
    off, naively_off = (
        np.abs(mean - truth)[inside].mean() for mean in (pixels(found.image), naive)
    )
    assert off < 0.4 * naively_off
    sharp, naively_sharp = (
        np.abs(np.diff(mean[inside], axis=1)).mean() for mean in (pixels(found.image), naive)
    )
    assert sharp > 1.15 * naively_sharp


def test_without_motion_it_is_the_weighted_mean(colour_matcher, tmp_path):
    """Images of one colour have it wherever the flow leads: the mean is known."""
    paths = []
    for index, level in enumerate((40, 80, 120)):
        Image.new("RGB", (48, 32), (level, level, level)).save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    found = pixels(average(colour_matcher, paths, paths[1]).image)
    assert found.shape == (32, 48, 3) and found.min() >= 40 and found.max() <= 120
    assert (found[0, 0] > 50).all() and (found[0, 0] < 110).all()


def test_the_reference_is_the_image_nearest_to_the_others(colour_matcher, tmp_path):
    """Of a row of blends between two images the middle one is nearest to all."""
    ends = random_image(96, 96, seed=1), random_image(96, 96, seed=2)
    paths = []
    for index, share in enumerate((0.0, 1.0, 0.25, 0.5, 0.75)):
        Image.blend(*ends, share).save(tmp_path / f"{index}.png")
        paths.append(tmp_path / f"{index}.png")
    all_of_them = colour_matcher.extract(paths)
    sums = [sum(colour_matcher.distance(a, b) for b in all_of_them) for a in all_of_them]
    found = average(colour_matcher, paths)
    assert found.reference == paths[int(np.argmin(sums))] and found.used == 5


def test_a_reference_from_elsewhere_is_not_averaged(colour_matcher, copies):
    found = average(colour_matcher, copies[1:], copies[0], size=72)
    assert found.used == 4 and found.image.size == (72, 72)


def test_flipped_images_are_flipped_back(colour_matcher, copies):
    for path in copies[1:]:
        with Image.open(path) as image:
            flipped = FLIP.apply(image.convert("RGB"))
        flipped.save(path)
    truth, inside = pixels(copies[0]), (slice(32, 112), slice(32, 112))
    off = {
        poses: np.abs(
            pixels(average(colour_matcher, copies, copies[0], poses=poses).image) - truth
        )[inside].mean()
        for poses in ("none", "flip")
    }
    assert off["flip"] < 0.6 * off["none"]


def test_images_that_cannot_be_read_are_skipped_and_named(colour_matcher, copies, tmp_path):
    broken = tmp_path / "a.png"
    broken.write_bytes(copies[0].read_bytes()[:300])
    text = tmp_path / "z.png"
    text.write_text("no image")
    for reference in (None, copies[0]):
        found = average(colour_matcher, [broken, *copies, text], reference)
        assert found.used == 5 and found.reference in copies
        assert len(found.skipped) == 2 and all("\n" not in line for line in found.skipped)
        assert "a.png, which cannot be read" in found.skipped[0]
        assert "image in a known format, got" in found.skipped[1]
    for reference in (None, copies[0]):
        with pytest.raises(
            HomologError, match="images: expected at least one that can be read, got none of 2"
        ):
            average(colour_matcher, [broken, text], reference)
    with pytest.raises(HomologError, match="reference: expected an image file, got"):
        average(colour_matcher, copies, tmp_path / "none.png")
    with pytest.raises(HomologError, match="size: expected at least 1 pixel, got 0"):
        average(colour_matcher, copies, size=0)


def test_memory_does_not_grow_with_the_number_of_images(colour_matcher, copies, monkeypatch):
    """However many there are, no more than the reference's candidates and a few have features."""
    import gc

    from homolog.descriptors import Features

    def count() -> int:
        return sum(type(each) is Features for each in gc.get_objects())

    gc.collect()
    others = count()  # of tests before this one
    alive = []
    flow = ImagePair.flow

    def counted(self, *arguments, **keywords):
        alive.append(count() - others)
        return flow(self, *arguments, **keywords)

    monkeypatch.setattr(ImagePair, "flow", counted)
    found = average(colour_matcher, copies * 4)
    assert found.used == 20 and max(alive) <= 16


@pytest.fixture
def animals(tmp_path) -> list[Path]:
    """The example's two animals, which head the same way, and the first one mirrored."""
    paths = [tmp_path / f"{name}.png" for name in ("fox", "husky", "mirrored")]
    with pair() as example:
        images = [
            Image.open(path).convert("RGB").resize((160, 120))
            for path in (example.image0, example.image1)
        ]
    for path, image in zip(paths, [*images, FLIP.apply(images[0])], strict=True):
        image.save(path)
    return paths


def test_the_shipped_model_flips_images_back(matcher, animals):
    """Headings decide: with the flip, a mirrored copy is averaged as its original is."""
    fox, husky, mirrored = animals
    truth, flipped, plain = (
        pixels(average(matcher, [husky, other], husky, poses=poses).image)
        for other, poses in ((fox, "none"), (mirrored, "flip"), (mirrored, "none"))
    )
    assert np.abs(flipped - truth).mean() < 0.5 * np.abs(plain - truth).mean()


@pytest.mark.parametrize("poses", ["flip", ["flip"], "rotations"])
def test_the_shipped_model_chooses_the_reference_in_all_poses(matcher, animals, poses):
    found = average(matcher, animals, size=80, poses=poses)
    assert found.used == 3 and found.reference in animals and found.image.size == (80, 60)


def test_the_reference_is_chosen_in_the_best_pose(matcher, animals):
    """Distances of the aligned images: mirroring one of them changes none of the sums much."""
    fox, husky, mirrored = animals
    distances = {
        poses: matcher.pair(fox, mirrored, poses=poses).distance() for poses in ("none", "flip")
    }
    assert distances["flip"] < 0.5 * distances["none"]
    assert average(matcher, animals, size=40, poses="flip").reference != husky


def test_the_command_with_the_shipped_model(capsys, animals, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cli.main(["average", ".", "--out", "mean.png", "--poses", "flip"])
    assert "mean of 3 of 3 images" in capsys.readouterr().out
    with Image.open("mean.png") as image:
        assert image.size == (160, 120)


def test_the_command(capsys, copies, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("cut.png").write_bytes(copies[0].read_bytes()[:300])
    for _ in range(2):  # the second time, the first one's result lies in the folder
        cli.main(["average", ".", "--out", "mean.png", "--reference", "2.png", "--size", "100"])
        printed = capsys.readouterr()
        assert "mean of 5 of 6 images, on the shape of 2.png" in printed.out
        assert "skipped: image: expected an image, got cut.png" in printed.err
    with Image.open("mean.png") as image:
        assert image.size == (100, 100)
    Path("empty").mkdir()
    for wrong, reason in (
        (["empty", "--out", "o.png"], "images: expected at least one, got none in empty"),
        (["none", "--out", "o.png"], "expected a file or folder, got none"),
        ([".", "--out", "o.gif"], "o.gif"),
        ([".", "--out", "o.png", "--poses", "sideways"], "'sideways'"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main(["average", *wrong])
        error = capsys.readouterr().err
        assert stop.value.code == 2 and error.count("\n") == 1 and reason in error
    assert not Path("o.png").exists()
