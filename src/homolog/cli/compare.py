"""The command that compares two methods on the same pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from homolog.cli.options import IMAGE_SUFFIXES, DatasetOptions
from homolog.cli.scoring import DataSource, ScoringOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_text_atomically

if TYPE_CHECKING:
    from homolog.data import DataSet
    from homolog.evaluation.comparison import Comparison


def compare(
    baseline: Path,
    method: Path,
    *,
    dataset: str | None = None,
    root: Path | None = None,
    dataset_options: DatasetOptions = DatasetOptions(),
    names: Annotated[tuple[str, str] | None, Parameter(consume_multiple=True)] = None,
    scoring: ScoringOptions = ScoringOptions(),
    out: Annotated[tuple[Path, ...], Parameter(consume_multiple=True, show_default=False)] = (),
) -> None:
    """Compare two methods on the same pairs: differences with paired intervals.

    Pairs that only one of the two has are left out.

    Parameters
    ----------
    baseline
        The folder of an evaluation or of a training run, or a file of predictions.
    method
        The same of the other method; differences are this one minus the baseline.
    dataset
        The data set, as for `evaluate`; by default the one that the runs were evaluated on.
    root
        The data set's folder or file.
    names
        Names of the two in tables and charts; by default those of their folders or files.
    out
        Files to write: a chart (.png, .jpg, .webp), tables (.md, .tex), all metrics (.json, .csv).
    """
    files = [
        _predictions_of(path, name) for path, name in ((baseline, "baseline"), (method, "method"))
    ]
    for path in out:
        check_output(path, (*IMAGE_SUFFIXES, ".md", ".tex", ".json", ".csv"), "out", files)
    protocol = scoring.protocol()
    data = _compared_data(files, dataset, root, dataset_options)
    from homolog import evaluation
    from homolog.evaluation.comparison import Comparison
    from homolog.evaluation.predictions import read_given

    labels = names or _names_of(baseline, method)
    found, notes = [], []
    for path, label in zip(files, labels, strict=True):
        predictions, remarks = read_given(path, data)
        found.append(predictions)
        notes += [f"{label}: {remark}" for remark in remarks]
    common = [i for i, pair in enumerate(data.pairs) if all(pair.name in each for each in found)]
    if not common:
        raise HomologError(
            f"method: expected predictions of pairs that {baseline} has, too, got none in {method}"
        )
    if len(common) < len(data.pairs):
        notes.append(f"{len(common):,} of {len(data.pairs):,} pairs, those that both have")
    data = data.select(common)
    scored = [evaluation.score(data, each, **protocol) for each in found]
    for label, each in zip(labels, scored, strict=True):
        notes += [f"{label}: {remark}" for remark in each.notes]
    comparison = Comparison.of(data.name, (scored[0], scored[1]), labels, [*data.notes, *notes])
    for path in out:
        _write(comparison, path)
    comparison.print()


def _predictions_of(path: Path, name: str) -> Path:
    """The file of predictions that is given, or that is in the folder of a run."""
    if not path.is_dir():
        return path
    for found in (path / "predictions.jsonl", path / "report" / "predictions.jsonl"):
        if found.is_file():
            return found
    raise HomologError(f"{name}: expected a run or a file of predictions, got {path}")


def _names_of(baseline: Path, method: Path) -> tuple[str, str]:
    """Names of two methods: the shortest by which they differ."""
    for short in (
        lambda path: path.stem if path.suffix else path.name,
        lambda path: path.parent.name,
    ):
        names = short(baseline.resolve()), short(method.resolve())
        if names[0] != names[1] and all(names):
            return names
    return str(baseline), str(method)


def _compared_data(
    files: list[Path], dataset: str | None, root: Path | None, options: DatasetOptions
) -> DataSet:
    """The data set that predictions are of: the one that is told, or the one their runs name."""
    if dataset is not None and root is not None:
        return options.load(dataset, root)
    if dataset is not None or root is not None or options.given():
        missing = "dataset" if dataset is None else "root"
        raise HomologError(
            f"{missing}: expected --dataset and --root with options of the data set, got none"
        )
    known = [each for file in files if (each := DataSource.read(file.parent)) is not None]
    if not known:
        raise HomologError(
            "dataset: expected the data set that the predictions are of, got none; try --dataset "
            "and --root"
        )
    if len({(each.dataset, each.options) for each in known}) > 1:
        raise HomologError(
            f"method: expected runs on the same data set, got {known[0].dataset} and "
            f"{known[1].dataset} with other options; try --dataset and --root"
        )
    return known[0].options.load(known[0].dataset, known[0].root)


def _write(comparison: Comparison, path: Path) -> None:
    """Write a comparison in the format that a file's name ends with."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        from homolog.viz.raster import save_image

        save_image(comparison.plot(), path)
        return
    texts = {
        ".md": comparison.to_markdown, ".tex": comparison.to_latex, ".json": comparison.to_json,
        ".csv": comparison.to_csv,
    }  # fmt: skip
    write_text_atomically(path, texts[suffix]())
