"""Annotated photos for tests and benchmarks, in a folder that is not part of the repository.

The folder is named by the environment variable HOMOLOG_DATA, by default ../shared/data beside
the checkout. It holds `dogs` and `bees` (COCO keypoints) and `PF-WILLOW` (Ham et al., CVPR 2016).
"""

from __future__ import annotations

import os
from pathlib import Path

from homolog.data import DataSet, coco, pf_willow

ROOT = Path(os.environ.get("HOMOLOG_DATA", Path(__file__).parents[2] / "shared" / "data"))


def dogs() -> DataSet:
    return coco.load(ROOT / "dogs" / "annotations.json")


def bees(split: str) -> DataSet:
    return coco.load(ROOT / "bees" / f"{split}.json")


def willow() -> DataSet:
    return pf_willow.load(ROOT / "PF-WILLOW")
