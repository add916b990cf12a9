"""Fixtures: toy models, rigged."""

import pytest
from helpers.toy_models import CHAIR, rigged_animal, static_object
from helpers.toy_scenes import load_rigs


class Rigs:
    """Rigs that share canonical coordinates, and the names of their keypoints."""

    def __init__(self, found, names):
        self.all, self.names = found, names


@pytest.fixture(scope="session")
def rigs(tmp_path_factory):
    """Two animals and a chair."""
    folder = tmp_path_factory.mktemp("models")
    paths = [
        rigged_animal(folder / "a.glb"),
        rigged_animal(folder / "b.glb", stretch=(1.4, 0.8, 1)),
        static_object(folder / "chair.glb", CHAIR),
    ]
    found, names = load_rigs(*paths)
    return Rigs(found, list(names))
