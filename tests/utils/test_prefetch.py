"""Prefetched results come in order, ahead of time, and in bounded number."""

import threading
import time
from functools import partial

import pytest

from homolog.utils.prefetch import prefetch


def test_results_come_in_order():
    def job(index):
        time.sleep(0.01 * (index % 3))
        return index

    jobs = [partial(job, index) for index in range(20)]
    assert list(prefetch(jobs, num_workers=4, buffer_size=6)) == list(range(20))
    assert list(prefetch([], num_workers=2, buffer_size=2)) == []


def test_no_more_than_the_buffer_is_ahead():
    started, lock = [], threading.Lock()

    def job(index):
        with lock:
            started.append(index)
        return index

    results = prefetch((partial(job, i) for i in range(100)), num_workers=3, buffer_size=5)
    assert next(results) == 0
    time.sleep(0.1)
    assert 2 <= len(started) <= 6
    results.close()
    assert len(started) <= 6


def test_errors_come_where_the_result_would():
    def fails():
        raise KeyError("broken")

    results = prefetch([lambda: 1, fails, lambda: 3], num_workers=2, buffer_size=3)
    assert next(results) == 1
    with pytest.raises(KeyError, match="broken"):
        next(results)
