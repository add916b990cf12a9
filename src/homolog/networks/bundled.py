"""Weights of trained networks that come with the package, by preset.

They lie in `assets/PRESET`, under the names that they have in a model folder, and are rounded to
half precision, which halves their size. docs/explanation/default-model.md says what they were
trained on.
"""

from __future__ import annotations

from importlib import resources

from torch import Tensor

from homolog.utils.tensor_files import read_tensors

NETWORK, SIDES = "model.safetensors", "sides.safetensors"


def read_bundled(preset: str, name: str) -> dict[str, Tensor]:
    """The weights of one network of a preset.

    Args:
        preset: its name; presets that others registered have the networks of `embedded`.
        name: of the file: `NETWORK` for the post-processor, `SIDES` for the side head.

    Raises:
        HomologError: the file is missing or damaged.
    """
    assets = resources.files("homolog").joinpath("assets")
    own = assets.joinpath(preset)
    folder = own if own.is_dir() else assets.joinpath("embedded")
    with resources.as_file(folder.joinpath(name)) as path:
        return read_tensors(path)
