"""Procedural materials: random coats, paints, metals and glass for the surfaces of objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from homolog.synth.appearance.colour import random_coat_colour, smoothstep, srgb_to_linear
from homolog.synth.appearance.noise import Noise
from homolog.synth.model import Material

_DARK_PARTS = re.compile(r"eye|nose|hoof|hooves|claw|muzzle|black|pupil|mouth", re.IGNORECASE)

_FINISHES = ("hair", "matte", "varnish", "metal", "glass")
_ANIMAL_FINISHES = (0.84, 0.06, 0.07, 0.03, 0.0)  # probabilities; some are of china or bronze
_OTHER_FINISHES = (0.3, 0.22, 0.26, 0.14, 0.08)


@dataclass(frozen=True)
class _Layer:
    """A pattern of one colour, such as spots or a dark saddle, that lies over those before it."""

    kind: str
    colour: Float[np.ndarray, "3"]
    noise: Noise
    level: float
    soft: float
    stretch: float
    strength: float


class ProceduralMaterial:
    """Random colours, patterns and finish for the surface of one object.

    It takes the place of the model's own materials, whose names and colours only decide
    which parts stay recognisable: eyes, hooves, horns.

    Args:
        rng: source of randomness.
        materials: of the model.
        area_fractions: the fraction of the surface that each material covers; sums to 1.
        animal: whether the finish is mostly fur; otherwise any finish is likely.

    Attributes:
        colours: base colour of each material, linear RGB.
        unpatterned: which materials have neither pattern nor fur, such as eyes and windows.
        layers: patterns, from below to above.
        bump_noise: three functions of space that disturb the normals.
        bump_strength: how much.
        gloss: strength of highlights.
        shininess: exponent of highlights; larger is sharper.
        reflectivity: of each material, seen head-on.
        metallic: which materials tint what they reflect and show little else.
        transparency: of each material.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        materials: Sequence[Material],
        area_fractions: Sequence[float],
        animal: bool = True,
    ):
        any_colour = 0.08 if animal or rng.random() < 0.4 else 0.7
        self.materials = list(materials)
        count = len(self.materials)
        self.colours = np.zeros((count, 3), np.float32)
        self.unpatterned = np.zeros(count, bool)
        base, second = random_coat_colour(rng, any_colour), random_coat_colour(rng, any_colour)
        style = rng.random()  # own colours, two new colours, or one
        by_brightness = np.argsort([sum(m.colour) for m in self.materials])
        for k, material in enumerate(self.materials):
            own = np.array(material.colour, np.float32)
            luminance = float(own.mean())
            extreme = luminance < 0.06 or luminance > 0.55
            small = area_fractions[k] < 0.06 and extreme
            if _DARK_PARTS.search(material.name) or (small and area_fractions[k] < 0.035):
                white = re.search(r"white", material.name, re.IGNORECASE) or luminance > 0.55
                dark = own if white else np.minimum(own, 0.05) * rng.uniform(0.4, 1.6)
                self.colours[k] = dark + rng.random(3) * 0.006
                if not white and area_fractions[k] > 0.02 and rng.random() < 0.5:
                    # Hooves and muzzles may be of any colour.
                    self.colours[k] = random_coat_colour(rng, any_colour)
                self.unpatterned[k] = True
            elif re.search(r"horn|antler|tooth|teeth", material.name, re.IGNORECASE):
                self.colours[k] = own * rng.uniform(0.4, 1.5) + rng.random(3) * 0.03
                self.unpatterned[k] = True
            elif style < 0.15:
                self.colours[k] = own * rng.uniform(0.7, 1.6) * (1 + rng.normal(0, 0.08, 3))
            elif style < 0.65:
                rank = list(by_brightness).index(k) / max(count - 1, 1)
                self.colours[k] = base if rank < 0.6 else second
            else:
                self.colours[k] = base
        self.layers = [
            self._random_layer(rng, any_colour)
            for _ in range(int(rng.choice(4, p=[0.2, 0.35, 0.3, 0.15])))
        ]
        self._coarse = Noise(rng, rng.uniform(1.5, 4))
        self._fine = Noise(rng, rng.uniform(14, 26))
        along = rng.uniform(20, 40)
        self._hair = Noise(rng, 1.0)
        self._hair.matrix = (np.diag([along * 1.6, along * 0.35, along]) * 4).astype(np.float32)
        self._amplitudes = rng.uniform(0.02, 0.14), rng.uniform(0.02, 0.16), rng.uniform(0.05, 0.3)
        self.bump_noise = [Noise(rng, rng.uniform(6, 14)) for _ in range(3)]
        self.bump_strength = float(rng.uniform(0.03, 0.28))
        self.gloss = float(rng.choice([0.0, rng.uniform(0.02, 0.15)], p=[0.6, 0.4]))
        self.shininess = float(rng.uniform(8, 40))
        self._texture_tint = (1 + rng.normal(0, 0.1, 3)).astype(np.float32)
        self._apply_finish(
            rng, str(rng.choice(_FINISHES, p=_ANIMAL_FINISHES if animal else _OTHER_FINISHES))
        )

    def _apply_finish(self, rng: np.random.Generator, finish: str) -> None:
        """Set reflectivity, transparency and what else makes up one of `_FINISHES`."""
        count = len(self.materials)
        self.reflectivity = np.zeros(count, np.float32)
        self.metallic = np.zeros(count, bool)
        self.transparency = np.zeros(count, np.float32)
        if finish != "hair":
            coarse, fine, hair = self._amplitudes
            smooth = rng.uniform(0, 0.4)
            self._amplitudes = coarse * rng.uniform(0.2, 1), fine * smooth, hair * smooth
            self.bump_strength *= rng.uniform(0, 0.25)
        if finish in ("varnish", "metal", "glass"):
            self.gloss, self.shininess = rng.uniform(0.2, 1.2), float(np.exp(rng.uniform(3, 5.8)))
            self.reflectivity[~self.unpatterned] = rng.uniform(0.03, 0.12)
        if finish == "metal":
            self.reflectivity[~self.unpatterned] = rng.uniform(0.35, 0.85)
            self.metallic = ~self.unpatterned
        if finish == "glass":
            self.transparency[~self.unpatterned] = rng.uniform(0.3, 0.9)
        for k, material in enumerate(self.materials):
            if "chrome" in material.name and rng.random() < 0.7:
                self.reflectivity[k], self.metallic[k] = rng.uniform(0.3, 0.8), True
            elif "window" in material.name:
                self.colours[k] = rng.uniform(0.005, 0.08) * (1 + rng.normal(0, 0.1, 3))
                self.unpatterned[k], self.reflectivity[k] = True, rng.uniform(0.04, 0.2)
                self.transparency[k] = rng.choice([0.0, rng.uniform(0, 0.5)])

    @staticmethod
    def _random_layer(rng: np.random.Generator, any_colour: float) -> _Layer:
        kinds = [
            "patches", "even", "spots", "stripes", "belly", "saddle", "legs", "muzzle", "blaze",
        ]  # fmt: skip
        chance = np.array([0.2, 0.1, 0.1, 0.08, 0.16, 0.12, 0.1, 0.08, 0.06])
        kind = str(rng.choice(kinds, p=chance / chance.sum()))
        frequency = {"spots": rng.uniform(5, 10), "stripes": 1.5}.get(kind, rng.uniform(0.7, 2.2))
        return _Layer(
            kind,
            random_coat_colour(rng, any_colour),
            Noise(rng, frequency),
            level=float(rng.normal(0, 0.5)),
            soft=float(rng.choice([0.08, 0.5])),
            stretch=float(rng.uniform(7, 20)),
            strength=float(rng.uniform(0.6, 1)),
        )

    def albedo(
        self,
        points: Float[np.ndarray, "P 3"],
        material_ids: Int[np.ndarray, "P"],
        uv: Float[np.ndarray, "P 2"] | None,
        dither: Float[np.ndarray, "P 3"],
    ) -> Float[np.ndarray, "P 3"]:
        """The diffuse colours at points of the surface, linear RGB.

        Args:
            points: in canonical coordinates.
            material_ids: of the points.
            uv: texture coordinates of the points, where the model has them.
            dither: see `Noise`.
        """
        colour = self.colours[material_ids]
        for k, each in enumerate(self.materials):
            if each.texture is not None and uv is not None:
                mine = material_ids == k
                h, w = each.texture.shape[:2]
                wrapped = np.mod(uv[mine], 1)
                x = np.minimum((wrapped[:, 0] * w).astype(int), w - 1)
                y = np.minimum((wrapped[:, 1] * h).astype(int), h - 1)
                colour[mine] = srgb_to_linear(each.texture[y, x] / 255) * self._texture_tint
        patterned = ~self.unpatterned[material_ids]
        for layer in self.layers:
            mask = (self._mask(layer, points, dither) * patterned * layer.strength)[:, None]
            colour = colour + mask * (layer.colour - colour)
        coarse, fine, hair = self._amplitudes
        brightness = (
            1
            + coarse * self._coarse(points, dither * 2)
            + patterned * (fine * self._fine(points, dither) + hair * self._hair(points, dither))
        )
        return colour * np.clip(brightness, 0.25, 1.9)[:, None]

    @staticmethod
    def _mask(
        layer: _Layer, p: Float[np.ndarray, "P 3"], dither: Float[np.ndarray, "P 3"]
    ) -> Float[np.ndarray, "P"]:
        """How much a pattern covers each of the points `p`, 0..1."""
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
