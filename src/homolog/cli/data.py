"""Commands about data sets."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, Parameter

from homolog.errors import HomologError
from homolog.utils.outputs import check_output

if TYPE_CHECKING:
    from homolog.data import DataSet

# What each data set's loader takes besides its root.
DATASET_OPTIONS = {
    "spair": ("split", "category"),
    "ap10k": ("split", "subset", "seed", "exclude", "single", "manifest"),
    "pf-pascal": ("split",),
    "pf-willow": (),
    "coco": ("images",),
}


@Parameter(name="*")
@dataclass(frozen=True)
class DatasetOptions:
    """What of a data set.

    Parameters
    ----------
    split
        spair, ap10k and pf-pascal: `trn`, `val` or `test`.
    category
        spair: pairs of this category only.
    subset
        ap10k: `intra-species`, `cross-species` or `cross-family`.
    seed
        ap10k: of the sampled pairs.
    exclude
        ap10k: a file of pictures to leave out, an id or a file name a line.
    single
        ap10k: leave out pictures with several annotated animals.
    manifest
        ap10k: take the pairs that this file lists.
    images
        coco: the folder that file names start from.
    """

    split: str | None = None
    category: str | None = None
    subset: str | None = None
    seed: int | None = None
    exclude: Path | None = None
    single: bool = False
    manifest: Path | None = None
    images: Path | None = None

    def given(self) -> dict[str, Any]:
        """What is not left to the data set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, False)}

    def load(self, dataset: str, root: Path) -> DataSet:
        """The data set."""
        if dataset not in DATASET_OPTIONS:
            raise HomologError(f"dataset: {dataset!r} is none of {', '.join(DATASET_OPTIONS)}")
        given = self.given()
        for name in given:
            if name not in DATASET_OPTIONS[dataset]:
                raise HomologError(f"{name}: {dataset} does not take it")
        module = import_module(f"homolog.data.{dataset.replace('-', '_')}")
        data: DataSet = module.load(root, **given)
        return data


app = App(name="data", help="Check data sets, and write down their pairs.")


@app.command
def check(root: Path) -> None:
    """Say what of a data set is missing or broken, file by file; exit with status 1 if anything is.

    Parameters
    ----------
    root
        The folder of SPair-71k, AP-10K, PF-PASCAL or PF-WILLOW, or a COCO file.
    """
    from homolog.data.check import check as checked

    report = checked(root)
    for split, pairs in report.pairs.items():
        print(f"{report.kind} {split}: {report.pictures[split]:,} pictures, {pairs:,} pairs")
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(problem)
    if report.problems:
        print(f"{len(report.problems)} problems", file=sys.stderr)
        sys.exit(1)


@app.command
def pairs(dataset: str, root: Path, *, which: DatasetOptions = DatasetOptions(), out: Path) -> None:
    """Write down the pairs of AP-10K's benchmark, so that others can measure on the very same.

    Parameters
    ----------
    dataset
        `ap10k`; the other data sets list their pairs themselves.
    root
        The data set's folder.
    out
        The manifest, a JSON file.
    """
    out = check_output(out, (".json",))
    if dataset != "ap10k":
        raise HomologError(f"dataset: {dataset!r} lists its pairs itself, takes ap10k")
    from homolog.data import ap10k, manifest

    data = which.load(dataset, root)
    given = which.given()
    given.pop("manifest", None)
    manifest.write(out, data, ap10k.rules(**given))
    print(f"{data.name}, {len(data.pairs):,} pairs: {out}")
