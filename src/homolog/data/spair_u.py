"""SPair-U (Mariotti et al., NeurIPS 2025, arXiv 2506.08220): other keypoints of SPair-71k's pairs.

The layout is that of `SPair-U.zip` as its authors (VICO-UoE/JamaisVu) and MARCO's instructions
describe it: `PairAnnotation/test` and `ImageAnnotation` in SPair-71k's form, and SPair-71k's
images. The archive itself could not be looked into: that keypoints have the numbers 0 to 29 is what
the authors' loader expects. What they mean, and which are left and right, is not published, so that
they have neither sides nor groups. Not all of SPair-71k's test pairs have such keypoints.
"""

from __future__ import annotations

from pathlib import Path

from homolog.data.pairs import DataSet
from homolog.data.reading import ErrorCollector, check_choice
from homolog.data.spair import PairReader, is_spair_u
from homolog.errors import HomologError
from homolog.keypoints import KeypointSchema

HOMEPAGE = "https://github.com/VICO-UoE/JamaisVu"
KEYPOINTS = 30


def load(
    root: Path,
    *,
    category: str | None = None,
    images: Path | None = None,
    problems: ErrorCollector | None = None,
) -> DataSet:
    """Load all pairs, in the order of their names.

    Args:
        root: the folder with `PairAnnotation` and `ImageAnnotation`.
        category: of the pairs; all by default.
        images: the folder of the images. By default `JPEGImages` in the folder, or in a folder
            `SPair-71k` beside it.
        problems: collects errors, instead of raising the first.

    Raises:
        HomologError: files are missing or malformed, there is no such category, or the folder is
            SPair-71k.
    """
    problems = problems or ErrorCollector()
    folder = root / "PairAnnotation" / "test"
    if not folder.is_dir():
        raise HomologError(
            f"{folder}: expected a folder of pairs, got none; try SPair-U from {HOMEPAGE}"
        )
    if (root / "PairAnnotation" / "trn").is_dir() and not is_spair_u(root):
        raise HomologError(f"{root}: expected SPair-U, got SPair-71k; try spair")
    if images is None:
        places = (root / "JPEGImages", root.absolute().parent / "SPair-71k" / "JPEGImages")
        images = next((place for place in places if place.is_dir()), places[0])
    schema = KeypointSchema.numbered(KEYPOINTS)
    reader = PairReader("SPair-U", root / "ImageAnnotation", images, lambda _: schema)
    paths = sorted(folder.glob("*.json"))
    if category is not None:
        check_choice("category", category, sorted({path.stem.rpartition(":")[2] for path in paths}))
        paths = [path for path in paths if path.stem.endswith(f":{category}")]
    pairs = reader.pairs(paths, problems)
    if not pairs:
        problems.add(root, "expected pairs, got none")
    return DataSet(
        "SPair-U test" + (f" ({category})" if category else ""),
        root,
        {name: schema for name in sorted({pair.category for pair in pairs})},
        pairs,
        threshold="box",
        alphas=(0.1, 0.05, 0.01),
    ).as_listed()
