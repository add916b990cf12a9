"""The report at the end of a run: tables of the best weights on the validation set, and curves."""

from __future__ import annotations

from pathlib import Path

from homolog import checkpoints, evaluation
from homolog.data import DataSet
from homolog.evaluation.report import Report
from homolog.evaluation.views import ObjectViews
from homolog.matcher import Matcher
from homolog.training.logs import curve, read_log
from homolog.training.recipes import TrainingConfig
from homolog.training.run_dir import REPORT


def write_report(
    folder: Path, matcher: Matcher, validation: DataSet | None, config: TrainingConfig
) -> None:
    """Evaluate the best weights on the validation set, and draw the curves of the run.

    Args:
        folder: of the run.
        matcher: the zero-shot matcher that was trained.
        validation: the held-out pairs; None for the curve of the loss alone.
        config: of the run.

    Raises:
        HomologError: an image cannot be read, or a file cannot be written.
    """
    from homolog.viz.charts import plot_curves
    from homolog.viz.raster import save_image

    out = folder / REPORT
    if validation is not None:
        device = matcher.backbone.device
        best, network = checkpoints.load(str(folder), device)
        # A backbone that was trained, too, has the weights of the last step.
        backbone = matcher.backbone
        if config.tuning is not None:
            backbone = checkpoints.load_backbone(str(folder), best, device)
        trained = Matcher(backbone, best, matcher.max_pixels, matcher.cache, network)
        evaluation.evaluate(trained, validation, out, str(folder))
    lines = read_log(folder)
    out.mkdir(exist_ok=True)
    curves = {"loss": curve(lines, "loss")}
    chart = plot_curves(curves, "step", "loss", percent=False, title="training loss")
    save_image(chart, out / "loss.png")
    if validation is not None:
        names = ("pck", "fine pck", "geometry-aware pck", "confusion")
        curves = {name: curve(lines, f"validation {name}") for name in names}
        logged = {name: points for name, points in curves.items() if points[0]}
        chart = plot_curves(logged, "step", "%", title="accuracy on the validation set")
        save_image(chart, out / "validation.png")


def read_report(folder: Path, validation: DataSet, config: TrainingConfig) -> Report:
    """The tables of a finished run, scored from the predictions in its folder.

    Args:
        folder: of the run.
        validation: the validation set that the run was given.
        config: of the run.

    Raises:
        HomologError: the predictions are missing, or of other pairs.
    """
    data = validation.subsample(config.validation_pairs)
    predictions, notes = evaluation.read_predictions(folder / REPORT / "predictions.jsonl", data)
    scored, views = evaluation.score(data, predictions), ObjectViews.of(data)
    return Report.of(data, scored, str(folder), notes, views=views)
