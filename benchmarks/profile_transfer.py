"""What one `transfer` walks through: functions of the package, and types that wrap its data.

    python benchmarks/profile_transfer.py [--list]

Counted on a second call, so that what is computed once and kept (grids, encodings) is not; nested
comprehensions and lambdas belong to the function around them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import homolog
from homolog import Matcher
from homolog.example import pair

PACKAGE = str(Path(homolog.__file__).parent)
POINTS = [[41, 186], [109, 163]]
# Where the types live that carry images, descriptors and points from step to step.
WRAPPERS = ("homolog.descriptors", "homolog.image.reading", "homolog.pair", "homolog.results")


def walked(work: Callable[[], object]) -> tuple[list[str], list[str]]:
    """The package's functions called and its wrapper types made by some work, sorted."""
    functions, types = set(), set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<"):
            module = Path(code.co_filename).relative_to(PACKAGE)
            functions.add(f"{module} {code.co_qualname}")
        if code.co_name == "__init__":
            kind = type(frame.f_locals.get("self"))
            if kind.__module__ in WRAPPERS:
                types.add(kind.__qualname__)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return sorted(functions), sorted(types)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every function")
    options = parser.parse_args()
    matcher = Matcher.from_pretrained("embedded", device="cpu")
    print("| transfer of | functions | of these outside backbone and head | wrapper types |")
    print("|---|---|---|---|")
    with pair() as example:
        files = example.image0, example.image1
        features = matcher.extract(files)
        for name, images in (("two files", files), ("extracted features", features)):
            matcher.transfer(*images, POINTS)
            functions, types = walked(lambda images=images: matcher.transfer(*images, POINTS))
            made = ", ".join(types)
            rest = [f for f in functions if not f.startswith(("backbones", "networks"))]
            print(f"| {name} | {len(functions)} | {len(rest)} | {len(types)}: {made} |")
            if options.list:
                print(*(f"    {function}" for function in functions), sep="\n")


if __name__ == "__main__":
    main()
