"""Charts of an evaluation, and its best and worst pairs as images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from homolog.evaluation.estimates import metric_name
from homolog.evaluation.metrics import PCKAccumulator
from homolog.evaluation.predictions import Predictions
from homolog.evaluation.report import Report

if TYPE_CHECKING:
    from PIL import Image

_SHOWN_PAIRS = 4
"""Of the best and of the worst pairs."""


def plot_pck(
    folder: Path, report: Report, scored: PCKAccumulator, unaligned: PCKAccumulator | None = None
) -> None:
    """Plot PCK over alpha, and over the azimuth difference if viewpoints are annotated.

    Args:
        folder: where `pck.png` and `azimuth.png` are written.
        report: the report on the predictions.
        scored: the predictions.
        unaligned: those without pose alignment, if it was used.
    """
    from homolog.viz.charts import plot_curves
    from homolog.viz.raster import save_image

    series = {report.model: (scored, report.rows)}
    if unaligned is not None:
        series = {
            f"{report.model}, aligned": (scored, report.rows),
            f"{report.model}, not aligned": (unaligned, report.unaligned),
        }
    alphas = [1.5 * max(scored.alphas) * step / 60 for step in range(61)]
    chart = plot_curves(
        {name: (alphas, of.curve(alphas)) for name, (of, _) in series.items()},
        "alpha", "PCK per image, %", title=f"{report.data}: PCK over alpha",
    )  # fmt: skip
    save_image(chart, folder / "pck.png")
    alpha = metric_name("pck", shown_alpha(scored.alphas))
    by_azimuth = {
        name: [row for row in rows if row.kind == "per_azimuth_difference_per_image"]
        for name, (_, rows) in series.items()
    }
    if all(by_azimuth.values()):
        chart = plot_curves(
            {
                name: ([int(r.label) for r in rows], [r.estimates[alpha].value for r in rows])
                for name, rows in by_azimuth.items()
            },
            "azimuth difference, eighths of a turn", f"{alpha} per image, %",
            {
                name: [r.estimates[alpha].interval for r in rows]
                for name, rows in by_azimuth.items()
            },
            title=f"{report.data}: {alpha} over the difference in viewpoint",
        )  # fmt: skip
        save_image(chart, folder / "azimuth.png")


def plot_best_and_worst(folder: Path, scored: PCKAccumulator, predictions: Predictions) -> None:
    """Draw the pairs with the smallest and the largest mean error, each image at most once.

    Args:
        folder: where `best.png` and `worst.png` are written.
        scored: the predictions, scored.
        predictions: the predicted points.
    """
    from homolog.viz.pairs import plot_errors
    from homolog.viz.raster import save_image, stack_vertically

    alpha = shown_alpha(scored.alphas)
    errors = scored.mean_errors()
    order = [i for i in np.argsort(errors, kind="stable").tolist() if np.isfinite(errors[i])]
    for name, ranked in (("best", order), ("worst", order[::-1])):
        used: set[Path] = set()
        drawings: list[Image.Image] = []
        for index in ranked:
            pair = scored.pairs[index]
            paths = {pair.source.path, pair.target.path}
            if len(drawings) == _SHOWN_PAIRS or paths & used:
                continue
            used |= paths
            ids, correct = pair.keypoint_ids, scored.correct(index, alpha)
            caption = f"{pair.name}   ·   {correct.sum()} of {len(ids)} within {alpha:g}"
            drawings.append(
                plot_errors(
                    pair.source.path, pair.target.path, pair.source.keypoints[ids],
                    pair.target.keypoints[ids], predictions[pair.name], correct, caption,
                )
            )  # fmt: skip
        save_image(stack_vertically(drawings), folder / f"{name}.png")


def shown_alpha(alphas: Sequence[float]) -> float:
    """The threshold to show: 0.1 if it is one of them, otherwise the largest."""
    return 0.1 if 0.1 in alphas else max(alphas)
