"""The folder of a run: which run it belongs to, and whether it can be extended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from homolog.errors import HomologError
from homolog.utils.outputs import claim_run_dir, write_atomically

RUN, LAST, REPORT = "run.json", "last", "report"
RESULTS = f"{REPORT}/results.json"


def claim_training_dir(folder: Path, run: Mapping[str, Any]) -> None:
    """Make a folder a run's, or check that it is; more steps than before extend the run.

    A run that is extended loses its report, which is written anew at its end.

    Args:
        folder: made if it is not there.
        run: everything that decides the run, for JSON; `steps` is how many there will be.

    Raises:
        HomologError: the folder holds another run, or one of more steps, or cannot be written.
    """
    path = folder / RUN
    previous = _read(path)
    current = json.loads(json.dumps(run))
    if (
        previous is not None
        and previous != current
        and _without_steps(previous) == _without_steps(current)
    ):
        if current["steps"] < previous["steps"]:
            raise HomologError(
                f"steps: expected at least {previous['steps']}, for which the run in {folder} was "
                f"started, got {current['steps']}; try another folder"
            )
        shutil.rmtree(folder / REPORT, ignore_errors=True)
        write_atomically(path, (json.dumps(run, indent=1) + "\n").encode())
        return
    claim_run_dir(folder, run)


def _read(path: Path) -> Any:
    """The run that a folder holds; None if there is none, or none that can be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None  # `claim_run_dir` says what is wrong


def _without_steps(run: Any) -> Any:
    """A run without what decides its number of steps."""
    if not isinstance(run, dict) or not isinstance(run.get("steps"), int):
        return run
    config = run.get("config")
    if isinstance(config, dict):
        config = {k: v for k, v in config.items() if k not in ("steps", "epochs")}
    return {**run, "steps": None, "config": config}
