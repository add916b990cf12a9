"""What processes that are forked need, as `multiprocessing` does on Linux by default."""

from __future__ import annotations

import functools
import os

import torch


@functools.cache
def use_one_thread_in_children() -> None:
    """Let torch compute with one thread in processes that are forked from this one.

    The threads that torch has used do not exist in them, and it would wait for these forever.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_use_one_thread)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
