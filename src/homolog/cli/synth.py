"""The command that renders training pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def synth(
    folder: Annotated[Path, Parameter(name="MODELS-FOLDER")],
    /,
    *,
    out: Path,
    count: int = 1000,
    size: int = 480,
    seed: int = 0,
    workers: int | None = None,
    backgrounds: Path | None = None,
    models: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
) -> None:
    """Render a training set from 3D models: every point of every picture with its part and side.

    Writes pictures, a COCO file with keypoints and masks, and for every pixel where on the thing
    it is. An interrupted run goes on where it stopped; a larger --count adds to what is there.

    Parameters
    ----------
    folder
        The folder of glTF models (.glb, .gltf), with skeletons or without.
    out
        The folder to write.
    count
        How many pictures.
    size
        Pixels of a picture's side.
    seed
        Another one gives other pictures.
    workers
        How many processes; as many as there are processors by default.
    backgrounds
        A folder of pictures to put behind half of the scenes.
    models
        Names of models, without ending, to restrict it to.
    """
    from homolog.synth import render_set

    made = render_set(
        folder, out, count=count, size=size, seed=seed, workers=workers,
        backgrounds=backgrounds, models=models,
    )  # fmt: skip
    for name, why in sorted(made.left_out.items()):
        print(f"left out: {name}: {why}", file=sys.stderr)
    for name, note in sorted(made.notes.items()):
        print(f"note: {name}: {note}", file=sys.stderr)
    kept = f", {made.kept:,} of them kept" if made.kept else ""
    print(f"{made.pictures:,} pictures of {len(made.models)} models{kept}: {made.annotations}")
    print(f"look at {made.out / 'contact.jpg'}", file=sys.stderr)
