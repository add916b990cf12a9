"""Commands that fill, check and clear a feature cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

from cyclopts import App

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError

CodecName = Literal["half", "int8", "compact"]

_SAMPLES = 64  # images that a compact cache is fitted to

app = App(name="features", help="Keep feature maps on disk, for evaluation and training.")


@app.command
def build(
    *images: Path,
    model: ModelOptions = ModelOptions(),
    cache: Path,
    budget: float | None = None,
    form: CodecName | None = None,
    batch: int = 1,
) -> None:
    """Compute the feature maps of images, and of all images in folders.

    Maps that the cache has already are not computed again. Several GPUs share the work with
    `torchrun --nproc-per-node N -m homolog features build ...`.

    Parameters
    ----------
    images
        Image files, and folders that are searched for them.
    cache
        The folder of the cache.
    budget
        GB that the folder may take; the maps used least recently are removed.
    form
        Form of a new cache: `half` precision, `int8` of half its size, or `compact` of a fifth,
        which is principal components of these images in eight bits.
    batch
        Images in a batch, for GPUs; halved where a batch does not fit into memory.
    """
    from functools import partial

    from homolog.features import FeatureCache
    from homolog.features.precompute import precompute
    from homolog.image.folders import search
    from homolog.utils.progress import ProgressBar

    found = search(images)
    files = found.files
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    if not files:
        raise HomologError("images: expected image files, or folders with images, got none")
    if batch < 1:
        raise HomologError(f"batch: expected at least 1, got {batch}")
    poses = model.pose_list()
    feature_cache = FeatureCache(cache, None if budget is None else int(budget * 1e9), form)
    matcher = model.matcher()
    cache_key = matcher.feature_cache_key
    # Of torchrun's processes, each takes every world_size-th image.
    rank, world_size = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if not feature_cache.fitted:
        if world_size > 1:
            raise HomologError(
                f"form: expected one process to make a compact cache, got {world_size}; try "
                "without torchrun first"
            )
        step = max(1, len(files) // _SAMPLES)
        feature_cache.fit([matcher.feature_maps(path) for path in files[::step][:_SAMPLES]])
    own = files[rank::world_size]
    canvases = [partial(matcher.preprocess, path, pose) for path in own for pose in poses]
    with ProgressBar(len(canvases)) as progress:
        for done in precompute(matcher.backbone, feature_cache, cache_key, canvases, batch):
            progress.update("computing feature maps", done)
    print(f"{len(own)} images, {len(poses)} poses: {cache} ({feature_cache.size() / 1e9:.2f} GB)")


@app.command
def check(cache: Path) -> None:
    """Read every file of a cache; exit with status 1 if one is broken.

    Parameters
    ----------
    cache
        The folder.
    """
    from homolog.features import FeatureCache

    feature_cache = FeatureCache(_existing(cache))
    broken = feature_cache.check()
    for path in broken:
        print(f"{path}: broken, will be computed again")
    print(f"{sum(1 for _ in feature_cache.files())} files, {feature_cache.size() / 1e9:.2f} GB")
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
        raise HomologError(f"cache: expected a folder, got {cache}, which is none")
    return cache
