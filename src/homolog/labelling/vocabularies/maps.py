"""Maps from one vocabulary of keypoints to another: files that a person can edit, and their use."""

from __future__ import annotations

import copy
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from homolog.data.formats.document import Document
from homolog.data.labels import EXTRA, reorder_keypoints
from homolog.data.reading import read_json, unreadable
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema, read_sides
from homolog.labelling.vocabularies.proposals import Proposal
from homolog.utils.outputs import write_text_atomically

SUFFIXES = (".json", ".csv")
"""Endings of the files that maps are kept in."""

_COLUMNS = ("source", "target", "score")


@dataclass(frozen=True)
class KeypointMap:
    """Which keypoints of a vocabulary become which of another.

    Attributes:
        targets: the keypoints of the other vocabulary in their order; those that nothing becomes
            are unlabelled.
        sources: by target the keypoint that becomes it.
    """

    targets: tuple[str, ...]
    sources: Mapping[str, str]

    def apply(self, document: Document) -> tuple[Document, list[str]]:
        """Labels in the other vocabulary.

        Args:
            document: labels in the one.

        Returns:
            The labels with keypoints renamed, in the order of the other vocabulary, without those
            that have no partner; and a line for each kind of thing that is lost.

        Raises:
            HomologError: no category has the keypoints of the map.
        """
        result = copy.deepcopy(document)
        orders: dict[Any, list[int | None]] = {}
        notes = []
        wanted = set(self.sources.values())
        for category in result["categories"]:
            names = list(category.get("keypoints") or [])
            if not wanted & set(names):
                continue
            if absent := sorted(wanted - set(names)):
                raise HomologError(
                    f"map: expected keypoints of {category['name']!r} as sources, got {absent[0]!r}"
                )
            order = [
                names.index(self.sources[target]) if target in self.sources else None
                for target in self.targets
            ]
            orders[category["id"]] = order
            notes += self._lost(category, result["annotations"])
            notes += self._crossed(names)
            _map_category(category, self.targets, order)
        if not orders:
            raise HomologError(
                f"map: expected keypoints of the labels as sources, got {sorted(wanted)}"
            )
        entries = [*result["annotations"], *result.get(EXTRA, {}).get("deleted", [])]
        for annotation in entries:
            if annotation["category_id"] in orders and "keypoints" in annotation:
                reorder_keypoints(annotation, orders[annotation["category_id"]])
        return result, list(dict.fromkeys(notes))

    def _crossed(self, names: Sequence[str]) -> list[str]:
        """A line for each left keypoint that becomes a right one, or the other way round."""
        given = dict(zip(names, read_sides(names).sides, strict=True))
        told = dict(zip(self.targets, read_sides(self.targets).sides, strict=True))
        return [
            f"{source!r} becomes {target!r}: left and right are exchanged"
            for target, source in self.sources.items()
            if given[source] * told[target] < 0
        ]

    def _lost(self, category: Mapping[str, Any], annotations: Sequence[Any]) -> list[str]:
        """A line for each keypoint of a category that has labels, but no partner."""
        kept = set(self.sources.values())
        lines = []
        for index, name in enumerate(category["keypoints"]):
            labels = sum(
                each["keypoints"][3 * index + 2] > 0
                for each in annotations
                if each["category_id"] == category["id"] and each.get("keypoints")
            )
            if name not in kept:
                lines.append(f"{name!r} has no partner: its {labels} labels are left out")
        return lines


def write_map(path: Path, proposal: Proposal, target: KeypointSchema) -> None:
    """Write a proposal as a file that a person can edit: `.json` or `.csv`.

    Args:
        path: the file.
        proposal: what becomes what.
        target: the other vocabulary, whose order is kept.

    Raises:
        HomologError: it cannot be written.
    """
    by_target = {pair.target: pair for pair in proposal.pairs}
    rows: list[dict[str, Any]] = []
    for name in target.names:
        pair = by_target.get(name)
        source, score = ("", 0.0) if pair is None else (pair.source, round(pair.score, 3))
        rows.append({"source": source, "target": name, "score": score})
    rows += [{"source": name, "target": "", "score": 0.0} for name in proposal.unmatched_source]
    if path.suffix.lower() == ".json":
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        text = f'{{"keypoints": [\n{lines}\n]}}\n'
    else:
        file = io.StringIO()
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = file.getvalue()
    write_text_atomically(path, text)


def read_map(path: Path) -> KeypointMap:
    """Read a map, as `write_map` wrote it and a person may have edited it.

    Rows without a source are keypoints that nothing becomes, rows without a target those that are
    left out.

    Raises:
        HomologError: it cannot be read, or a keypoint is there twice.
    """
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _table_rows(path)
    targets: list[str] = []
    sources: dict[str, str] = {}
    for place, source, target in rows:
        if target and target in targets:
            raise HomologError(f"map: {path}, {place}: expected each target once, got {target!r}")
        if source and target and source in sources.values():
            raise HomologError(f"map: {path}, {place}: expected each source once, got {source!r}")
        if target:
            targets.append(target)
        if source and target:
            sources[target] = source
    if not sources:
        raise HomologError(f"map: expected pairs of a source and a target, got none in {path}")
    return KeypointMap(tuple(targets), sources)


def _json_rows(path: Path) -> list[tuple[str, str, str]]:
    data = read_json(path)
    rows = data.get("keypoints") if isinstance(data, dict) else None
    if not isinstance(rows, list):
        raise HomologError(f"map: expected a list of keypoints in {path}, got other JSON")
    return [_row(path, f"keypoint {number}", row) for number, row in enumerate(rows, start=1)]


def _table_rows(path: Path) -> list[tuple[str, str, str]]:
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise unreadable(path, error) from error
    except UnicodeDecodeError:
        raise HomologError(f"map: expected text in UTF-8, got {path}") from None
    first = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
    if not {"source", "target"} <= set(reader.fieldnames or []):
        raise HomologError(
            f"map: expected columns source and target in {path}, got {first.strip()!r}"
        )
    return [_row(path, f"line {reader.line_num}", row) for row in reader]


def _row(path: Path, place: str, row: Any) -> tuple[str, str, str]:
    if not isinstance(row, dict):
        raise HomologError(f"map: {path}, {place}: expected a source and a target, got {row!r}")
    source, target = (row.get(name) or "" for name in ("source", "target"))
    if not isinstance(source, str) or not isinstance(target, str):
        raise HomologError(f"map: {path}, {place}: expected names of keypoints, got {row!r}")
    return place, source.strip(), target.strip()


def _map_category(
    category: dict[str, Any], targets: Sequence[str], order: Sequence[int | None]
) -> None:
    """Give a category its new keypoints, and what refers to them by their numbers."""
    schema = KeypointSchema.coco(category)
    place = {old: new for new, old in enumerate(order) if old is not None}
    category["keypoints"] = list(targets)
    told = "flip_indices" in category or "flip_pairs" in category
    category.pop("flip_pairs", None)
    category.pop("flip_indices", None)
    if told and not KeypointSchema.from_names(targets).sides_known:
        category["flip_indices"] = [
            new if old is None else place.get(schema.mirror[old], new)
            for new, old in enumerate(order)
        ]
    if "skeleton" in category:
        edges = [[place.get(int(end) - 1) for end in edge] for edge in category["skeleton"]]
        category["skeleton"] = [
            [end + 1 for end in edge if end is not None] for edge in edges if None not in edge
        ]
    if "curves" in category:
        curves = [[place[old] for old in curve if old in place] for curve in category["curves"]]
        category["curves"] = [curve for curve in curves if len(curve) > 1]
