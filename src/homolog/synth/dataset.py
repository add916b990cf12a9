"""A folder of rendered pictures with all that is known of them."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import pickle
import signal
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from homolog.errors import HomologError
from homolog.image import reading
from homolog.synth import appearance
from homolog.synth.canonical import prepare
from homolog.synth.gltf import load_models
from homolog.synth.posing import unposable
from homolog.synth.render import Renderer, Tracer, library
from homolog.synth.rig import Rig
from homolog.synth.scene import Scene, Thing, random_scene
from homolog.utils.optional import require
from homolog.utils.outputs import claim_run_dir, write_atomically
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import read_complete_lines

VERSION = 3
"""Raised when the same seed gives other pictures."""
_ENOUGH = 0.015
"""Part of the picture that its subject should cover; otherwise another scene is drawn."""
_EMPTY = 0.2
"""Part of the pictures that have no thing in them, but objects of no known kind."""
_TRIES = 5
_LOG = "records.jsonl"


@dataclass(frozen=True)
class Settings:
    """What makes a picture of a number what it is, besides the models.

    Attributes:
        size: pixels of a side.
        seed: another one gives other pictures.
        backgrounds: pictures that stand behind half of the scenes.
        keypoints: their names, in the order of the file.
    """

    size: int
    seed: int
    backgrounds: tuple[Path, ...]
    keypoints: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What was made.

    Attributes:
        out: the folder.
        annotations: the COCO file in it.
        pictures: how many there are.
        kept: how many of them were there before.
        models: names of those used.
        left_out: reasons by file or name of what could not be used.
        notes: by model, what should be known of it.
    """

    out: Path
    annotations: Path
    pictures: int
    kept: int
    models: tuple[str, ...]
    left_out: Mapping[str, str]
    notes: Mapping[str, str]


def render_set(
    models_folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    count: int = 1000,
    size: int = 480,
    seed: int = 0,
    workers: int | None = None,
    backgrounds: str | os.PathLike[str] | None = None,
    models: Sequence[str] | None = None,
) -> Report:
    """Render a training set from the 3D models of a folder.

    A picture depends on the seed, its number, the size, the models and the backgrounds, and on
    nothing else. A fifth of the pictures have no thing in them but objects of no known kind, and
    some such objects stand among things: both are background. If the folder holds a part of the
    same set, that is kept; a larger count adds to it. With several workers, a script must call
    this under `if __name__ == "__main__"`.

    Args:
        models_folder: .glb and .gltf files, rigged or static.
        out: the folder to write.
        count: how many pictures.
        size: pixels of a picture's side.
        seed: any number from 0.
        workers: processes; as many as there are processors by default.
        backgrounds: a folder of pictures to put behind half of the scenes.
        models: names of models, without ending, to restrict it to.

    Returns:
        What was made. In the folder: `pictures/000000.jpg`; `coordinates/000000.npz` with
        `coordinates` (size, size, 3), float16, canonical coordinates, NaN where there is no thing,
        and `instance` (size, size), uint8, 0 or 1 + index of the thing; `annotations.json` in the
        COCO format; `manifest.json`; `contact.jpg`.

    Raises:
        HomologError: a wrong argument; no model can be used; the folder holds something else or
            cannot be written; `embreex`, `pygltflib` or `threadpoolctl` is missing.
    """
    folder, target = Path(models_folder), Path(out)
    if count < 1:
        raise HomologError(f"count: got {count}, takes at least 1")
    if not 32 <= size <= 4096:
        raise HomologError(f"size: got {size}, takes 32 to 4096 pixels")
    if seed < 0:
        raise HomologError(f"seed: got {seed}, takes whole numbers from 0")
    if workers is not None and workers < 1:
        raise HomologError(f"workers: got {workers}, takes at least 1")
    behind: tuple[Path, ...] = ()
    if backgrounds is not None:
        if not Path(backgrounds).is_dir():
            raise HomologError(f"backgrounds: there is no folder {backgrounds}")
        behind = tuple(reading.find([Path(backgrounds)], "backgrounds"))
        if not behind:
            raise HomologError(f"backgrounds: {backgrounds} holds no pictures")
    library()
    require("threadpoolctl", "synth")
    Tracer(np.eye(3), np.array([[0, 1, 2]]))  # so that a renderer that cannot start says so now
    read, left_out = load_models(folder, models)
    rigs, unfit, keypoints = prepare(read)
    for rig in rigs:
        if (reason := unposable(rig)) is not None:
            unfit[rig.name] = reason
    rigs = [rig for rig in rigs if rig.name not in unfit]
    left_out = {**left_out, **unfit}
    if not rigs:
        why = "; ".join(f"{name} {reason}" for name, reason in list(left_out.items())[:3])
        raise HomologError(f"models: none in {folder} can be used: {why}")
    settings = Settings(size, seed, behind, tuple(keypoints))
    _claim(target, settings, rigs, None if backgrounds is None else Path(backgrounds))

    records = _kept(target, count)
    kept = len(records)
    todo = [index for index in range(count) if index not in records]
    log = target / _LOG
    with ProgressBar(
        len(todo)
    ) as steps:  # of this run alone: what is left is reckoned from its speed
        steps.update("rendering", 0)
        try:
            with log.open("ab") as lines:
                for record in _rendered(todo, rigs, settings, target, workers):
                    records[record["index"]] = record
                    lines.write((json.dumps(record) + "\n").encode())
                    lines.flush()
                    steps.update("rendering", len(records) - kept)
        except OSError as error:
            raise HomologError(f"out: cannot write {log}: {error.strerror}") from error
    ordered = [records[index] for index in range(count)]
    annotations = target / "annotations.json"
    _write_json(annotations, _coco(ordered, rigs, keypoints, folder, size))
    notes = {rig.name: "; ".join(rig.notes) for rig in rigs if rig.notes}
    _write_json(
        target / "manifest.json",
        {
            "made_by": "homolog synth",
            "version": VERSION,
            "count": count,
            "size": size,
            "seed": seed,
            "backgrounds": None if backgrounds is None else str(backgrounds),
            "backgrounds_left_out": dict(
                sorted({e for r in ordered for e in map(tuple, r["unreadable"])})
            ),
            "models": {rig.name: _described(rig, ordered) for rig in rigs},
            "without_things": sum(not record["things"] for record in ordered),
            "left_out": dict(sorted(left_out.items())),
            "keypoints": keypoints,
            "canonical": "x: the thing's own left (+) and right (-), y: front (+), z: up",
        },
    )
    _contact(target, min(count, 24))
    return Report(
        target, annotations, count, kept, tuple(rig.name for rig in rigs), left_out, notes
    )


def _described(rig: Rig, records: list[dict[str, Any]]) -> dict[str, Any]:
    things = [thing for record in records for thing in record["things"]]
    return {
        "file": rig.model.path.name,
        "vertices": len(rig.positions),
        "triangles": len(rig.model.triangles),
        "animations": sorted(rig.model.animations),
        "keypoints": len(rig.landmarks),
        "sides": "bones" if rig.sided else "symmetry",
        "notes": rig.notes,
        "things": sum(thing["model"] == rig.name for thing in things),
    }


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content) + "\n").encode())


def _claim(target: Path, settings: Settings, rigs: Sequence[Rig], backgrounds: Path | None) -> None:
    """Make the folder this set's, unless it holds something else."""
    try:
        if target.exists() and not target.is_dir():
            raise HomologError(f"out: {target} is a file, takes a folder")
        if target.is_dir() and any(target.iterdir()) and not (target / "run.json").is_file():
            raise HomologError(f"out: {target} is not empty, name another folder")
        run = {
            "made_by": "homolog synth",
            "version": VERSION,
            "size": settings.size,
            "seed": settings.seed,
            "models": {
                rig.name: hashlib.sha256(rig.model.path.read_bytes()).hexdigest() for rig in rigs
            },
            "backgrounds": None
            if backgrounds is None
            else [str(path.relative_to(backgrounds)) for path in settings.backgrounds],
        }
        claim_run_dir(target, run)
        for name in ("pictures", "coordinates"):
            (target / name).mkdir(exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot write {target}: {error.strerror}") from error


def _kept(target: Path, count: int) -> dict[int, dict[str, Any]]:
    """Records of pictures that are there already."""
    log = target / _LOG
    if not log.is_file():
        return {}
    found = {}
    for line in read_complete_lines(log):
        try:
            record = json.loads(line)
            index = int(record["index"])
        except (ValueError, LookupError, TypeError):
            raise HomologError(f"out: {log} is not what it was written as") from None
        if index < count and all(path.is_file() for path in _paths(target, index)):
            found[index] = record
    return found


def _paths(target: Path, index: int) -> tuple[Path, Path]:
    return target / f"pictures/{index:06d}.jpg", target / f"coordinates/{index:06d}.npz"


# The work of one process.

_state: tuple[Sequence[Rig], Settings, Path] | None = None


def _begin(handed: Path) -> None:
    global _state
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this
    # NumPy's products would take as many threads as there are processors.
    require("threadpoolctl", "synth").threadpool_limits(1)  # the others have the other processors
    _state = pickle.loads(handed.read_bytes())


def _work(index: int) -> dict[str, Any]:
    assert _state is not None
    return picture(index, *_state)


def _rendered(
    todo: Sequence[int],
    rigs: Sequence[Rig],
    settings: Settings,
    target: Path,
    workers: int | None,
) -> Iterator[dict[str, Any]]:
    """Records of pictures, in order, as they are made."""
    number = min(workers or _processors(), len(todo))
    if number <= 1:
        for index in todo:
            yield picture(index, rigs, settings, target)
        return
    # Models are handed over in a file: to a process that dies at its start, which is what happens
    # where a script has no guard, more than a pipe holds would be written for ever.
    with tempfile.TemporaryDirectory(prefix="homolog-") as folder:
        handed = Path(folder, "work")
        handed.write_bytes(pickle.dumps((rigs, settings, target)))
        pool = ProcessPoolExecutor(
            number,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(handed,),
        )
        try:
            yield from pool.map(_work, todo)
        except BrokenProcessPool:
            raise HomologError(
                "workers: a process ended before its work, for want of memory perhaps, or because "
                'a script calls this outside of `if __name__ == "__main__"`; go on with fewer '
                "workers"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def picture(index: int, rigs: Sequence[Rig], settings: Settings, target: Path) -> dict[str, Any]:
    """Render and write one picture.

    Returns:
        Its record, for JSON.
    """
    unreadable: list[tuple[str, str]] = []
    empty = without_things(settings.seed, index)
    for attempt in range(_TRIES):
        rng = np.random.default_rng([settings.seed, index, attempt])
        photo, name = _photo(rng, settings, unreadable)
        scene = random_scene(rigs, rng, settings.size, photo, empty)
        renderer = Renderer(scene, settings.size, rng)
        rendered = renderer.render()
        if rendered.subject >= _ENOUGH:
            break
    image, values = _paths(target, index)
    coordinates = rendered.coordinates.astype(np.float16)
    write_atomically(image, appearance.jpeg(appearance.photographed(rendered.image, rng), rng))
    write_atomically(values, _npz(coordinates=coordinates, instance=rendered.instance))
    return {
        "index": index,
        "background": name,
        "unreadable": unreadable,
        "objects": [item.shape.kind for item in scene.objects],
        "things": [
            described(k, thing, scene, renderer, rendered.instance, settings.keypoints)
            for k, thing in enumerate(scene.things)
        ],
    }


def without_things(seed: int, index: int) -> bool:
    """Whether a picture has objects only; whatever has to be tried again."""
    # Numbers of their own: a seed that ends in 0 gives the same ones as without the 0.
    return bool(np.random.default_rng([seed, index, _TRIES]).random() < _EMPTY)


def _photo(
    rng: np.random.Generator, settings: Settings, unreadable: list[tuple[str, str]]
) -> tuple[Image.Image | None, str | None]:
    if not settings.backgrounds or rng.random() < 0.5:
        return None, None
    path = settings.backgrounds[int(rng.integers(len(settings.backgrounds)))]
    try:
        return reading.read(path, side=2 * settings.size, name="backgrounds").image, path.name
    except HomologError as error:
        if (entry := (path.name, str(error))) not in unreadable:
            unreadable.append(entry)
        return None, None


def _npz(**arrays: np.ndarray) -> bytes:
    """A file for `numpy.load`, the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array))
            file.writestr(entry, part.getvalue())
    return buffer.getvalue()


def described(
    k: int,
    thing: Thing,
    scene: Scene,
    renderer: Renderer,
    instance: UInt8[np.ndarray, "s s"],
    names: Sequence[str],
) -> dict[str, Any]:
    """What is known of a thing in a picture, as COCO has it; without ids."""
    mask = instance == k + 1
    area = int(mask.sum())
    facing = scene.camera.turn @ thing.facing
    found: dict[str, Any] = {
        "model": thing.rig.name,
        "pose": thing.kind,
        "instance": k + 1,
        "area": area,
        "facing": [round(float(v), 4) for v in facing[:, 2]],
        "up": [round(float(v), 4) for v in facing[:, 1]],
    }
    if area:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        x, y = int(columns[0]), int(rows[0])
        found["bbox"] = [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y]
        found["segmentation"] = rle(mask)
    if thing.rig.landmarks:
        flat = keypoints(k, thing, scene, renderer, len(instance), names)
        found["keypoints"] = flat
        found["num_keypoints"] = sum(v > 0 for v in flat[2::3])
    return found


def keypoints(
    k: int, thing: Thing, scene: Scene, renderer: Renderer, size: int, names: Sequence[str]
) -> list[float]:
    """x, y and v of each keypoint: v is 2 if visible, 1 if hidden, 0 outside or not there.

    A keypoint is inside the body. It counts as visible where the surface in front of it is of the
    same thing, of the same or an adjacent bone or within the thickness of the limb, and on the
    same side of the body.
    """
    rig = thing.rig
    flat = np.zeros((len(names), 3))
    mine = [(row, name) for row, name in enumerate(names) if name in thing.keypoints]
    places = np.array([thing.keypoints[name] for _, name in mine])
    pixels, depth = scene.camera.project(places)
    owner, hits, coordinates = renderer.visible(places)
    first = sum(len(other.rig.model.triangles) for other in scene.things[:k])
    for i, (row, name) in enumerate(mine):
        x, y = pixels[i]
        if not (np.isfinite(depth[i]) and 0 <= x < size and 0 <= y < size):
            continue
        flat[row] = round(float(x), 2), round(float(y), 2), 1
        if owner[i] != k:
            # Nothing in front of a place that is just outside of its own surface.
            flat[row, 2] = 2 if owner[i] == -1 and hits.triangle[i] < 0 else 1
            continue
        node = rig.landmarks[name].node
        corners = rig.model.triangles[hits.triangle[i] - first]
        bone = int(rig.dominant[corners[np.argmax(hits.weights[i])]])
        near = bone == node or rig.above(bone) == node or rig.above(node) == bone
        near = near or rig.groups[bone] == rig.groups[node] == "trunk"
        gap = (1 - float(hits.distance[i])) * float(depth[i])
        near = near or gap < 1.2 * rig.radii[node] * thing.scale
        side = 1 if name.startswith("left_") else -1 if name.startswith("right_") else 0
        flat[row, 2] = 2 if near and side * float(coordinates[i, 0]) > -0.03 else 1
    return [float(v) if j % 3 < 2 else int(v) for j, v in enumerate(flat.ravel())]


def rle(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """COCO's compressed run lengths, as pycocotools writes them."""
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


def _coco(
    records: Sequence[Mapping[str, Any]],
    rigs: Sequence[Rig],
    keypoints: Mapping[str, Sequence[float]],
    folder: Path,
    size: int,
) -> dict[str, Any]:
    names = list(keypoints)
    place = {name: i for i, name in enumerate(names)}
    swapped = {"left": "right", "right": "left"}

    def other(name: str) -> str:
        side, _, rest = name.partition("_")
        return f"{swapped[side]}_{rest}" if side in swapped else name

    with_points = {rig.name for rig in rigs if rig.landmarks}
    categories: list[dict[str, Any]] = []
    if names:
        categories.append(
            {
                "id": 1,
                "name": "animal",
                "supercategory": "animal",
                "keypoints": names,
                "skeleton": [],
                "flip_indices": [place[other(name)] for name in names],
                "canonical": list(keypoints.values()),
            }
        )
    if any(rig.name not in with_points for rig in rigs):
        name = folder.absolute().name or "thing"
        name = f"{name} without keypoints" if name == "animal" else name
        categories.append({"id": 2, "name": name, "supercategory": "thing"})
    pictures: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for record in records:
        index = record["index"]
        for thing in record["things"]:
            if "bbox" not in thing:
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": 1 if thing["model"] in with_points else 2,
                    "iscrowd": 0,
                    **thing,
                }
            )
        entry = {
            "id": index + 1,
            "file_name": f"pictures/{index:06d}.jpg",
            "coordinates": f"coordinates/{index:06d}.npz",
            "width": size,
            "height": size,
            "models": [thing["model"] for thing in record["things"]],
            "objects": record["objects"],
            "background": record["background"],
        }
        pictures.append(entry)
    return {
        "info": {"description": "made by homolog synth"},
        "images": pictures,
        "annotations": annotations,
        "categories": categories,
    }


def _contact(target: Path, count: int, side: int = 200, across: int = 4) -> None:
    """Pictures and their coordinates side by side: red is left, blue is right, white the front."""
    rows = -(-count // across)
    sheet = Image.new("RGB", (2 * side * min(across, count), side * rows), "white")
    for index in range(count):
        image, values = _paths(target, index)
        x, y = 2 * side * (index % across), side * (index // across)
        with Image.open(image) as opened:
            sheet.paste(opened.resize((side, side)), (x, y))
        with np.load(values) as file:
            painted = sides(file["coordinates"].astype(np.float32))
        sheet.paste(Image.fromarray(painted).resize((side, side)), (x + side, y))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    write_atomically(target / "contact.jpg", buffer.getvalue())


def sides(coordinates: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Coordinates as colours: the thing's left and right as in `draw.sides`, light its front."""
    from homolog.viz.draw import LEFT, RIGHT

    x, y, z = np.moveaxis(coordinates, -1, 0)
    light = np.clip(0.55 + 0.35 * y, 0.1, 1) * (0.85 + 0.15 * np.clip(z, -1, 1))
    strong = np.clip(np.abs(x) * 5, 0.15, 1)[..., None]
    colour = np.where((x > 0)[..., None], LEFT, RIGHT)
    image = light[..., None] * (1 - strong + strong * colour)
    return (np.nan_to_num(image, nan=0.25).clip(0, 1) * 255).astype(np.uint8)
