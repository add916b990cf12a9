"""Noise and procedural materials."""

import numpy as np

from homolog.synth.appearance.materials import ProceduralMaterial
from homolog.synth.appearance.noise import Noise
from homolog.synth.model import Material


def test_noise_has_no_seams_and_is_stationary():
    noise = Noise(np.random.default_rng(1), 2.0)
    points = np.random.default_rng(2).uniform(-3, 3, (20_000, 3)).astype(np.float32)
    values = noise(points)
    assert abs(values.mean()) < 0.15 and 0.7 < values.std() < 1.3
    near = np.abs(noise(points + np.float32(0.01)) - values)
    assert near.mean() < 0.2 * np.abs(values - values[::-1]).mean()


def test_finishes():
    """Few animals but many distractors are glossy or clear; tyres are dull, chrome shines."""

    def fractions(animal):
        body = [Material("body", (0.3, 0.2, 0.1))]
        made = [
            ProceduralMaterial(np.random.default_rng(seed), body, [1.0], animal)
            for seed in range(400)
        ]
        glossy = np.mean([material.reflectivity[0] > 0 for material in made])
        return glossy, np.mean([material.transparency[0] > 0 for material in made])

    (glossy_animals, clear_animals), (glossy_others, clear_others) = (
        fractions(True),
        fractions(False),
    )
    assert 0.05 < glossy_animals < 0.16 and clear_animals == 0
    assert 0.4 < glossy_others < 0.58 and 0.04 < clear_others < 0.13
    parts = [Material(name, (0.3, 0.2, 0.1)) for name in ("black tyre", "chrome rim", "window")]
    made = [
        ProceduralMaterial(np.random.default_rng(seed), parts, [0.3, 0.4, 0.3], False)
        for seed in range(60)
    ]
    assert not any(material.reflectivity[0] for material in made)
    assert np.mean([material.metallic[1] for material in made]) > 0.6
    assert all(
        material.reflectivity[2] > 0 and material.colours[2].max() < 0.15 for material in made
    )
