"""Labelling shared among processes or machines, with Ray Data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from homolog.data.exemplars import ExemplarSet
from homolog.labelling.propagate import AnnotateConfig, Annotator, Executor, Record
from homolog.matcher import Matcher
from homolog.utils.optional import require


class _Worker:
    """Labels pictures in a process of its own.

    Args:
        make: makes the matcher there.
        labelled: the exemplars.
        settings: the rest.
    """

    def __init__(
        self, make: Callable[[], Matcher], labelled: ExemplarSet, settings: AnnotateConfig
    ):
        self.annotator = Annotator(make(), labelled, settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        read = self.annotator.read(Path(row["path"]))
        # As text: tables of Ray have the same columns in every row.
        return {"line": json.dumps(self.annotator.line(row["name"], read))}


def ray_executor(
    make: Callable[[], Matcher],
    labelled: ExemplarSet,
    settings: AnnotateConfig,
    workers: int | None = None,
) -> Executor:
    """An engine for `annotate`: one matcher a worker, pictures given out one by one.

    A worker that dies is started again, and its pictures given out again. Ray's own cluster is
    used where one is running (`ray.init`, or the address that `RAY_ADDRESS` names); pictures must
    have the same paths on all its machines.

    Args:
        make: makes a matcher, in each worker.
        labelled: the exemplars.
        settings: the rest.
        workers: how many; by default one for each GPU, or for each two processors.

    Raises:
        HomologError: Ray is not installed.
    """
    ray = require("ray", "scale")
    data = require("ray.data", "scale")

    def run(files: Sequence[Path], name_of: Callable[[Path], str]) -> Iterator[Record]:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False, logging_level="ERROR")
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        # Lines are written down as they come, and each picture is small.
        context.target_max_block_size = 1
        found = ray.cluster_resources()
        gpus = int(found.get("GPU", 0))
        count = workers or gpus or max(1, int(found["CPU"]) // 2)
        rows = [{"path": str(path.resolve()), "name": name_of(path)} for path in files]
        lines = data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(make, labelled, settings),
            concurrency=min(count, len(rows)),
            num_gpus=1 if gpus else 0,
        )
        for row in lines.iter_rows():
            yield json.loads(row["line"])

    return run
