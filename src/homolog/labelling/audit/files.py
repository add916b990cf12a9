"""Label audit of files, compared with each other: a report of what was found, and marked labels."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from homolog.data import label_files
from homolog.data.formats import coco
from homolog.data.formats.document import Document, LabelFile, ReadOptions
from homolog.data.labels import EXTRA, manual_keypoints
from homolog.data.pairs import Annotation
from homolog.data.reading import ErrorCollector
from homolog.descriptors import DescriptorMap
from homolog.errors import HomologError
from homolog.image.poses import PoseVariant
from homolog.keypoints import KeypointSchema, read_sides, tell_sides
from homolog.labelling.audit.evidence import Extract
from homolog.labelling.audit.images import ObjectExtractor
from homolog.labelling.audit.objects import FEWEST_OBJECTS, Finding, audit
from homolog.matcher import Matcher
from homolog.utils.outputs import write_atomically
from homolog.viz.audit import SheetEntry, plot_audit

MOST_SHOWN = 40
"""Findings on a contact sheet at most."""

_MOST_LETTERS = 40  # of the name of an image there


class LabelledFiles:
    """The labelled objects of one or several files that are audited together.

    Attributes:
        files: what was read, by path.
        schemas: of the keypoints, by category.
        objects: by category the file, annotation id and annotation of each object, at least
            `FEWEST_OBJECTS`.
        notes: what was left out, a line each.

    Args:
        paths: files of labels in any format (`homolog.data.label_files`).
        images: a folder where their images are looked up. Objects whose image is missing are
            compared by the shape of their keypoints alone.
        sides: which keypoints are left and right, as `homolog.keypoints.tell_sides` takes it.

    Raises:
        HomologError: a file cannot be read, files have different keypoints of a category, or no
            category has enough objects.
    """

    def __init__(
        self, paths: Sequence[Path], images: Path | None = None, sides: Sequence[str] = ()
    ):
        self.files: dict[Path, LabelFile] = {}
        self.schemas: dict[str, KeypointSchema] = {}
        self.objects: dict[str, list[tuple[Path, Any, Annotation]]] = {}
        self.notes: list[str] = []
        missing = sum(self._read(path, images) for path in paths)
        if missing:
            self.notes.append(
                f"{missing} objects are compared by shape alone: their images were not found"
            )
        self.schemas = tell_sides(self.schemas, sides)
        self._leave_out_few()
        for name in self.objects:
            if not self.schemas[name].sides_known:
                self.notes.append(
                    f"exchanged sides of {name!r} are not looked for: nothing says which keypoints "
                    "are left and right; try --sides"
                )

    @property
    def count(self) -> int:
        """The number of objects."""
        return sum(map(len, self.objects.values()))

    def _read(self, path: Path, images: Path | None) -> int:
        """Add the objects of a file; returns how many have no image."""
        if path in self.files:
            raise HomologError(f"labels: expected each file once, got {path} twice")
        file = self.files[path] = label_files.read(path, ReadOptions(images))
        self.notes += file.notes
        parsed = coco.parse(file.document, path, ErrorCollector())
        for category in parsed.categories.values():
            if category.schema is None:
                continue
            known = self.schemas.setdefault(category.name, category.schema)
            if known.names != category.schema.names:
                raise HomologError(
                    f"labels: expected the same keypoints of {category.name!r} in all files, got "
                    f"others in {path}; try homolog labels map, then convert --map"
                )
        missing = 0
        for instance in parsed.instances:
            found = file.paths.get(instance.image_id)
            # No image has an empty name: such an object is compared without one.
            annotation = instance.annotation(found or Path(""))
            if annotation.visible.any():
                missing += found is None
                own = self.objects.setdefault(annotation.category, [])
                own.append((path, instance.id, annotation))
        return missing

    def _leave_out_few(self) -> None:
        """Leave out categories of which there are too few objects to compare."""
        counts = {name: len(own) for name, own in self.objects.items()}
        few = [name for name, count in counts.items() if count < FEWEST_OBJECTS]
        if len(few) == len(counts):
            raise HomologError(
                f"labels: expected at least {FEWEST_OBJECTS} labelled objects of one category, got "
                f"{max(counts.values(), default=0)} in {', '.join(map(str, self.files))}"
            )
        for name in few:
            del self.objects[name]
            self.notes.append(
                f"{name!r} is left out: expected at least {FEWEST_OBJECTS} labelled objects, got "
                f"{counts[name]}"
            )


@dataclass(frozen=True)
class FileFinding:
    """A finding about an object of a file.

    Attributes:
        file: the file.
        annotation_id: of the object in the document of the file.
        annotation: the object.
        schema: what its keypoints mean.
        finding: what was found.
    """

    file: Path
    annotation_id: Any
    annotation: Annotation
    schema: KeypointSchema
    finding: Finding

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the keypoints concerned."""
        return tuple(self.schema.names[keypoint] for keypoint in self.finding.keypoints)

    def describe(self) -> str:
        """What was found, in words."""
        names, kind = self.names, self.finding.kind
        if kind == "sides":
            return "left and right are exchanged"
        if kind == "outlier":
            return f"{names[0]} lies elsewhere than in the other images"
        return f"{names[0]} and {names[1]} are exchanged"

    def to_json(self) -> dict[str, Any]:
        """The finding, ready for JSON."""
        points = [
            [round(float(v), 2) for v in point] if np.isfinite(point).all() else None
            for point in self.finding.points
        ]
        return {
            "file": str(self.file),
            "image": self.annotation.name,
            "annotation_id": self.annotation_id,
            "category": self.annotation.category,
            "kind": self.finding.kind,
            "keypoints": list(self.names),
            "score": round(self.finding.score, 4),
            "suggested": points,
            "finding": self.describe(),
        }


@dataclass(frozen=True)
class Audit:
    """What an audit of files found.

    Attributes:
        findings: most probable first.
        files: what was read, by path.
        objects: number of objects that were compared.
        notes: what was left out or could not be used, a line each.
    """

    findings: Sequence[FileFinding]
    files: Mapping[Path, LabelFile]
    objects: int
    notes: tuple[str, ...] = ()

    def write_report(self, path: Path) -> None:
        """Write the findings as JSON.

        Raises:
            HomologError: the file cannot be written.
        """
        report = {
            "files": [str(file) for file in self.files],
            "objects": self.objects,
            "findings": [found.to_json() for found in self.findings],
        }
        write_atomically(path, (json.dumps(report, indent=1) + "\n").encode(), "out")

    def sheet(self, most: int = MOST_SHOWN) -> Image.Image | None:
        """A contact sheet of the objects with findings, the most probable first; None without any.

        Args:
            most: how many findings it shows at most.
        """
        if not self.findings:
            return None
        shown = [_sheet_entry(found) for found in self.findings[:most]]
        count = len(self.findings)
        of = f"the first {most} of {count}" if count > most else str(count)
        return plot_audit(
            shown, f"{of} findings   ·   blue: labelled left, orange: right   ·   arrow: suggested"
        )

    def marked(self, file: Path) -> Document:
        """The labels of a file with the keypoints of its findings marked as doubtful.

        Nothing else is changed: the page shows what is doubtful, and every label counts as made by
        hand that did so before.
        """
        document = copy.deepcopy(self.files[file].document)
        entries = {entry["id"]: entry for entry in document["annotations"]}
        for found in self.findings:
            if found.file == file:
                labelled = found.annotation.visible
                _mark(
                    entries[found.annotation_id],
                    [keypoint for keypoint in found.finding.keypoints if labelled[keypoint]],
                )
        return document


def audit_files(
    matcher: Matcher,
    labels: LabelledFiles,
    *,
    least_score: float = 0.5,
    progress: Callable[[], None] = lambda: None,
) -> Audit:
    """Find labels of one or several files that contradict the others, all compared together.

    Args:
        matcher: extracts the descriptors.
        labels: the objects of the files.
        least_score: of the findings that are returned.
        progress: called before each object.
    """
    findings: list[FileFinding] = []
    notes = list(labels.notes)
    for name, own in labels.objects.items():
        schema = labels.schemas[name]
        annotations = [annotation for _, _, annotation in own]
        extractor = ObjectExtractor(matcher, annotations)
        for finding in audit(annotations, schema, _counted(extractor, progress), least_score):
            path, number, annotation = own[finding.index]
            findings.append(FileFinding(path, number, annotation, schema, finding))
        notes += [f"{message}; compared by shape alone" for message in extractor.failed]
    findings.sort(key=lambda found: -found.finding.score)
    return Audit(findings, labels.files, labels.count, tuple(notes))


def _counted(extract: Extract, progress: Callable[[], None]) -> Extract:
    """The same function, which reports progress before it begins."""

    def counted(annotation: Annotation, pose: PoseVariant) -> DescriptorMap | None:
        progress()
        return extract(annotation, pose)

    return counted


def _sheet_entry(found: FileFinding) -> SheetEntry:
    annotation, finding = found.annotation, found.finding
    keypoints = list(finding.keypoints)
    sides = [0] * len(keypoints)
    if finding.kind == "sides":
        told = read_sides(found.schema.names).sides
        mirror = found.schema.mirror
        # Where names do not tell, one of each pair is drawn as left.
        sides = [told[k] or (1 if k < mirror[k] else -1) for k in keypoints]
    name = annotation.name
    if len(name) > _MOST_LETTERS:  # files of a set differ at their ends
        name = f"…{name[-_MOST_LETTERS:]}"
    return SheetEntry(
        str(annotation.path) if annotation.path.is_file() else None,
        f"{finding.score:.2f}  {found.describe()}\n{name}",
        annotation.box,
        annotation.keypoints[keypoints],
        finding.points,
        found.names,
        tuple(sides),
    )


def _mark(entry: dict[str, Any], keypoints: Sequence[int]) -> None:
    """Mark keypoints of an annotation as doubtful and not reviewed."""
    by_hand = manual_keypoints(entry)
    extra = entry.setdefault(
        EXTRA,
        {"scores": [], "doubtful": [], "reviewed": [], "predicted": list(entry["keypoints"])},
    )
    for keypoint in keypoints:
        if extra.get("scores") and keypoint in by_hand:
            # Made by hand among others that were predicted: as if nothing had been predicted here.
            extra["predicted"][3 * keypoint : 3 * keypoint + 3] = [0, 0, 0]
    extra["doubtful"] = sorted({*extra["doubtful"], *keypoints})
    extra["reviewed"] = [each for each in extra["reviewed"] if each not in keypoints]
