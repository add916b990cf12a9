"""Label propagation on several processes or machines, with Ray Data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from homolog.data.boxes import BoxSet
from homolog.data.exemplars import ExemplarSet
from homolog.labelling.annotator import AnnotateConfig, Annotator, Record
from homolog.labelling.propagate import Executor
from homolog.matcher import Matcher
from homolog.utils.optional import require


class _Worker:
    """Annotates images in a process of its own.

    Args:
        make_matcher: called in that process.
        exemplars: the labelled images.
        config: which keypoints are doubtful, and how objects are looked at.
        boxes: the objects of the images.
    """

    def __init__(
        self,
        make_matcher: Callable[[], Matcher],
        exemplars: ExemplarSet,
        config: AnnotateConfig,
        boxes: BoxSet | None,
    ):
        self.annotator = Annotator(make_matcher(), exemplars, config, boxes)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        image = self.annotator.load(Path(row["path"]))
        # As text, because Ray's tables have the same columns in every row.
        return {"record": json.dumps(self.annotator.record(row["name"], image))}


def ray_executor(
    make_matcher: Callable[[], Matcher],
    exemplars: ExemplarSet,
    config: AnnotateConfig,
    num_workers: int | None = None,
    boxes: BoxSet | None = None,
) -> Executor:
    """An executor for `annotate` with a matcher in each of several worker processes.

    A worker that dies is restarted, and its images are given out again. Ray's own cluster is used
    where one is running (`ray.init`, or the address that `RAY_ADDRESS` names); images must have
    the same paths on all its machines.

    Args:
        make_matcher: called in each worker.
        exemplars: the labelled images.
        config: which keypoints are doubtful, and how objects are looked at.
        num_workers: number of processes; by default one for each GPU, or for each two CPUs.
        boxes: the objects of the images.

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
        # Records are written as they come, and each is small.
        context.target_max_block_size = 1
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        count = num_workers or gpus or max(1, int(resources["CPU"]) // 2)
        rows = [{"path": str(path.resolve()), "name": name_of(path)} for path in files]
        records = data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(make_matcher, exemplars, config, boxes),
            concurrency=min(count, len(rows)),
            num_gpus=1 if gpus else 0,
        )
        for row in records.iter_rows():
            yield json.loads(row["record"])

    return run
