"""A folder's lock: held by one process, and released when that is killed."""

import subprocess
import sys
import time

import pytest

from homolog import HomologError
from homolog.utils.locks import LOCK, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from homolog.utils.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def hold(folder) -> subprocess.Popen:
    """A process that has locked the folder."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    return process


def test_one_process_holds_a_folder_until_it_is_killed(tmp_path):
    folder = tmp_path / "run"
    with hold(folder) as process:
        try:
            with (
                pytest.raises(HomologError) as error,
                lock_folder(folder),
            ):
                pass
            assert str(error.value) == (
                f"out: expected a folder that no other process writes into, got {folder}, where "
                f"process {process.pid} is at work; try another folder"
            )
        finally:
            process.kill()
            process.wait()
    deadline = time.monotonic() + 10
    while True:  # the system may take a moment
        try:
            with lock_folder(folder):
                break
        except HomologError:
            assert time.monotonic() < deadline


def test_a_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with lock_folder(tmp_path):
            pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(HomologError, match=r"model: cannot write .*file"),
        lock_folder(tmp_path / "file", "model"),
    ):
        pass
