"""`homolog serve`: errors before the model is loaded, and nothing left when it is stopped."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers.toys import random_image

from homolog import cli


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], "folder: expected a folder, got nowhere"),
        (["--labels", "a.json"], "a.json"),
        (["--port", "99999"], "port: expected 0 to 65535, got 99999"),
        (["--host", "256.1.1.1"], "host: expected an address of this machine, got 256.1.1.1"),
        (["--exemplars", "a.json"], "exemplars: expected labels to review"),
        (["--keypoints", "names.txt"], "folder: expected a folder of images with --keypoints"),
        (["none", "--keypoints", "names.txt"], "folder: expected a folder, got none"),
        ([".", "--keypoints", "missing.txt"], "keypoints: expected "),
        ([".", "--keypoints", "empty.txt"], "keypoints: expected names of keypoints"),
        ([".", "--keypoints", "latin.txt"], "keypoints: expected "),
        ([".", "--keypoints", "twice.txt"], "expected each keypoint once"),
        (["two", "--keypoints", "names.txt"], "folder: expected a folder of images, got two"),
        (["one", "--keypoints", "names.txt", "--labels", "other.json"],
         "labels: expected the keypoints of names.txt in other.json, got a, b"),
        (["one", "--keypoints", "names.txt", "--labels", "x.csv"], "ending in .json, got x.csv"),
    ],
)  # fmt: skip
def test_one_line(capsys, tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("nose\nleft_eye:right_eye\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "twice.txt").write_text("nose\nnose\n")
    (tmp_path / "latin.txt").write_bytes("F\xfchler\n".encode("latin-1"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    random_image(64, 64).save(tmp_path / "one" / "a.png")
    category = {"id": 1, "name": "bee", "keypoints": ["a", "b"]}
    document = {"images": [], "annotations": [], "categories": [category]}
    (tmp_path / "other.json").write_text(json.dumps(document))
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve", *arguments])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and line in printed and printed.count("\n") == 1


def test_a_busy_port(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit) as stop:
            cli.main(["serve", "--port", port])
    assert stop.value.code == 2
    assert f"port: expected one that is free, got 127.0.0.1:{port}" in capsys.readouterr().err


def test_without_its_libraries(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(SystemExit) as stop:
        cli.main(["serve"])
    assert stop.value.code == 2 and "pip install 'homolog[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_when_it_is_stopped(tmp_path, ending):
    command = [sys.executable, "-m", "homolog", "serve", "--port", "0", "--device", "cpu"]
    environment = {"TMPDIR": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().startswith("http://127.0.0.1:")
        deadline = time.monotonic() + 30
        while not list(tmp_path.glob("homolog-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        (folder,) = tmp_path.glob("homolog-*")  # tempfile tries other names, for a moment
        assert folder.stat().st_mode & 0o077 == 0
        server.send_signal(ending)
        server.wait(20)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    assert list(tmp_path.iterdir()) == []
