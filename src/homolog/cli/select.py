"""The command that proposes which images to label."""

from __future__ import annotations

import sys
from pathlib import Path

from homolog.cli.options import ModelOptions
from homolog.errors import HomologError
from homolog.utils.progress import ProgressBar


def select(
    folder: Path,
    *,
    count: int = 10,
    labels: Path | None = None,
    model: ModelOptions = ModelOptions(),
) -> None:
    """Propose the images of a folder to label first, and print their paths, the most useful first.

    They are those that all images together are most similar to, without near copies. From them,
    `homolog annotate` labels the others better than from images chosen at random.

    Parameters
    ----------
    folder
        The images to choose from.
    count
        How many to choose.
    labels
        Labels of some of the images, in any format. Images that somebody has labelled count as
        chosen already; of those that are predicted, those with low scores count more.
    """
    if count < 1:
        raise HomologError(f"count: expected at least 1, got {count}")
    if not folder.is_dir():
        raise HomologError(f"folder: expected a folder, got {folder}")
    from homolog.image import reading
    from homolog.labelling import selection

    files = reading.find_images([folder], "folder")
    state = selection.LabelState.read(labels, folder) if labels is not None else None
    matcher = model.matcher()
    usable, cells = [], []
    with ProgressBar(len(files)) as progress:
        for completed, path in enumerate(files):
            progress.update("looking at images", completed)
            try:
                features = matcher.extract(matcher.load_image(path, str(path)))
            except HomologError as error:
                print(f"skipped: {error}", file=sys.stderr)
                continue
            usable.append(path)
            cells.append(selection.object_cells(features.descriptor_map()))
    if not usable:
        raise HomologError(f"folder: expected a folder of images, got {folder}, which has none")
    found = selection.select(
        selection.similarities(cells),
        count,
        None if state is None else state.covered(usable),
        None if state is None else state.weights(usable),
    )
    for index in found:
        print(usable[index])
    if len(found) < count:
        rest = "there are no others" if state is None else "the others are labelled"
        print(f"note: {len(found)} of {count}: {rest}", file=sys.stderr)
