"""The generated annotations of parity/pck.json in the layout of SPair-71k."""

import json
from pathlib import Path

from helpers import parity

PCK = parity.facts("pck")


def lay_out(root: Path) -> Path:
    """Write them into a folder."""
    for name, entry in PCK["images"].items():
        path = root / "ImageAnnotation" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(entry))
    folder = root / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    for name, entry in PCK["pairs"].items():
        (folder / f"{name}.json").write_text(json.dumps(entry))
    layout = root / "Layout" / "large"
    layout.mkdir(parents=True)
    (layout / "test.txt").write_text("\n".join(PCK["pairs"]) + "\n")
    return root
