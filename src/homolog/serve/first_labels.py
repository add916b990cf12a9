"""First labels: a file of all images of a folder, in which nothing is labelled yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from homolog.data.formats import coco
from homolog.data.labels import Labels
from homolog.errors import HomologError
from homolog.image import reading
from homolog.keypoints import KeypointSchema

FILE_NAME = "labels.json"
"""The file in the folder of images that first labels are written to by default."""

CATEGORY = "object"
"""The name of what is labelled, which nobody has given."""


def begin_labels(path: Path, folder: Path, keypoints: str) -> list[str]:
    """Begin a file of labels of all images in a folder; add new images to one that is there.

    Args:
        path: the file.
        folder: the images.
        keypoints: a file with the names of the keypoints, or what else `KeypointSchema.load` takes.

    Returns:
        A line for each image that cannot be read, and is left out.

    Raises:
        HomologError: there are no images or names, or the file has other keypoints.
    """
    category = _category(keypoints)
    if path.suffix.lower() != ".json":
        raise HomologError(f"labels: expected a file to write ending in .json, got {path}")
    data = _read(path, category, keypoints) if path.exists() else None
    if data is None:
        data = {"images": [], "annotations": [], "categories": [{"id": 1, **category}]}
    present = {image["file_name"] for image in data["images"]}
    number = max((i["id"] for i in data["images"] if isinstance(i["id"], int)), default=0)
    notes = []
    for file in reading.find_images([folder], "folder"):
        name = file.relative_to(folder).as_posix()
        if name in present:
            continue
        try:
            width, height = reading.image_size(file, name=name)
        except HomologError as error:
            notes.append(f"{error}; it is left out")
            continue
        number += 1
        data["images"].append({"id": number, "file_name": name, "width": width, "height": height})
    if not data["images"]:
        raise HomologError(f"folder: expected a folder of images, got {folder}, which has none")
    coco.write(path, data)
    return notes


def _category(keypoints: str) -> dict[str, Any]:
    """The category of a file or name that says what its keypoints are."""
    try:
        schema = KeypointSchema.load(keypoints)
    except HomologError as error:
        raise HomologError(f"keypoints: {str(error).removeprefix('schema: ')}") from None
    category: dict[str, Any] = {"name": CATEGORY, "keypoints": list(schema.names), "skeleton": []}
    # Otherwise the page asks which names mirror which.
    return category | ({"flip_indices": list(schema.mirror)} if schema.sides_known else {})


def _read(path: Path, category: dict[str, Any], keypoints: str) -> dict[str, Any]:
    """The document of labels that are there, after a check that their keypoints are the same."""
    labels = Labels.read(path)
    names = [list(c["keypoints"]) for c in labels.categories if c.get("keypoints")]
    if names != [category["keypoints"]]:
        given = ", ".join(names[0]) if names else "none"
        raise HomologError(
            f"labels: expected the keypoints of {keypoints} in {path}, got {given}; try another "
            "file with --labels"
        )
    return labels.data
