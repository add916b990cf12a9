"""Images and labels of specimens, for the formats of landmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from homolog.data.formats.document import DocumentBuilder
from homolog.data.formats.landmarks.curves import consecutive

SIZES = {"a.png": (60, 40), "b c.png": (50, 70), "d.jpg": (64, 48)}


def save_images(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        Image.new("L", size).save(folder / name)
    return folder


def rows_of(document: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """The name of the image and the keypoints x, y, v of each annotation."""
    names = {image["id"]: image["file_name"] for image in document["images"]}
    return [
        (names[each["image_id"]], np.reshape(each["keypoints"], (-1, 3)).astype(float))
        for each in document["annotations"]
    ]


def assert_same_points(
    found: dict[str, Any], wanted: dict[str, Any], occluded: bool = True
) -> None:
    """Check that two documents have the same objects, in order, and keypoints by name."""
    (category,), (original,) = found["categories"], wanted["categories"]
    order = [category["keypoints"].index(name) for name in original["keypoints"]]
    assert len(found["annotations"]) == len(wanted["annotations"])
    for (image, rows), (name, truth) in zip(rows_of(found), rows_of(wanted), strict=True):
        assert image == name
        seen = truth[:, 2] > 0
        np.testing.assert_allclose(rows[order][seen, :2], truth[seen, :2], atol=1e-6)
        if occluded:
            np.testing.assert_array_equal(rows[order][:, 2], truth[:, 2])
        else:
            np.testing.assert_array_equal(rows[order][:, 2] > 0, seen)


_words = st.text(st.characters(categories=["Lu", "Ll", "Nd"]), min_size=1, max_size=8)
_texts = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@st.composite
def contents(draw: Any, *, occluded: bool = False, curves: bool = False) -> dict[str, Any]:
    """What `document_of` makes a document of: one category, several objects an image."""
    names = draw(st.lists(_words, min_size=1, max_size=5, unique_by=str.lower))
    counts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=2)) if curves else []
    names += [f"curve{n} {p}" for n, count in enumerate(counts, 1) for p in range(1, count + 1)]
    states = (0, 1, 2) if occluded else (0, 2)
    objects = []
    for image in draw(st.lists(st.sampled_from(list(SIZES)), min_size=1, max_size=4)):
        width, height = SIZES[image]
        x, y = st.floats(0.125, width - 0.125), st.floats(0.125, height - 0.125)
        point = st.tuples(x, y, st.sampled_from(states))
        points = [(width / 2, height / 2, 2), *(draw(point) for _ in names[1:])]
        keys = st.sampled_from(["ID", "SCALE", "COMMENT", "Sex"])
        objects.append((image, points, draw(st.dictionaries(keys, _texts, max_size=3))))
    return {"names": names, "counts": counts, "objects": objects}


def document_of(content: dict[str, Any]) -> dict[str, Any]:
    """A document with the names, curves and objects that `contents` drew."""
    names, counts = content["names"], content["counts"]
    category: dict[str, Any] = {"id": 1, "name": "specimen", "keypoints": names}
    if counts:
        category["curves"] = consecutive(len(names) - sum(counts), counts)
    builder = DocumentBuilder([category])
    for image, points, attributes in content["objects"]:
        members = {"attributes": attributes} if attributes else {}
        number = builder.add_image(image, SIZES[image])
        builder.add_annotation(number, "specimen", dict(zip(names, points, strict=True)), **members)
    return builder.build().document
