"""Commands about the feature cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError

Form = Literal["half", "int8", "compact"]

_SAMPLES = 64

app = App(name="features", help="Keep feature maps on disk, for evaluation and training.")


@app.command
def build(
    *pictures: Path,
    model: ModelOptions = ModelOptions(),
    cache: Path,
    budget: float | None = None,
    form: Form | None = None,
    batch: int = 1,
) -> None:
    """Compute the feature maps of pictures, and of all pictures in folders.

    What is there already is not computed again. Several GPUs share the work with `torchrun
    --nproc-per-node N -m homolog features build ...`.

    Parameters
    ----------
    pictures
        Picture files, and folders that are searched for them.
    cache
        The folder to keep them in.
    budget
        GB that the folder may take; maps not used for longest give way.
    form
        Of a new folder: `half` precision, `int8` of half its size, or `compact`, a fifth:
        principal components of the pictures given, in eight bits.
    batch
        Pictures a pass, for GPUs; halved where they do not fit.
    """
    from functools import partial

    from homolog.features import FeatureCache
    from homolog.features.precompute import build as built
    from homolog.image.reading import find
    from homolog.utils.progress import ProgressBar

    files = find(pictures)
    if not files:
        raise HomologError("pictures: found none, takes files and folders with pictures")
    if batch < 1:
        raise HomologError(f"batch: got {batch}, takes at least 1")
    poses = model.pose_list()
    kept = FeatureCache(cache, None if budget is None else int(budget * 1e9), form)
    matcher = model.matcher()
    made_by = matcher.feature_cache_key
    # torchrun's processes take every world-th picture each.
    rank, world = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if not kept.fitted:
        if world > 1:
            raise HomologError("form: a new compact cache takes one process, others may follow")
        every = max(1, len(files) // _SAMPLES)
        kept.fit([matcher.feature_maps(path) for path in files[::every][:_SAMPLES]])
    own = files[rank::world]
    canvases = [partial(matcher.preprocess, path, pose) for path in own for pose in poses]
    with ProgressBar(len(canvases)) as steps:
        for done in built(matcher.backbone, kept, made_by, canvases, batch):
            steps.update("looking at pictures", done)
    print(f"{len(own)} pictures, {len(poses)} poses: {cache} ({kept.size() / 1e9:.2f} GB)")


@app.command
def check(cache: Path) -> None:
    """Read every file of a cache; exit with status 1 if one is broken.

    Parameters
    ----------
    cache
        The folder.
    """
    from homolog.features import FeatureCache

    kept = FeatureCache(_existing(cache))
    broken = kept.check()
    for path in broken:
        print(f"{path}: is broken, will be made anew")
    print(f"{sum(1 for _ in kept.files())} files, {kept.size() / 1e9:.2f} GB")
    if broken:
        print(f"{len(broken)} broken", file=sys.stderr)
        sys.exit(1)


@app.command
def clear(cache: Path) -> None:
    """Remove all files of a cache.

    Parameters
    ----------
    cache
        The folder.
    """
    from homolog.features import FeatureCache

    print(f"{FeatureCache(_existing(cache)).clear()} files removed")


def _existing(cache: Path) -> Path:
    if not cache.is_dir():
        raise HomologError(f"cache: there is no folder {cache}")
    return cache
