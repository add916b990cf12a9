"""CVAT's XML 1.1 (`.xml`), for images and for video: skeletons and their points.

A `skeleton` is an object, its label the category, its points the keypoints: those `outside` are
unlabelled, those `occluded` occluded. A track of a video is one object in many frames. Points
without a skeleton are keypoints by their labels, and belong together by their `group_id`.
Attributes of a skeleton are those of the annotation; what else CVAT says of it is kept in a member
`cvat`. Document types and entities are refused, for they can stand for anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree
from xml.parsers import expat

from homolog.data.formats.cvat_xml_output import KEPT, USUAL, write
from homolog.data.formats.document import DocumentBuilder, LabelFile, LabelFormat, ReadOptions
from homolog.data.formats.entries import as_instance
from homolog.data.formats.image_sizes import fit_to_images
from homolog.data.formats.landmarks.names import ordered_names
from homolog.data.formats.text import as_number
from homolog.data.reading import ErrorCollector, ImageFinder, unreadable
from homolog.errors import HomologError
from homolog.image import reading

CATEGORY = "object"
"""The category of points that belong to no skeleton."""

_DEEPEST = 100
_DIGITS = 9  # of a whole number
_LINE = ""  # an attribute that no element can have: the line where it begins


def read(path: Path, options: ReadOptions = ReadOptions()) -> LabelFile:
    """Read the skeletons of a file of CVAT.

    Frames of a video are images named `frame_000012`, as CVAT exports them.

    Raises:
        HomologError: the file cannot be read or is not CVAT's, or an element is malformed.
    """
    root = parse(path, options.argument)
    reader = _Reader(path, options)
    for image in root.iterfind("image"):
        reader.add_image(image)
    reader.add_tracks(root)
    return reader.build(root)


def parse(path: Path, argument: str = "labels") -> Tree.Element:
    """The root of a file of CVAT; each element has its line as an attribute without a name.

    Raises:
        HomologError: the file cannot be read, is no XML, has a document type, or is not CVAT's.
    """
    builder, parser, depth = Tree.TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            refuse(f"at most {_DEEPEST} elements within each other", "more")
        builder.start(tag, {**attributes, _LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(expected: str, found: str) -> None:
        line = parser.CurrentLineNumber
        raise HomologError(f"{argument}: {path}, line {line}: expected {expected}, got {found}")

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = lambda *_: refuse("no document type", "<!DOCTYPE")
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
        root = builder.close()
    except OSError as error:
        raise HomologError(f"{argument}: {unreadable(path, error)}") from None
    except (expat.ExpatError, LookupError, ValueError, AssertionError) as error:
        if isinstance(error, HomologError):
            raise
        raise HomologError(f"{argument}: {path}: expected XML, got {error}") from None
    if root.tag != "annotations":
        raise HomologError(
            f"{argument}: {path}: expected CVAT's XML with annotations, got <{root.tag}>"
        )
    return root


class _Reader:
    """Collects objects, and then makes a document of them."""

    def __init__(self, path: Path, options: ReadOptions):
        self._path = path
        self._where = f"{options.argument}: {path}"
        self._options = options
        self._finder: ImageFinder = options.finder(path)
        self._images: list[tuple[str, dict[str, Any], list[dict[str, Any]]]] = []
        self._others: Counter[str] = Counter()
        self._interpolated = 0

    def add_image(self, image: Tree.Element) -> None:
        """Add the objects of an image."""
        name = image.get("name")
        if not name:
            raise self._error(image, "expected an image with a name, got none")
        objects, loose = [], list[Tree.Element]()
        for element in image:
            if element.tag == "skeleton":
                objects.append(self._object(element, list(element.iterfind("points"))))
            elif element.tag == "points":
                loose.append(element)
            elif element.tag != "attribute":
                self._others[element.tag] += 1
        groups: dict[str, list[Tree.Element]] = {}
        for element in loose:
            groups.setdefault(element.get("group_id", "0"), []).append(element)
        for group, elements in groups.items():
            joined = Tree.Element("skeleton", {**elements[0].attrib, "label": CATEGORY})
            if group != "0" and len(groups) > 1:
                joined.set("group_id", group)
            objects.append(self._object(joined, elements))
        self._images.append((name, {"size": _size(image)}, [each for each in objects if each]))

    def add_tracks(self, root: Tree.Element) -> None:
        """Add the objects of the tracks of a video, an image for each frame that has one."""
        frames: dict[int, list[dict[str, Any]]] = {}
        for index, track in enumerate(root.iterfind("track")):
            for element in track:
                if element.tag != "skeleton":
                    self._others[element.tag] += 1
                    continue
                number = element.get("frame", "")
                if not number.isdecimal() or len(number) > _DIGITS:
                    raise self._error(element, f"expected the number of a frame, got {number!r}")
                element.set("label", track.get("label", ""))
                found = self._object(element, list(element.iterfind("points")))
                if found:
                    identity = track.get("id", "").strip() or str(index)
                    short = len(identity) <= _DIGITS
                    found["members"]["instance_id"] = as_instance(identity) if short else identity
                    frames.setdefault(int(number), []).append(found)
                    self._interpolated += element.get("keyframe") == "0"
        task = root.find("meta/task")
        source = root.findtext("meta//source") or root.findtext("meta//name") or self._path.stem
        original = None if task is None else task.find("original_size")
        for frame, objects in sorted(frames.items()):
            members = {"video": source, "frame": frame}
            sized = {"size": None if original is None else _size_of(original.findtext)}
            self._images.append((f"frame_{frame:06d}", {**sized, **members}, objects))

    def build(self, root: Tree.Element) -> LabelFile:
        """The labels, fitted to the images that are there."""
        builder = DocumentBuilder(self._categories(root))
        if self._others:
            listed = ", ".join(f"{tag} ({count})" for tag, count in sorted(self._others.items()))
            builder.note(f"{self._path}: shapes that are no keypoints are left out: {listed}")
        if self._interpolated:
            builder.note(
                f"{self._path}: objects between keyframes, interpolated by CVAT: "
                f"{self._interpolated}"
            )
        for name, members, objects in self._images:
            size, others = members.pop("size"), members
            try:
                found = self._find(name, "frame" in others)
            except HomologError as error:
                of = f"; it is frame {others['frame']} of {others['video']}" if others else ""
                message = f"{self._path}: {error}{of}"
                image = builder.add_image(name, size, missing=message, **others)
            else:
                file_name = found.name if "frame" in others else name
                size = size or reading.image_size(found)
                image = builder.add_image(file_name, size, found, **others)
            for each in objects:
                builder.add_annotation(image, each["label"], each["points"], **each["members"])
        file = builder.build()
        if not any(category["keypoints"] for category in file.document["categories"]):
            raise HomologError(f"{self._where}: expected skeletons or points, got none")
        notes = fit_to_images(file.document, file.paths, self._path, ErrorCollector())
        return replace(file, notes=(*file.notes, *notes))

    def _find(self, name: str, frame: bool) -> Path:
        return self._finder.find_stem(name) if frame else self._finder.find(name)

    def _categories(self, root: Tree.Element) -> list[dict[str, Any]]:
        """The categories in the file's order of labels, then those that it does not list."""
        listed: dict[str, list[str]] = {}
        for label in root.iterfind("meta//labels/label"):
            name, parent = label.findtext("name") or "", label.findtext("parent")
            if label.findtext("type") == "skeleton":
                listed.setdefault(name, [])
            elif parent:
                listed.setdefault(parent, []).append(name)
        for _, _, objects in self._images:
            for each in objects:
                names = listed.setdefault(each["label"], [])
                names += [name for name in each["points"] if name not in names]
        return [
            {"id": number, "name": name, **ordered_names(self._options, names)}
            for number, (name, names) in enumerate(listed.items(), start=1)
        ]

    def _object(self, skeleton: Tree.Element, points: Sequence[Tree.Element]) -> dict[str, Any]:
        """The label, points and members of an object; nothing if all of it is outside."""
        label = skeleton.get("label")
        if not label:
            raise self._error(skeleton, "expected a skeleton with a label, got none")
        found: dict[str, tuple[float, float, int]] = {}
        of_points: dict[str, dict[str, str]] = {}
        for element in points:
            name = element.get("label")
            if not name or name in found:
                raise self._error(element, f"expected points of another label, got {name!r}")
            if element.get("outside") == "1":
                found[name] = (0.0, 0.0, 0)
            else:
                x, y = self._point(element)
                found[name] = (x, y, 1 if element.get("occluded") == "1" else 2)
            if attributes := _attributes(element):
                of_points[name] = attributes
        if not any(v for *_, v in found.values()):
            return {}
        members: dict[str, Any] = {}
        if attributes := _attributes(skeleton):
            members["attributes"] = attributes
        kept: dict[str, Any] = {
            key: value
            for key, value in skeleton.attrib.items()
            if key in USUAL and value not in ("", USUAL[key])
        }
        if of_points:
            kept["points"] = of_points
        if kept:
            members[KEPT] = kept
        return {"label": label, "points": found, "members": members}

    def _point(self, element: Tree.Element) -> tuple[float, float]:
        text = element.get("points", "")
        try:
            x, y = (as_number(part) for part in text.split(","))
            if x != x or y != y:
                raise ValueError
        except ValueError:
            shown = text if len(text) < 40 else f"{text[:40]}…"
            raise self._error(element, f"expected x and y of one point, got {shown!r}") from None
        return x, y

    def _error(self, element: Tree.Element, message: str) -> HomologError:
        return HomologError(f"{self._where}, line {element.get(_LINE)}: {message}")


def _attributes(element: Tree.Element) -> dict[str, str]:
    return {
        each.get("name", ""): each.text or ""
        for each in element.iterfind("attribute")
        if each.get("name")
    }


def _size(element: Tree.Element) -> tuple[int, int] | None:
    return _size_of(element.get)


def _size_of(get: Any) -> tuple[int, int] | None:
    """Width and height where both are given."""
    texts = [get("width") or "", get("height") or ""]
    if not all(text.isdecimal() and len(text) <= _DIGITS and int(text) > 0 for text in texts):
        return None
    return int(texts[0]), int(texts[1])


def _recognise(path: Path) -> bool:
    """Whether a file begins as CVAT's do."""
    try:
        with path.open("rb") as file:
            return b"<annotations" in file.read(1 << 16)
    except OSError:
        return False


FORMAT = LabelFormat("cvat", "CVAT (XML 1.1)", (".xml",), read, write, _recognise)
