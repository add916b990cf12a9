"""Commands about data sets."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from homolog.cli.options import DatasetOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output

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
def pairs(
    dataset: str, root: Path, *, dataset_options: DatasetOptions = DatasetOptions(), out: Path
) -> None:
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

    data = dataset_options.load(dataset, root)
    given = dataset_options.given()
    given.pop("manifest", None)
    manifest.write(out, data, ap10k.rules(**given))
    print(f"{data.name}, {len(data.pairs):,} pairs: {out}")
