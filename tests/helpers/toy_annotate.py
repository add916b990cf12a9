"""Annotates a folder with the toy backbone, slowly, as a process that can be killed.

python toy_annotate.py FOLDER OUT SECONDS_PER_IMAGE [EXEMPLARS BOXES]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from helpers.toy_training import SCHEMA, toy_data, toy_matcher
from homolog import Matcher
from homolog.data.boxes import read_boxes
from homolog.data.exemplars import ExemplarSet, read
from homolog.labelling.annotator import Annotator
from homolog.labelling.propagate import annotate

CATEGORY = {"id": 4, "name": "toy", "keypoints": list(SCHEMA.names), "skeleton": [[1, 4]]}


def exemplars(folder: Path, count: int = 2) -> ExemplarSet:
    return ExemplarSet(toy_data(folder, count).annotations, [CATEGORY])


def slow_matcher(folder: Path) -> Matcher:
    """A matcher that takes half a second for an image, and leaves its process's id in a folder."""
    (folder / str(os.getpid())).touch()
    matcher = toy_matcher()
    extract = matcher.extract

    def slow(*arguments):
        time.sleep(0.5)
        return extract(*arguments)

    matcher.extract = slow
    return matcher


def main() -> None:
    folder, out, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    record = Annotator.record

    def slow(*arguments):
        time.sleep(pause)
        return record(*arguments)

    Annotator.record = slow
    if len(sys.argv) == 4:
        annotate(toy_matcher(), exemplars(folder.parent / "exemplars"), folder, out)
    else:
        known, boxes = read(Path(sys.argv[4])), read_boxes(Path(sys.argv[5]), folder)
        annotate(toy_matcher(), known, folder, out, boxes=boxes)


if __name__ == "__main__":
    main()
