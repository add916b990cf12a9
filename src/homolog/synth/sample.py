"""One image of a rendered set, with its ground truth, drawn and written."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from homolog.errors import HomologError
from homolog.image import reading
from homolog.synth.annotations import make_annotation
from homolog.synth.appearance.camera_effects import apply_camera_effects, encode_jpeg
from homolog.synth.render import Renderer
from homolog.synth.rig import Rig
from homolog.synth.scene import random_scene
from homolog.utils.outputs import write_atomically

_MIN_SUBJECT = 0.015
"""Fraction of the image that its subject must cover; otherwise another scene is drawn."""
_WITHOUT_INSTANCES = 0.2
"""Probability that an image shows distractors only."""
_TRIES = 5


@dataclass(frozen=True)
class RenderConfig:
    """Settings that determine an image of a rendered set, with its number and the models.

    Attributes:
        size: width and height in pixels.
        seed: of all randomness.
        backgrounds: images to stand behind half of the scenes.
        keypoints: their names, in the order in which annotations list them.
    """

    size: int
    seed: int
    backgrounds: tuple[Path, ...]
    keypoints: tuple[str, ...]


def sample_paths(folder: Path, index: int) -> tuple[Path, Path]:
    """The paths of an image and of its coordinates in a rendered set's folder."""
    return folder / f"pictures/{index:06d}.jpg", folder / f"coordinates/{index:06d}.npz"


def render_sample(
    index: int, rigs: Sequence[Rig], config: RenderConfig, folder: Path
) -> dict[str, Any]:
    """Render one image of a set; write it and its canonical coordinates.

    Returns:
        Its record for JSON: what it shows, with an annotation for each instance.
    """
    unreadable: list[tuple[str, str]] = []
    without_instances = shows_distractors_only(config.seed, index)
    for attempt in range(_TRIES):
        rng = np.random.default_rng([config.seed, index, attempt])
        photo, photo_name = _random_photo(rng, config, unreadable)
        scene = random_scene(rigs, rng, config.size, photo, without_instances)
        renderer = Renderer(scene, config.size, rng)
        rendered = renderer.render()
        if rendered.subject_fraction >= _MIN_SUBJECT:
            break
    image_path, coordinates_path = sample_paths(folder, index)
    coordinates = rendered.coordinates.astype(np.float16)
    write_atomically(image_path, encode_jpeg(apply_camera_effects(rendered.image, rng), rng))
    write_atomically(
        coordinates_path, _encode_npz(coordinates=coordinates, instance=rendered.instance)
    )
    return {
        "index": index,
        "background": photo_name,
        "unreadable": unreadable,
        "objects": [distractor.shape.kind for distractor in scene.distractors],
        "things": [
            make_annotation(k, scene, renderer, rendered.instance, config.keypoints)
            for k in range(len(scene.instances))
        ],
    }


def shows_distractors_only(seed: int, index: int) -> bool:
    """Whether an image shows distractors only; its number and the set's seed decide."""
    # The number of tries sets this draw apart from those of the scenes.
    rng = np.random.default_rng([seed, index, _TRIES])
    return bool(rng.random() < _WITHOUT_INSTANCES)


def _random_photo(
    rng: np.random.Generator, config: RenderConfig, unreadable: list[tuple[str, str]]
) -> tuple[Image.Image | None, str | None]:
    """A random background and its name, or None; files that cannot be read are noted."""
    if not config.backgrounds or rng.random() < 0.5:
        return None, None
    path = config.backgrounds[int(rng.integers(len(config.backgrounds)))]
    try:
        photo = reading.load_image(path, longest_edge=2 * config.size, name="backgrounds")
    except HomologError as error:
        if (entry := (path.name, str(error))) not in unreadable:
            unreadable.append(entry)
        return None, None
    return photo.image, path.name


def _encode_npz(**arrays: np.ndarray) -> bytes:
    """A file for `numpy.load`; unlike `numpy.savez`, the same bytes for the same arrays."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(array))
            file.writestr(entry, part.getvalue())
    return buffer.getvalue()
