"""The match of every cell of two images, both ways."""

from __future__ import annotations

from torch import Tensor

from homolog import matching
from homolog.config import MatcherConfig
from homolog.descriptors import DescriptorMap
from homolog.flow import DenseMatches
from homolog.matching.consensus import Consensus

_FLOOR = -1e4  # of cells that take no part; not -inf, for rows of them must have a softmax


def match_cells(
    source: DescriptorMap,
    target: DescriptorMap,
    consensus: tuple[Consensus | None, Consensus | None],
    config: MatcherConfig,
) -> tuple[DenseMatches, DenseMatches]:
    """The match of every cell of the source, and of every cell of the target.

    Args:
        source: descriptors of the source, in its pose.
        target: descriptors of the target.
        consensus: of the source with the target, and of the target with the source; None for a
            model that uses none.
        config: how positions are read from similarity.
    """
    similarity = source.descriptors_HWC.flatten(0, 1) @ target.descriptors_HWC.flatten(0, 1).T
    scale = source.typical_length * target.typical_length
    if source.lengths_HW is not None and target.lengths_HW is not None:
        # Inner products of the size of cosines, which confidence is for.
        similarity *= source.lengths_HW.flatten()[:, None] / source.typical_length
        similarity *= target.lengths_HW.flatten() / target.typical_length

    def locate(maps_KHW: Tensor) -> Tensor:
        return config.locate(maps_KHW if scale == 1 else maps_KHW * scale)

    forward = matching.dense_matches(similarity, target.matchable_HW, locate, consensus[0])
    backward = matching.dense_matches(similarity.T, source.matchable_HW, locate, consensus[1])
    similarity[~source.matchable_HW.flatten()] = _FLOOR
    similarity[:, ~target.matchable_HW.flatten()] = _FLOOR
    grid0, grid1 = source.transform.grid.shape, target.transform.grid.shape
    back0 = matching.cycle_log_prob(similarity, forward[1], grid0, grid1)
    back1 = matching.cycle_log_prob(similarity.T, backward[1], grid1, grid0)
    return (
        (*forward[:2], matching.match_confidence(forward[2], back0)),
        (*backward[:2], matching.match_confidence(backward[2], back1)),
    )
