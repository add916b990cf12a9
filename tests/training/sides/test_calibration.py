"""Calibration: how much a side head counts, chosen on held-out pairs."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import crowds
from helpers.toy_sides import corner_cue
from helpers.toys import random_image
from PIL import Image

from homolog import KeypointSchema, Matcher
from homolog.config import PostProcessorConfig
from homolog.data import coco
from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.networks.sides import SideHead, SideMaps, SidesConfig, objectness_confidence
from homolog.training.sides import (
    RenderedDataset,
    SidesRecipe,
    calibrate,
    calibration,
    fit,
    fit_presence,
)


def test_presence_is_fitted_to_images_with_and_without_objects():
    examples = corner_cue(80, 0)
    examples.reduced[60:, ..., 1] -= 2 * examples.coverage[60:]
    examples.coverage[60:] = 0
    with_objects, without = range(60), range(60, 80)
    objects = (({},),) * 60 + ((),) * 20
    renders = RenderedDataset(Path(), ("",) * 80, objects, KeypointSchema(("nose",), (0,)))
    torch.manual_seed(0)
    network = SideHead(SidesConfig(6, components=6, widths=(16, 16, 32), layers=1))
    recipe = SidesRecipe(
        steps=150, batch_size=16, learning_rate=4e-3, channel_drop=0, block_mask=0, style_mix=0.2
    )
    fit(network, examples, range(80), recipe)
    slope, offset = fit_presence(network, examples, renders, with_objects)
    logits = network.logits(examples.reduced.float())[..., 0]
    confidence = objectness_confidence(logits.sigmoid())
    probability = torch.sigmoid(slope * confidence + offset).detach().numpy()
    assert probability[:60].min() > 0.5 > probability[60:].max()
    # Where the posterior is highest: both kinds weigh as 40 images, the offset's variance is 100.
    gradient = 40 * (probability[:60].mean() - 1) + 40 * probability[60:].mean() + offset / 100
    assert gradient == pytest.approx(0, abs=1e-4)
    assert fit_presence(network, examples, renders, without) is None
    everywhere = dataclasses.replace(renders, objects=(({},),) * 80)
    assert fit_presence(network, examples, everywhere, with_objects) is None


class ColumnHead(SideHead):
    """Predicts as canonical coordinates where in the image each cell is."""

    def forward(self, features_BHWC):
        shape = features_BHWC.shape[:3]
        column = torch.linspace(-1, 1, shape[2])[:, None].expand(*shape, 3)
        return SideMaps(torch.ones(shape), torch.zeros(shape), column, torch.ones(*shape, 3))


@pytest.fixture
def head() -> ColumnHead:
    return ColumnHead(SidesConfig(12, components=8)).eval()


@pytest.fixture
def twins(tmp_path) -> DataSet:
    """An image with two equal halves, paired with itself; points of one mirror the other's."""
    half = np.asarray(random_image(48, 96, 0))
    Image.fromarray(np.concatenate([half, half], axis=1)).save(tmp_path / "twins.png")
    points = np.array([(x, y) for x in (12.0, 20.0, 60.0, 68.0) for y in (36.0, 52.0)])
    annotation = Annotation("twins", tmp_path / "twins.png", "twin", points, (0, 0, 96, 96))
    pair = Pair.of("twins", annotation, annotation)
    schema = KeypointSchema(tuple("abcdefgh"), (4, 5, 6, 7, 0, 1, 2, 3))
    return DataSet("twins", tmp_path, {"twin": schema}, [pair], "box", (0.1,))


def test_coordinates_count_where_they_help(twins, colour_matcher, head):
    best, tried = calibrate(colour_matcher, head, [twins])
    assert tried[0][0].side_weight == tried[0][0].coordinate_weight == 0
    # What is not found lies on the other half, on its counterpart: right less mirrored.
    assert tried[0][1] < 0.6
    assert dict(tried)[best] == max(value for _, value in tried) > 0.8


def test_beside_a_post_processor_sides_are_told_from_zero_shot_descriptors(
    twins, colour_matcher, head
):
    given = []
    head.register_forward_hook(lambda _, inputs, __: given.append(inputs[0]))
    settings = PostProcessorConfig("descriptors", zero_shot=0.5, trained_on="pseudo-labels")
    config = dataclasses.replace(colour_matcher.config, post_processor=settings)
    blind = torch.nn.Conv2d(70, 5, 1).requires_grad_(False)
    torch.nn.init.zeros_(blind.weight)  # to it, all cells look alike
    matcher = Matcher(colour_matcher.backbone, config, network=blind)
    best, tried = calibrate(matcher, head, [twins])
    (features,) = given
    expected = colour_matcher.extract(twins.annotations[0].path).descriptors
    torch.testing.assert_close(features[0], expected)
    assert tried[0][1] < 0.6
    assert dict(tried)[best] == max(value for _, value in tried) > 0.8


@pytest.fixture
def used(monkeypatch) -> list[SidesConfig]:
    """The configurations that were tried, the last one last."""
    tried = []

    def add_sides(features, maps, config):
        tried.append(config)
        return features

    monkeypatch.setattr(calibration, "add_sides", add_sides)
    return tried


def test_objects_that_share_an_image_are_shown_by_their_boxes(
    monkeypatch, used, tmp_path, colour_matcher, head
):
    data = coco.load(crowds.make_crowds(tmp_path, [2, 1, 3]))
    shown = {}

    def score_pairs(matcher, data, features):
        shown.update(features)
        return np.zeros(len(data.pairs)), np.zeros(len(data.pairs))

    monkeypatch.setattr(calibration, "score_pairs", score_pairs)
    calibrate(colour_matcher, head, [data])
    assert shown.keys() == set(data.annotations) and len(shown) == 6
    assert colour_matcher.backbone.seen == 6
    for annotation, features in shown.items():
        box = annotation.xywh if annotation.shares_image else None
        assert features.region == colour_matcher.extract(annotation.path, box=box).region
        assert (features.region is None) == (annotation.path.name == "crowd02.png")


def test_what_helps_one_set_must_not_harm_another(monkeypatch, used, twins, colour_matcher, head):
    sets = [twins, dataclasses.replace(twins, pairs=[*twins.pairs, *twins.pairs])]

    def calibrated(correct) -> tuple[SidesConfig, SidesConfig]:
        """The chosen weights and those with the best mean."""

        def score_pairs(matcher, data, features):
            weight, count = used[-1].coordinate_weight, len(data.pairs)
            return np.broadcast_to(correct(weight, count == 1), count), np.zeros(count)

        monkeypatch.setattr(calibration, "score_pairs", score_pairs)
        best, tried = calibrate(colour_matcher, head, sets)
        return best, max(tried, key=lambda each: each[1])[0]

    best, highest = calibrated(
        lambda weight, first: weight if first else 0.5 - max(weight - 0.2, 0) / 2
    )
    assert highest.coordinate_weight > 0.2
    assert best.coordinate_weight == 0.2

    # A loss of a fifth of a point does no harm, however certain it is.
    best, highest = calibrated(
        lambda weight, first: weight if first else 0.5 - 0.002 * (weight > 0)
    )
    assert best == highest
    assert best.coordinate_weight > 0.2

    # A loss does no harm where pairs differ by more than that: some gain, others lose more.
    best, highest = calibrated(
        lambda weight, first: weight if first else 0.5 + weight * np.array([1.0, -1.1])
    )
    assert best == highest
    assert best.coordinate_weight > 0.2


def test_a_point_on_its_counterpart_counts_against(monkeypatch, used, twins, colour_matcher, head):
    def score_pairs(matcher, data, features):
        return np.array([0.8]), np.array([0.4 - used[-1].side_weight])

    monkeypatch.setattr(calibration, "score_pairs", score_pairs)
    best, tried = calibrate(colour_matcher, head, [twins])
    assert best.side_weight == max(config.side_weight for config, _ in tried)
    assert dict(tried)[best] == pytest.approx(0.8 - 0.4 + best.side_weight)
