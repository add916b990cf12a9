"""The command that renders training images."""

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
    """Render a training set from 3-D models, in which left and right are known everywhere.

    Writes images, a COCO file with keypoints and masks, and the canonical coordinates of every
    pixel of an object. An interrupted run is resumed; a larger --count adds images.

    Parameters
    ----------
    folder
        Folder of glTF models (.glb, .gltf), with or without skeletons.
    out
        Folder to write.
    count
        Number of images.
    size
        Width and height of the images in pixels.
    seed
        Seed of the random scenes.
    workers
        Number of processes; as many as there are processors by default.
    backgrounds
        Folder of images to put behind half of the scenes.
    models
        Names of models to use, without their endings; all by default.
    """
    from homolog.synth import render_set

    report = render_set(
        folder,
        out,
        count=count,
        size=size,
        seed=seed,
        workers=workers,
        backgrounds=backgrounds,
        models=models,
    )
    for name, reason in sorted(report.skipped.items()):
        print(f"skipped: {name}: {reason}", file=sys.stderr)
    for name, note in sorted(report.notes.items()):
        print(f"note: {name}: {note}", file=sys.stderr)
    reused = f", {report.reused:,} of them from an earlier run" if report.reused else ""
    models_used = f"{len(report.models)} model{'s' * (len(report.models) != 1)}"
    print(f"{report.images:,} images of {models_used}{reused}: {report.annotations}")
    print(f"overview: {report.out / 'contact.jpg'}", file=sys.stderr)
