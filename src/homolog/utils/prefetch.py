"""Things read in threads before they are asked for, so that who uses them need not wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def prefetch(jobs: Iterable[Callable[[], T]], readers: int, ahead: int) -> Iterator[T]:
    """What the jobs return, in order; what one raises is raised where its result would be.

    Args:
        jobs: called in threads.
        readers: how many threads.
        ahead: how many results may wait at most, which bounds the memory they take.
    """
    remaining = iter(jobs)
    with ThreadPoolExecutor(readers) as pool:
        pending: deque[Future[T]] = deque(pool.submit(job) for job in islice(remaining, ahead))
        try:
            while pending:
                found = pending.popleft().result()
                pending.extend(pool.submit(job) for job in islice(remaining, 1))
                yield found
        finally:
            for future in pending:
                future.cancel()
