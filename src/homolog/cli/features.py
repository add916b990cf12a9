"""Commands about the feature cache."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from homolog.cli.model import Model
from homolog.errors import HomologError

app = App(name="features", help="Keep feature maps on disk, for evaluation and training.")


@app.command
def build(
    *pictures: Path, model: Model = Model(), cache: Path, budget: float | None = None
) -> None:
    """Compute the feature maps of pictures, and of all pictures in folders.

    What is there already is not computed again.

    Parameters
    ----------
    pictures
        Picture files, and folders that are searched for them.
    cache
        The folder to keep them in.
    budget
        GB that the folder may take; maps not used for longest give way.
    """
    from homolog.features import FeatureCache
    from homolog.images import find
    from homolog.progress import Steps

    files = find(pictures)
    if not files:
        raise HomologError("pictures: found none, takes files and folders with pictures")
    poses = model.pose_list()
    kept = FeatureCache(cache, None if budget is None else int(budget * 1e9))
    matcher = model.matcher()
    matcher.cache = kept
    with Steps(len(files)) as steps:
        for path in files:
            steps.next(f"looking at {path.name}")
            matcher.extract(path, poses)
    print(f"{len(files)} pictures, {len(poses)} poses: {cache} ({kept.size() / 1e9:.2f} GB)")


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
