"""The licences of foundation models' weights, which what is fine-tuned from these falls under."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Licence:
    """A licence of weights.

    Attributes:
        name: its name.
        url: the address of its text.
        identifier: its name in the metadata of a model hub.
        terms: what it asks of those who pass on weights that are derived from the licensed ones;
            one or several sentences.
        listed: whether the hub knows it by the identifier alone.
    """

    name: str
    url: str
    identifier: str
    terms: str
    listed: bool = True


APACHE_2 = Licence(
    "Apache-2.0",
    "https://www.apache.org/licenses/LICENSE-2.0",
    "apache-2.0",
    "Pass on a copy of it with them.",
)
DINOV3 = Licence(
    "DINOv3 License",
    "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    "dinov3-license",
    "Built with DINOv3. Weights that are derived from DINOv3 are passed on under the same "
    "agreement, and with a copy of it.",
    listed=False,
)
OPENRAIL_M = Licence(
    "CreativeML OpenRAIL-M",
    "https://github.com/CompVis/stable-diffusion/blob/main/LICENSE",
    "creativeml-openrail-m",
    "Its restrictions of use hold for what is derived from them, too, and are passed on with it.",
)
OPENRAIL_PLUS_PLUS_M = Licence(
    "CreativeML OpenRAIL++-M",
    "https://github.com/Stability-AI/stablediffusion/blob/main/LICENSE-MODEL",
    "openrail++",
    "Its restrictions of use hold for what is derived from them, too, and are passed on with it.",
)
CC0 = Licence(
    "CC0-1.0",
    "https://creativecommons.org/publicdomain/zero/1.0/",
    "cc0-1.0",
    "It asks for nothing.",
)
LICENCES = (APACHE_2, DINOV3, OPENRAIL_M, OPENRAIL_PLUS_PLUS_M, CC0)
"""All licences of the presets' weights."""


def published_json(model: str, file: str) -> dict[str, Any]:
    """What a model's own file says that is on this machine; empty where it is not.

    Args:
        model: a folder, or `owner/name` on the hub, of which the cache is asked.
        file: of the model, such as `config.json`.
    """
    path: Any = Path(model) / file
    if not Path(model).is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            path = try_to_load_from_cache(model, file)
        except HFValidationError:
            return {}
    try:
        found = json.loads(Path(path).read_text("utf-8")) if isinstance(path, (str, Path)) else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def notice(licences: Iterable[Licence], weights: str) -> str:
    """What lies beside weights that were fine-tuned: which licences they fall under.

    Args:
        licences: of the weights that they were fine-tuned from.
        weights: the name of the file.
    """
    parts = [f"{weights} was fine-tuned from weights of which the licence is not known here."]
    parts = [
        f"{weights} was fine-tuned from weights under the {each.name}:\n{each.url}\n\n{each.terms}"
        for each in licences
    ] or parts
    return "\n\n".join(parts) + "\n"
