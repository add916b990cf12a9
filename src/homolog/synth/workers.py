"""The images of a rendered set, rendered one after the other or by several processes."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from homolog.errors import HomologError
from homolog.synth.rig import Rig
from homolog.synth.sample import RenderConfig, render_sample
from homolog.utils.optional import require
from homolog.utils.temporary import temporary_folder

_job: tuple[Sequence[Rig], RenderConfig, Path] | None = None
"""What a worker process renders; set when it starts."""


def render_samples(
    indices: Sequence[int],
    rigs: Sequence[Rig],
    config: RenderConfig,
    folder: Path,
    workers: int | None,
) -> Iterator[dict[str, Any]]:
    """Render several images of a set, in several processes.

    Args:
        indices: numbers of images.
        rigs: the models.
        config: of the set.
        folder: of the set.
        workers: processes; as many as there are processors by default.

    Yields:
        The images' records, in order.

    Raises:
        HomologError: a process ended early.
    """
    number = min(workers or _processors(), len(indices))
    if number <= 1:
        for index in indices:
            yield render_sample(index, rigs, config, folder)
        return
    # The models are handed over in a file. A process dies at its start where a script has no
    # guard, and writing more to it than a pipe holds would then never return.
    with temporary_folder() as temporary:
        job = temporary / "job"
        job.write_bytes(pickle.dumps((rigs, config, folder)))
        pool = ProcessPoolExecutor(
            number,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(job,),
        )
        try:
            with _interrupts_blocked():  # until the workers, which start now, ignore them
                records = pool.map(_render, indices)
            yield from records
        except BrokenProcessPool:
            raise HomologError(
                "workers: expected every process to finish, got one that ended early; try fewer "
                "workers if memory may have run out, and in a script call this under "
                '`if __name__ == "__main__"`'
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep Ctrl-C from this thread, and from processes that it starts, which inherit that."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process when the one that started it ends, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _start_worker(job: Path) -> None:
    global _job
    # The parent process handles Ctrl-C. A worker ends when it is told to, as it is.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    # Otherwise NumPy's matrix products would take the processors of the other workers.
    require("threadpoolctl", "synth").threadpool_limits(1)
    _job = pickle.loads(job.read_bytes())


def _render(index: int) -> dict[str, Any]:
    assert _job is not None
    return render_sample(index, *_job)
