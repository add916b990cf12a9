"""Clusters of colours: those of made-up flows whose regions are known."""

import itertools
import math

import pytest
import torch

from homolog.training.distillation.clusters import _best_merge, _Clusters, _Points, colour_clusters
from homolog.training.distillation.dense_flow import flow_colours


def regions_flow(count: int, noise: float, size: int = 60):
    """A flow of vertical strips that move apart, and the strip of each pixel."""
    generator = torch.manual_seed(count)
    strip = (torch.arange(size) * count // size).expand(size, size)
    angle = 2 * math.pi * strip / count + 0.3
    flow = 12 * torch.stack([angle.cos(), angle.sin()], dim=-1)
    flow += noise * torch.randn(size, size, 2, generator=generator)
    return flow, strip


@pytest.mark.parametrize("count", [3, 4, 5, 6])
@pytest.mark.parametrize("seed", range(3))
def test_regions_of_a_flow_are_found(count, seed):
    flow, strip = regions_flow(count, noise=0.6)
    colours = flow_colours(flow, torch.ones_like(strip, dtype=torch.bool))
    labels = colour_clusters(colours.flatten(0, 1), torch.Generator().manual_seed(seed))
    regions = strip.flatten()
    # No cluster has pixels of two regions, but for some in a hundred.
    table = torch.zeros(int(labels.max()) + 1, count).index_put_(
        (labels, regions), torch.ones(()), accumulate=True
    )
    assert table.amax(1).sum() >= 0.98 * len(labels)
    assert len(table) >= count


def test_clusters_of_few_pixels_are_merged_down_to_the_least():
    """Beside many of one colour, four of four colours are not worth two clusters."""
    few = torch.tensor([[0, 10, 10], [0, 20, 10], [0, 70, 10], [0, 80, 10]])
    colours = torch.cat([torch.tensor([[200, 200, 200]]).expand(100_000, 3), few])
    for least, expected in ((2, [0, 0, 0, 0]), (3, [0, 0, 1, 1])):
        labels = colour_clusters(
            colours.to(torch.uint8), torch.Generator().manual_seed(0), most=3, least=least
        )
        assert labels[-4:].unique(return_inverse=True)[1].tolist() == expected
        assert len(labels.unique()) == least


def test_the_same_seed_gives_the_same_clusters():
    colours = torch.randint(0, 256, (500, 3), generator=torch.manual_seed(1), dtype=torch.uint8)
    once, again = (colour_clusters(colours, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once, again)
    # The order of the pixels does not count.
    order = torch.randperm(500, generator=torch.manual_seed(2))
    mixed = colour_clusters(colours[order], torch.Generator().manual_seed(5))
    assert torch.equal(mixed, once[order])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_colours_than_centres(count):
    colours = torch.arange(3 * count, dtype=torch.uint8).view(count, 3).repeat(4, 1) * 9
    labels = colour_clusters(colours, torch.Generator().manual_seed(0))
    assert torch.equal(labels, labels[:count].repeat(4))
    assert labels.unique().tolist() == list(range(count))


def test_the_best_merge_against_the_criterion_of_each_pair():
    """The BIC of the mixture by its definition, from the points themselves."""
    generator = torch.manual_seed(0)
    centres = torch.tensor([[0.2, 0.2, 0.2], [0.22, 0.2, 0.2], [0.8, 0.1, 0.4], [0.5, 0.9, 0.5]])
    labels = torch.arange(4).repeat_interleave(50)
    places = (centres[labels] + 0.03 * torch.randn(200, 3, generator=generator)).double()
    clusters = _Clusters.of(_Points(places, torch.ones(200).double()), labels)

    def likelihood(rows):
        own = places[rows]
        variance = (own - own.mean(0)).square().mean()
        squares = (own - own.mean(0)).square() / variance
        return -0.5 * (squares + (2 * math.pi * variance).log()).sum()

    parts = [labels == index for index in range(4)]
    for index in range(4):
        assert clusters.likelihood()[index].item() == pytest.approx(likelihood(parts[index]).item())
    gains = {
        (i, j): likelihood(parts[i] | parts[j]) - likelihood(parts[i]) - likelihood(parts[j])
        + 2.5 * math.log(200)
        for i, j in itertools.combinations(range(4), 2)
    }  # fmt: skip
    assert _best_merge(clusters, 200) == max(gains, key=gains.__getitem__) == (0, 1)
    merged = clusters.merged(0, 1)
    torch.testing.assert_close(merged[0], places[:100].mean(0))
    assert len(merged) == 3
    apart = _Clusters.of(_Points(places[100:], torch.ones(100).double()), labels[100:])
    assert _best_merge(apart, 100) is None
