"""What the documentation is given so that its code runs here, within seconds."""

from __future__ import annotations

from collections.abc import Mapping

PRELUDES: Mapping[str, str] = {
    "README.md": """
from homolog import Matcher, evaluation
from homolog.applications import averaging, tracking, warping
from homolog.labelling.exemplars import Exemplars
a, b, picture, points = "a.jpg", "b.jpg", "photo.jpg", [[41, 186], [109, 163]]
""",
    "docs/annotate.md": """
from pathlib import Path
import homolog
matcher = homolog.Matcher.from_pretrained("embedded")
""",
    "docs/backbones.md": """
import homolog, torch
device = torch.device("cpu")
""",
    "docs/design.md": "from homolog.image.geometry import Grid",
    "docs/guide.md": """
import homolog
a, b, points, ids = "a.jpg", "b.jpg", [[41, 186], [109, 163]], [0, 1]
""",
}
"""Names that a page takes as known, by page; `homolog` is known everywhere within sentences."""

PLACEHOLDERS: Mapping[str, str | Mapping[str, str]] = {
    "A": "a.jpg",
    "B": "b.jpg",
    "DIR": "pictures",
    "FILE": "yours.jsonl",
    "FOLDER": "features",
    "MODELS": "models",
    "PHOTO": "photo.jpg",
    "PICTURES": "pictures",
    "ROOT": {"data pairs": "ap-10k", "data check": "PF-WILLOW", "evaluate pose": "views"},
    "VIDEO": "dog.mp4",
}
"""What words in capitals stand for within sentences and tables, perhaps by command."""

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "annotate --engine ray": {"--workers": "1"},
    "evaluate": {"--limit": "2"},
    "serve": {"--port": "0"},
    "track": {"--frame": "4"},
    "synth": {"--count": "8", "--size": "160", "--workers": "1"},
    "train": {"--steps": "1"},
    "train-sides": {"--steps": "3", "--count": "8"},
}
"""Options that commands get in place of, or besides, those on the page."""

REPLACED: Mapping[str, str] = {"steps=500": "steps=1"}
"""What is written otherwise in Python blocks before they run."""

SLOW = ("--engine ray",)
"""Steps with any of this in them are left to `make test-all`."""
