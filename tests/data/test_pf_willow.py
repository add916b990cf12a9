"""PF-WILLOW: its layout is read as published, and errors name their file."""

import numpy as np
import pytest
import real_images
from helpers import datasets
from scipy.io import loadmat, savemat

from homolog.data import pf_willow
from homolog.data.check import check

real = pytest.mark.skipif(
    not real_images.ROOT.is_dir(), reason=f"no real photos at {real_images.ROOT}"
)


def test_pf_willow(tmp_path):
    dataset = pf_willow.load(datasets.make_pf_willow(tmp_path, images=4))
    assert len(dataset.pairs) == 2 * 4 * 3 and len(set(datasets.pair_names(dataset))) == 24
    for pair in dataset.pairs:
        assert pair.source.category == pair.target.category
        assert pair.keypoint_ids.tolist() == list(range(10))
    points = dataset.pairs[0].target.keypoints
    assert dataset.pairs[0].target.reference_length("box") == np.ptp(points, axis=0).max()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"points": np.ones((2, 10))}, "expected a variable 'pts_coord'"),
        ({"pts_coord": np.ones((2, 9))}, "2 x 9"),
        ({"pts_coord": np.ones((1, 10))}, "1 x 10"),
        ({"pts_coord": np.full((2, 10), np.nan)}, "NaN"),
        ({"pts_coord": "words"}, "expected a matrix of numbers"),
        (None, "expected a MATLAB file"),
    ],
)
def test_pf_willow_that_is_wrong(content, reason, tmp_path):
    root = datasets.make_pf_willow(tmp_path)
    path = root / "duck(S)" / "duck(S)_001.mat"
    if content is None:
        path.write_bytes(b"no matrix")
    else:
        savemat(path, content)
    datasets.refused(lambda: pf_willow.load(root), path, reason)


def test_pf_willow_that_is_not_there(tmp_path):
    datasets.refused(lambda: pf_willow.load(tmp_path), tmp_path, pf_willow.HOMEPAGE)
    root = datasets.make_pf_willow(tmp_path)
    (root / "car(G)" / "car(G)_000.png").unlink()
    datasets.refused(
        lambda: pf_willow.load(root),
        "car(G)_000.mat",
        "expected an image car(G)_000.png|.jpg|.jpeg beside it",
    )
    (root / "car(G)" / "car(G)_000.mat").unlink()
    assert len(pf_willow.load(root).pairs) == 2 + 6


@real
def test_real_pf_willow():
    report = check(real_images.ROOT / "PF-WILLOW")
    assert report.pairs == {"test": 900} and report.problems == ()
    for annotation in real_images.willow().annotations:
        points = loadmat(annotation.path.with_suffix(".mat"))["pts_coord"].T[:, :2]
        np.testing.assert_array_equal(annotation.keypoints, points)
        assert annotation.reference_length("box") == np.ptp(points, axis=0).max()
