"""Processes that are forked after torch has computed with several threads."""

import subprocess
import sys

SCRIPT = """
import multiprocessing, torch
import homolog.backbones

def work():
    image = torch.ones(4, 16, 64, 64)
    return torch.conv2d(image, torch.ones(16, 16, 3, 3)).sum().item(), torch.get_num_threads()

torch.set_num_threads(2)
expected, _ = work()
with multiprocessing.get_context("fork").Pool(1) as pool:
    found = pool.apply_async(work).get(30)
assert found == (expected, 1) and torch.get_num_threads() == 2, found
"""


def test_a_forked_process_computes():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
