"""The training objective: the head's similarity maps peak at the pseudo-labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from homolog.matching import bilinear, similarity
from homolog.networks.context import AttentionHead
from homolog.networks.post_processor import PostProcessor
from homolog.training.adaptation.config import HeadConfig
from homolog.training.losses import heatmap_cross_entropy
from homolog.training.objective import INITIAL_SCALE, MAX_SCALE, describe


class HeadObjective(nn.Module):
    """The loss of a batch, as a module with everything that is trained.

    Args:
        network: the head.
        config: of its training.
    """

    def __init__(self, network: AttentionHead | PostProcessor, config: HeadConfig):
        super().__init__()
        self.network = network
        self.config = config
        self.scale = nn.Parameter(torch.tensor(math.log(INITIAL_SCALE)))

    def forward(
        self,
        inputs_BHWC: Float[Tensor, "B H W C"],
        source_P: Int[Tensor, "P"],
        target_P: Int[Tensor, "P"],
        source_cells_P2: Float[Tensor, "P 2"],
        target_cells_P2: Float[Tensor, "P 2"],
        weights_P: Float[Tensor, "P"],
    ) -> dict[str, Float[Tensor, ""]]:
        """The cross-entropy of the similarity maps with the matches, as `loss`.

        Args:
            inputs_BHWC: the head's input: zero-shot descriptors, or their reduced form for an
                `AttentionHead`.
            source_P: the row of each match's source.
            target_P: the row of its target.
            source_cells_P2: (x, y) in cells of the source.
            target_cells_P2: (x, y) in cells of the target.
            weights_P: of the matches, with a sum of 1.
        """
        if self.config.channel_dropout:
            ones = torch.ones_like(inputs_BHWC[:, :1, :1])
            inputs_BHWC = inputs_BHWC * F.dropout(ones, self.config.channel_dropout, self.training)
        descriptors, _ = describe(self.network, inputs_BHWC)
        scale = self.scale.exp().clamp_max(MAX_SCALE)
        loss = descriptors.new_zeros(())
        for target in target_P.unique().tolist():
            selected = target_P == target
            rows_of = {
                source: (selected & (source_P == source)).nonzero()[:, 0]
                for source in source_P[selected].unique().tolist()
            }
            queries = torch.cat([
                bilinear(descriptors[source], source_cells_P2[rows])
                for source, rows in rows_of.items()
            ])  # fmt: skip
            rows = torch.cat(list(rows_of.values()))
            maps = similarity(queries, descriptors[target])
            losses = heatmap_cross_entropy(maps, target_cells_P2[rows], scale)
            loss = loss + losses @ weights_P[rows]
        return {"loss": loss}
