"""Matching as MARCO has it: figures of the published implementation, and what they leave open."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers import marco_parity as marco
from helpers.toys import random_image
from PIL import Image

from homolog import HomologError, Matcher, matching
from homolog.config import PostProcessorConfig
from homolog.presets import PRESETS

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def published() -> Matcher:
    return marco.matcher()


@pytest.fixture(scope="module")
def stored():
    return marco.tensors()


@pytest.fixture(scope="module")
def images():
    return [Image.open(marco.FOLDER / f"image{index}.png") for index in (0, 1)]


@marco.needs_figures
def test_descriptors_similarity_and_predictions_are_the_published_ones(published, stored, images):
    pair = published.pair(*images)
    source, target = (published.descriptor_map(each) for each in (pair.image0, pair.image1))
    for found, expected in zip((source, target), stored["upsampled"], strict=True):
        features = found.descriptors_HWC * found.lengths_HW[..., None]
        assert marco.error(features, expected.permute(1, 2, 0)) <= 1e-5
        lengths = torch.linalg.vector_norm(found.descriptors_HWC, dim=-1)
        torch.testing.assert_close(lengths, torch.ones_like(lengths))
    points = stored["keypoints"].numpy()
    placed = pair.source_map(pair.poses[0])
    cells = torch.from_numpy(placed.transform.to_cells(points)).float()
    queries = matching.sample_descriptors(placed.descriptors_HWC, cells, placed.lengths_HW)
    assert marco.error(queries, stored["descriptors"]) <= 1e-5
    assert marco.error(pair.similarity(points), stored["similarity"]) <= 1e-5
    expected = stored["predicted"].numpy()
    assert np.abs(pair.transfer(points).keypoints1 - expected).max() <= 1e-2
    assert np.abs(pair.transfer_points(points) - expected).max() <= 1e-2
    assert np.abs(pair.heatmap(points).matches.keypoints1 - expected).max() <= 1e-2


@marco.needs_figures
def test_an_image_that_is_no_square_lies_at_the_top_of_zeros(published, images):
    """The padding is the network's zero, and counts in the mean as in the published code."""
    wide, target = images[0].crop((0, 0, 140, 70)), images[1].crop((0, 0, 140, 98))
    seen = []
    network = published.backbone._maps

    def spy(canvases):
        seen.append(canvases)
        return network(canvases)

    published.backbone._maps = spy
    try:
        pair = published.pair(wide, target)
        points = np.array([[20.0, 30.0], [100.0, 60.0]])
        found = pair.transfer(points).keypoints1
    finally:
        published.backbone._maps = network
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    for canvas, image in zip(seen, (wide, target), strict=True):
        own = ((np.asarray(image.convert("RGB")) / 255 - mean) / std).transpose(2, 0, 1)
        height = own.shape[1]
        assert np.abs(canvas[0, :, :height].numpy() - own).max() < 1e-5
        assert (canvas[0, :, height:] == 0).all()
    maps = [published.network(network(canvas)[0])[0] for canvas in seen]
    grid = torch.from_numpy(2 * points * 40 / 140 / 39 - 1).float()
    queries = torch.nn.functional.grid_sample(
        maps[0][None], grid[None, None], padding_mode="border", align_corners=True
    )[0, :, 0]
    similarity = torch.einsum("ck,chw->khw", queries, maps[1])
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    for each, position in zip(similarity, found, strict=True):
        peak = int(each[:28].argmax())  # the rows that show the image
        squared = (x - peak % 40) ** 2 + (y - peak // 40) ** 2
        weights = (each * (squared / -98).exp() / 10).flatten().softmax(0).view(40, 40)
        expected = torch.stack([(weights * x).sum(), (weights * y).sum()]) / 39 * 139
        assert np.abs(position - expected.numpy().clip(0, (140, 98))).max() <= 1e-2


@marco.needs_figures
def test_both_ways_and_every_cell(published, images):
    """A pair asked the other way is the pair of the images exchanged; flow and match agree."""
    pair, other = published.pair(*images), published.pair(*images[::-1])
    points = np.array([[31.0, 55.0], [90.0, 20.0]])
    expected = other.transfer(points)
    found = pair.reversed().transfer(points)
    np.testing.assert_allclose(found.keypoints1, expected.keypoints1, atol=1e-3)
    np.testing.assert_allclose(found.matching_scores, expected.matching_scores, atol=1e-5)
    flow, back = pair.flow(), other.flow()
    np.testing.assert_allclose(flow.backward.points1, back.forward.points1, atol=1e-2)
    transform = flow.forward.transform0
    cells = transform.to_points(transform.grid.cells)[::173]
    expected = pair.transfer(cells).keypoints1
    found = flow.forward.points1.reshape(-1, 2)[::173]
    np.testing.assert_allclose(found, expected, atol=1e-2)
    matches = pair.match(20)
    np.testing.assert_allclose(
        matches.keypoints1, pair.transfer(matches.keypoints0).keypoints1, atol=1e-2
    )
    assert ((matches.matching_scores > 0) & (matches.matching_scores <= 1)).all()


@marco.needs_figures
def test_masks_regions_and_closer_looks(published, images):
    mask = np.zeros((140, 140), bool)
    mask[30:90, 20:70] = True
    found = published.transfer(*images, np.array([[50.0, 50.0]]), mask1=mask).keypoints1[0]
    assert 19 <= found[0] <= 71 and 29 <= found[1] <= 91
    inside = np.array([[40.0, 60.0]])
    for look in ({"zoom": "auto"}, {"mirror": True}, {"refine": True}, {"quality": "best"}):
        boxes = {"box0": (20, 30, 80, 70), "box1": (10, 20, 90, 90)} if "zoom" in look else {}
        found = published.transfer(*images, inside, **look, **boxes)
        assert np.isfinite(found.keypoints1).all() and 0 <= found.matching_scores[0] <= 1
    # Looked at twice, similarity is the mean of both looks' inner products.
    both = published.descriptor_map(published.extract(images[0], mirror=True))
    own = published.descriptor_map(images[0])
    expected = own.lengths_HW.square() / 2
    assert (both.lengths_HW.square() >= expected - 1e-3).all()
    assert both.coarse.descriptors_HWC.shape == (10, 10, 128)


def test_suppression_by_hand():
    similarity = torch.randn(3, 6, 5, generator=torch.manual_seed(0)) * 10
    similarity[1, 2, 3] = -torch.inf
    found = matching.suppressed_soft_argmax(similarity, sigma=1.5, temperature=2.0)
    for each, position in zip(similarity.double().numpy(), found, strict=True):
        row, column = np.unravel_index(each.argmax(), each.shape)
        y, x = np.mgrid[:6, :5]
        factor = np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * 1.5**2))
        with np.errstate(invalid="ignore"):
            weights = np.exp(each * factor / 2)
        weights[np.isinf(each)] = 0
        expected = [(weights * x).sum() / weights.sum(), (weights * y).sum() / weights.sum()]
        np.testing.assert_allclose(position, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"suppression_sigma": 0.0}, "suppression_sigma: expected a number above 0, got 0.0"),
        ({"window": 4, "suppression_sigma": 7.0}, "window: expected None with suppression_sigma"),
        ({"similarity": "inner-product"}, "consensus: expected none with similarity="),
        (
            {"similarity": "inner-product", "post_processor": None},
            "similarity: expected 'cosine' without a post-processor",
        ),
    ],
)
def test_what_does_not_go_together(changes, message):
    config = PRESETS["embedded-zero-shot"]()
    config = dataclasses.replace(config, post_processor=PostProcessorConfig("maps"))
    with pytest.raises(HomologError, match=message):
        dataclasses.replace(config, **changes)


@marco.needs_figures
def test_features_of_another_similarity_are_refused(published):
    features = published.extract(random_image(80, 60))
    with pytest.raises(HomologError, match="expected features of this matcher"):
        published.with_config(similarity="cosine").extract(features)
    other = published.with_config(suppression_sigma=3.0)
    assert other.extract(features) is features
