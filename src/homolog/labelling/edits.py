"""What people did to labels, kept when they are predicted anew.

They review keypoints, draw and change boxes, and delete objects; other tools add members. Nothing
that was there disappears unless somebody deleted it: what is predicted anew takes the place of
what was predicted before, keypoint by keypoint, and what is not found again stays as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from homolog.data.boxes import XYWH
from homolog.data.formats.document import box_with_points
from homolog.data.formats.entries import InstanceId
from homolog.data.labels import EXTRA, is_manual, manual_keypoints
from homolog.labelling.instances import (
    INSTANCE,
    SAME_PLACE,
    Identity,
    free_instance,
    match_instances,
)
from homolog.labelling.neighbours import overlap
from homolog.labelling.provenance import is_drawn, is_foreign, labelled_keypoints

Entry = dict[str, Any]
"""An annotation as in a COCO file, without the id of its image; a new one without its own, too."""

_NOWHERE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class MergedImage:
    """The annotations of an image, predicted anew and merged with the earlier ones.

    Attributes:
        entries: the annotations.
        deleted: those that somebody deleted.
        kept: instance ids of those that somebody made or edited, and that were not found again.
        left: how many others were not found again.
    """

    entries: Sequence[Entry]
    deleted: Sequence[Entry]
    kept: Sequence[InstanceId | None] = ()
    left: int = 0


def merge(
    entries: Sequence[Entry],
    earlier: Sequence[Entry],
    deleted: Sequence[Entry],
    settled: Collection[int] = (),
    own: Collection[int] = (),
) -> MergedImage:
    """New annotations of an image, with what there was and what somebody did to it.

    Args:
        entries: the new ones.
        earlier: those that there were.
        deleted: those that somebody had deleted. What is the same object is not added again.
        settled: positions of earlier ones that were not looked for, and stay as they are.
        own: positions of exemplars, which need not be found again.
    """
    matched = _match(entries, earlier, deleted, settled)
    row_of = {position: row for row, position in enumerate(matched) if position is not None}
    added = [
        _with_scores(entry)
        for entry, position in zip(entries, matched, strict=True)
        if position is None and _is_new(entry, entries, earlier, deleted)
    ]
    merged: list[Entry | None] = []
    kept, left = [], 0
    for position, old in enumerate(earlier):
        if position in row_of:
            merged.append(_merge_entry(entries[row_of[position]], old))
        elif position in settled:
            merged.append(without_image(old))
        else:
            merged.append(None)
            if position in own:
                continue
            if is_manual(old) and EXTRA in old:
                kept.append(old.get(INSTANCE))
            elif not is_foreign(old):
                left += 1
    others = [each for each in [*merged, *added] if each is not None]
    for position, old in enumerate(earlier):
        if merged[position] is None:
            others.append(_with_free_instance(without_image(old), others))
            merged[position] = others[-1]
    gone: list[Entry] = []
    for old in deleted:
        gone.append(_with_free_instance(without_image(old), [*others, *gone]))
    return MergedImage([each for each in [*merged, *added] if each is not None], gone, kept, left)


def _with_scores(entry: Entry, old: Mapping[str, Any] | None = None) -> Entry:
    """An annotation whose keypoints that were not looked for are as in an earlier one.

    Args:
        entry: the annotation; the scores of these keypoints are None.
        old: the member `homolog` of the earlier one; without it, the keypoints are doubtful.
    """
    scores = entry.get(EXTRA, {}).get("scores", ())
    unknown = {k for k, score in enumerate(scores) if score is None}
    if not unknown:
        return entry
    known = old.get("scores") if old else None
    doubtful = {*entry[EXTRA]["doubtful"]} - unknown
    doubtful |= unknown & {*old["doubtful"]} if old and known else unknown
    given = [known[k] if known else 0.0 for k in range(len(scores))]
    scores = [given[k] if k in unknown else score for k, score in enumerate(scores)]
    return {**entry, EXTRA: {**entry[EXTRA], "scores": scores, "doubtful": sorted(doubtful)}}


def without_image(annotation: Mapping[str, Any]) -> Entry:
    """An annotation without the id of its image."""
    return {k: v for k, v in annotation.items() if k != "image_id"}


def _is_single(entries: Sequence[Entry]) -> bool:
    """Whether an image was taken to show one object."""
    return len(entries) == 1 and INSTANCE not in entries[0]


def _is_new(
    entry: Entry, entries: Sequence[Entry], earlier: Sequence[Entry], deleted: Sequence[Entry]
) -> bool:
    """Whether an annotation is added that is none of the earlier ones."""
    if any(_overlap(entry, old) > SAME_PLACE for old in deleted):
        return False
    # Of an image that was taken to show one object, what was made by hand is all there is, and so
    # is what was found when several were looked for.
    known = [old for old in earlier if not is_drawn(old)]
    return not (_is_single(entries) and (any(map(is_foreign, earlier)) or len(known) > 1))


def _match(
    entries: Sequence[Entry],
    earlier: Sequence[Entry],
    deleted: Sequence[Entry],
    settled: Collection[int],
) -> list[int | None]:
    """For each new annotation the position of the same object among those before, if there is one.

    Positions of the deleted ones follow those of the others.
    """
    others = [*earlier, *deleted]
    former: list[XYWH | None] = []
    known: list[Identity] = []
    for position, old in enumerate(others):
        before = old.get(EXTRA, {}).get("predicted_bbox")
        before = None if position in settled else before
        former.append(None if before is None else identity({"bbox": before})[1])
        known.append((None, _NOWHERE) if position in settled else identity(old))
    found = [identity(entry) for entry in entries]
    matched = match_instances(found, known, former)
    for row, same in enumerate(matched):
        if same is not None and same >= len(earlier):
            # Somebody may have deleted a prediction to draw the object better.
            drawn = [k for k, each in enumerate(earlier) if is_drawn(each) and k not in matched]
            (replaced,) = match_instances([found[row]], [known[k] for k in drawn])
            matched[row] = same if replaced is None else drawn[replaced]
    if _is_single(entries) and matched == [None]:
        there = [k for k, each in enumerate(earlier) if k not in settled and not is_drawn(each)]
        again = any(_overlap(entries[0], each) > SAME_PLACE for each in deleted)
        if len(there) == 1 and not again:
            old = earlier[there[0]]
            # The object of an image is the same wherever it was seen, but one that is known to be
            # one of several stands for itself once somebody has looked at it.
            if INSTANCE not in old or not is_manual(old):
                return [there[0]]
    return matched


def _merge_entry(entry: Entry, old: Entry) -> Entry:
    """A new annotation with what there was, and what somebody did to it, of the same object."""
    named = {INSTANCE: entry[INSTANCE]} if INSTANCE in entry else {}
    if is_foreign(old):  # kept as it is
        return {**without_image(old), **named}
    if entry["category_id"] != old["category_id"]:  # other keypoints
        if is_manual(old) or len(labelled_keypoints(old)) > entry["num_keypoints"]:
            return {**without_image(old), **named}
        old = {**old, "category_id": entry["category_id"], "keypoints": []} | {EXTRA: {}}
    extra = old.get(EXTRA, {})
    entry = _with_scores(entry, extra)
    edited = set() if EXTRA not in old or not extra else manual_keypoints(old)
    points, scores = list(entry["keypoints"]), list(entry[EXTRA]["scores"])
    predicted = list(entry[EXTRA]["predicted"])
    doubtful = set(entry[EXTRA]["doubtful"])
    for keypoint in {*edited, *labelled_keypoints(old)}:
        row = slice(3 * keypoint, 3 * keypoint + 3)
        if keypoint in edited:
            points[row] = old["keypoints"][row]
        elif not points[row.stop - 1]:  # not found again
            points[row] = predicted[row] = old["keypoints"][row]
            scores[keypoint] = extra["scores"][keypoint]
            doubtful.add(keypoint)
    result = {**without_image(old), **named}
    result |= {k: entry[k] for k in ("category_id", "score") if k in entry}
    result["keypoints"] = points
    labelled = labelled_keypoints(result)
    result["num_keypoints"] = len(labelled)
    own = {*edited, *labelled_keypoints(old)} & {*labelled}
    result["iscrowd"] = old.get("iscrowd", 0)
    drawn = bool(extra.get("box_reviewed")) or EXTRA not in old
    result["bbox"] = old["bbox"] if drawn else _box_around(entry["bbox"], points, own)
    if "area" not in old or not (old.get("segmentation") or drawn):  # else of an outline
        unchanged = result["bbox"] == entry["bbox"]
        width, height = result["bbox"][2:]
        result["area"] = entry["area"] if unchanged else width * height
    result[EXTRA] = {
        **extra,
        **entry[EXTRA],
        "scores": scores,
        "doubtful": sorted(doubtful),
        "reviewed": sorted({*entry[EXTRA]["reviewed"], *edited}),
        "predicted": predicted,
    }
    result[EXTRA].pop("box_of_keypoints", None)
    if drawn:
        result[EXTRA] |= {"box_reviewed": True, "predicted_bbox": entry["bbox"]}
    return result


def with_wider_box(entry: Entry) -> Entry:
    """An annotation whose box contains what somebody labelled, unless somebody drew the box."""
    extra = entry.get(EXTRA, {})
    if not entry.get("bbox") or extra.get("box_reviewed") or "keypoints" not in entry:
        return entry
    own = manual_keypoints(entry) & {*labelled_keypoints(entry)}
    return {**entry, "bbox": _box_around(entry["bbox"], entry["keypoints"], own)}


def _box_around(
    box: Sequence[float], keypoints: Sequence[float], chosen: Collection[int]
) -> list[float]:
    """A box that contains the chosen ones of keypoints x, y, v."""
    return box_with_points(box, [keypoints[3 * k : 3 * k + 2] for k in chosen])


def _with_free_instance(entry: Entry, others: Sequence[Entry]) -> Entry:
    """An annotation with another instance id, if one of these has its own."""
    taken = [other.get(INSTANCE) for other in others]
    if INSTANCE in entry and entry[INSTANCE] in taken:
        return entry | {INSTANCE: free_instance(taken)}
    return entry


def identity(annotation: Mapping[str, Any]) -> Identity:
    """The instance id and box of an annotation; an empty box where it has none."""
    x, y, width, height = annotation.get("bbox") or _NOWHERE
    return annotation.get(INSTANCE), (x, y, width, height)


def _overlap(annotation: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    return overlap(identity(annotation)[1], identity(other)[1])
