"""Keypoint labels carried from a few pictures to a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.labels import EXTRA, Labels, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.descriptors import Features
from homolog.errors import HomologError
from homolog.image import reading
from homolog.image.geometry import PoseVariant
from homolog.labelling.exemplars import EXEMPLAR_POSES, Exemplars, KeypointPrediction
from homolog.matcher import Matcher
from homolog.utils.outputs import check_output, write_atomically
from homolog.utils.prefetch import prefetch
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import read_complete_lines
from homolog.utils.serialization import to_plain

_READERS = 2
_AHEAD = 4  # pictures that may wait, as large as the backbone sees them

Record = dict[str, Any]
"""What is written down of a picture: its annotation, or why there is none."""


@dataclass(frozen=True)
class AnnotateConfig:
    """What is written beside the points.

    Attributes:
        review: points with a lower score are doubtful.
        poses: of the exemplars.
    """

    review: float = 0.8
    poses: tuple[PoseVariant, ...] = EXEMPLAR_POSES


@dataclass(frozen=True)
class Summary:
    """What became of a folder.

    Attributes:
        pictures: how many were labelled.
        points: visible points in all of these.
        doubtful: how many of these somebody should look at.
        manual: points kept as somebody labelled or corrected them.
        failed: pictures that could not be read, and why.
    """

    pictures: int
    points: int
    doubtful: int
    manual: int
    failed: Sequence[tuple[str, str]]


class Annotator:
    """Labels one picture after another; what a process of its own needs is made from this.

    Args:
        matcher: makes the features.
        labelled: the exemplars.
        settings: the rest.
    """

    def __init__(self, matcher: Matcher, labelled: ExemplarSet, settings: AnnotateConfig):
        self.matcher = matcher
        self.settings = settings
        self.exemplars = Exemplars(matcher, labelled.annotations, labelled.schemas, settings.poses)
        self._ids = {c["name"]: c["id"] for c in labelled.categories}

    def read(self, path: Path) -> Features | HomologError:
        """A picture read, or why it cannot be."""
        try:
            # What the picture shows is not known before it is labelled.
            (category,) = self._ids if len(self._ids) == 1 else (None,)
            return self.matcher.load_image(path, str(path), category)
        except HomologError as error:
            return error

    def line(self, name: str, read: Features | HomologError) -> Record:
        """What is to be written down of a picture.

        Args:
            name: of the picture.
            read: what `read` made of it.
        """
        if isinstance(read, HomologError):
            return {"file_name": name, "failed": str(read)}
        features = self.matcher.extract(read)
        found = self.exemplars.find(features)
        size = {"width": features.width, "height": features.height}
        return {"file_name": name, **size, "annotation": self._annotation(found)}

    def _annotation(self, found: KeypointPrediction) -> dict[str, Any]:
        visible = found.visible >= 0.5
        points = np.round(np.where(visible[:, None], found.points, 0), 2)
        keypoints = np.column_stack([points, np.where(visible, 2, 0)])
        x0, y0, x1, y1 = found.box
        # A point is doubtful, too, where the exemplars do not agree whether it can be seen.
        unsure = (found.scores < self.settings.review) & visible
        unsure |= (found.visible > 0.25) & (found.visible < 0.75)
        flat = [int(v) if v == int(v) else float(v) for v in keypoints.flatten()]
        return {
            "category_id": self._ids[found.category],
            "bbox": [round(v, 2) for v in (x0, y0, x1 - x0, y1 - y0)],
            "area": round((x1 - x0) * (y1 - y0), 2),
            "iscrowd": 0,
            "num_keypoints": int(visible.sum()),
            "keypoints": flat,
            "score": round(float(found.scores[visible].mean()), 4) if visible.any() else 0.0,
            EXTRA: {
                "scores": [round(float(score), 4) for score in found.scores],
                "doubtful": np.flatnonzero(unsure).tolist(),
                "reviewed": [],
                "predicted": list(flat),
                "exemplars": [list(exemplar) for exemplar in found.exemplars],
            },
        }


Executor = Callable[[Sequence[Path], Callable[[Path], str]], Iterator[Record]]
"""Makes the lines of pictures; it is given these and what each is called."""


def annotate(
    matcher: Matcher,
    labelled: ExemplarSet,
    folder: Path,
    out: Path,
    *,
    settings: AnnotateConfig = AnnotateConfig(),
    overwrite: bool = False,
    engine: Executor | None = None,
) -> Summary:
    """Carry the keypoints of labelled pictures to all pictures in a folder.

    Every picture goes through the backbone once. A picture that is done is written down at once, in
    OUT.partial; an interrupted run goes on where it stopped. Pictures that are exemplars themselves
    keep their labels, and so do points that somebody has reviewed, moved or added in an OUT that
    is overwritten.

    Args:
        matcher: makes the features.
        labelled: the exemplars.
        folder: of the pictures, searched with all folders below.
        out: the COCO file to write (`homolog.data.labels`).
        settings: which points are doubtful, and in which poses exemplars are tried.
        overwrite: whether `out` may be there.
        engine: who does the work; this process by default.

    Raises:
        HomologError: there are no pictures, `out` is there or cannot be written, or OUT.partial is
            another run's.
    """
    out = check_output(out, (".json",))
    if out.exists() and not overwrite:
        raise HomologError(
            f"out: {out} is there; --overwrite makes it anew, and keeps what was done by hand"
        )
    before = Labels.read(out) if out.exists() else None
    files = reading.find([folder], "images")
    if not files:
        raise HomologError(f"images: {folder} has no pictures")

    def name_of(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    own = {annotation.path.resolve(): annotation for annotation in labelled.annotations}
    journal = _ResumeLog(out, _describe(matcher, labelled, settings), overwrite)
    todo = [p for p in files if name_of(p) not in journal.lines and p.resolve() not in own]
    if todo:
        work = engine or _here(matcher, labelled, settings)
        with journal, ProgressBar(len(todo)) as steps:
            for done, line in enumerate(work(todo, name_of)):
                steps.update("labelling", done)
                journal.add(line)
    data, summary = _assemble(files, name_of, own, journal.lines, labelled, before)
    Labels(data).write(out)
    journal.remove()
    return summary


def _here(matcher: Matcher, labelled: ExemplarSet, settings: AnnotateConfig) -> Executor:
    """In this process; pictures are read ahead in threads."""

    def run(files: Sequence[Path], name_of: Callable[[Path], str]) -> Iterator[Record]:
        annotator = Annotator(matcher, labelled, settings)
        read = prefetch((partial(annotator.read, path) for path in files), _READERS, _AHEAD)
        for path, features in zip(files, read, strict=True):
            yield annotator.line(name_of(path), features)

    return run


class _ResumeLog:
    """What has been done of a run: a file of lines beside its result."""

    def __init__(self, out: Path, about: Mapping[str, Any], anew: bool):
        self.path = out.with_name(f"{out.name}.partial")
        self.lines: dict[str, Record] = {}
        head = json.dumps(about).encode() + b"\n"
        kept = self.path.read_bytes() if self.path.exists() else b""
        if not kept.startswith(head) and (anew or not kept):
            write_atomically(self.path, head)
            return
        if not kept.startswith(head):
            raise HomologError(
                f"out: {self.path} is of a run with other exemplars or settings; remove it, or "
                "give --overwrite"
            )
        for text in read_complete_lines(self.path)[1:]:
            line = json.loads(text)
            self.lines[line["file_name"]] = line

    def __enter__(self) -> _ResumeLog:
        try:
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise HomologError(f"out: cannot write {self.path}: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, line: Record) -> None:
        self.lines[line["file_name"]] = line
        try:
            self._file.write(json.dumps(line, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise HomologError(f"out: cannot write {self.path}: {error.strerror}") from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _describe(matcher: Matcher, labelled: ExemplarSet, settings: AnnotateConfig) -> dict[str, Any]:
    """What decides labels, to tell one run from another."""
    digest = hashlib.sha256(json.dumps(list(labelled.categories), sort_keys=True).encode())
    for annotation in labelled.annotations:
        digest.update(f"{annotation.name} {annotation.category} {annotation.box}".encode())
        digest.update(np.nan_to_num(annotation.keypoints, nan=-1.0).tobytes())
    return {
        "exemplars": len(labelled.annotations),
        "exemplars_sha256": digest.hexdigest(),
        "model": to_plain(matcher.config),
        "weights": matcher.weights_digest,
        "poses": [pose.name for pose in settings.poses],
        "review": settings.review,
    }


def _assemble(
    files: Sequence[Path],
    name_of: Callable[[Path], str],
    own: Mapping[Path, Annotation],
    lines: Mapping[str, Record],
    labelled: ExemplarSet,
    before: Labels | None,
) -> tuple[dict[str, Any], Summary]:
    """The COCO file of all pictures, and what there is to say of it."""
    earlier = {} if before is None else _by_name(before)
    ids = {c["name"]: c["id"] for c in labelled.categories}
    data: dict[str, Any] = {
        "info": {"description": "Keypoints carried over by homolog", "failed": []},
        "images": [],
        "annotations": [],
        "categories": list(labelled.categories),
    }
    kept = 0
    for path in files:
        name = name_of(path)
        line = lines.get(name)
        if line is not None and "failed" in line:
            data["info"]["failed"].append(line)
            continue
        if line is None:
            annotation = own[path.resolve()]
            size = annotation.size or reading.size(path)
            entries = [_labelled(annotation, ids[annotation.category])]
        else:
            size, entries = (line["width"], line["height"]), [line["annotation"]]
        entries = _with_corrections(entries, earlier.get(name, []))
        number = len(data["images"]) + 1
        data["images"].append(
            {"id": number, "file_name": name, "width": size[0], "height": size[1]}
        )
        for entry in entries:
            kept += len(manual_keypoints(entry))
            identity = {"id": len(data["annotations"]) + 1, "image_id": number}
            data["annotations"].append(identity | entry)
    labels = Labels(data)
    points = sum(a["num_keypoints"] for a in labels.annotations)
    failed = [(line["file_name"], line["failed"]) for line in data["info"]["failed"]]
    return data, Summary(len(data["images"]), points, len(labels.doubtful()), kept, failed)


def _by_name(labels: Labels) -> dict[str, list[dict[str, Any]]]:
    names = {image["id"]: image["file_name"] for image in labels.images}
    found: dict[str, list[dict[str, Any]]] = {}
    for annotation in labels.annotations:
        found.setdefault(names[annotation["image_id"]], []).append(annotation)
    return found


def _with_corrections(
    entries: Iterable[dict[str, Any]], earlier: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """New annotations of a picture, with what was done by hand in the old ones."""
    made = [a for a in earlier if EXTRA not in a]
    if made:  # another tool's, or somebody's: not ours to change
        return [{k: v for k, v in a.items() if k not in ("id", "image_id")} for a in made]
    merged = list(entries)
    for entry in merged:
        for old in earlier:
            if EXTRA not in entry or len(old["keypoints"]) != len(entry["keypoints"]):
                continue
            for keypoint in manual_keypoints(old):
                row = slice(3 * keypoint, 3 * keypoint + 3)
                entry["keypoints"][row] = old["keypoints"][row]
                entry[EXTRA]["reviewed"] = sorted({*entry[EXTRA]["reviewed"], keypoint})
            entry["num_keypoints"] = sum(v > 0 for v in entry["keypoints"][2::3])
    return merged


def _labelled(annotation: Annotation, category: int) -> dict[str, Any]:
    """An exemplar's own labels."""
    x0, y0, x1, y1 = annotation.box
    seen = annotation.visible
    points = np.column_stack([np.nan_to_num(annotation.keypoints), np.where(seen, 2, 0)])
    return {
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "num_keypoints": int(seen.sum()),
        "keypoints": points.flatten().tolist(),
    }
