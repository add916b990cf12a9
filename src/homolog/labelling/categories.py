"""The categories of labels that are predicted anew, where exemplars have other ones.

Keypoints are told by their names. Those that the exemplars lack stay, with what somebody said of
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np

from homolog.data.exemplars import ExemplarSet
from homolog.data.formats.poses.members import skeleton_edges
from homolog.data.labels import EXTRA, Labels, reorder_keypoints
from homolog.errors import HomologError
from homolog.labelling.annotator import Record
from homolog.labelling.edits import Entry
from homolog.labelling.provenance import labelled_keypoints


def with_categories(labels: Labels, categories: Sequence[Mapping[str, Any]]) -> Labels:
    """Labels as if they had been made with other categories, those of one name being the same.

    Args:
        labels: their document is changed.
        categories: whose ids and keypoints are taken over; categories that are not among them are
            kept after them, and so are keypoints that they lack, unless one of these is labelled.

    Raises:
        HomologError: a keypoint is labelled that there is no more.
    """
    before = {category["id"]: category for category in labels.categories}
    by_name = {category["name"]: category for category in labels.categories}
    entries = [*labels.annotations, *labels.deleted]
    now: dict[str, dict[str, Any]] = {}
    for category in categories:
        old = by_name.get(category["name"], {})
        lacking = {*_names(old)} - {*_names(category)}
        labelled = {
            _names(old)[keypoint]
            for each in entries
            if lacking and each["category_id"] == old["id"]
            for keypoint in labelled_keypoints(each)
        }
        same = _names(old) == _names(category)
        if lacking and not lacking & labelled:
            now[category["name"]] = _wider_category(old, category)
        else:
            now[category["name"]] = {**(old if same else {}), **category}
    for category in labels.categories:
        if category["name"] not in now:
            taken = {each["id"] for each in now.values()}
            number = category["id"] if category["id"] not in taken else max(taken) + 1
            now[category["name"]] = {**category, "id": number}
    for annotation in entries:
        known = before.get(annotation["category_id"])
        if known is not None:
            annotation["category_id"] = now[known["name"]]["id"]
            _rearrange(annotation, known, now[known["name"]])
    return Labels(labels.data | {"categories": list(now.values())}, labels.notes)


def _wider_category(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """A category with the keypoints of two, in the order of the earlier one if it has them all.

    Sides, skeletons and curves are the new one's, if it has any.
    """
    first, second = (old, new) if {*_names(new)} <= {*_names(old)} else (new, old)
    names = list(dict.fromkeys([*_names(first), *_names(second)]))
    lacking = {names.index(name) for name in {*_names(old)} - {*_names(new)}}
    result = {**old, **new, "keypoints": names}

    def given(member: str, of: Mapping[str, Any]) -> list[list[int]]:
        """Groups of keypoints, as they are numbered now."""
        places = [names.index(name) for name in _names(of)]
        if member == "skeleton":
            return [[places[a], places[b]] for a, b in skeleton_edges(of)]
        found = of.get(member) or []
        groups = enumerate(found) if member == "flip_indices" else found
        return [[places[k] for k in group] for group in groups]

    for member in {"flip_indices", "skeleton", "curves"} & {*result}:
        groups = given(member, new if new.get(member) else old)
        if new.get(member) and member == "skeleton":
            groups += [edge for edge in given(member, old) if lacking & {*edge}]
        if new.get(member) and member == "flip_indices":
            groups += [pair for pair in given(member, old) if lacking >= {*pair}]
        if member == "flip_indices":
            mirror = {a: b for a, b in groups}
            result[member] = [mirror.get(k, k) for k in range(len(names))]
        else:
            start = 1 if member == "skeleton" else 0
            result[member] = [[k + start for k in group] for group in groups]
    return result


def with_keypoints_of(
    exemplars: ExemplarSet,
    records: Mapping[str, Record],
    categories: Sequence[Mapping[str, Any]],
) -> tuple[ExemplarSet, dict[str, Record]]:
    """Exemplars, and what was predicted from them, with the keypoints of wider categories.

    Args:
        exemplars: the labelled images.
        records: what was predicted; keypoints that were not looked for get no score.
        categories: with the ids of the exemplars' categories, and at least their keypoints.
    """
    now = {category["id"]: category for category in categories}
    file = exemplars.file
    listed = [] if file is None else file.document["categories"]
    before = {category["id"]: category for category in [*listed, *exemplars.categories]}
    changed = {k for k, each in before.items() if _names(each) != _names(now[k])}
    if not changed:
        return exemplars, dict(records)

    def widened(entries: Iterable[Any], *, predicted: bool = False) -> list[Any]:
        result = deepcopy(list(entries))
        for entry in result:
            number = entry["category_id"]
            if number not in changed or "keypoints" not in entry:
                continue
            _rearrange(entry, before[number], now[number])
            if predicted:
                known = {*_names(before[number])}
                entry[EXTRA]["scores"] = [
                    score if name in known else None
                    for score, name in zip(entry[EXTRA]["scores"], _names(now[number]), strict=True)
                ]
        return result

    numbers = {each["name"]: each["id"] for each in exemplars.categories}
    annotations = []
    for each in exemplars.annotations:
        number = numbers[each.category]
        rows = [_names(now[number]).index(name) for name in _names(before[number])]
        points = np.full((len(_names(now[number])), 2), np.nan)
        points[rows] = each.keypoints
        occluded = None
        if each.occluded is not None:
            occluded = np.zeros(len(points), dtype=bool)
            occluded[rows] = each.occluded
        annotations.append(replace(each, keypoints=points, occluded=occluded))
    if file is not None:
        document = dict(file.document)
        document["annotations"] = widened(document["annotations"])
        document["categories"] = [now[each["id"]] for each in listed]
        if deleted := Labels(document).deleted:
            document[EXTRA] = {**document[EXTRA], "deleted": widened(deleted)}
        file = replace(file, document=document)
    exemplars = replace(
        exemplars,
        annotations=annotations,
        categories=[now[each["id"]] for each in exemplars.categories],
        records=widened(exemplars.records),
        file=file,
    )
    found = {}
    for name, record in records.items():
        found[name] = record = dict(record)
        if "annotations" in record:
            record["annotations"] = widened(record["annotations"], predicted=True)
        if record.get("annotation") is not None:
            (record["annotation"],) = widened([record["annotation"]], predicted=True)
    return exemplars, found


def _names(category: Mapping[str, Any]) -> list[str]:
    """The names of the keypoints of a category."""
    return list(category.get("keypoints", []))


def _rearrange(annotation: Entry, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Put the keypoints of an annotation in the order of its category's."""
    old, new = _names(before), _names(now)
    if old == new or "keypoints" not in annotation:
        return
    for keypoint in labelled_keypoints(annotation):
        if old[keypoint] not in new:
            raise HomologError(
                f"out: expected labels with the exemplars' keypoints of {now['name']}, "
                f"{', '.join(new)}, got {old[keypoint]}, which annotation {annotation['id']} has; "
                "try another file"
            )
    origin = [old.index(name) if name in old else None for name in new]
    added = {k for k, position in enumerate(origin) if position is None}
    reorder_keypoints(annotation, origin)
    if EXTRA in annotation:  # nobody has looked for those that are new
        annotation[EXTRA]["doubtful"] = sorted({*annotation[EXTRA]["doubtful"], *added})
