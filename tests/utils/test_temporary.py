"""Temporary files: removed at the end, and those of killed processes at the next start."""

import subprocess
import sys
import tempfile

import pytest

from homolog.utils.locks import lock_file, lock_folder
from homolog.utils.outputs import write_atomically
from homolog.utils.temporary import remove_leftovers, temporary_file, temporary_folder

KILLED = """
import os, sys, tempfile
from pathlib import Path
from homolog.utils.temporary import temporary_file, temporary_folder
place = Path(sys.argv[1])
with (
    temporary_folder(place) as folder,
    temporary_folder(place, ".features-") as features,
    temporary_file(place / "t.mp4", ".mp4") as video,
):
    (folder / "upload").write_text("x")
    (features / "map").write_text("x")
    video.write(b"half")
    print("made", flush=True)
    sys.stdin.read()
    os._exit(9)
"""


@pytest.fixture
def killed(tmp_path):
    """A process that uses temporary files until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout.readline() == "made\n"
        yield process
        process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_killed_processes_leave_is_removed_at_the_next_start(tmp_path, killed):
    used = names(tmp_path)
    assert len(used) == 3
    with temporary_folder(tmp_path), lock_folder(tmp_path):
        assert set(names(tmp_path)) > set(used), "they are in use"
    killed.kill()
    killed.wait()
    (tmp_path / "homolog-pictures.tmp").mkdir()
    kept = ["homolog-mine", "homolog-notes.txt", ".t-notes.mp4", ".hidden", "a-abcd1234.tmp"]
    for name in kept:
        (tmp_path / name).write_text("a person's")
    (tmp_path / "homolog-abcdefgh.tmp").symlink_to(tmp_path / kept[0])
    remove_leftovers(tmp_path, "other")
    assert set(names(tmp_path)) > set(used), "only those of this file"
    with temporary_folder(tmp_path) as folder:
        assert set(names(tmp_path)) - {folder.name} == {
            *kept, ".lock", "homolog-pictures.tmp", "homolog-abcdefgh.tmp",
        }  # fmt: skip
    assert not folder.exists()


def test_a_locked_file_has_its_own_leftovers_removed(tmp_path, killed):
    killed.kill()
    killed.wait()
    with lock_file(tmp_path / "t.mp4"):
        assert not list(tmp_path.glob(".t-*.mp4")) and len(names(tmp_path)) == 3


def test_a_folder_that_is_locked_has_its_leftovers_removed(tmp_path, killed):
    killed.kill()
    killed.wait()
    with lock_folder(tmp_path.parent):
        assert names(tmp_path) == [], "in the folders below, too"


def test_folders_lie_where_temporary_files_do_and_are_private(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        assert folder.parent == tmp_path and folder.stat().st_mode & 0o077 == 0
        (folder / "below").mkdir()
    assert names(tmp_path) == []


def test_a_file_that_was_moved_is_not_missed(tmp_path):
    with temporary_file(tmp_path / "a.json") as file:
        (tmp_path / file.name).rename(tmp_path / "a.json")
    assert names(tmp_path) == ["a.json"]
    write_atomically(tmp_path / "a.json", b"[]")
    assert (tmp_path / "a.json").read_bytes() == b"[]" and names(tmp_path) == ["a.json"]
