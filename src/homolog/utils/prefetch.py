"""Results computed in threads before they are asked for, so that their consumer need not wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], num_workers: int, buffer_size: int) -> Iterator[T]:
    """The results of jobs, in order; an exception is raised where its result would have come.

    Args:
        jobs: functions, called in threads.
        num_workers: number of threads.
        buffer_size: how many results may wait at most, which bounds the memory they take.
    """
    remaining = iter(jobs)
    with ThreadPoolExecutor(num_workers) as pool:
        pending: deque[Future[T]] = deque(
            pool.submit(job) for job in islice(remaining, buffer_size)
        )
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(job) for job in islice(remaining, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
