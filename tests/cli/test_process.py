"""The command as a process: interrupted, told to end, its output not read or not written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.command import run
from helpers.toy_models import rigged_animal

COMMAND = [sys.executable, "-m", "homolog"]
FULL = Path("/dev/full")


@pytest.fixture(autouse=True)
def interruptible():
    """Processes in the background of a shell ignore interrupts, and so do those they start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


WAITS = """
import sys, time
from homolog.cli import process

def command():
    try:
        print("begun", flush=True)
        {wait}
    finally:
        print("cleaned up")

process.run(command)
"""
WAYS = {
    "waiting": "time.sleep(60)",
    "another error": "\n        try: time.sleep(60)\n        except BaseException: raise TypeError",
}


def ended(script: str, number: int, folder: Path) -> tuple[int, str, str]:
    """Status, output and errors of a script that gets a signal once it has begun."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, cwd=folder,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("way", WAYS)
def test_an_interrupt_is_quiet(tmp_path, way):
    script = WAITS.format(wait=WAYS[way])
    assert ended(script, signal.SIGINT, tmp_path) == (130, "cleaned up\n", "")


def test_being_told_to_end_cleans_up(tmp_path):
    script = WAITS.format(wait=WAYS["waiting"])
    assert ended(script, signal.SIGTERM, tmp_path) == (143, "cleaned up\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_is_quiet(tmp_path, number):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    script = WAITS.format(wait="sys.path.insert(0, '.'); import slow")
    assert ended(script, number, tmp_path) == (128 + number, "", "")


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_output_that_cannot_be_written(arguments):
    with FULL.open("wb") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == b"homolog: output: cannot be written: No space left on device\n"


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_a_reader_that_leaves(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run([*COMMAND, *arguments], stdout=writer, stderr=subprocess.PIPE)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_other_errors_are_not_hidden(tmp_path):
    script = WAITS.format(wait="open('missing')")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1 and "FileNotFoundError" in done.stderr


def test_help_on_a_narrow_terminal():
    environment = os.environ | {"COLUMNS": "1"}
    done = subprocess.run(
        [*COMMAND, "match", "--help"], env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0 and b"IMAGE0" in done.stdout


def test_long_values_are_shortened(capsys):
    status, _, err = run(capsys, "score", "spair", "x" * 5000, "--predictions", "p")
    assert status == 2 and "x" * 200 in err and len(err) < 700
    status, _, err = run(capsys, "match", "a", "b", "--grid", "q" * 5000)
    assert status == 2 and f"got '{'q' * 200}…'" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_synth(tmp_path, number):
    (tmp_path / "models").mkdir()
    rigged_animal(tmp_path / "models" / "hound.glb")
    process = subprocess.Popen(
        [*COMMAND, "synth", "models", "--out", "o", "--count", "2000", "--size", "64",
         "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        start_new_session=True,
    )  # fmt: skip
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    log = tmp_path / "o" / "records.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.05)
    workers = [Path("/proc", each) for each in children.read_text().split()]
    assert len(workers) >= 2
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in err
    deadline = time.monotonic() + 20
    while any((each / "exe").exists() for each in workers):
        assert time.monotonic() < deadline, "a worker runs on"
        time.sleep(0.05)
