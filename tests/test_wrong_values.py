"""Whatever is given to the library works, or is refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toys import random_image

from homolog import HomologError, KeypointSchema, Matcher

HELPERS = Path(__file__).parent / "helpers"


def run(*arguments: str) -> str:
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_values_of_every_kind_work_or_are_refused_in_one_line():
    assert run(str(HELPERS / "wrong_values.py")) == ""


SAME = """
import sys
import numpy as np
import torch
from homolog import Matcher
if sys.argv[1] == "float64":
    torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
matcher = Matcher.from_pretrained("embedded", device="cpu")
rng = np.random.default_rng(0)
blocks = (np.kron(rng.integers(0, 255, (8, 9, 3)), np.ones((9, 9, 1))) for _ in range(2))
first, second = (matcher.extract(block.astype(np.uint8), "flip") for block in blocks)
pair = matcher.pair(first, second, poses="flip", mask0=np.ones((72, 81)), zoom=None)
found = pair.transfer([[20, 20], [50.5, 30]])
print(found.keypoints1.tolist(), found.matching_scores.tolist(), found.pair_score)
print(found.pose_distances, pair.match().to_dict(), pair.flow().forward.smoothed().points1.sum())
print(pair.heatmap([[5, 5]]).probability(0.1).sum(), matcher.sides(first).heading)
"""


def test_torch_may_compute_in_float64_by_default():
    assert run("-c", SAME, "float32") == run("-c", SAME, "float64")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16])
def test_points_of_every_kind_of_number(colour_matcher, dtype):
    pair = colour_matcher.pair(random_image(96, 96), random_image(96, 96, seed=1))
    points = torch.tensor([[48, 20], [20, 64]])
    expected = pair.transfer(points.numpy())
    found = pair.transfer(points.to(dtype))
    np.testing.assert_array_equal(found.keypoints0, expected.keypoints0)
    np.testing.assert_array_equal(found.keypoints1, expected.keypoints1)
    flow = pair.flow().forward
    np.testing.assert_array_equal(flow.at(points.to(dtype)), flow.at(points.numpy().astype(float)))


def test_flow_at_points_that_are_none(colour_matcher):
    flow = colour_matcher.flow(random_image(96, 96), random_image(96, 96, seed=1)).forward
    with pytest.raises(HomologError, match=r"points: expected finite numbers, .* at index 1"):
        flow.at(torch.tensor([[1.0, 2.0], [float("nan"), 2.0]]))
    with pytest.raises(HomologError, match="points: expected an array of K x 2"):
        flow.at(torch.zeros(2))


def test_images_in_bfloat16(colour_matcher):
    pixels = torch.from_numpy(np.array(random_image(64, 48))).permute(2, 0, 1) / 255
    rounded = pixels.bfloat16()
    found, expected = (colour_matcher.extract(each) for each in (rounded, rounded.float()))
    torch.testing.assert_close(found.descriptors, expected.descriptors, atol=0, rtol=0)


def test_models_that_are_not_there(tmp_path):
    with pytest.raises(HomologError, match=r"name: expected one of embedded, .* got 'missing'"):
        Matcher.from_pretrained(Path("missing"))
    with pytest.raises(HomologError, match=r"name: cannot read|name: expected one of"):
        Matcher.from_pretrained(tmp_path)


def test_names_that_are_numbers_are_names():
    """Where they are, an index is a number, and a text the name."""
    schema = KeypointSchema.from_names([str(number) for number in range(1, 25)])
    assert schema.resolve(["1", "24"], 2) == (0, 23)
    assert schema.resolve([1, np.int64(23)], 2) == (1, 23)
    with pytest.raises(HomologError, match=r"expected one of 1, 2, .* whose names are numbers"):
        schema.resolve(["0"], 1)
    spair = KeypointSchema.spair("cat")
    assert spair.resolve([str(i) for i in range(len(spair))], len(spair)) == tuple(range(15))
    for wrong in ([0.9], ["²"], [True], [np.bool_(1)], [None], [1j], [[0]]):
        with pytest.raises(HomologError, match="point_ids: expected") as caught:
            schema.resolve(wrong, 1)
        assert "\n" not in str(caught.value)
