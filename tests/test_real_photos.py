"""Accuracy on real photos, if they are available (see benchmarks/real_images.py)."""

import dataclasses

import accuracy
import numpy as np
import pytest
import real_images
import torch
import torch.nn.functional as F
from PIL import Image

from homolog.backbones import efficientnet_lite
from homolog.backbones.efficientnet_lite import LITE0, LITE2

pytestmark = pytest.mark.skipif(
    not real_images.ROOT.is_dir(), reason=f"no real photos at {real_images.ROOT}"
)


def test_dogs(matcher):
    """The bounds, here and below, are a point below what docs/explanation/benchmarks.md has."""
    found = accuracy.evaluate(matcher, real_images.dogs())
    assert found["pairs"] == 240
    assert found["PCK@0.10"] >= 56.7 and found["PCK@0.05"] >= 33.8
    assert found["AUC"] >= 0.75


def test_alignment_helps_dogs(matcher):
    found = accuracy.evaluate(matcher, real_images.dogs(), "flip")
    assert found["PCK@0.10"] >= 62.2 and found["confusion"] <= 26


@pytest.mark.slow
def test_pf_willow(matcher):
    found = accuracy.evaluate(matcher, real_images.willow())
    assert found["pairs"] == 900
    assert found["PCK@0.10"] >= 73.2 and found["PCK@0.05"] >= 49.8


@pytest.mark.slow
def test_bees(matcher):
    found = accuracy.evaluate(matcher, real_images.bees("test"))
    assert found["pairs"] == 1406
    assert found["PCK@0.10"] >= 48.6 and found["PCK@0.05"] >= 33.8


def test_pair_scores_tell_dogs_from_cars(matcher):
    same, other = accuracy.pair_scores(matcher)
    assert accuracy.same_category_auc(same, other) >= 0.95


BREEDS = {"n02087394": 159, "n02092339": 178, "n02093754": 182, "n02099601": 207}


@pytest.mark.parametrize(
    ("config", "weights", "last_block", "crop"),
    [
        (LITE0, efficientnet_lite.LITE0_WEIGHTS, 15, 224),
        (LITE2, efficientnet_lite.LITE2_WEIGHTS, 20, 260),
    ],
    ids=["lite0", "lite2"],
)
def test_the_networks_classify_the_breeds(config, weights, last_block, crop):
    """With the published classifier on top, ImageNet's classes come out right."""
    state = efficientnet_lite.read_weights(weights)
    whole = dataclasses.replace(config, outputs=(last_block,), shifts=(0.0,))
    network = efficientnet_lite.load_network(whole, weights)
    norm = [state[f"_bn1.{n}"] for n in ("running_mean", "running_var", "weight", "bias")]
    correct = []
    for photo in real_images.dogs().annotations:
        image = Image.open(photo.path).convert("RGB")
        scale = crop / min(image.size)
        image = image.resize([round(v * scale) for v in image.size], Image.BICUBIC)
        x, y = (image.width - crop) // 2, (image.height - crop) // 2
        pixels = torch.from_numpy(np.array(image.crop((x, y, x + crop, y + crop))))
        features = network(pixels.permute(2, 0, 1)[None].float() / 127.5 - 1)[0]
        head = F.relu6(
            F.batch_norm(F.conv2d(features, state["_conv_head.weight"]), *norm, eps=1e-3)
        )
        scores = head.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
        correct.append(int(scores.argmax()) == BREEDS[photo.path.name.split("_")[0]])
    assert np.mean(correct) >= 0.8
