"""All commands, registered. Their modules import the library when they run, so --help is quick."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import App, Parameter

from homolog import __version__
from homolog.cli import (
    adapt,
    annotate,
    apply,
    backbones,
    compare,
    convert,
    data,
    evaluate,
    features,
    labels,
    match,
    objects,
    select,
    serve,
    sides,
    synth,
    train,
    train_sides,
)

app = App(
    name="homolog",
    help="Find the same part on another object of its kind, and tell its left from its right.",
    version=__version__,
    # Without --empty-points and the like.
    default_parameter=Parameter(negative_iterable=()),
    exit_on_error=False,
    print_error=False,
    result_action="return_value",
)
app.command(match.match)
app.command(match.flow)
app.command(match.heatmap)
app.command(match.demo)
app.command(sides.sides)
app.command(apply.warp)
app.command(apply.track)
app.command(apply.average)
app.command(evaluate.evaluate)
app.command(evaluate.score)
app.command(compare.compare)
app.command(train.train)
app.command(train_sides.train_sides)
app.command(adapt.adapt)
app.command(convert.convert)
app.command(backbones.backbones)
app.command(data.app)
app.command(features.app)
app.command(labels.app)
app.command(objects.objects)
app.command(select.select)
app.command(annotate.annotate)
app.command(serve.serve)
app.command(synth.synth)


@app.meta.default
def run(
    *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    verbose: Annotated[
        bool, Parameter(name=["--verbose", "-v"], negative="", show_default=False)
    ] = False,
) -> None:
    """Run a command, with the options that all commands share.

    Parameters
    ----------
    verbose
        Print what the library logs to standard error.
    """
    if not verbose:
        app(words)
        return
    with _log_shown():
        app(words)


@contextmanager
def _log_shown() -> Iterator[None]:
    """Print the log of the whole package to standard error."""
    logger, handler = logging.getLogger("homolog"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
