"""Training examples: what each cell shows, against brute force."""

import numpy as np
import pytest
from helpers.toy_sides import SIZE, rendered

from homolog.training.sides import build_dataset, mirrored_images, read_rendered_dataset
from homolog.training.sides.examples import ground_truth_cells


@pytest.mark.parametrize("mirrored", [False, True])
def test_cells_by_brute_force(colour_matcher, tmp_path, mirrored):
    renders = read_rendered_dataset(rendered(tmp_path / "set", 1))
    coverage, side, xyz, heading, keypoints, keypoint_sides = ground_truth_cells(
        renders, 0, colour_matcher, mirrored
    )
    coordinates, instance = renders.coordinates(0)
    coordinates = coordinates.astype(float)
    if mirrored:
        coordinates, instance = coordinates[:, ::-1] * (-1, 1, 1), instance[:, ::-1]
    for row, column in ((4, 3), (5, 6), (6, 8), (3, 2), (0, 0), (8, 9), (4, 10)):
        block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        on_object = instance[block] > 0
        assert coverage[row, column] == pytest.approx(on_object.mean(), abs=0.15)
        if on_object.mean() > 0.5:
            x = coordinates[block][on_object][:, 0]
            assert side[row, column] == pytest.approx(np.clip(x / 0.05, -1, 1).mean(), abs=0.15)
            expected = [np.abs(x).mean(), 0.5, -0.25]
            assert xyz[row, column] == pytest.approx(expected, abs=0.02)
            sign = -1 if mirrored else 1
            assert heading[row, column] == pytest.approx([sign * 0.6, 0, -0.8], abs=1e-3)
    # The visible ear; the nose has no side, and the other ear is hidden.
    assert np.count_nonzero(keypoint_sides) == 1
    assert keypoint_sides[0] == (-1 if mirrored else 1)
    x = SIZE - 70 if mirrored else 70
    assert keypoints[0] == pytest.approx([x / 8 - 0.5, 40 / 8 - 0.5])


def test_the_category_is_known_to_the_backbone(colour_matcher, tmp_path, monkeypatch):
    """A prompt may ask for it."""
    renders = read_rendered_dataset(rendered(tmp_path / "set", 2))
    extract, categories = colour_matcher.extract, []

    def spy(path, poses, category):
        categories.append(category)
        return extract(path, poses, category)

    monkeypatch.setattr(colour_matcher, "extract", spy)
    network, examples = build_dataset(renders, colour_matcher, seed=0)
    assert set(categories) == {"animal"}
    assert examples.reduced.shape == (2, 12, 12, network.config.components)


def test_about_half_of_the_images_are_mirrored():
    assert 80 < mirrored_images(200, 0).sum() < 120
    assert (mirrored_images(200, 0) == mirrored_images(200, 0)).all()
