"""Pairs of large maps: results are those of the similarity of all cells; how maps are kept.

What is large is set low here, so that small maps go the ways of large ones.
"""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from homolog import HomologError, Matcher
from homolog.config import MatcherConfig
from homolog.dense import DenseMatcher, instance_matching_distance, is_large, memory_needed
from homolog.descriptors import DescriptorMap, Features
from homolog.image.geometry import CanvasTransform, Grid
from homolog.image.poses import IDENTITY
from homolog.matching.consensus import ConsensusConfig
from homolog.pair import ImagePair
from homolog.presets import PRESETS
from homolog.utils import memory

CELLS, PATCH = 36, 8
SIZE = CELLS * PATCH


@pytest.fixture
def everything_is_large(monkeypatch):
    for module in ("dense", "descriptors", "matching.sampling", "prepared"):
        monkeypatch.setattr(f"homolog.{module}.LARGE", 100)
    monkeypatch.setattr("homolog.matching.sampling._COARSE", 12)
    monkeypatch.setattr("homolog.matching.coarse_to_fine.CANDIDATES", 8)


def smooth_features(fields: torch.Tensor, noise: float, lengths: bool = False) -> Features:
    shown = F.interpolate(fields, (CELLS, CELLS), mode="bicubic", align_corners=True)[0]
    shown = (shown + noise * torch.randn(shown.shape)).permute(1, 2, 0)
    transform = CanvasTransform(SIZE, SIZE, IDENTITY, SIZE, Grid.from_patches(SIZE, PATCH))
    valid = torch.ones(CELLS, CELLS, dtype=torch.bool)
    size = torch.linalg.vector_norm(shown, dim=-1)
    found = DescriptorMap(
        transform, shown / size[..., None], valid, valid, torch.ones(CELLS, CELLS),
        lengths_HW=8 * size / size.mean() if lengths else None,
    )  # fmt: skip
    image = Image.new("RGB", (SIZE, SIZE))
    return Features(SIZE, SIZE, image, "", by_pose={IDENTITY: found})


def two(lengths: bool = False) -> tuple[Features, Features]:
    torch.manual_seed(0)
    fields = torch.randn(1, 32, 8, 8)
    moved = fields + 0.2 * torch.randn(fields.shape)
    return smooth_features(fields, 0.05, lengths), smooth_features(moved, 0.05, lengths)


def pair(ends, mask: np.ndarray | None = None, **changes) -> ImagePair:
    config = MatcherConfig(
        **{**vars(PRESETS["embedded-zero-shot"]()), "consensus": None, **changes}
    )
    return ImagePair(
        *ends, lambda image, pose: image.by_pose[pose].stored(), [IDENTITY], config, mask0=mask
    )


def matches_of(found) -> set:
    return {tuple(row) for row in np.hstack([found.keypoints0, found.keypoints1]).round(1).tolist()}


WAYS = {
    "window": {},
    "consensus": {"consensus": ConsensusConfig()},
}


@pytest.mark.parametrize("changes", WAYS.values(), ids=WAYS.keys())
def test_matches_of_large_maps_are_those_of_the_whole_similarity(request, changes):
    ends = two()
    small = pair(ends, **changes).match(60)
    every = DenseMatcher(*maps_of(ends, changes))
    partners = cells_of(every.mutual())
    request.getfixturevalue("everything_is_large")
    for exhaustive in (False, True):
        large = pair(ends, **changes, exhaustive=exhaustive)
        mutual = large._dense_matcher(IDENTITY).mutual()
        found = cells_of(mutual)
        same = len(found & partners)
        if not changes:  # the hubness of consensus is computed from fewer cells of large maps
            assert same > 0.99 * max(len(found), len(partners))
        matched = large.match(60)
        assert len(matched.keypoints0) >= 0.95 * len(small.keypoints0)
        # Each is the match that transfer finds for its point.
        again = large.transfer(matched.keypoints0)
        np.testing.assert_allclose(again.keypoints1, matched.keypoints1, atol=1e-3)
        np.testing.assert_allclose(again.matching_scores, matched.matching_scores, atol=1e-4)


def cells_of(mutual) -> set:
    return set(zip(mutual.cells_P.tolist(), mutual.partners_P.tolist(), strict=True))


def maps_of(ends, changes):
    one = pair(ends, **changes)
    consensus = one.consensus(IDENTITY), one.reversed().consensus(IDENTITY)
    return one.source_map(IDENTITY), one.target_map, consensus, one.config


def test_flow_of_large_maps_is_that_of_the_whole_similarity(request):
    ends = two()
    small = pair(ends).flow()
    request.getfixturevalue("everything_is_large")
    large = pair(ends).flow()
    for one, other in ((small.forward, large.forward), (small.backward, large.backward)):
        apart = np.linalg.norm(one.points1 - other.points1, axis=-1)
        assert (apart < 0.05 * PATCH).mean() > 0.98
        assert (one.consistent == other.consistent).mean() > 0.97
        # Confidence is read from blocks.
        assert np.corrcoef(one.scores.ravel(), other.scores.ravel())[0, 1] > 0.5


def test_coarse_to_fine_and_exhaustive_ways_agree(everything_is_large):
    ends = two()
    found, exact = (pair(ends, exhaustive=each).match(80) for each in (False, True))
    assert len(matches_of(found) & matches_of(exact)) >= 0.95 * len(exact.keypoints0)


def test_distances_of_masked_objects_agree(request):
    ends = two()
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[40:200, 60:230] = True
    exact = pair(ends, mask).distance()
    request.getfixturevalue("everything_is_large")
    assert pair(ends, mask).distance() == pytest.approx(exact, rel=2e-3)  # half precision
    assert pair(ends, mask, exhaustive=True).distance() == pytest.approx(exact, rel=2e-3)
    source, target = (each.by_pose[IDENTITY] for each in ends)
    assert instance_matching_distance(source.masked(mask), target) == pytest.approx(exact, rel=1e-4)


def test_pair_scores_are_read_from_the_coarse_maps():
    ends = two()
    score = pair(ends).score
    coarse = [each.by_pose[IDENTITY] for each in two()]
    for each in ends:
        own = each.by_pose[IDENTITY]
        noise = torch.randn(own.descriptors_HWC.shape)
        finer = dataclasses.replace(
            own, descriptors_HWC=F.normalize(noise, dim=-1), coarse=coarse.pop(0)
        )
        each.by_pose[IDENTITY] = finer
    assert pair(ends).score == score


def test_large_maps_are_kept_in_half_precision(everything_is_large):
    matcher = Matcher.from_pretrained("embedded-zero-shot")
    image = Image.effect_noise((90, 70), 60).convert("RGB")
    features = matcher.extract(image)
    stored = features.by_pose[IDENTITY].descriptors_HWC
    assert stored.dtype == torch.float16
    assert features.nbytes == stored.nbytes
    assert features.descriptors.dtype == torch.float32
    assert matcher.descriptor_map(features).descriptors_HWC.dtype == torch.float32
    found = matcher.transfer(features, image, [[40, 30], [60, 50]])
    np.testing.assert_allclose(found.keypoints1, [[40, 30], [60, 50]], atol=1.0)


def test_points_of_large_maps_are_matched_a_few_at_a_time(everything_is_large, monkeypatch):
    ends = two()
    points = np.random.default_rng(0).uniform(20, SIZE - 20, (41, 2))
    expected = pair(ends).transfer(points)
    monkeypatch.setattr("homolog.prepared._ENTRIES", 5 * CELLS**2)
    one, sizes = pair(ends), []
    match_at = one._match_at

    def counted(cells, *arguments):
        sizes.append(len(cells))
        return match_at(cells, *arguments)

    one._match_at = counted
    found = one.transfer(points)
    assert max(sizes) == 5 and sum(sizes) == 41
    np.testing.assert_allclose(found.keypoints1, expected.keypoints1, atol=1e-4)
    np.testing.assert_allclose(found.matching_scores, expected.matching_scores, atol=1e-5)


def test_too_little_memory_is_one_line(everything_is_large, monkeypatch):
    ends = two()
    needed = memory_needed(*(each.by_pose[IDENTITY] for each in ends))
    monkeypatch.setattr(memory, "available_memory", lambda device: needed - 1)
    for ask in (pair(ends).match, pair(ends).flow):
        with pytest.raises(HomologError, match=r"^memory: expected 0\.\d GB free .* 36 x 36 cells"):
            ask()
    monkeypatch.setattr(memory, "available_memory", lambda device: needed)
    pair(ends).match()


def test_what_is_needed_at_the_published_size_is_within_the_bound():
    transform = CanvasTransform(770, 770, IDENTITY, 770, Grid.from_patches(770, 14).refined(4))
    nothing = torch.empty(220, 220, dtype=torch.bool, device="meta")
    descriptors = torch.empty(220, 220, 1024, dtype=torch.float16, device="meta")
    found = DescriptorMap(transform, descriptors, nothing, nothing, nothing.float())
    assert is_large(found, found)
    assert 0.2e9 < memory_needed(found, found) < 1.5e9


def test_sixty_cells_are_not_large():
    transform = CanvasTransform(840, 840, IDENTITY, 840, Grid.from_patches(840, 14))
    valid = torch.ones(60, 60, dtype=torch.bool)
    found = DescriptorMap(transform, torch.ones(60, 60, 4), valid, valid, valid.float())
    assert not is_large(found, found)
    assert found.stored() is found and found.widened() is found
