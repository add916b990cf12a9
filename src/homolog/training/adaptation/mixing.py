"""The weight of the zero-shot similarity beside the learned one, chosen without labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from homolog.image.poses import PoseVariant
from homolog.training.adaptation.mining import mine_pair
from homolog.training.adaptation.teacher import Teacher
from homolog.training.distributed import SINGLE_PROCESS, Process
from homolog.utils.progress import ProgressBar

SHARES = (0.15, 0.3, 0.5, 0.7)
"""Weights of the zero-shot similarity that are tried beside a new head."""

TOLERANCE = 0.1
"""How far from its source a point may end for its match to be consistent, in sizes of the object.

Wider than for pseudo-labels: what a head learns shows in fewer gross errors (docs/experiments.md).
"""

WITHOUT_HEAD = 1.0
"""Stands for the matcher without the new head, among the weights."""

_QUERIES = 100  # points of each source that are followed


@dataclass(frozen=True)
class HeldAside:
    """Pairs of images on which matchers are compared, by cycle consistency.

    Attributes:
        pairs: (source, target) of images in the store; no source was trained on.
        poses: of the sources, as for `mine_pair`.
        seed: of the source points, which are the same for every matcher.
    """

    pairs: Sequence[tuple[int, int]]
    poses: Sequence[PoseVariant]
    seed: int

    def consistency(self, teacher: Teacher, label: str, process: Process = SINGLE_PROCESS) -> float:
        """The share of points that are led to the other image's object and back to themselves.

        Args:
            teacher: matches them.
            label: what the progress bar says.
            process: this process among those that share the work.
        """
        own = range(process.rank, len(self.pairs), process.world_size)
        found = {}
        with ProgressBar(len(own)) as progress:
            for row in own:
                progress.update(label)
                found[row] = self._consistency(teacher, row)
        shares = {row: share for part in process.gather(found) for row, share in part.items()}
        return float(np.mean([shares[row] for row in range(len(self.pairs))]))

    def _consistency(self, teacher: Teacher, row: int) -> float:
        rng = np.random.default_rng([self.seed, row])
        matches = mine_pair(teacher, *self.pairs[row], _QUERIES, self.poses, rng)
        lead_back = (matches.cycle_errors <= TOLERANCE) & (matches.on_object > 0.5)
        return float(lead_back.mean())


@dataclass(frozen=True)
class Trials:
    """Weights of the zero-shot similarity that were tried.

    Attributes:
        consistency: the cycle consistency with each; `WITHOUT_HEAD` is one of them.
        chosen: the weight that was chosen.
    """

    consistency: Mapping[float, float]
    chosen: float

    @classmethod
    def of(cls, consistency: Mapping[float, float], candidates: Iterable[float]) -> Trials:
        """Choose the weight with the most consistent matches.

        Args:
            consistency: by weight.
            candidates: the weights to choose from.
        """
        return cls(consistency, max(candidates, key=lambda share: consistency[share]))
