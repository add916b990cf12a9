"""Commands that evaluate."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from homolog.cli.options import DatasetOptions, ModelOptions
from homolog.errors import HomologError
from homolog.utils.outputs import check_output, write_atomically


def evaluate(
    dataset: str,
    root: Path,
    *,
    dataset_options: DatasetOptions = DatasetOptions(),
    model: ModelOptions = ModelOptions(),
    limit: int | None = None,
    out: Path | None = None,
    memory: float = 4.0,
    cache: Path | None = None,
) -> None:
    """Find all keypoints of a benchmark, and say how many are right.

    An interrupted run goes on where it stopped.

    Parameters
    ----------
    dataset
        `spair`, `ap10k`, `pf-pascal`, `pf-willow`, `coco`, or `pose`: ROOT/left, right, front and
        back with pictures of things seen that way, and ROOT/templates with one of each, whose poses
        are told apart by instance matching distance.
    root
        The data set's folder or file.
    limit
        Sample at most so many pairs, evenly.
    out
        The folder for predictions, tables and pictures.
    memory
        Features to keep in memory, in GB; more go to the disk.
    cache
        A folder to keep feature maps in, for other runs.
    """
    if dataset == "pose":
        from homolog.evaluation.viewpoint import evaluate as evaluate_pose

        evaluate_pose(root, model.matcher()).print()
        return
    data = dataset_options.load(dataset, root).subsample(limit)
    poses = model.pose_list()
    if out is None:
        parts = [data.name, model.preset, "" if len(poses) == 1 else model.poses or ""]
        slug = re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")
        out = Path("evaluations") / slug
    from homolog.evaluation import report
    from homolog.features import FeatureCache

    matcher = model.matcher()
    if cache is not None:
        matcher.cache = FeatureCache(cache)
    found = report.evaluate(
        matcher, data, out, model.preset, poses, model.poses or "none", memory=int(memory * 1e9)
    )
    found.print()
    print(f"tables, predictions and pictures: {out}", file=sys.stderr)


def score(
    dataset: str,
    root: Path,
    *,
    dataset_options: DatasetOptions = DatasetOptions(),
    predictions: Path,
    name: str = "predictions",
    threshold: str | None = None,
    alphas: list[float] | None = None,
    json: Path | None = None,
    csv: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Score predictions, whoever made them.

    Parameters
    ----------
    dataset
        `spair`, `ap10k`, `pf-pascal`, `pf-willow` or `coco`.
    root
        The data set's folder or file.
    predictions
        JSON, a list or a line each, of objects with `pair`, `keypoint_ids` and
        `predicted_xy_in_target_pixels`.
    name
        What the tables call them.
    threshold
        What alpha multiplies, `box` or `image`, if not what the data set's protocol says.
    alphas
        The thresholds, if not those of the data set's protocol.
    json
        Write all figures to this file.
    csv
        The same as CSV.
    markdown
        The tables as Markdown.
    """
    outputs = [(json, ".json", "json"), (csv, ".csv", "csv"), (markdown, ".md", "markdown")]
    for path, suffix, option in outputs:
        if path is not None:
            check_output(path, (suffix,), option)
    if threshold not in (None, "box", "image"):
        raise HomologError(f"threshold: {threshold!r} is none of box, image")
    from homolog import evaluation
    from homolog.evaluation.report import Report

    data = dataset_options.load(dataset, root)
    found, notes = evaluation.read_predictions(predictions, data)
    scored = evaluation.score(data, found, threshold=threshold, alphas=alphas)  # type: ignore[arg-type]
    report = Report.of(data, scored, name, notes)
    texts = (report.to_json, report.to_csv, report.to_markdown)
    for (path, _, option), text in zip(outputs, texts, strict=True):
        if path is not None:
            write_atomically(path, text().encode(), option)
    report.print()
