"""Label Studio's tasks (`.json`, `.jsonl`): keypoints in percent of the image, in rectangles."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from homolog.data.formats.document import (
    DocumentBuilder,
    LabelFile,
    LabelFormat,
    ReadOptions,
)
from homolog.data.formats.entries import as_instance
from homolog.data.formats.image_claims import ImageClaims, distinct_ends
from homolog.data.formats.image_sizes import fit_to_images
from homolog.data.formats.poses.label_studio_addresses import (
    find_image,
    image_address,
    image_parts,
)
from homolog.data.formats.poses.label_studio_output import (
    INSTANCE_PREFIX,
    MANUAL,
    OCCLUDED,
    write,
)
from homolog.data.formats.poses.members import predicted_members
from homolog.data.reading import ErrorCollector, read_json, unreadable
from homolog.errors import HomologError
from homolog.image import reading
from homolog.utils.json_text import parse_json

_CATEGORY = "object"
"""Of keypoints that belong to no rectangle."""
_OWN_MEMBERS = re.compile(rb'"(data|tasks?|from_name)"\s*:')
_LOOKED_AT = 1 << 16  # bytes
_LABELS = ("keypointlabels", "rectanglelabels", "labels", "polygonlabels", "ellipselabels")


@dataclass
class _Object:
    """An object of an image, as its regions have it.

    Attributes:
        category: its name.
        box: (x, y, width, height) in percent, if it has a rectangle.
        instance: its id, if the rectangle tells it.
        score: of the rectangle.
        points: x and y in percent, v, score and whether a person made it, by keypoint.
    """

    category: str = _CATEGORY
    box: tuple[float, float, float, float] | None = None
    instance: str | None = None
    score: float | None = None
    points: dict[str, tuple[float, float, int, float | None, bool]] = field(default_factory=dict)


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the keypoints of all tasks.

    Keypoints that belong to a rectangle, or are related to one, are of one object. A task's
    annotation is read or, where it has none, its prediction, which keeps its scores. Of several
    the one that is marked as ground truth, or else the last, counts. Images are looked up by the
    longest end of their addresses, and named by as much of it as tells them apart.

    Raises:
        HomologError: the file cannot be read, a region is malformed, or the addresses of two tasks
            lead to one image.
    """
    finder = options.finder(path)
    notes, found = [], []
    order: dict[str, list[str]] = defaultdict(list)
    for position, task in enumerate(_read_tasks(path, options.argument), start=1):
        location = f"{path}: task {task.get('id', position)}"
        try:
            chosen, is_prediction, note = _choose(task)
            regions = [] if chosen is None else list(_regions(chosen.get("result") or []))
            objects = _objects(regions)
            address = image_address(task["data"], regions)
            if objects and _size(regions) is None:
                raise ValueError("expected regions with original_width and original_height")
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"expected {error}, got none" if isinstance(error, KeyError) else error
            raise HomologError(f"{options.argument}: {location}: {reason}") from None
        notes += [] if note is None else [f"{location}: {note}"]
        for each in objects:
            listed = order[each.category]
            listed += [name for name in each.points if name not in listed]
        found.append((location, address, _size(regions), objects, is_prediction))
    builder = DocumentBuilder(
        [
            {"id": number, "name": name, "keypoints": list(names)}
            for number, (name, names) in enumerate(order.items(), start=1)
        ]
    )
    ends = distinct_ends(image_parts(address) for _, address, *_ in found)
    claims = ImageClaims(f"{options.argument}: {path}")
    for location, address, size, objects, is_prediction in found:
        key = image_parts(address)
        image, file_found, missing = find_image(address, ends[key], finder)
        source = f"{address} of {location.removeprefix(f'{path}: ')}"
        claims.add(image, file_found, key, source)
        members = {} if image == address else {"url": address}
        if file_found is not None and size is None:
            size = reading.image_size(file_found)
        image_id = builder.add_image(image, size, file_found, missing, **members)
        for each in objects:
            _add(builder, image_id, each, order[each.category], size, is_prediction)
    file = builder.build()
    # Browsers show photos upright, and perhaps others than those that are here.
    notes += fit_to_images(file.document, file.paths, path, ErrorCollector())
    return dataclasses.replace(file, notes=(*finder.notes, *notes))


def _add(
    builder: DocumentBuilder,
    image_id: int,
    found: _Object,
    names: Sequence[str],
    size: tuple[int, int] | None,
    is_prediction: bool,
) -> None:
    """Add an object, whose percents become pixels."""
    if not names:
        return  # a category of rectangles that never have keypoints
    assert size is not None, "checked before"
    width, height = (value / 100 for value in size)
    points: dict[str, tuple[float, float, int]] = {name: (0.0, 0.0, 0) for name in names}
    scores = dict.fromkeys(names, float("nan"))
    for name, (x, y, v, score, _) in found.points.items():
        points[name] = x * width, y * height, v
        scores[name] = float("nan") if score is None else score
    members: dict[str, Any] = {}
    if found.instance is not None:
        members["instance_id"] = as_instance(found.instance)
    if is_prediction and not (found.points and all(p[4] for p in found.points.values())):
        made = [
            at for at, name in enumerate(names) if name in found.points and found.points[name][4]
        ]
        members |= predicted_members(
            list(points.values()), list(scores.values()), found.score, made
        )
    box = None
    if found.box is not None:
        x, y, w, h = found.box
        box = x * width, y * height, w * width, h * height
    builder.add_annotation(image_id, found.category, points, box, **members)


def _read_tasks(path: Path, argument: str) -> list[dict[str, Any]]:
    """The tasks of a file, of whichever form.

    Raises:
        HomologError: it cannot be read or holds none.
    """
    if path.suffix.lower() == ".jsonl":
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise unreadable(
                path, error if isinstance(error, OSError) else OSError(str(error))
            ) from None
        content: Any = []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                content.append(parse_json(line, f"{path}, line {number}", one_line=True))
    else:
        content = read_json(path)
    if isinstance(content, dict):
        content = content["tasks"] if isinstance(content.get("tasks"), list) else [content]
    tasks = []
    for item in content if isinstance(content, list) else []:
        if isinstance(item, dict) and isinstance(item.get("task"), dict) and "result" in item:
            item = {**item["task"], "annotations": [item]}  # as storages get it
        if not isinstance(item, dict) or not isinstance(item.get("data"), dict):
            raise HomologError(
                f"{argument}: {path}: expected tasks of Label Studio, each with data, got "
                f"{str(item)[:60]!r}; try to export as JSON"
            )
        tasks.append(item)
    if not tasks:
        raise HomologError(f"{argument}: {path}: expected tasks of Label Studio, got none")
    return tasks


def _choose(task: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, bool, str | None]:
    """The annotation or prediction of a task that counts, which of both it is, and a note."""
    made = [
        each
        for each in task.get("annotations") or task.get("completions") or []
        if not each.get("was_cancelled") and not each.get("skipped")
    ]
    if made:
        truth = [each for each in made if each.get("ground_truth")]
        note = f"annotations: {len(made)}, of which one is read" if len(made) > 1 else None
        return _last(truth or made), False, note
    listed = task.get("predictions") or []
    full = [each for each in listed if isinstance(each, dict)]
    if len(full) < len(listed):
        note = "predictions are only counted in the file and not read"
        return _last(full), True, note
    note = f"predictions: {len(full)}, of which one is read" if len(full) > 1 else None
    return _last(full), True, note


def _last(several: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The one that was updated last."""
    dated = sorted(several, key=lambda each: str(each.get("updated_at") or each.get("created_at")))
    return dated[-1] if dated else None


def _regions(results: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The regions and relations of an annotation; results with the same id are one region."""
    by_id: dict[str, dict[str, Any]] = {}
    for each in results:
        number = each.get("id")
        if number is None or "value" not in each:
            yield dict(each)
        elif number in by_id:
            by_id[number]["value"] = {**by_id[number]["value"], **each["value"]}
        else:
            by_id[number] = {**each, "value": dict(each["value"])}
    yield from by_id.values()


def _objects(regions: Sequence[Mapping[str, Any]]) -> list[_Object]:
    """The objects of an image.

    Raises:
        ValueError: it is not clear which keypoint is of which object.
    """
    objects: dict[str, _Object] = {}
    links: dict[str, str] = {}
    points = []
    for position, region in enumerate(regions):
        value = region.get("value") or {}
        if region.get("type") == "relation":
            for one, other in (("from_id", "to_id"), ("to_id", "from_id")):
                links.setdefault(str(region[one]), str(region[other]))
        elif {"x", "y"} <= value.keys() and not {"height", "radiusX"} & value.keys():
            points.append(region)
        elif _label(region) is not None:  # a rectangle, or an outline that keypoints belong to
            number = str(region.get("id", f"#{position}"))
            own = number.removeprefix(INSTANCE_PREFIX)
            objects[number] = _Object(
                str(_label(region)), _rectangle(value), own if own != number else None,
                _score(region),
            )  # fmt: skip
    boxes = {key: each for key, each in objects.items() if each.box is not None}
    for region in points:
        name, value = _label(region), region["value"]
        if name is None:
            continue
        if region.get("image_rotation"):
            raise ValueError(
                f"{name}: expected an image that is not turned in Label Studio, got "
                f"image_rotation {region['image_rotation']}"
            )
        x, y = _number(value, "x"), _number(value, "y")
        parent = region.get("parentID") or links.get(str(region.get("id")))
        if parent is None and boxes:
            parent = _surrounding(name, x, y, boxes)
        owner = objects.setdefault(str(parent), _Object())
        if name in owner.points:
            raise ValueError(
                f"expected each keypoint of an object once, got {name!r} again; try a "
                "rectangle around each object, and its keypoints inside of it in the list of "
                "regions"
            )
        v = 1 if OCCLUDED in ((region.get("meta") or {}).get("text") or []) else 2
        owner.points[name] = x, y, v, _score(region), region.get("origin") == MANUAL
    # Outlines without keypoints are no objects of a pose.
    return [each for each in objects.values() if each.points or each.box is not None]


def _rectangle(value: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    """The rectangle of a region in percent, if it is one and upright."""
    if not {"x", "y", "width", "height"} <= value.keys() or value.get("rotation"):
        return None
    x, y, width, height = (_number(value, name) for name in ("x", "y", "width", "height"))
    return x, y, width, height


def _number(of: Mapping[str, Any], name: str) -> float:
    """A member that is a number.

    Raises:
        ValueError: it is none.
    """
    value = of[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name}: expected a number, got {value!r}")
    return float(value)


def _score(region: Mapping[str, Any]) -> float | None:
    """The score of a region, if it has one."""
    return None if region.get("score") is None else _number(region, "score")


def _surrounding(name: str, x: float, y: float, boxes: Mapping[str, _Object]) -> str:
    """The only rectangle that a keypoint without one lies in."""
    inside = []
    for key, each in boxes.items():
        assert each.box is not None
        left, top, width, height = each.box
        if left <= x <= left + width and top <= y <= top + height:
            inside.append(key)
    if len(inside) != 1:
        raise ValueError(
            f"{name}: expected a keypoint that belongs to a rectangle or lies in one, got one in "
            f"{len(inside)}"
        )
    return inside[0]


def _label(region: Mapping[str, Any]) -> str | None:
    """The label of a region, if it has one."""
    for kind in (str(region.get("type")), *_LABELS):
        labels = region["value"].get(kind)
        if isinstance(labels, list) and labels:
            return str(labels[0])
    return None


def _size(regions: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """Width and height of the image, which regions have.

    Raises:
        ValueError: they are no numbers, or below 1.
    """
    for region in regions:
        if region.get("original_width") and region.get("original_height"):
            width, height = (_number(region, f"original_{side}") for side in ("width", "height"))
            if min(width, height) < 1:
                raise ValueError(f"expected original sizes above 0, got {width:g} x {height:g}")
            return round(width), round(height)
    return None


def _recognise(path: Path) -> bool:
    """Whether a file holds tasks of Label Studio."""
    if path.suffix.lower() == ".jsonl":
        return True
    try:
        with path.open("rb") as file:
            # Large files of other formats are not parsed only to see that they are others.
            if _OWN_MEMBERS.search(file.read(_LOOKED_AT)) is None:
                return False
        content = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError):
        return False
    if isinstance(content, dict):
        content = content.get("tasks", [content])
    first = content[0] if isinstance(content, list) and content else None
    if not isinstance(first, dict):
        return False
    known = {"annotations", "predictions", "completions"} & first.keys()
    return ("data" in first and bool(known)) or ("task" in first and "result" in first)


FORMAT = LabelFormat("label-studio", "Label Studio", (".jsonl", ".json"), read, write, _recognise)
