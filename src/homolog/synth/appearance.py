"""How things look: noise, coats, light, backgrounds, grounds, and what cameras do to pictures.

Colours are linear RGB unless a name says sRGB; images are float32, 0..1.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFilter

from homolog.synth.gltf import Material

_CELLS = 64
"""Side of the noise volume, a power of two."""

FURS = (
    (24, 21, 20), (38, 34, 33), (58, 38, 26), (84, 54, 34), (112, 72, 42), (142, 88, 48),
    (160, 92, 44), (186, 140, 90), (204, 158, 98), (222, 196, 152), (232, 220, 196),
    (238, 234, 228), (150, 148, 144), (112, 112, 112), (74, 74, 76), (96, 102, 112),
    (128, 104, 84), (176, 160, 140),
)  # fmt: skip
"""Coats as they are, sRGB."""

_DARK = re.compile(r"eye|nose|hoof|hooves|claw|muzzle|black|pupil|mouth", re.IGNORECASE)

_FINISHES = ("hair", "matte", "varnish", "metal", "glass")
_ANIMALS = (0.84, 0.06, 0.07, 0.03, 0.0)  # some are of china or bronze
_OTHERS = (0.3, 0.22, 0.26, 0.14, 0.08)


def linear(colour: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Linear values of sRGB ones (0..1)."""
    return _power(np.asarray(colour, np.float32), 2.2)


def encoded(colour: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Values in sRGB (0..1) of linear ones."""
    return _power(np.clip(colour, 0, 1), 1 / 2.2)


def _single(colour: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    # A whole picture of doubles takes twice as long.
    return colour.astype(np.float32)


def _power(x: Float[np.ndarray, "..."], exponent: float) -> Float[np.ndarray, "..."]:
    # Vectorised by NumPy, which the power is not: half the time.
    return np.exp(np.log(np.maximum(x, np.float32(1e-12))) * np.float32(exponent))


# Noise in space.


@functools.cache
def _volume() -> Float[np.ndarray, "P"]:
    """Smooth noise that repeats: mean 0, standard deviation 1, features about 4 cells wide."""
    n = _CELLS
    white = np.random.default_rng(7).standard_normal((n, n, n))
    f = np.fft.fftfreq(n)
    square = f[:, None, None] ** 2 + f[None, :, None] ** 2 + f[None, None, :] ** 2
    smooth = np.fft.ifftn(np.fft.fftn(white) * np.exp(-square * 180)).real
    return (smooth / smooth.std()).astype(np.float32).ravel()


class Noise:
    """Noise of one frequency, turned and shifted at random.

    Args:
        rng: what decides on the shift.
        frequency: features per unit, roughly; one number, or one an axis.
    """

    def __init__(self, rng: np.random.Generator, frequency: float | Sequence[float]):
        turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
        scale = np.broadcast_to(np.asarray(frequency, float), (3,))
        self.matrix = (np.diag(scale) @ turn * 4).astype(np.float32)
        self.offset = (rng.random(3) * _CELLS + 1000 * _CELLS).astype(np.float32)

    def __call__(
        self, points: Float[np.ndarray, "P 3"], dither: Float[np.ndarray, "P 3"] | float = 0.0
    ) -> Float[np.ndarray, "P"]:
        """Noise at points; dither, in cells, makes hard edges of cells fuzzy like fur."""
        where = (points @ self.matrix + self.offset + dither).astype(np.int32) & (_CELLS - 1)
        return _volume()[(where[:, 0] * _CELLS + where[:, 1]) * _CELLS + where[:, 2]]


def smoothstep(x: Float[np.ndarray, "..."], low: float, high: float) -> Float[np.ndarray, "..."]:
    """0 below, 1 above, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def fur(rng: np.random.Generator, wild: float = 0.1) -> Float[np.ndarray, "3"]:
    """A colour of a coat; at times any colour."""
    if rng.random() < wild:
        return (rng.random(3) ** 1.5 * 0.8 + 0.02).astype(np.float32)
    srgb = np.array(FURS[int(rng.integers(len(FURS)))]) + rng.normal(0, 8, 3)
    return linear(np.clip(srgb, 6, 250) / 255)


@dataclass(frozen=True)
class _Layer:
    kind: str
    colour: Float[np.ndarray, "3"]
    noise: Noise
    level: float
    soft: float
    stretch: float
    strength: float


class Coat:
    """The colours of one thing.

    Args:
        rng: what decides.
        materials: of the model.
        areas: how much of the surface each has; sums to 1.
        animal: whether it is to be dressed in fur; otherwise in anything, at times in fur.

    Attributes:
        mirror: how much each material reflects of what is around, seen head-on.
        metal: which of them tint what they reflect and show little else.
        clear: how much is seen through each.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        materials: Sequence[Material],
        areas: Sequence[float],
        animal: bool = True,
    ):
        wild = 0.08 if animal or rng.random() < 0.4 else 0.7
        self.materials = list(materials)
        count = len(self.materials)
        self.colours = np.zeros((count, 3), np.float32)
        self.plain = np.zeros(count, bool)
        base, second = fur(rng, wild), fur(rng, wild)
        style = rng.random()  # original colours, those parts in new colours, one colour
        brightness = [sum(m.colour) for m in self.materials]
        order = np.argsort(brightness)
        for k, material in enumerate(self.materials):
            own = np.array(material.colour, np.float32)
            lum = float(own.mean())
            small = areas[k] < 0.06 and (lum < 0.06 or lum > 0.55)
            if _DARK.search(material.name) or (small and areas[k] < 0.035):
                white = re.search(r"white", material.name, re.IGNORECASE) or lum > 0.55
                dark = own if white else np.minimum(own, 0.05) * rng.uniform(0.4, 1.6)
                self.colours[k] = dark + rng.random(3) * 0.006
                if not white and areas[k] > 0.02 and rng.random() < 0.5:
                    self.colours[k] = fur(rng, wild)  # hooves and muzzles may be of any colour
                self.plain[k] = True
            elif re.search(r"horn|antler|tooth|teeth", material.name, re.IGNORECASE):
                self.colours[k] = own * rng.uniform(0.4, 1.5) + rng.random(3) * 0.03
                self.plain[k] = True
            elif style < 0.15:
                self.colours[k] = own * rng.uniform(0.7, 1.6) * (1 + rng.normal(0, 0.08, 3))
            elif style < 0.65:
                light = list(order).index(k) / max(count - 1, 1)
                self.colours[k] = base if light < 0.6 else second
            else:
                self.colours[k] = base
        self.layers = [
            self._layer(rng, wild) for _ in range(int(rng.choice(4, p=[0.2, 0.35, 0.3, 0.15])))
        ]
        self.coarse = Noise(rng, rng.uniform(1.5, 4))
        self.fine = Noise(rng, rng.uniform(14, 26))
        along = rng.uniform(20, 40)
        self.hair = Noise(rng, 1.0)
        self.hair.matrix = (np.diag([along * 1.6, along * 0.35, along]) * 4).astype(np.float32)
        self.depths = rng.uniform(0.02, 0.14), rng.uniform(0.02, 0.16), rng.uniform(0.05, 0.3)
        self.bump = [Noise(rng, rng.uniform(6, 14)) for _ in range(3)]
        self.bumps = float(rng.uniform(0.03, 0.28))
        self.gloss = float(rng.choice([0.0, rng.uniform(0.02, 0.15)], p=[0.6, 0.4]))
        self.shine = float(rng.uniform(8, 40))
        self.tint = (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
        self._finish(rng, str(rng.choice(_FINISHES, p=_ANIMALS if animal else _OTHERS)))

    def _finish(self, rng: np.random.Generator, finish: str) -> None:
        count = len(self.materials)
        self.mirror = np.zeros(count, np.float32)
        self.metal = np.zeros(count, bool)
        self.clear = np.zeros(count, np.float32)
        if finish != "hair":
            coarse, fine, hair = self.depths
            smooth = rng.uniform(0, 0.4)
            self.depths = coarse * rng.uniform(0.2, 1), fine * smooth, hair * smooth
            self.bumps *= rng.uniform(0, 0.25)
        if finish in ("varnish", "metal", "glass"):
            self.gloss, self.shine = rng.uniform(0.2, 1.2), float(np.exp(rng.uniform(3, 5.8)))
            self.mirror[~self.plain] = rng.uniform(0.03, 0.12)
        if finish == "metal":
            self.mirror[~self.plain] = rng.uniform(0.35, 0.85)
            self.metal = ~self.plain
        if finish == "glass":
            self.clear[~self.plain] = rng.uniform(0.3, 0.9)
        for k, material in enumerate(self.materials):
            if "chrome" in material.name and rng.random() < 0.7:
                self.mirror[k], self.metal[k] = rng.uniform(0.3, 0.8), True
            elif "window" in material.name:
                self.colours[k] = rng.uniform(0.005, 0.08) * (1 + rng.normal(0, 0.1, 3))
                self.plain[k], self.mirror[k] = True, rng.uniform(0.04, 0.2)
                self.clear[k] = rng.choice([0.0, rng.uniform(0, 0.5)])

    @staticmethod
    def _layer(rng: np.random.Generator, wild: float) -> _Layer:
        kinds = [
            "patches",
            "even",
            "spots",
            "stripes",
            "belly",
            "saddle",
            "legs",
            "muzzle",
            "blaze",
        ]
        chance = np.array([0.2, 0.1, 0.1, 0.08, 0.16, 0.12, 0.1, 0.08, 0.06])
        kind = str(rng.choice(kinds, p=chance / chance.sum()))
        frequency = {"spots": rng.uniform(5, 10), "stripes": 1.5}.get(kind, rng.uniform(0.7, 2.2))
        return _Layer(
            kind, fur(rng, wild), Noise(rng, frequency), float(rng.normal(0, 0.5)),
            float(rng.choice([0.08, 0.5])), float(rng.uniform(7, 20)), float(rng.uniform(0.6, 1)),
        )  # fmt: skip

    def albedo(
        self,
        points: Float[np.ndarray, "P 3"],
        material: Int[np.ndarray, "P"],
        uv: Float[np.ndarray, "P 2"] | None,
        dither: Float[np.ndarray, "P 3"],
    ) -> Float[np.ndarray, "P 3"]:
        """Colours at points given in canonical coordinates."""
        colour = self.colours[material]
        for k, each in enumerate(self.materials):
            if each.texture is not None and uv is not None:
                mine = material == k
                h, w = each.texture.shape[:2]
                where = np.mod(uv[mine], 1)
                x = np.minimum((where[:, 0] * w).astype(int), w - 1)
                y = np.minimum((where[:, 1] * h).astype(int), h - 1)
                colour[mine] = linear(each.texture[y, x] / 255) * self.tint
        coat = ~self.plain[material]
        for layer in self.layers:
            mask = (self._mask(layer, points, dither) * coat * layer.strength)[:, None]
            colour = colour + mask * (layer.colour - colour)
        coarse, fine, hair = self.depths
        light = (
            1
            + coarse * self.coarse(points, dither * 2)
            + coat * (fine * self.fine(points, dither) + hair * self.hair(points, dither))
        )
        return colour * np.clip(light, 0.25, 1.9)[:, None]

    @staticmethod
    def _mask(
        layer: _Layer, p: Float[np.ndarray, "P 3"], dither: Float[np.ndarray, "P 3"]
    ) -> Float[np.ndarray, "P"]:
        soft, level = layer.soft, layer.level
        if layer.kind == "even":  # the same on both sides
            p = np.abs(p) * [1, 1, 1] + [0, 7, 7]
            p = p.astype(np.float32)
        noise = layer.noise(p, dither * 1.5)
        x, y, z = p.T
        if layer.kind in ("patches", "even", "spots"):
            return smoothstep(noise, level + 0.3, level + 0.3 + soft)
        if layer.kind == "stripes":
            return smoothstep(np.sin(layer.stretch * y + 1.6 * noise), level, level + soft)
        if layer.kind == "belly":
            return smoothstep(-z + 0.15 * noise, 0.1 + 0.2 * level, 0.1 + 0.2 * level + soft)
        if layer.kind == "saddle":
            along = z - 0.35 * np.abs(y + 0.2) - 0.3 * np.abs(x)
            return smoothstep(
                along + 0.08 * noise, -0.08 + 0.15 * level, 0.02 + 0.15 * level + soft / 3
            )
        if layer.kind == "legs":
            return smoothstep(-z + 0.1 * noise, 0.45 + 0.15 * level, 0.5 + 0.15 * level + soft / 2)
        if layer.kind == "muzzle":
            return smoothstep(y + 0.08 * noise, 0.72 + 0.06 * level, 0.76 + 0.06 * level + soft / 4)
        blaze = smoothstep(y + 0.05 * noise, 0.5, 0.6) * smoothstep(
            -np.abs(x) + 0.03 * noise, -0.09, -0.05
        )
        return blaze


@dataclass(frozen=True)
class Light:
    """Where light comes from, in the world (y up).

    Attributes:
        direction: unit vector towards the sun or lamp.
        sun: its colour and strength.
        sky: light from all sides, from above.
        bounce: light from all sides, from below.
        spread: how far the sun's rays differ in direction, as a tangent: 0 is hard.
    """

    direction: Float[np.ndarray, "3"]
    sun: Float[np.ndarray, "3"]
    sky: Float[np.ndarray, "3"]
    bounce: Float[np.ndarray, "3"]
    spread: float


def random_light(rng: np.random.Generator) -> Light:
    """Anything from noon to a lamp indoors."""
    high = np.deg2rad(rng.uniform(12, 88))
    round_ = rng.uniform(0, 2 * np.pi)
    direction = np.array(
        [np.cos(high) * np.cos(round_), np.sin(high), np.cos(high) * np.sin(round_)]
    )
    warm = rng.normal(0, 0.13)
    sun = np.array([1 + warm, 1.0, 1 - warm])
    cold = rng.normal(0, 0.1)
    sky = np.array([1 - cold, 1.0, 1 + cold])
    part = rng.uniform(0.1, 0.85)
    strength = rng.uniform(0.9, 1.6)
    bounce = rng.uniform(0.1, 0.6) * (1 + rng.normal(0, 0.1, 3))
    above = sky * (1 - part) * strength
    return Light(
        _single(direction), _single(sun * part * strength * 1.5), _single(above),
        _single(above * bounce), float(rng.choice([0.01, 0.1, 0.4])),
    )  # fmt: skip


# Pictures behind and below.


def clouds(
    rng: np.random.Generator,
    size: int,
    octaves: Sequence[int],
    fade: float = 0.6,
    aspect: float = 1.0,
) -> Float[np.ndarray, "size size"]:
    """Noise of several scales, about -1..1.

    Args:
        rng: what decides.
        size: pixels of a side.
        octaves: cells across of each scale.
        fade: strength of each scale relative to the one before.
        aspect: cells down for each across.
    """
    total = np.zeros((size, size), np.float32)
    strength = norm = 1.0
    for k, cells in enumerate(octaves):
        down = max(2, min(size, round(cells * aspect)))
        grid = rng.standard_normal((down, max(2, min(size, cells)))).astype(np.float32)
        total += strength * np.asarray(
            Image.fromarray(grid).resize((size, size), Image.Resampling.BICUBIC)
        )
        norm += strength**2 if k else 0
        strength *= fade
    return total / np.float32(1.6 * np.sqrt(norm))


_GROUNDS = (
    (92, 118, 52), (66, 92, 40), (120, 128, 70), (150, 130, 98), (184, 164, 126), (120, 96, 70),
    (130, 128, 124), (170, 168, 164), (226, 230, 236), (92, 88, 84), (160, 110, 70), (70, 62, 52),
    (140, 60, 50), (60, 80, 120), (200, 190, 175),
)  # fmt: skip


def surface(rng: np.random.Generator, size: int = 256) -> Float[np.ndarray, "size size 3"]:
    """A texture of ground or wall: grass, sand, tiles, planks, carpet, sRGB."""
    base = np.array(_GROUNDS[int(rng.integers(len(_GROUNDS)))]) / 255.0
    base = _single(np.clip(base + rng.normal(0, 0.05, 3), 0.02, 0.98))
    other = base * rng.uniform(0.5, 1.4) + rng.normal(0, 0.07, 3)
    other = _single(np.clip(other, 0.02, 0.98))
    mix = clouds(rng, size, (3, 7, 16, 40, 110), rng.uniform(0.55, 0.95))
    mix = smoothstep(mix, -0.9, 0.9)[..., None]
    image = base * (1 - mix) + other * mix
    grain = clouds(rng, size, (size // 4, size // 2, size), 0.9, float(rng.choice([1, 1, 0.3, 3])))
    image = image * (1 + rng.uniform(0.05, 0.4) * grain[..., None])
    kind = rng.random()
    if kind < 0.12:  # tiles
        step = size // int(rng.integers(2, 6))
        lines = np.arange(size) % step < max(1, step // 24)
        image[lines | np.zeros((size, 1), bool)] *= 0.6
        image[:, lines] *= 0.6
    elif kind < 0.24:  # planks
        count = int(rng.integers(3, 9))
        tone = np.repeat(rng.uniform(0.75, 1.15, count), -(-size // count))[:size]
        image *= tone[:, None, None]
    return np.clip(image, 0, 1).astype(np.float32)


def backdrop(rng: np.random.Generator, size: int, horizon: float) -> Float[np.ndarray, "s s 3"]:
    """What is behind everything, sRGB: sky, trees, rooms, blobs, stripes, all sorts of clutter.

    Args:
        rng: what decides.
        size: pixels of a side.
        horizon: row, in parts of the height, above which things are far; may be outside 0..1.
    """
    kind = rng.random()
    y = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    a, b = (_single(rng.random(3) * 0.9 + 0.05) for _ in range(2))
    if kind < 0.25:  # sky
        blue = _single(np.array([0.45, 0.62, 0.85]) + rng.normal(0, 0.12, 3))
        pale = _single(np.array([0.85, 0.88, 0.92]) + rng.normal(0, 0.08, 3))
        image = blue + (pale - blue) * np.clip(y / max(horizon, 0.2), 0, 1)
        cloud = smoothstep(clouds(rng, size, (3, 6, 12, 25), 0.6, 2.0), 0.1, 0.9)[..., None]
        image = image + cloud * rng.uniform(0, 0.9) * (0.95 - image)
        if rng.random() < 0.7:  # a row of trees or hills
            edge = (
                horizon - rng.uniform(0.02, 0.3) + 0.06 * clouds(rng, size, (4, 12, 40), 0.7)[:1].T
            )
            image = np.where(
                y > np.broadcast_to(edge, (size, size)).T[..., None],
                _foliage(rng, size), image,
            )  # fmt: skip
    elif kind < 0.5:
        image = _foliage(rng, size)
    elif kind < 0.6:  # a wall
        texture = surface(rng, size)
        image = texture * (1 + 0.3 * clouds(rng, size, (2, 3))[..., None])
    elif kind < 0.7:  # noise of all scales in colours
        image = np.stack(
            [
                0.5 + 0.3 * clouds(rng, size, (2, 4, 8, 16, 32, 64, 128), rng.uniform(0.6, 1))
                for _ in range(3)
            ],
            axis=-1,
        )
        image = a * 0.5 + image * 0.6
    else:
        image = a + (b - a) * y
        image = image + 0.15 * clouds(rng, size, (2, 4, 9))[..., None] * _single(rng.random(3))
    image = np.clip(np.broadcast_to(image, (size, size, 3)), 0, 1)
    if kind >= 0.7 or rng.random() < 0.35:
        image = _clutter(rng, image, size, int(rng.integers(3, 45)))
    if rng.random() < 0.6:
        image = blurred(
            image, float(rng.choice([rng.uniform(0.5, 2), rng.uniform(2, 12)])) * size / 480
        )
    return image.astype(np.float32)


def _foliage(rng: np.random.Generator, size: int) -> Float[np.ndarray, "size size 3"]:
    green = np.clip(np.array([0.2, 0.3, 0.12]) + rng.normal(0, 0.06, 3), 0.03, 1)
    image = np.broadcast_to(_single(green * rng.uniform(0.4, 1.2)), (size, size, 3))
    for _ in range(3):
        tone = np.array([0.3, 0.42, 0.16]) * rng.uniform(0.3, 1.7) + rng.normal(0, 0.06, 3)
        tone = _single(np.clip(tone, 0, 1))
        cells = int(rng.integers(5, 30))
        mask = smoothstep(clouds(rng, size, (cells, cells * 3, cells * 8), 0.75), 0.1, 0.4)
        image = image + mask[..., None] * (tone - image)
    return np.clip(image * (1 + 0.25 * clouds(rng, size, (60, 160))[..., None]), 0, 1)


def _clutter(
    rng: np.random.Generator, image: Float[np.ndarray, "s s 3"], size: int, count: int
) -> Float[np.ndarray, "s s 3"]:
    """Shapes of all colours painted over a picture."""
    canvas = Image.fromarray((image * 255).astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    natural = rng.random() < 0.7
    for _ in range(count):
        x, y = rng.uniform(-0.1, 1.1, 2) * size
        w, h = size * rng.uniform(0.02, 0.5, 2) ** rng.uniform(1, 1.6)
        ink = FURS[int(rng.integers(len(FURS)))] if natural else rng.integers(0, 256, 3)
        fill = tuple(int(v) for v in ink)
        shape = rng.random()
        if shape < 0.4:
            draw.rectangle((x - w, y - h, x + w, y + h), fill=fill)
        elif shape < 0.7:
            draw.ellipse((x - w, y - h, x + w, y + h), fill=fill)
        elif shape < 0.85:
            ends = rng.uniform(0, size, 4)
            draw.line(
                [float(v) for v in ends], fill=fill, width=int(rng.integers(2, size // 24 + 3))
            )
        else:
            corners = [(x + w * rng.normal(), y + h * rng.normal()) for _ in range(5)]
            draw.polygon(corners, fill=fill)
    return np.asarray(canvas, np.float32) / 255


def blurred(image: Float[np.ndarray, "h w 3"], radius: float) -> Float[np.ndarray, "h w 3"]:
    """Out of focus."""
    if radius < 0.2:
        return image
    picture = Image.fromarray((np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def fitted(picture: Image.Image, rng: np.random.Generator, size: int) -> Float[np.ndarray, "s s 3"]:
    """A random square of a picture, sRGB."""
    side = min(picture.size) * rng.uniform(0.5, 1)
    x, y = (rng.random() * (length - side) for length in picture.size)
    cut = picture.resize((size, size), Image.Resampling.BILINEAR, box=(x, y, x + side, y + side))
    return np.asarray(cut, np.float32) / 255


# Cameras.


def photographed(
    image: Float[np.ndarray, "s s 3"], rng: np.random.Generator
) -> Float[np.ndarray, "s s 3"]:
    """What a camera makes of light: blur, colour cast, contrast, noise. Linear in, sRGB out."""
    size = len(image)
    image = image * (1 + rng.normal(0, 0.06, 3)).astype(np.float32)
    image = encoded(image * np.float32(np.exp(rng.normal(0, 0.22))))
    draw = rng.random()
    if draw < 0.12:
        image = _smeared(image, rng)
    elif draw < 0.4:
        image = blurred(image, float(rng.uniform(0.4, 1.8)) * size / 480)
    gamma, contrast = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.15))
    image = _power(np.clip(image, 0, 1), gamma)
    image = (image - 0.5) * np.float32(contrast) + np.float32(0.5 + rng.normal(0, 0.03))
    grey = (image @ np.full(3, 1 / 3, np.float32))[..., None]
    full = rng.uniform(0.5, 1.35) if rng.random() > 0.05 else 0.0
    image = grey + (image - grey) * np.float32(full)
    noise = float(rng.choice([0.003, rng.uniform(0.005, 0.06)]))
    grain = rng.standard_normal(image.shape[:2], np.float32)[..., None]
    colour = rng.standard_normal(image.shape, np.float32)
    image = image + np.float32(noise) * (0.7 * grain + 0.5 * colour)
    if rng.random() < 0.3:
        r = np.linspace(-1, 1, size, dtype=np.float32) ** 2
        image = image * (
            1 - np.float32(rng.uniform(0, 0.35)) * (r[:, None] + r[None])[..., None] / 2
        )
    return np.clip(image, 0, 1)


def _smeared(
    image: Float[np.ndarray, "s s 3"], rng: np.random.Generator
) -> Float[np.ndarray, "s s 3"]:
    """Moved while the shutter was open."""
    size = len(image)
    angle, length = rng.uniform(0, np.pi), rng.uniform(2, 9) * size / 480
    total = np.zeros_like(image)
    steps = np.linspace(-0.5, 0.5, 7)
    for t in steps:
        dx, dy = round(float(np.cos(angle) * length * t)), round(float(np.sin(angle) * length * t))
        total += np.roll(image, (dy, dx), (0, 1))
    return total / np.float32(len(steps))


def jpeg(image: Float[np.ndarray, "s s 3"], rng: np.random.Generator) -> bytes:
    """A file as found in the wild: of any quality, at times saved twice."""
    picture = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
    times = 2 if rng.random() < 0.25 else 1
    data = b""
    for _ in range(times):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=int(rng.integers(40, 96)))
        data = buffer.getvalue()
        picture = Image.open(io.BytesIO(data))
    return data
