"""Videos are read upright and as far as they go, and written as a whole or not at all."""

import struct
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.videos import GREY, moving, read_video, write_video
from PIL import Image

from homolog import HomologError
from homolog.applications.tracking import track
from homolog.applications.video import VideoWriter, count_frames, read_frame, read_frames
from homolog.utils import progress


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


def errors(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Errors as fractions of the object's size."""
    return np.linalg.norm(found - truth, axis=-1) / 96


@pytest.fixture
def video(tmp_path) -> tuple[Path, np.ndarray]:
    frames, truth = moving(12)
    return write_video(tmp_path / "v.mp4", frames), truth


def test_frames_are_read_in_order_with_their_times(video):
    path, _ = video
    warnings: list[str] = []
    frames = list(read_frames(path, warnings))
    assert warnings == [] and count_frames(path) == len(frames) == 12
    assert [index for index, _, _ in frames] == list(range(12))
    assert [seconds for _, seconds, _ in frames] == pytest.approx(np.arange(12) / 10)
    originals = moving(12)[0]
    for (_, _, image), original in zip(frames, originals, strict=True):
        assert np.abs(np.asarray(image, float) - np.asarray(original, float)).mean() < 6
    assert (np.asarray(read_frame(path, 5)) == np.asarray(frames[5][2])).all()
    with pytest.raises(HomologError, match="frame: expected 0 to 11, got 12"):
        read_frame(path, 12)


def test_frames_are_written_at_their_times(tmp_path):
    """Of two frames at one time the second is shown a tick later: encoders refuse equal times."""
    with VideoWriter(tmp_path / "o.mp4", (64, 48)) as writer:
        for level, seconds in ((60, 0.0), (120, 0.5), (180, 0.5), (240, 2.0)):
            writer.write(Image.new("RGB", (64, 48), (level,) * 3), seconds)
        assert not (tmp_path / "o.mp4").exists(), "written when the block ends"
    pixels, times = read_video(tmp_path / "o.mp4")
    assert times == pytest.approx([0.0, 0.5, 0.5 + float(Fraction(1, 60_000)), 2.0], abs=1e-4)
    assert [each.mean() for each in pixels] == pytest.approx([60, 120, 180, 240], abs=4)


def test_a_block_that_raises_writes_nothing(tmp_path):
    with pytest.raises(KeyError), VideoWriter(tmp_path / "o.mp4", (64, 48)) as writer:
        writer.write(Image.new("RGB", (64, 48), GREY), 0.0)
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_frames_and_sizes_that_no_encoder_takes(colour_matcher, tmp_path):
    """Odd sizes, uneven times, and no H.264: the drawing is made all the same."""
    frames, truth = moving(4)
    path = write_video(tmp_path / "v.mkv", [frame.crop((0, 0, 190, 142)) for frame in frames])
    find = av.codec.Codec

    def codec(name, mode="r"):
        if name == "libx264":
            raise av.codec.codec.UnknownCodecError(name)
        return find(name, mode)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(av.codec, "Codec", codec)
        track(colour_matcher, path, truth[0], out=tmp_path / "o.mov")
    with av.open(str(tmp_path / "o.mov")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert [f.width % 2 + f.height % 2 for f in container.decode(video=0)] == [0] * 4


def test_a_video_stored_sideways_is_turned_upright(colour_matcher, video):
    path, truth = video
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    # A quarter turn clockwise when shown, as phones store it; (x, y) goes to (height - y, x).
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 144 << 16, 0, 1 << 30)
    data = path.read_bytes()
    track_header = data.index(b"tkhd")
    place = data.index(identity, track_header)
    path.write_bytes(data[:place] + turned + data[place + 36 :])
    upright = np.stack([144 - truth[..., 1], truth[..., 0]], axis=-1)
    found = track(colour_matcher, path, upright[0])
    assert found.size == (144, 192)
    assert errors(found.points, upright).max() < 0.1


def with_matrix(path: Path, values: tuple[float, ...]) -> Path:
    """A copy of a video that is shown through another matrix (a, b, c, d, x, y)."""
    a, b, c, d = (round(value * (1 << 16)) for value in values[:4])
    x, y = (round(value) << 16 for value in values[4:])
    identity = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    place = data.index(identity, data.index(b"tkhd"))
    shown = struct.pack(">9i", a, b, 0, c, d, 0, x, y, 1 << 30)
    target = path.with_name("shown.mp4")
    target.write_bytes(data[:place] + shown + data[place + 36 :])
    return target


@pytest.mark.parametrize(
    "matrix",
    [
        (1, 0, 0, 1, 0, 0), (0, 1, -1, 0, 144, 0), (-1, 0, 0, -1, 192, 144), (0, -1, 1, 0, 0, 192),
        (-1, 0, 0, 1, 192, 0), (1, 0, 0, -1, 0, 144), (0, 1, 1, 0, 0, 0), (0, -1, -1, 0, 144, 192),
        (-0.5, 0, 0, 0.5, 96, 0),
    ],
)  # fmt: skip
def test_turned_and_mirrored_frames_are_shown_as_the_file_says(video, matrix):
    """Each pixel is where the matrix takes its centre, (a x + c y + tx, b x + d y + ty)."""
    stored = np.asarray(read_frame(video[0], 0))
    shown = np.asarray(read_frame(with_matrix(video[0], matrix), 0))
    a, b, c, d, x, y = [*np.sign(matrix[:4]).tolist(), *matrix[4:]]
    x, y = x / max(map(abs, matrix[:4])), y / max(map(abs, matrix[:4]))
    row, column = np.mgrid[:144, :192] + 0.5
    to_column, to_row = a * column + c * row + x, b * column + d * row + y
    assert shown.shape[:2] == ((144, 192) if a else (192, 144))
    np.testing.assert_array_equal(shown[to_row.astype(int), to_column.astype(int)], stored)


def test_other_angles(video):
    """A turn by another angle is made; one that mirrors, too, is refused."""
    cos, sin = np.cos(0.3), np.sin(0.3)
    turned = read_frame(with_matrix(video[0], (cos, sin, -sin, cos, 0, 0)), 0)
    expected = read_frame(video[0], 0).rotate(
        -np.degrees(0.3), Image.Resampling.BICUBIC, expand=True
    )
    np.testing.assert_allclose(turned.size, expected.size, atol=1)
    with pytest.raises(
        HomologError, match=r"shown\.mp4, whose display matrix .* does both by another"
    ):
        read_frame(with_matrix(video[0], (cos, sin, sin, -cos, 0, 0)), 0)


@pytest.mark.parametrize("ending", ["mkv", "avi", "ts"])
def test_videos_that_are_cut_off_say_so(colour_matcher, tmp_path, ending):
    """Formats that count their frames, say how long they are, or do neither."""
    frames, truth = moving(20)
    path = write_video(tmp_path / f"v.{ending}", frames)
    warnings: list[str] = []
    assert sum(1 for _ in read_frames(path, warnings)) == 20 and warnings == []
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    found = track(colour_matcher, path, truth[0])
    count = len(found.frames)
    assert 5 <= count < 15
    assert found.warning is not None and f"v.{ending} is" in found.warning
    assert "cut off" in found.warning or "frames are incomplete" in found.warning
    assert found.to_dict()["note"] == found.warning


def test_damage_in_the_middle(tmp_path):
    path = write_video(tmp_path / "v.mkv", moving(20)[0])
    data = bytearray(path.read_bytes())
    middle = slice(len(data) // 2, len(data) // 2 + 3000)
    data[middle] = bytes((7 * value + 13) % 256 for value in data[middle])
    path.write_bytes(bytes(data))
    warnings: list[str] = []
    assert sum(1 for _ in read_frames(path, warnings)) <= 20
    (warning,) = warnings
    assert "damaged" in warning and "v.mkv" in warning


def test_a_damaged_video_keeps_the_tracks_before_the_damage(colour_matcher, tmp_path):
    frames, truth = moving(20)
    path = write_video(tmp_path / "v.mp4", frames)
    whole = path.read_bytes()
    begin = whole.index(b"mdat")
    # The index in front, the frames' data cut in the middle: as a download that stopped.
    with (
        av.open(str(path)) as old,
        av.open(str(tmp_path / "cut.mp4"), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    data = (tmp_path / "cut.mp4").read_bytes()
    begin = data.index(b"mdat")
    (tmp_path / "cut.mp4").write_bytes(data[: begin + (len(data) - begin) // 2])
    found = track(colour_matcher, tmp_path / "cut.mp4", truth[0], out=tmp_path / "o.mp4")
    count = len(found.frames)
    assert 2 <= count < 20 and found.points.shape == (count, 4, 2)
    assert (
        found.warning is not None and "cut.mp4 is" in found.warning and str(count) in found.warning
    )
    assert errors(found.points, truth[:count])[: count - 1].max() < 0.1
    assert len(read_video(tmp_path / "o.mp4")[0]) == count


def test_a_drawing_that_fails_leaves_what_was_there(colour_matcher, video, tmp_path, monkeypatch):
    out = tmp_path / "o.mp4"
    out.write_text("precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        HomologError, match=r"out: expected a file that can be written, got .*o\.mp4: No space left"
    ):
        track(colour_matcher, video[0], [[20, 30]], out=out)
    assert out.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "v.mp4"]


def test_without_pyav_it_says_what_to_install(colour_matcher, video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(HomologError, match=r"pip install 'homolog\[video\]'"):
        track(colour_matcher, video[0], [[20, 30]])


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    left, kept = tmp_path / ".t-abcd1234.tmp.mp4", tmp_path / ".t-notes.mp4"
    for path in (left, kept):
        path.write_bytes(b"half")
    left.chmod(0o600)
    with VideoWriter(tmp_path / "t.mp4", (64, 48)) as writer:
        assert not left.exists() and len(list(tmp_path.glob(".t-*.mp4"))) == 2
        writer.write(Image.new("RGB", (64, 48)), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".t-notes.mp4", "t.mp4"]
