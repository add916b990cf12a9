"""The command that reports on landmarks."""

from __future__ import annotations

import sys
from pathlib import Path

from homolog.errors import HomologError
from homolog.utils.outputs import check_output


def report(
    file: Path,
    *,
    truth: Path | None = None,
    images: Path | None = None,
    names: Path | None = None,
    category: str | None = None,
    out: Path | None = None,
    plot: Path | None = None,
) -> None:
    """Report on landmarks: their errors against other labels, their mean shape, and residuals.

    Errors are in percent of the object's length, which is the largest distance between two of its
    landmarks, and in the file's units where it has a SCALE. Shapes are laid over each other by
    Procrustes superimposition. Against labels that somebody else made, or that were predicted from
    other exemplars, the repeatability says what share of the variation is among objects.

    Parameters
    ----------
    file
        The labels, in any format.
    truth
        Other labels of the same images.
    images
        The folder of the images, if they are not near the files.
    names
        The names of landmarks, one on each line, for formats that number them.
    category
        The category of objects, if there are several.
    out
        The table to write (.csv), with a row for each landmark; a second one, named by it and
        `_objects`, has a row for each object.
    plot
        The drawing to write (.png): the mean shape, and the error or residual of each landmark.
    """
    inputs = [file, truth, names]
    if out is not None:
        check_output(out, (".csv",), inputs=inputs)
        check_output(out.with_name(f"{out.stem}_objects.csv"), (".csv",), inputs=inputs)
    if plot is not None:
        check_output(plot, (".png",), "plot", inputs)
    for name, path in (("file", file), ("truth", truth)):
        if path is not None and not path.exists():
            raise HomologError(f"{name}: expected an existing file, got {path}")
    from homolog.data import label_files
    from homolog.data.formats.document import ReadOptions
    from homolog.labelling.landmark_report import landmark_report
    from homolog.viz.raster import save_image

    labels = label_files.read(file, ReadOptions(images, names, "file"))
    others = None
    if truth is not None:
        others = label_files.read(truth, ReadOptions(images, names, "truth"))
    made = landmark_report(labels, others, category)
    for note in (*labels.notes, *(others.notes if others else ()), *made.notes):
        print(f"note: {note}", file=sys.stderr)
    print(made.summary())
    if out is not None:
        beside = made.write_csv(out)
        print(f"landmarks: {out}; objects: {beside}")
    if plot is not None:
        save_image(made.plot(), plot)
        print(f"drawing: {plot}")
