"""An overview of a rendered set: images beside their canonical coordinates in colours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from homolog.synth.sample import sample_paths
from homolog.utils.outputs import write_atomically
from homolog.viz.palette import LEFT, RIGHT

_SIZE = 200  # of an image on the sheet, in pixels
_COLUMNS = 4


def write_contact_sheet(folder: Path, count: int) -> None:
    """Write `contact.jpg` into a rendered set's folder, with its first `count` images."""
    rows = -(-count // _COLUMNS)
    sheet = Image.new("RGB", (2 * _SIZE * min(_COLUMNS, count), _SIZE * rows), "white")
    for index in range(count):
        image_path, coordinates_path = sample_paths(folder, index)
        x, y = 2 * _SIZE * (index % _COLUMNS), _SIZE * (index // _COLUMNS)
        with Image.open(image_path) as opened:
            sheet.paste(opened.resize((_SIZE, _SIZE)), (x, y))
        with np.load(coordinates_path) as file:
            colours = colourise_sides(file["coordinates"].astype(np.float32))
        sheet.paste(Image.fromarray(colours).resize((_SIZE, _SIZE)), (x + _SIZE, y))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=88)
    write_atomically(folder / "contact.jpg", buffer.getvalue())


def colourise_sides(coordinates: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Canonical coordinates as colours: blue for left, orange for right, bright at the front.

    NaN, which is background, becomes dark grey.
    """
    x, y, z = np.moveaxis(coordinates, -1, 0)
    light = np.clip(0.55 + 0.35 * y, 0.1, 1) * (0.85 + 0.15 * np.clip(z, -1, 1))
    strong = np.clip(np.abs(x) * 5, 0.15, 1)[..., None]
    colour = np.where((x > 0)[..., None], LEFT, RIGHT)
    image = light[..., None] * (1 - strong + strong * colour)
    return (np.nan_to_num(image, nan=0.25).clip(0, 1) * 255).astype(np.uint8)
