"""Rendered training sets: a folder of images with all that is known about them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from homolog import moved
from homolog.errors import HomologError
from homolog.image import reading
from homolog.synth.annotations import coco_file
from homolog.synth.canonical import build_rigs
from homolog.synth.contact_sheet import write_contact_sheet
from homolog.synth.loading import load_models, no_usable_model
from homolog.synth.posing import posing_error
from homolog.synth.rig import Rig
from homolog.synth.sample import RenderConfig, sample_paths
from homolog.synth.tracer import Tracer
from homolog.synth.workers import render_samples
from homolog.utils.locks import LOCK, lock_folder
from homolog.utils.optional import require
from homolog.utils.outputs import claim_run_dir, write_atomically
from homolog.utils.progress import ProgressBar
from homolog.utils.resume_log import ResumeLog

VERSION = 3
"""Raised when the same seed gives other images."""
_LOG = "records.jsonl"
_ON_CONTACT_SHEET = 24


@dataclass(frozen=True)
class Report:
    """Summary of a rendered set: its files, and the models used and skipped.

    Attributes:
        out: its folder.
        annotations: the COCO file in it.
        images: how many there are.
        reused: how many of them had been rendered by an earlier run.
        models: names of those used.
        skipped: reasons by file or name for models that cannot be used.
        notes: by model, what a user should know about it.
    """

    out: Path
    annotations: Path
    images: int
    reused: int
    models: tuple[str, ...]
    skipped: Mapping[str, str]
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
    """Render a training set from a folder of 3-D models.

    An image depends on the seed, its number, the size, the models and the backgrounds, and on
    nothing else. A fifth of the images show only distractors, made-up objects of no known kind;
    some distractors also stand among models. They are background either way. If the folder
    already holds a part of the same set, its images are reused; a larger count adds to them. With
    several workers, a script must call this under `if __name__ == "__main__"`.

    Args:
        models_folder: .glb and .gltf files, with or without skeletons.
        out: the folder to write.
        count: number of images.
        size: their width and height in pixels.
        seed: of all randomness, from 0.
        workers: processes; as many as there are processors by default.
        backgrounds: a folder of images to put behind half of the scenes.
        models: file names without their endings, to use only these.

    Returns:
        A summary. The folder holds `pictures/000000.jpg`; `coordinates/000000.npz` with
        `coordinates` (size, size, 3), float16, canonical coordinates, NaN for background, and
        `instance` (size, size), uint8, 0 for background, else 1 + index of the instance;
        `annotations.json` in the COCO format; `manifest.json`; `contact.jpg`.

    Raises:
        HomologError: an argument is wrong; no model can be used; the folder holds something else,
            is in use or cannot be written; `embreex`, `pygltflib` or `threadpoolctl` is missing.
    """
    folder, target = Path(models_folder), Path(out)
    _check_numbers(count, size, seed, workers)
    photos = _find_backgrounds(backgrounds)
    require("threadpoolctl", "synth")
    Tracer(np.eye(3), np.array([[0, 1, 2]]))  # a renderer that cannot start fails here
    read, skipped = load_models(folder, models)
    rigs, unusable, keypoints = build_rigs(read)
    for rig in rigs:
        if (reason := posing_error(rig)) is not None:
            unusable[rig.name] = reason
    rigs = [rig for rig in rigs if rig.name not in unusable]
    skipped = {**skipped, **unusable}
    if not rigs:
        raise no_usable_model(folder, skipped)
    config = RenderConfig(size, seed, photos, tuple(keypoints))
    _check_folder(target)
    with lock_folder(target):
        _claim_folder(target, config, rigs, None if backgrounds is None else Path(backgrounds))
        ordered, reused = _render(target, config, rigs, count, workers)
        annotations = target / "annotations.json"
        _write_json(annotations, coco_file(ordered, rigs, keypoints, folder, size))
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
                "models": {rig.name: _describe_model(rig, ordered) for rig in rigs},
                "without_things": sum(not record["things"] for record in ordered),
                "left_out": dict(sorted(skipped.items())),
                "keypoints": keypoints,
                "canonical": "x: the thing's own left (+) and right (-), y: front (+), z: up",
            },
        )
        write_contact_sheet(target, min(count, _ON_CONTACT_SHEET))
    notes = {rig.name: "; ".join(rig.notes) for rig in rigs if rig.notes}
    names = tuple(rig.name for rig in rigs)
    return Report(target, annotations, count, reused, names, skipped, notes)


def _render(
    target: Path, config: RenderConfig, rigs: Sequence[Rig], count: int, workers: int | None
) -> tuple[list[dict[str, Any]], int]:
    """Render what is missing of a set; the records of all images, and how many were there."""
    log = ResumeLog(target / _LOG, "index", check=_check_record)
    missing = [
        index
        for index in range(count)
        if index not in log.records
        or not all(path.is_file() for path in sample_paths(target, index))
    ]
    # The time left is estimated from the speed of this run: reused images do not count.
    with log, ProgressBar(len(missing)) as progress:
        progress.update("rendering", 0)
        for done, record in enumerate(render_samples(missing, rigs, config, target, workers), 1):
            log.append(record)
            progress.update("rendering", done)
    return [log.records[index] for index in range(count)], count - len(missing)


def _check_numbers(count: int, size: int, seed: int, workers: int | None) -> None:
    if count < 1:
        raise HomologError(f"count: expected at least 1, got {count}")
    if not 32 <= size <= 4096:
        raise HomologError(f"size: expected 32 to 4096 pixels, got {size}")
    if seed < 0:
        raise HomologError(f"seed: expected at least 0, got {seed}")
    if workers is not None and workers < 1:
        raise HomologError(f"workers: expected at least 1, got {workers}")


def _find_backgrounds(folder: str | os.PathLike[str] | None) -> tuple[Path, ...]:
    """The images in a folder of backgrounds."""
    if folder is None:
        return ()
    if not Path(folder).is_dir():
        raise HomologError(f"backgrounds: expected a folder, got {folder}")
    found = tuple(reading.find_images([Path(folder)], "backgrounds"))
    if not found:
        raise HomologError(f"backgrounds: expected images in {folder}, got none")
    return found


def _describe_model(rig: Rig, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model's entry in the manifest."""
    annotations = [annotation for record in records for annotation in record["things"]]
    return {
        "file": rig.model.path.name,
        "vertices": len(rig.positions),
        "triangles": len(rig.model.triangles),
        "animations": sorted(rig.model.animations),
        "keypoints": len(rig.landmarks),
        "sides": "bones" if rig.has_sides else "symmetry",
        "notes": rig.notes,
        "things": sum(annotation["model"] == rig.name for annotation in annotations),
    }


def _check_record(record: Mapping[str, Any]) -> None:
    """Check that a record read from a file has what the set's description is made of.

    Raises:
        LookupError, TypeError, ValueError: it has not.
    """
    known = type(record["index"]) is int and all(len(each) == 2 for each in record["unreadable"])
    if not known or not isinstance(record["background"], (str, type(None))):
        raise ValueError
    for name, kind in (("objects", str), ("things", dict)):
        if not isinstance(record[name], list) or {*map(type, record[name])} - {kind}:
            raise ValueError
    for each in record["things"]:
        each["model"]


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, (json.dumps(content) + "\n").encode())


def _check_folder(target: Path) -> None:
    """Refuse a folder that holds something else than a rendered set."""
    try:
        if target.exists() and not target.is_dir():
            raise HomologError(f"out: expected a folder, got the file {target}")
        if (
            target.is_dir()
            and any(path.name != LOCK for path in target.iterdir())
            and not (target / "run.json").is_file()
        ):
            raise HomologError(
                f"out: expected an empty folder or a rendered set, got {target}; try another folder"
            )
    except OSError as error:
        raise HomologError(f"out: cannot read {target}: {error.strerror}") from error


def _claim_folder(
    target: Path, config: RenderConfig, rigs: Sequence[Rig], backgrounds: Path | None
) -> None:
    """Make the folder this set's, unless it holds another."""
    try:
        run = {
            "made_by": "homolog synth",
            "version": VERSION,
            "size": config.size,
            "seed": config.seed,
            "models": {
                rig.name: hashlib.sha256(rig.model.path.read_bytes()).hexdigest() for rig in rigs
            },
            "backgrounds": None
            if backgrounds is None
            else [str(path.relative_to(backgrounds)) for path in config.backgrounds],
        }
        claim_run_dir(target, run)
        for name in ("pictures", "coordinates"):
            (target / name).mkdir(exist_ok=True)
    except OSError as error:
        raise HomologError(f"out: cannot write {target}: {error.strerror}") from error


def __getattr__(name: str) -> Any:
    return moved.attribute(__name__, name)
