"""The command: parses, calls the library, prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from homolog.cli import (
    annotate,
    apply,
    backbones,
    convert,
    data,
    evaluate,
    features,
    match,
    serve,
    sides,
    synth,
    train,
    train_sides,
)
from homolog.errors import HomologError

app = App(
    name="homolog",
    help="Find the same part on another thing of its kind, and tell its left from its right.",
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
app.command(train.train)
app.command(train_sides.train_sides)
app.command(convert.convert)
app.command(backbones.backbones)
app.command(data.app)
app.command(features.app)
app.command(annotate.annotate)
app.command(serve.serve)
app.command(synth.synth)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; wrong input gives one line and exit status 2."""
    try:
        app(sys.argv[1:] if arguments is None else arguments)
    except (CycloptsError, HomologError) as error:
        print(f"homolog: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
