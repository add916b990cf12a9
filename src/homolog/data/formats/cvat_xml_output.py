"""Labels as CVAT's XML 1.1, which `cvat_xml` reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Tree

import numpy as np

from homolog.data.formats.document import Document, WriteOptions
from homolog.data.formats.text import format_number
from homolog.data.formats.writing import image_size, unheld
from homolog.data.reading import abbreviate
from homolog.errors import HomologError
from homolog.utils.outputs import write_atomically

KEPT = "cvat"
"""The member of annotations that holds what has no place in a COCO file."""
USUAL = {"source": "manual", "z_order": "0", "group_id": "0", "rotation": "0.0", "keyframe": "1"}
"""What is kept of a skeleton where it is another value than this."""
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def write(path: Path, document: Document, options: WriteOptions = WriteOptions()) -> list[str]:
    """Write labels as CVAT's XML: for video if all images are frames of one, else for images.

    Returns:
        What the format cannot hold, a line each.

    Raises:
        HomologError: a name cannot be written, or the file cannot be written.
    """
    images = document["images"]
    videos = {image.get("video") for image in images}
    video = videos.pop() if len(videos) == 1 and all("frame" in image for image in images) else None
    writer = _Writer(path, document, options)
    held = {"keypoints", "num_keypoints", "attributes", KEPT}
    root = Tree.Element("annotations")
    _text(root, "version", "1.1")
    root.append(writer.meta(video))
    if video is None:
        root.extend(writer.images())
        members: set[str] = set()
    else:
        root.extend(writer.tracks())
        held.add("instance_id")
        members = {"video", "frame"}
    notes = unheld(document, "CVAT's XML", held, {"keypoints"}, members)
    if writer.refused:
        listed = abbreviate(sorted(writer.refused))
        notes.append(f"CVAT's XML holds only text and numbers as attributes, not {listed}")
    for element in root.iter():
        for text in (element.text or "", *element.attrib.values()):
            if _NOT_XML.search(text):
                raise HomologError(
                    f"{options.argument}: expected text that XML can hold, got {text!r}"
                )
    Tree.indent(root)
    data = Tree.tostring(root, "utf-8", xml_declaration=True)
    write_atomically(path, data + b"\n", options.argument)
    return notes


class _Writer:
    """Makes the elements of a file of CVAT."""

    def __init__(self, path: Path, document: Document, options: WriteOptions):
        self._path = path
        self._options = options
        self._document = document
        self._categories = {category["id"]: category for category in document["categories"]}
        self.refused: set[str] = set()

    def meta(self, video: str | None) -> Tree.Element:
        """The labels, in the form that CVAT gives them."""
        meta = Tree.Element("meta")
        task = Tree.SubElement(meta, "task")
        _text(task, "mode", "annotation" if video is None else "interpolation")
        labels = Tree.SubElement(task, "labels")
        for category in self._document["categories"]:
            names = [str(name) for name in category.get("keypoints", [])]
            entries = [(category["name"], "skeleton", None), *((n, "points", 1) for n in names)]
            for name, kind, child in entries:
                label = Tree.SubElement(labels, "label")
                _text(label, "name", str(name))
                _text(label, "type", kind)
                Tree.SubElement(label, "attributes")
                if child:
                    _text(label, "parent", str(category["name"]))
        if video is not None:
            size = self._size(self._document["images"][0])
            if size is not None:
                original = Tree.SubElement(task, "original_size")
                _text(original, "width", str(size[0]))
                _text(original, "height", str(size[1]))
            _text(meta, "source", str(video))
        return meta

    def images(self) -> Iterator[Tree.Element]:
        """An element for each image, with its skeletons."""
        of_image: dict[Any, list[Mapping[str, Any]]] = {}
        for annotation in self._document["annotations"]:
            of_image.setdefault(annotation["image_id"], []).append(annotation)
        for number, image in enumerate(self._document["images"]):
            element = Tree.Element("image", {"id": str(number), "name": str(image["file_name"])})
            size = self._size(image)
            if size is not None:
                element.set("width", str(size[0]))
                element.set("height", str(size[1]))
            for annotation in of_image.get(image["id"], []):
                category = self._categories[annotation["category_id"]]
                if category.get("keypoints"):
                    element.append(self._skeleton(annotation, {"label": str(category["name"])}))
            yield element

    def tracks(self) -> Iterator[Tree.Element]:
        """An element for each object, with a skeleton in each of its frames.

        CVAT goes on with a track until it is outside, so it is that in the frame after its last.
        """
        frames = {image["id"]: int(image["frame"]) for image in self._document["images"]}
        tracks: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
        for number, annotation in enumerate(self._document["annotations"]):
            identity = annotation.get("instance_id", f"only {number}")
            tracks.setdefault((annotation["category_id"], identity), []).append(annotation)
        for number, ((category_id, identity), several) in enumerate(tracks.items()):
            category = self._categories[category_id]
            if not category.get("keypoints"):
                continue
            shown = str(identity) if isinstance(identity, int) else str(number)
            if isinstance(identity, str) and not identity.startswith("only "):
                shown = identity
            attributes = {"id": shown, "label": str(category["name"]), "source": "manual"}
            track = Tree.Element("track", attributes)
            several = sorted(several, key=lambda each: frames[each["image_id"]])
            for annotation in several:
                at = frames[annotation["image_id"]]
                track.append(self._skeleton(annotation, {"frame": str(at), "keyframe": "1"}))
            last = {**several[-1], "keypoints": [0, 0, 0] * len(category["keypoints"])}
            at = frames[last["image_id"]] + 1
            track.append(self._skeleton(last, {"frame": str(at), "keyframe": "1"}))
            yield track

    def _skeleton(self, annotation: Mapping[str, Any], first: dict[str, str]) -> Tree.Element:
        """An object; unlabelled keypoints are outside."""
        kept = annotation.get(KEPT)
        kept = kept if isinstance(kept, dict) else {}
        own = {key: value for key, value in kept.items() if key in USUAL and isinstance(value, str)}
        attributes = {**first, "source": "manual", "z_order": "0", **own}
        if "frame" in first:
            attributes.pop("source")
        skeleton = Tree.Element("skeleton", attributes)
        category = self._categories[annotation["category_id"]]
        rows = np.reshape(annotation["keypoints"], (-1, 3)).tolist()
        of_points = kept.get("points")
        for name, (x, y, visible) in zip(category["keypoints"], rows, strict=True):
            point = Tree.SubElement(skeleton, "points", {"label": str(name)})
            if "frame" in first:
                point.set("keyframe", "1")
            else:
                point.set("source", attributes["source"])
            point.set("outside", str(int(visible == 0)))
            point.set("occluded", str(int(visible == 1)))
            point.set("points", ",".join(map(format_number, (x, y) if visible else (0.0, 0.0))))
            if isinstance(of_points, dict):
                self._add_attributes(point, of_points.get(name))
        self._add_attributes(skeleton, annotation.get("attributes"))
        return skeleton

    def _add_attributes(self, element: Tree.Element, attributes: Any) -> None:
        for name, value in attributes.items() if isinstance(attributes, dict) else ():
            if not isinstance(value, (str, int, float)):
                self.refused.add(str(name))
                continue
            text = str(value).lower() if isinstance(value, bool) else str(value)
            Tree.SubElement(element, "attribute", {"name": str(name)}).text = text

    def _size(self, image: Mapping[str, Any]) -> tuple[int, int] | None:
        try:
            return image_size(image, self._options, self._path)
        except HomologError:
            return None


def _text(parent: Tree.Element, tag: str, text: str) -> None:
    Tree.SubElement(parent, tag).text = text
