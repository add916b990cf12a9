"""Which images to label first, against exhaustive search, and from the command."""

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from helpers.command import run
from helpers.toys import random_image
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.labelling.selection import LabelState, select, similarities


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_greedy_choices_are_nearly_as_good_as_the_best(seed, count):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(9, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    similarity = points @ points.T
    floor = similarity.min()

    def gain(chosen) -> float:
        return (similarity[:, list(chosen)].max(1) - floor).sum()

    found = select(similarity, count)
    assert len(set(found)) == count
    best = max(gain(each) for each in itertools.combinations(range(9), count))
    assert gain(found) >= (1 - 1 / np.e) * best - 1e-9


def test_every_group_is_covered_and_copies_come_last():
    rng = np.random.default_rng(0)
    centres = np.eye(4, 12)
    points = np.concatenate([c + rng.normal(scale=0.03, size=(5, 12)) for c in centres])
    points[1] = points[0]  # a copy
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    similarity = points @ points.T
    assert sorted(index // 5 for index in select(similarity, 4)) == [0, 1, 2, 3]
    order = select(similarity, 20)
    assert sorted(order) == list(range(20))
    # What is labelled is covered.
    covered = np.arange(20) < 10
    assert sorted(index // 5 for index in select(similarity, 2, covered)) == [2, 3]
    assert len(select(similarity, 20, covered)) == 10
    # Groups that are predicted badly come first.
    weights = np.where(np.arange(20) // 5 == 3, 1.0, 0.1)
    assert select(similarity, 1, None, weights)[0] // 5 == 3


def test_similarity_is_that_of_the_nearest_cells():
    rng = torch.Generator().manual_seed(0)
    images = [torch.randn(n, 6, generator=rng) for n in (4, 7, 5)]
    found = similarities(images)

    def nearest(a, b) -> float:
        return np.mean([max(float(x @ y) for y in b) for x in a])

    for i, a in enumerate(images):
        for j, b in enumerate(images):
            assert np.isclose(found[i, j], (nearest(a, b) + nearest(b, a)) / 2, atol=1e-6)


def labels_of(folder: Path) -> Path:
    """One image labelled by hand, one predicted and reviewed, two predicted."""
    points = [5, 5, 2, 9, 9, 2]
    extra = {"scores": [0.9, 0.5], "doubtful": [1], "reviewed": [], "predicted": points}
    entries = [
        {"keypoints": points},
        {"keypoints": points, "homolog": {**extra, "reviewed": [1]}},
        {"keypoints": points, "homolog": extra},
        {"keypoints": points, "homolog": {**extra, "scores": [0.1, 0.3]}},
    ]
    data = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in range(4)],
        "categories": [{"id": 1, "name": "bee", "keypoints": ["a", "b"]}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [4, 4, 8, 8], **entry}
            for n, entry in enumerate(entries)
        ],
    }
    path = folder / "labels.json"
    path.write_text(json.dumps(data))
    return path


def test_what_is_labelled_and_what_is_uncertain(tmp_path):
    for n in range(5):
        random_image(64, 64, n).save(tmp_path / f"{n}.png")
    state = LabelState.read(labels_of(tmp_path), tmp_path)
    files = sorted(tmp_path.glob("*.png"))
    assert state.covered(files).tolist() == [True, True, False, False, False]
    weights = state.weights(files)
    assert weights[3] == max(weights) and np.isclose(weights[3], 0.8)


def test_the_command(capsys, tmp_path):
    for n in range(4):
        random_image(64, 64, n).save(tmp_path / f"{n}.png")
    (tmp_path / "broken.png").write_text("no image")
    code, out, err = run(capsys, "select", tmp_path, "--count", "3")
    assert code == 0 and len(set(out.split())) == 3
    assert all(Path(line).is_file() for line in out.splitlines())
    assert "skipped" in err and "broken.png" in err
    code, out, err = run(
        capsys, "select", tmp_path, "--count", "9", "--labels", labels_of(tmp_path)
    )
    assert code == 0 and {Path(line).stem for line in out.splitlines()} == {"2", "3"}
    assert "2 of 9" in err
    for arguments, message in (
        ((tmp_path, "--count", "0"), "count: expected at least 1, got 0"),
        ((tmp_path / "none",), "folder: expected a folder, got "),
    ):
        code, _, err = run(capsys, "select", *arguments)
        assert code == 2 and message in err and err.count("\n") == 1
