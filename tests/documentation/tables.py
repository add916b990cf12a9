"""What the documentation is given so that its code runs here, within seconds."""

from __future__ import annotations

from collections.abc import Mapping

_PAIR = """
import homolog
pair = homolog.Matcher.from_pretrained("embedded").pair("fox.jpg", "husky.jpg")
"""
_MATCHER = """
import homolog
matcher = homolog.Matcher.from_pretrained("embedded")
"""

PRELUDES: Mapping[str, str] = {
    "README.md": f"""{_PAIR}
from homolog import Matcher, evaluation
from homolog.applications import averaging, tracking, warping
from homolog.labelling.exemplars import Exemplars
""",
    "CONTRIBUTING.md": "from homolog import HomologError\nfrom homolog.backbones.dino import load",
    "docs/explanation/default-model.md": _MATCHER,
    "docs/explanation/design.md": f"{_PAIR}\nfrom homolog.image.geometry import Grid",
    "docs/explanation/method.md": _PAIR,
    "docs/how-to/add-a-backbone.md": "from homolog.backbones.dino import load",
    "docs/how-to/add-a-command.md": """
from homolog import HomologError
from homolog.cli.commands import app
""",
    "docs/how-to/check-labels.md": f"{_MATCHER}\nfrom pathlib import Path",
    "docs/how-to/foundation-models.md": """
import homolog, torch
device = torch.device("cpu")
""",
    "docs/how-to/label-a-folder.md": f"{_MATCHER}\nfrom pathlib import Path",
    "docs/how-to/match.md": """
import homolog
import numpy as np
points, ids = [[41, 186], [109, 163]], [0, 1]
""",
    "docs/how-to/several-animals.md": _MATCHER,
    "docs/how-to/track-points.md": _MATCHER,
    "docs/how-to/train.md": """
import homolog
from pathlib import Path
""",
    "docs/how-to/warp-and-average.md": _MATCHER,
}
"""Names that a page takes as known, by page; `homolog` is known everywhere within sentences."""

PLACEHOLDERS: Mapping[str, str | Mapping[str, str]] = {
    "A": "a.jpg",
    "B": "b.jpg",
    "DIR": "images",
    "FILE": {
        "data check": "first.csv",
        "labels report": "labelled.json",
        "score spair": "yours.jsonl",
    },
    "FOLDER": {
        "features check": "features",
        "features clear": "features",
        "serve FOLDER": "images",
    },
    "IMAGE": "photo.jpg",
    "MODELS": "models",
    "N": "2",
    "OUT": {
        "match A": "runs/bees",
        "serve FOLDER": "labels.json",
        "sides PHOTO": "my-sides",
    },
    "PHOTO": "photo.jpg",
    "ROOT": {"data pairs": "ap-10k", "data check": "PF-WILLOW", "evaluate pose": "views"},
    "VIDEO": "dog.mp4",
}
"""What words in capitals stand for within sentences and tables, perhaps by command."""

OPTIONS: Mapping[str, Mapping[str, str]] = {
    "adapt": {"--steps": "1", "--rounds": "1"},
    # Without a side head, whose tuning takes as long as all else.
    "adapt unlabelled/ --out": {"--model": "embedded-zero-shot"},
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

SLOW = (
    "--engine ray",
    "torchrun --nproc-per-node 2",
    "--out with-",
    "--out shared",
    "--out adapted-dino",
    "--recipe marco",
    "--model marco",
    "demo --model diy-sc",
    # What other pages have, too, on other files.
    "adapt unlabelled --out",
    "bees/train.json --out runs/bees",
    "--validation bees/train.json",
)
"""Steps with any of this in them are left to `make test-all`."""
