"""Commands about data sets: check one, write the pairs of a benchmark to a manifest."""

from __future__ import annotations

import sys
from pathlib import Path

from cyclopts import App

from homolog.cli.options import DatasetOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output

app = App(name="data", help="Check data sets, and write the pairs of a benchmark to a file.")


@app.command
def check(root: Path, *, images: Path | None = None) -> None:
    """List everything missing or broken in a data set or in boxes; the exit status is 1 if any is.

    Parameters
    ----------
    root
        The folder of SPair-71k, SPair-U, AP-10K, PF-PASCAL, PF-WILLOW, SOCO, MP-100-SC or CUB, a
        COCO file, or boxes: results of a detector (.json), YOLO labels, a table (.csv), SLEAP's
        instances (.slp) or masks.
    images
        The folder of the images, if they are not near the file.
    """
    from homolog.data.check import check as run_check

    report = run_check(root, images)
    for split, number in report.images.items():
        counts = [f"{number:,} images"]
        if split not in report.pairs or report.objects[split] != number:
            counts.append(f"{report.objects[split]:,} objects")
        if split in report.pairs:
            counts.append(f"{report.pairs[split]:,} pairs")
        print(f"{report.title} {split}: {', '.join(counts)}")
    for note in report.notes:
        print(f"note: {note}")
    for problem in report.problems:
        print(problem)
    if report.problems:
        print(f"problems: {len(report.problems)}", file=sys.stderr)
        sys.exit(1)


@app.command
def pairs(
    dataset: str, root: Path, *, dataset_options: DatasetOptions = DatasetOptions(), out: Path
) -> None:
    """Write the pairs of AP-10K's benchmark to a file, so that others evaluate on the same ones.

    Parameters
    ----------
    dataset
        `ap10k`; the other data sets list their pairs themselves.
    root
        The data set's folder.
    out
        The manifest to write, a JSON file.
    """
    out = check_output(out, (".json",))
    from homolog.data import manifest, registry

    rules = registry.find(dataset).rules
    if rules is None:
        known = ", ".join(name for name, entry in registry.DATASETS.items() if entry.rules)
        raise HomologError(
            f"dataset: expected {known}, got {dataset!r}, which lists its pairs itself"
        )
    data = dataset_options.load(dataset, root)
    given = dataset_options.given()
    for option in ("manifest", "sides"):  # on which the pairs do not depend
        given.pop(option, None)
    manifest.write(out, data, rules(**given))
    print(f"{data.name}, {len(data.pairs):,} pairs: {out}")
