"""What people did to labels, kept when they are predicted anew.

They review keypoints, draw and change boxes, and delete objects; other tools add members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homolog.data.boxes import XYWH
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, Labels, is_manual, manual_keypoints
from homolog.errors import HomologError
from homolog.labelling.instances import (
    INSTANCE,
    SAME_PLACE,
    Identity,
    free_instance,
    match_instances,
)
from homolog.labelling.neighbours import overlap

Entry = dict[str, Any]
"""An annotation as in a COCO file, without its id and that of its image."""


@dataclass(frozen=True)
class MergedImage:
    """The annotations of an image, predicted anew and merged with the earlier ones.

    Attributes:
        entries: the annotations.
        deleted: those that somebody deleted.
        kept: instance ids of those that are only there because somebody made or edited them.
    """

    entries: Sequence[Entry]
    deleted: Sequence[Entry]
    kept: Sequence[InstanceId | None] = ()


def merge(
    entries: Sequence[Entry], earlier: Sequence[Entry], deleted: Sequence[Entry]
) -> MergedImage:
    """New annotations of an image, with what somebody did to the earlier ones.

    Args:
        entries: the new ones.
        earlier: those that there were.
        deleted: those that somebody had deleted. What is the same object is not added again.
    """
    matched = _match(entries, earlier, deleted)
    single = _is_single(entries)
    foreign = any(map(_is_foreign, earlier))
    merged: list[Entry] = []
    for entry, position in zip(entries, matched, strict=True):
        if position is None:
            absent = any(_overlap(entry, old) > SAME_PLACE for old in deleted)
            # Of one object, what was made by hand is all there is.
            if not absent and not (single and foreign):
                merged.append(entry)
        elif position < len(earlier):
            merged.append(_merge_entry(entry, earlier[position]))
    kept = []
    for position, old in enumerate(earlier):
        if position not in matched and is_manual(old):
            if EXTRA in old:
                kept.append(old.get(INSTANCE))
            merged.append(_with_free_instance(without_ids(old), merged))
    gone: list[Entry] = []
    for old in deleted:
        gone.append(_with_free_instance(without_ids(old), [*merged, *gone]))
    return MergedImage(merged, gone, kept)


def without_ids(annotation: Mapping[str, Any]) -> Entry:
    """An annotation without its id and that of its image."""
    return {k: v for k, v in annotation.items() if k not in ("id", "image_id")}


def _is_single(entries: Sequence[Entry]) -> bool:
    """Whether an image was taken to show one object."""
    return len(entries) == 1 and INSTANCE not in entries[0]


def _match(
    entries: Sequence[Entry], earlier: Sequence[Entry], deleted: Sequence[Entry]
) -> list[int | None]:
    """For each new annotation the position of the same object among those before, if there is one.

    Positions of the deleted ones follow those of the others.
    """
    others = [*earlier, *deleted]
    former: list[XYWH | None] = []
    for old in others:
        before = old.get(EXTRA, {}).get("predicted_bbox")
        former.append(None if before is None else _identity({"bbox": before})[1])
    found = [_identity(entry) for entry in entries]
    matched = match_instances(found, [_identity(old) for old in others], former)
    for row, position in enumerate(matched):
        if position is not None and position >= len(earlier):
            # Somebody may have deleted a prediction to draw the object better.
            drawn = [k for k, old in enumerate(earlier) if _is_drawn(old) and k not in matched]
            (replaced,) = match_instances([found[row]], [_identity(earlier[k]) for k in drawn])
            matched[row] = position if replaced is None else drawn[replaced]
    if _is_single(entries) and matched == [None]:
        known = [position for position, old in enumerate(earlier) if not _is_drawn(old)]
        again = any(_overlap(entries[0], old) > SAME_PLACE for old in deleted)
        if len(known) == 1 and INSTANCE not in earlier[known[0]] and not again:
            return [known[0]]  # the object of an image, wherever it was seen
    return matched


def _merge_entry(entry: Entry, old: Entry) -> Entry:
    """A new annotation with what somebody did to the earlier one of the same object."""
    named = {INSTANCE: entry[INSTANCE]} if INSTANCE in entry else {}
    if _is_foreign(old):  # kept as it is
        return {**without_ids(old), **named}
    if entry["category_id"] != old["category_id"] and is_manual(old):  # other keypoints
        return {**without_ids(old), **named}
    extra = old[EXTRA]
    own = ("id", "image_id", INSTANCE, "score", EXTRA)
    result = {k: v for k, v in old.items() if k not in own} | entry
    edited = manual_keypoints(old)
    points = list(entry["keypoints"])
    if EXTRA in entry:
        reviewed = sorted({*entry[EXTRA]["reviewed"], *edited})
        result[EXTRA] = {**extra, **entry[EXTRA], "reviewed": reviewed}
        if extra.get("box_reviewed"):
            result[EXTRA]["predicted_bbox"] = entry["bbox"]
    else:  # an exemplar, whose own keypoints come first
        edited = {keypoint for keypoint in edited if not points[3 * keypoint + 2]}
    for keypoint in edited:
        row = slice(3 * keypoint, 3 * keypoint + 3)
        points[row] = old["keypoints"][row]
    result["keypoints"] = points
    result["num_keypoints"] = sum(v > 0 for v in points[2::3])
    if extra.get("box_reviewed"):
        result["bbox"] = old["bbox"]
    else:
        result["bbox"] = _box_with(entry["bbox"], [points[3 * k : 3 * k + 3] for k in edited])
    if "area" in old and (old.get("segmentation") or extra.get("box_reviewed")):
        result["area"] = old["area"]  # of an outline, if there is one
    elif result["bbox"] != entry["bbox"]:
        result["area"] = result["bbox"][2] * result["bbox"][3]
    return result


def _box_with(box: Sequence[float], points: Sequence[Sequence[float]]) -> list[float]:
    """A box grown so far that it contains keypoints x, y, v, those that are visible."""
    x, y, width, height = box
    seen = [point for point in points if point[2] > 0]
    x0, y0 = min([x, *(p[0] for p in seen)]), min([y, *(p[1] for p in seen)])
    right, bottom = max([0, *(p[0] for p in seen)]), max([0, *(p[1] for p in seen)])
    if (x0, y0) == (x, y) and right <= x + width and bottom <= y + height:
        return list(box)
    return [x0, y0, max(x + width, right) - x0, max(y + height, bottom) - y0]


def _with_free_instance(entry: Entry, others: Sequence[Entry]) -> Entry:
    """An annotation with another instance id, if one of these has its own."""
    taken = [other.get(INSTANCE) for other in others]
    if INSTANCE in entry and entry[INSTANCE] in taken:
        return entry | {INSTANCE: free_instance(taken)}
    return entry


def _is_foreign(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation was made by another tool or by hand, not on the page."""
    extra = annotation.get(EXTRA, {})
    return not extra.get("scores") and not extra.get("box_reviewed")


def _is_drawn(annotation: Mapping[str, Any]) -> bool:
    """Whether somebody drew an object on the page, and it has not been predicted since."""
    extra = annotation.get(EXTRA, {})
    drawn = bool(extra.get("box_reviewed")) and not extra.get("scores")
    return drawn and not any(extra["predicted"][2::3])


def _identity(annotation: Mapping[str, Any]) -> Identity:
    x, y, width, height = annotation["bbox"]
    return annotation.get(INSTANCE), (x, y, width, height)


def _overlap(annotation: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return overlap(annotation["bbox"], other["bbox"])


def with_categories(labels: Labels, categories: Sequence[Mapping[str, Any]]) -> Labels:
    """Labels as if they had been made with other categories, those of one name being the same.

    Args:
        labels: their document is changed.
        categories: whose ids and keypoints are taken over; categories that are not among them are
            kept after them.

    Raises:
        HomologError: somebody edited a keypoint that there is no more.
    """
    before = {category["id"]: category for category in labels.categories}
    by_name = {category["name"]: category for category in labels.categories}
    now: dict[str, dict[str, Any]] = {}
    for category in categories:
        old = by_name.get(category["name"], {})
        same = _names(old) == _names(category)
        now[category["name"]] = {**(old if same else {}), **category}
    for category in labels.categories:
        if category["name"] not in now:
            taken = {each["id"] for each in now.values()}
            number = category["id"] if category["id"] not in taken else max(taken) + 1
            now[category["name"]] = {**category, "id": number}
    for annotation in [*labels.annotations, *labels.deleted]:
        known = before.get(annotation["category_id"])
        if known is not None:
            annotation["category_id"] = now[known["name"]]["id"]
            _rearrange(annotation, known, now[known["name"]])
    return Labels(labels.data | {"categories": list(now.values())})


def _names(category: Mapping[str, Any]) -> list[str]:
    """The names of the keypoints of a category."""
    return list(category.get("keypoints", []))


def _rearrange(annotation: Entry, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Put the keypoints of an annotation in the order of its category's."""
    old, new = _names(before), _names(now)
    if old == new or "keypoints" not in annotation:
        return
    for keypoint in manual_keypoints(annotation):
        if annotation["keypoints"][3 * keypoint + 2] > 0 and old[keypoint] not in new:
            raise HomologError(
                f"out: expected labels with the exemplars' keypoints of {now['name']}, "
                f"{', '.join(new)}, got {old[keypoint]}, edited by hand; try another file"
            )
    origin = [old.index(name) if name in old else None for name in new]
    added = {k for k, position in enumerate(origin) if position is None}

    def rearranged(values: Sequence[float], size: int) -> list[float]:
        rows = [[0.0] * size if k is None else values[size * k : size * (k + 1)] for k in origin]
        return [value for row in rows for value in row]

    annotation["keypoints"] = rearranged(annotation["keypoints"], 3)
    annotation["num_keypoints"] = sum(v > 0 for v in annotation["keypoints"][2::3])
    if EXTRA not in annotation:
        return
    extra = annotation[EXTRA]
    extra["predicted"] = rearranged(extra["predicted"], 3)
    if extra.get("scores"):
        extra["scores"] = rearranged(extra["scores"], 1)
    for member in ("doubtful", "reviewed"):
        extra[member] = [k for k, position in enumerate(origin) if position in extra[member]]
    extra["doubtful"] = sorted({*extra["doubtful"], *added})  # nobody has looked for them
