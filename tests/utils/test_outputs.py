"""Output files: checked beforehand, written atomically."""

import os
import stat

import pytest

from homolog import HomologError
from homolog.utils.outputs import check_output, write_atomically, write_text_atomically


def test_files_have_ordinary_permissions(tmp_path):
    path = check_output(tmp_path / "a.PNG", (".png",))
    assert list(tmp_path.iterdir()) == [], "checking leaves nothing behind"
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data" and list(tmp_path.iterdir()) == [path]
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_files_are_replaced_or_kept(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    path.write_bytes(b"before")
    write_atomically(path, b"after")
    assert path.read_bytes() == b"after"

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(HomologError, match="No space left"):
        write_atomically(path, b"lost")
    assert path.read_bytes() == b"after" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.txt", "expected a name ending in .png or .jpg"),
        ("a", "expected a name ending in"),
        ("folder.png", "is a directory"),
        ("missing/a.png", "No such file"),
        ("file/a.png", "Not a directory"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path, name, reason):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(HomologError, match=f"^out: .*{reason}"):
        check_output(tmp_path / name, (".png", ".jpg"))


def test_folders_without_permission(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)  # the superuser may write all
    with pytest.raises(HomologError, match="Permission denied"):
        check_output(tmp_path / "a.png", (".png",))


def test_text_is_utf_8_and_names_of_files_stay_what_they_are(tmp_path):
    path = tmp_path / "names.txt"
    write_text_atomically(path, "Füße caf\udce9.png")
    assert path.read_bytes() == "Füße caf".encode() + b"\xe9.png"
