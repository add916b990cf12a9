"""The command that proposes the objects of images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from homolog.cli.options import IMAGE_SUFFIXES, ModelOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output
from homolog.utils.progress import ProgressBar

if TYPE_CHECKING:  # imported only when there is work to do, so that --help is quick
    from homolog.labelling.objects import ObjectProposal


def objects(
    images: Path,
    *,
    model: ModelOptions = ModelOptions(),
    exemplars: Path | None = None,
    max_objects: int | None = None,
    out: Path | None = None,
    draw: Path | None = None,
) -> None:
    """Propose a box for each object of an image, or of all images in a folder.

    Each is printed with its score, the best first. With --exemplars, objects like the labelled
    ones are sought, and an image may have none. Without, the boxes are of animals, which the
    default model recognises, or else of whatever is salient. This is no detector of everything:
    `annotate --boxes` reads the boxes of any detector that writes COCO results.

    Parameters
    ----------
    images
        An image, or a folder of them.
    exemplars
        Boxes of a few objects of the kind that is sought, in any file that `annotate --boxes`
        reads; one will do.
    max_objects
        How many to propose in an image at most; by default 100.
    out
        Write the boxes to this COCO file.
    draw
        Draw the boxes into this image; with a folder of images, into a folder.
    """
    single = images.is_file()
    if not single and not images.is_dir():
        raise HomologError(f"images: expected a file or folder, got {images}, which does not exist")
    if max_objects is not None and max_objects < 1:
        raise HomologError(f"max_objects: expected at least 1, got {max_objects}")
    out = out and check_output(out, (".json",), inputs=(images, exemplars))
    if draw is not None:
        _check_drawing(draw, images)
    from homolog.data.boxes import read_boxes
    from homolog.image.folders import search
    from homolog.image.reading import image_size
    from homolog.labelling.objects import MAX_OBJECTS, ObjectFinder, coco_document, exemplars_of

    folder = images.parent if single else images
    found_images = search([images])
    files = found_images.files
    for note in found_images.notes:
        print(f"note: {note}", file=sys.stderr)
    if not files:
        raise HomologError(f"images: expected a folder with images, got {images}")
    examples = []
    if exemplars is not None:
        try:  # their images are near the file, or else among those to be searched
            boxes = read_boxes(exemplars)
        except HomologError:
            boxes = read_boxes(exemplars, folder)
        for message in boxes.messages:
            print(f"note: {message}", file=sys.stderr)
        examples = exemplars_of(boxes)
    found = {}
    with ProgressBar(len(files)) as progress:
        progress.update("loading the model", 0)
        finder = ObjectFinder(model.matcher(), examples)
        for done, path in enumerate(files):
            progress.update("finding objects", done)
            name = path.relative_to(folder).as_posix()
            try:
                proposals = finder.find(path, max_objects or MAX_OBJECTS)
            except HomologError as error:
                if single:
                    raise
                print(f"skipped: {name}: {error}", file=sys.stderr)
                continue
            found[name] = image_size(path), proposals
            _print(name, proposals, bool(examples))
            if draw is not None:
                _draw(path, proposals, draw if single else draw / f"{name}.png")
    if out is not None:
        from homolog.data.formats import coco

        coco.write(out, coco_document(found, finder.categories))
        print(f"boxes: {out}", file=sys.stderr)
    if draw is not None:
        print(f"drawings: {draw}", file=sys.stderr)


def _check_drawing(draw: Path, images: Path) -> None:
    """Check that the drawings can be written: an image for an image, a folder for a folder."""
    if images.is_file():
        check_output(draw, IMAGE_SUFFIXES, "draw", inputs=(images,))
    elif draw.exists() and not draw.is_dir():
        raise HomologError(f"draw: expected a folder for the drawings of a folder, got {draw}")
    elif draw.resolve().is_relative_to(images.resolve()):
        # The next run would take the drawings for images.
        raise HomologError(f"draw: expected a folder outside {images}, got {draw}")


def _print(name: str, proposals: Sequence[ObjectProposal], sought: bool) -> None:
    if not proposals:
        print(f"{name}: {'nothing like the exemplars' if sought else 'no object'} found")
    for each in proposals:
        box = ",".join(f"{value:.1f}" for value in each.box)
        print(f"{name} {box} {each.score:.2f} {each.category}")


def _draw(path: Path, proposals: Sequence[ObjectProposal], out: Path) -> None:
    from homolog.viz.boxes import plot_boxes
    from homolog.viz.raster import save_image

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomologError(f"draw: cannot write {out}: {error.strerror}") from error
    labels = [f"{number}  {each.score:.2f}" for number, each in enumerate(proposals, start=1)]
    count = f"{len(proposals)} object{'' if len(proposals) == 1 else 's'}"
    save_image(plot_boxes(path, [each.box for each in proposals], labels, count), out)
