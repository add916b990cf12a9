"""Filtering: which pseudo-labels are kept, and why others are not.

The filter of the matches is most of what pseudo-labels bring (3D-SC, arXiv 2605.30093).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool

from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.mining import PseudoMatches


def failures(matches: PseudoMatches, config: MiningConfig) -> Mapping[str, Bool[np.ndarray, "M"]]:
    """Which matches fail each test of the filter, by the test's name.

    `object`: the match does not lie on the target's object. `cycle`: followed back, it does not
    return. `coordinates` and `side`: the two ends are different places of an animal, or on
    different sides of it, as the side head sees them. `affine`: the matches around it lead
    elsewhere.

    Args:
        matches: of one pair of images.
        config: has the tolerances.
    """
    passed = {
        "object": matches.on_object >= 0.5,
        "cycle": matches.cycle_errors <= config.cycle_tolerance,
        "coordinates": matches.coordinate_distances <= config.coordinate_tolerance,
        "side": matches.side_agreement >= 0,
        "affine": matches.affine_residuals <= config.affine_tolerance,
    }
    return {name: ~rows for name, rows in passed.items()}  # what is no number fails


def kept(matches: PseudoMatches, config: MiningConfig) -> Bool[np.ndarray, "M"]:
    """The matches that pass every test; none, where fewer do than `MiningConfig.fewest`.

    Args:
        matches: of one pair of images.
        config: has the tolerances.
    """
    passed = ~np.logical_or.reduce(list(failures(matches, config).values()))
    return passed if passed.sum() >= config.fewest else np.zeros_like(passed)
