"""COCO annotations of rendered images: boxes, masks, directions, keypoints with visibility."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from homolog.synth.render import Renderer
from homolog.synth.rig import Rig
from homolog.synth.scene import Scene


def make_annotation(
    k: int,
    scene: Scene,
    renderer: Renderer,
    instance: UInt8[np.ndarray, "s s"],
    keypoint_names: Sequence[str],
) -> dict[str, Any]:
    """The COCO annotation of a scene's instance `k`, without ids.

    `facing` and `up` are unit vectors in the camera's axes (right, down, away). An instance that
    is not visible has no `bbox` and no `segmentation`.
    """
    model = scene.instances[k]
    mask = instance == k + 1
    area = int(mask.sum())
    axes = scene.camera.rotation @ model.axes
    found: dict[str, Any] = {
        "model": model.rig.name,
        "pose": model.pose_name,
        "instance": k + 1,
        "area": area,
        "facing": [round(float(v), 4) for v in axes[:, 2]],
        "up": [round(float(v), 4) for v in axes[:, 1]],
    }
    if area:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y = int(columns[0]), int(rows[0])
        found["bbox"] = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
        found["segmentation"] = encode_rle(mask)
    if model.rig.landmarks:
        flat = annotate_keypoints(k, scene, renderer, keypoint_names)
        found["keypoints"] = flat
        found["num_keypoints"] = sum(v > 0 for v in flat[2::3])
    return found


def annotate_keypoints(
    k: int, scene: Scene, renderer: Renderer, keypoint_names: Sequence[str]
) -> list[float]:
    """COCO's x, y, v of each keypoint of a scene's instance `k`, in one list.

    v is 2 if the keypoint is visible, 1 if it is occluded, 0 if it is outside of the image or the
    model does not have it. A keypoint lies inside the body. It is visible where the surface in
    front of it belongs to the same instance, to the same or an adjacent bone or within the
    thickness of the limb, and to the same side of the body.
    """
    model, size = scene.instances[k], renderer.size
    rig = model.rig
    flat = np.zeros((len(keypoint_names), 3))
    own = [(row, name) for row, name in enumerate(keypoint_names) if name in model.keypoints]
    points = np.array([model.keypoints[name] for _, name in own])
    pixels, depth = scene.camera.project(points)
    instance, hits, coordinates = renderer.visible(points)
    first_triangle = sum(len(other.rig.model.triangles) for other in scene.instances[:k])
    for i, (row, name) in enumerate(own):
        x, y = pixels[i]
        if not (np.isfinite(depth[i]) and 0 <= x < size and 0 <= y < size):
            continue
        flat[row] = round(float(x), 2), round(float(y), 2), 1
        if instance[i] != k:
            # Nothing may be in front of a keypoint that lies just outside of its own surface.
            flat[row, 2] = 2 if instance[i] == -1 and hits.triangle[i] < 0 else 1
            continue
        node = rig.landmarks[name].node
        corners = rig.model.triangles[hits.triangle[i] - first_triangle]
        bone = int(rig.dominant_node[corners[np.argmax(hits.weights[i])]])
        near = bone == node or rig.parent_bone(bone) == node or rig.parent_bone(node) == bone
        near = near or rig.groups[bone] == rig.groups[node] == "trunk"
        gap = (1 - float(hits.distance[i])) * float(depth[i])
        near = near or gap < 1.2 * rig.radii[node] * model.scale
        side = 1 if name.startswith("left_") else -1 if name.startswith("right_") else 0
        flat[row, 2] = 2 if near and side * float(coordinates[i, 0]) > -0.03 else 1
    return [float(v) if j % 3 < 2 else int(v) for j, v in enumerate(flat.ravel())]


def encode_rle(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """A mask as COCO's compressed run lengths, as pycocotools writes them."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    changes = np.flatnonzero(np.diff(flat.astype(np.int8)))
    runs = np.diff(np.concatenate([[0], changes, [mask.size]])).tolist()
    characters = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            part = value & 31
            value >>= 5
            more = value != (-1 if part & 16 else 0)
            characters.append(chr((part | 32 if more else part) + 48))
            if not more:
                break
    return {"size": list(mask.shape), "counts": "".join(characters)}


def coco_file(
    records: Sequence[Mapping[str, Any]],
    rigs: Sequence[Rig],
    keypoints: Mapping[str, Sequence[float]],
    models_folder: Path,
    size: int,
) -> dict[str, Any]:
    """The content of a rendered set's COCO file.

    Args:
        records: of the images, in order.
        rigs: the models.
        keypoints: canonical coordinates by name.
        models_folder: whose name the category of models without keypoints gets.
        size: of the images in pixels.
    """
    with_keypoints = {rig.name for rig in rigs if rig.landmarks}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        index = record["index"]
        for annotation in record["things"]:
            if "bbox" not in annotation:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1 if annotation["model"] in with_keypoints else 2,
                    "iscrowd": 0,
                    **annotation,
                }
            )
        images.append(
            {
                "id": index + 1,
                "file_name": f"pictures/{index:06d}.jpg",
                "coordinates": f"coordinates/{index:06d}.npz",
                "width": size,
                "height": size,
                "models": [annotation["model"] for annotation in record["things"]],
                "objects": record["objects"],
                "background": record["background"],
            }
        )
    return {
        "info": {"description": "made by homolog synth"},
        "images": images,
        "annotations": annotations,
        "categories": _categories(rigs, keypoints, models_folder),
    }


def _categories(
    rigs: Sequence[Rig], keypoints: Mapping[str, Sequence[float]], models_folder: Path
) -> list[dict[str, Any]]:
    """The COCO categories: `animal` with keypoints, and one for models without."""
    names = list(keypoints)
    index_of = {name: i for i, name in enumerate(names)}
    categories: list[dict[str, Any]] = []
    if names:
        categories.append(
            {
                "id": 1,
                "name": "animal",
                "supercategory": "animal",
                "keypoints": names,
                "skeleton": [],
                "flip_indices": [index_of[_counterpart(name)] for name in names],
                "canonical": list(keypoints.values()),
            }
        )
    if any(not rig.landmarks for rig in rigs):
        name = models_folder.absolute().name or "thing"
        name = f"{name} without keypoints" if name == "animal" else name
        categories.append({"id": 2, "name": name, "supercategory": "thing"})
    return categories


def _counterpart(name: str) -> str:
    """The keypoint that a keypoint becomes when the image is flipped."""
    side, _, rest = name.partition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return name if other is None else f"{other}_{rest}"
