"""Descriptors of an image: how zero-shot, learned and side descriptors are joined."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F

from homolog.config import PostProcessorConfig
from homolog.extractor import join_descriptors
from homolog.networks.sides import SideMaps, SidesConfig
from homolog.presets import PRESETS

# Confidence in objectness of 1 is told with certainty, and one of 0.1 just as surely not.
SIDES = SidesConfig(8, side_weight=0.0, coordinate_weight=0.0, presence_calibration=(100.0, -50.0))


def maps(objectness: float) -> SideMaps:
    shape = (3, 4)
    return SideMaps(
        torch.full(shape, objectness), torch.zeros(shape), torch.zeros(*shape, 3),
        torch.zeros(*shape, 3),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("objectness", "shares"),
    [((1.0, 1.0), (0.8, 0.8)), ((0.1, 0.1), (0.3, 0.3)), ((1.0, 0.1), (0.8, 0.3))],
)
def test_known_objects_have_their_own_share_of_the_zero_shot_similarity(objectness, shares):
    settings = PostProcessorConfig("descriptors", zero_shot=0.3, zero_shot_recognised=0.8)
    config = dataclasses.replace(PRESETS["embedded"](), post_processor=settings, sides=SIDES)
    generator = torch.Generator().manual_seed(0)
    zero_shot, learned = (
        F.normalize(torch.randn(2, 3, 4, 6, generator=generator), dim=-1) for _ in range(2)
    )
    first, second = (
        join_descriptors(z, e, maps(o), config)
        for z, e, o in zip(zero_shot, learned, objectness, strict=True)
    )
    known = math.sqrt(shares[0] * shares[1])
    other = math.sqrt((1 - shares[0]) * (1 - shares[1]))
    expected = known * (zero_shot[0] * zero_shot[1]).sum(-1)
    expected += other * (learned[0] * learned[1]).sum(-1)
    torch.testing.assert_close((first * second).sum(-1), expected, atol=1e-6, rtol=1e-5)
    assert torch.allclose(first.norm(dim=-1), torch.ones(3, 4), atol=1e-6)


def test_one_share_is_for_all_where_there_is_no_other():
    generator = torch.Generator().manual_seed(0)
    zero_shot, learned = (
        F.normalize(torch.randn(3, 4, 6, generator=generator), dim=-1) for _ in range(2)
    )
    settings = PostProcessorConfig("descriptors", zero_shot=0.3)
    config = dataclasses.replace(PRESETS["embedded"](), post_processor=settings, sides=SIDES)
    joined = [join_descriptors(zero_shot, learned, maps(o), config) for o in (1.0, 0.1)]
    assert torch.equal(*joined)
    torch.testing.assert_close(joined[0][..., :6], math.sqrt(0.7) * learned)
