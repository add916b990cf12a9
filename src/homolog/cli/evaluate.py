"""Commands that evaluate a model on a benchmark, and score predictions of any method."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Literal

from homolog.cli.options import DatasetOptions, LookOptions, ModelOptions
from homolog.cli.scoring import DataSource, ScoringOptions
from homolog.utils.outputs import check_output, write_atomically


def evaluate(
    dataset: str,
    root: Path,
    *,
    dataset_options: DatasetOptions = DatasetOptions(),
    model: ModelOptions = ModelOptions(),
    boxes: Literal["none", "annotated"] | None = None,
    looks: LookOptions = LookOptions(),
    refine: bool | None = None,
    limit: int | None = None,
    out: Path | None = None,
    memory: float = 4.0,
    cache: Path | None = None,
) -> None:
    """Evaluate a model on a benchmark: PCK, left/right confusion, and charts.

    An interrupted evaluation resumes when the same command is given again.

    Parameters
    ----------
    dataset
        `spair`, `spair-u`, `ap10k`, `ap10k-pairs` (as others list them), `pf-pascal`, `pf-willow`,
        `soco`, `mp100`, `cub`, `coco`, or `pose` for viewpoint prediction by instance matching
        distance: ROOT/left, right, front and back with images of objects seen that way, and
        ROOT/templates with an image of each view.
    root
        The data set's folder or file.
    boxes
        `annotated` matches in the region around each object's box, `none` matches whole images. By
        default boxes are used where an image has several annotated objects, for nothing else tells
        which of them is meant.
    refine
        Look for matches again, near where they were found, in closer looks at both images.
    limit
        Evaluate at most as many pairs, evenly sampled.
    out
        The folder for predictions, tables and charts.
    memory
        GB of features to keep in memory; the others are kept on disk.
    cache
        A folder to keep feature maps in, for later runs.
    """
    if dataset == "pose":
        from homolog.evaluation.viewpoint import evaluate as evaluate_viewpoint

        evaluate_viewpoint(root, model.matcher()).print()
        return
    from homolog.keypoints import check_flips

    poses, chosen = model.pose_list(), looks.choose(refine)
    data = dataset_options.load(dataset, root).subsample(limit)
    check_flips(data.schemas, poses)  # before the weights are read
    if out is None:
        parts = [data.name, model.preset, "" if len(poses) == 1 else model.poses or ""]
        parts += [{"annotated": "boxes", "none": "whole images"}.get(boxes or "", "")]
        parts += [
            name for name, value in (
                ("zoom", chosen.zoom), ("mirror", chosen.mirror), ("refine", chosen.refine),
            ) if value
        ]  # fmt: skip
        slug = re.sub(r"[^a-z0-9]+", "-", " ".join(parts).lower()).strip("-")
        out = Path("evaluations") / slug
    from homolog import evaluation
    from homolog.features import FeatureCache

    matcher = model.matcher()
    if cache is not None:
        matcher = matcher.with_cache(FeatureCache(cache))
    report = evaluation.evaluate(
        matcher, data, out, model.preset, poses, model.poses or "none", boxes,
        chosen.zoom, memory=int(memory * 1e9), mirror=chosen.mirror, refine=bool(chosen.refine),
    )  # fmt: skip
    DataSource(dataset, root, dataset_options).write(out)
    report.print()
    print(f"tables, predictions and charts: {out}", file=sys.stderr)
    if limit is None:
        given = ("homolog", "score", dataset, root, *dataset_options.to_arguments())
        other = "image" if data.threshold == "box" else "box"
        options = ("--predictions", out / "predictions.jsonl", "--threshold", other)
        command = shlex.join(map(str, (*given, *options)))
        print(f"next: {command}", file=sys.stderr)


def score(
    dataset: str,
    root: Path,
    *,
    dataset_options: DatasetOptions = DatasetOptions(),
    predictions: Path,
    name: str = "predictions",
    scoring: ScoringOptions = ScoringOptions(),
    json: Path | None = None,
    csv: Path | None = None,
    markdown: Path | None = None,
) -> None:
    """Score the predictions of any method on a benchmark.

    Parameters
    ----------
    dataset
        `spair`, `spair-u`, `ap10k`, `ap10k-pairs`, `pf-pascal`, `pf-willow`, `soco`, `mp100`, `cub`
        or `coco`.
    root
        The data set's folder or file.
    predictions
        A JSON list or JSON lines, of objects with `pair`, `keypoint_ids` and
        `predicted_xy_in_target_pixels`.
    name
        The method's name in the tables.
    json
        A JSON file to write all metrics to.
    csv
        A CSV file to write all metrics to.
    markdown
        A Markdown file to write the tables to.
    """
    outputs = [(json, ".json", "json"), (csv, ".csv", "csv"), (markdown, ".md", "markdown")]
    for path, suffix, option in outputs:
        if path is not None:
            check_output(path, (suffix,), option)
    protocol = scoring.protocol()
    from homolog import evaluation
    from homolog.evaluation.report import Report

    data = dataset_options.load(dataset, root)
    found, notes = evaluation.read_predictions(predictions, data)
    scored = evaluation.score(data, found, **protocol)
    report = Report.of(data, scored, name, notes)
    texts = (report.to_json, report.to_csv, report.to_markdown)
    for (path, _, option), text in zip(outputs, texts, strict=True):
        if path is not None:
            write_atomically(path, text().encode(), option)
    report.print()
