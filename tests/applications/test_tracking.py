"""Points carried through videos made here, where their true places are known."""

import csv
import json
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.toys import random_picture
from PIL import Image

from homolog import HomologError, Matcher, cli
from homolog.applications import tracking
from homolog.applications.tracking import Tracker, track
from homolog.utils import progress
from homolog.viz import draw

GREY = (128, 128, 128)
ON_THING = np.array([[24.0, 24.0], [56.0, 40.0], [72.0, 72.0], [24.0, 72.0]])


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)


def write(path: Path, frames: Sequence[Image.Image], rate: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate, bit_rate=20_000_000)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    with av.open(str(path)) as container:
        shown = [(f.to_ndarray(format="rgb24"), float(f.time)) for f in container.decode(video=0)]
    return [pixels for pixels, _ in shown], [seconds for _, seconds in shown]


# The way there and back, in cells of the toy backbone, to which all else looks different.
WAY = [
    (0, 0),
    (1, 0),
    (1, 1),
    (2, 1),
    (3, 2),
    (3, 3),
    (4, 3),
    (5, 2),
    (5, 1),
    (6, 1),
    (6, 2),
    (6, 3),
]


def moving(count: int) -> tuple[list[Image.Image], np.ndarray]:
    """A patchwork of 96 pixels that moves over grey, and where points on it are: F x K x 2."""
    thing = random_picture(96, 96, seed=3)
    corners = 16 * np.array([*WAY, *WAY[::-1]])[np.arange(count) % 22]
    frames = []
    for x, y in corners:
        frame = Image.new("RGB", (192, 144), GREY)
        frame.paste(thing, (int(x), int(y)))
        frames.append(frame)
    return frames, corners[:, None] + ON_THING


@pytest.fixture
def video(tmp_path) -> tuple[Path, np.ndarray]:
    frames, truth = moving(12)
    return write(tmp_path / "v.mp4", frames), truth


def off(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances in shares of the thing's size."""
    return np.linalg.norm(found - truth, axis=-1) / 96


def test_points_follow_the_thing(colour_matcher, video):
    path, truth = video
    found = track(colour_matcher, path, truth[0], ["a", "b", "c", "d"])
    assert found.frames == tuple(range(12)) and found.size == (192, 144) and found.note is None
    assert found.seconds == pytest.approx(np.arange(12) / 10)
    assert off(found.points, truth).max() < 0.1 and off(truth[:1], truth).max() > 0.9
    assert (found.points[0] == truth[0]).all() and (found.scores[0] == 1).all()
    assert not found.lost.any() and found.scores.min() > 0.3
    assert np.isfinite(found.points).all() and found.scores.max() <= 1


def test_any_frame_may_be_the_annotated_one(colour_matcher, video):
    path, truth = video
    found = track(colour_matcher, path, truth[5], frame=5, every=3)
    assert found.frames == (0, 3, 6, 9)
    assert off(found.points, truth[::3]).max() < 0.1


def test_errors_do_not_add_up(matcher):
    """The embedded matcher, many frames of the same picture slightly moved: no drift."""
    thing = random_picture(240, 240, seed=3).resize((120, 120))
    points = np.array([[30.0, 40.0], [60.0, 60.0], [90.0, 85.0]])
    tracker, ends = None, []
    for step in range(7):
        shift = (20 + 8 * (step % 3), 30 + 6 * (step % 2))
        frame = Image.new("RGB", (200, 200), GREY)
        frame.paste(thing, shift)
        if tracker is None:
            tracker = Tracker(matcher, frame, points + shift)
            placed = tracker.annotated()
        else:
            placed = tracker.next(frame)
        ends.append(np.linalg.norm(placed.points - points - shift, axis=1).max() / 120)
    assert max(ends[-3:]) < 0.1 and np.mean(ends[-3:]) < np.mean(ends[1:4]) + 0.02


def test_of_two_that_look_alike_the_one_that_was_followed_is_kept(colour_matcher, monkeypatch):
    """Two copies of a thing: without the frame before, both are as good."""
    thing = random_picture(64, 64, seed=3)

    def frame(first: int, second: int) -> Image.Image:
        picture = Image.new("RGB", (192, 96), GREY)
        picture.paste(thing, (second, 16))
        picture.paste(thing, (first, 16))
        return picture

    # The one to follow moves to the right; another of its kind comes up on the left, in whole
    # cells of the toy's, so that nothing tells the two apart.
    starts = [(64, 200), (80, 200), (96, 16), (112, 0), (112, 16), (112, 32)]
    misses = {}
    for nearness in (tracking._NEARNESS, 0.0):
        monkeypatch.setattr(tracking, "_NEARNESS", nearness)
        tracker = Tracker(colour_matcher, frame(*starts[0]), [[64 + 32, 48]])
        tracker.annotated()
        ends = [tracker.next(frame(*start)).points[0, 0] - start[0] - 32 for start in starts[1:]]
        misses[nearness] = np.abs(ends)
    assert misses[tracking._NEARNESS].max() > 40 and misses[0.1].max() < 10


def test_hidden_points_are_lost_and_come_back(colour_matcher):
    frames, truth = moving(6)
    for frame in frames[2:4]:
        frame.paste((250, 10, 250), (0, 0, 192, 144))
    tracker = Tracker(colour_matcher, frames[0], truth[0])
    placed = [tracker.annotated(), *(tracker.next(frame) for frame in frames[1:])]
    assert [bool(p.lost.all()) for p in placed] == [False, False, True, True, False, False]
    assert not placed[-1].lost.any() and off(placed[-1].points, truth[-1]).max() < 0.1
    assert max(p.scores.max() for p in placed[2:4]) < min(p.scores.min() for p in placed[4:])
    assert all(np.isfinite(p.points).all() for p in placed)


def test_the_drawn_video(colour_matcher, video, tmp_path):
    path, truth = video
    out = tmp_path / "o.mp4"
    found = track(colour_matcher, path, truth[0], every=2, out=out)
    pixels, seconds = read(out)
    assert len(pixels) == 6 and seconds == pytest.approx(np.arange(6) / 5)
    assert pixels[0].shape == (480, 640, 3)
    plain = [np.asarray(frame.resize((640, 480)), float) for frame in moving(12)[0][::2]]
    for shown, before, places in zip(pixels, plain, found.points, strict=True):
        changed = np.abs(shown - before).max(axis=2) > 60
        assert changed.mean() < 0.1
        for x, y in (places * 640 / 192).astype(int):
            assert changed[y - 12 : y + 12, x - 12 : x + 12].mean() > 0.1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "v.mp4"]


def test_doubtful_points_are_hollow_and_lost_ones_not_drawn():
    picture = Image.new("RGB", (400, 300), GREY)
    points = np.array([[[100.0, 150.0]]] * 2)

    def changed(score: float, lost: bool) -> np.ndarray:
        away = np.full((2, 1), lost)
        drawn = draw.trails(picture, (400, 300), points, away, np.array([score]))
        return np.abs(np.asarray(drawn, float) - 128).max(axis=2) > 30

    sure, doubtful, lost = changed(0.9, False), changed(0.2, False), changed(0.2, True)
    assert not lost.any()
    # Beside the number, a sure one is filled.
    assert sure[150, 96] and not doubtful[150, 96] and doubtful[140:161, 90:111].any()


def test_frames_and_sizes_that_no_encoder_takes(colour_matcher, tmp_path):
    """Odd sizes, uneven times, and no H.264: the drawing is made all the same."""
    frames, truth = moving(4)
    path = write(tmp_path / "v.mkv", [frame.crop((0, 0, 190, 142)) for frame in frames])
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
    assert off(found.points, upright).max() < 0.1


def test_one_frame_at_a_time(colour_matcher, tmp_path, monkeypatch):
    """However long a video is, few frames' features and pictures are alive."""
    import gc

    from homolog.descriptors import Features

    frames, truth = moving(10)
    path = write(tmp_path / "v.mp4", frames * 2)
    held = []
    following = Tracker.next

    def counted(self, picture):
        found = following(self, picture)
        kinds = [type(thing) for thing in gc.get_objects()]
        held.append((kinds.count(Features), kinds.count(Image.Image)))
        return found

    monkeypatch.setattr(Tracker, "next", counted)
    found = track(colour_matcher, path, truth[0], out=tmp_path / "o.mp4")
    assert len(found.frames) == 20
    features, pictures = zip(*held, strict=True)
    assert max(features) <= 4 and max(pictures[10:]) <= max(pictures[:10]) + 2


def test_a_video_that_breaks_off_keeps_what_was_done(colour_matcher, tmp_path):
    frames, truth = moving(20)
    path = write(tmp_path / "v.mp4", frames)
    whole = path.read_bytes()
    begin = whole.index(b"mdat")
    # The index in front, the pictures' data cut in the middle: as a download that stopped.
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
    assert found.note is not None and "cut.mp4 is" in found.note and str(count) in found.note
    assert off(found.points, truth[:count])[: count - 1].max() < 0.1
    assert len(read(tmp_path / "o.mp4")[0]) == count


def test_json_and_csv(capsys, video, tmp_path, monkeypatch, colour_matcher):
    _, truth = video
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("p.csv").write_text("x,y,name\n" + "".join(f"{x},{y},n{x:g}\n" for x, y in truth[0]))
    cli.main(["track", "v.mp4", "--points", "p.csv", "--out", "o.mp4", "--json", "t.json",
              "--csv", "t.csv", "--every", "4"])  # fmt: skip
    printed = capsys.readouterr()
    assert "n24  seen in 3 of 3 frames" in printed.out and "video: o.mp4" in printed.err
    data = json.loads(Path("t.json").read_text())
    assert data["video"] == "v.mp4" and data["model"] == "embedded" and data["size"] == [192, 144]
    assert [row["frame"] for row in data["frames"]] == [0, 4, 8]
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert len(rows) == 12 and list(rows[0]) == [
        "frame", "seconds", "point", "x", "y", "score", "lost",
    ]  # fmt: skip
    for row, (time, k) in zip(rows, np.ndindex(3, 4), strict=True):
        frame = data["frames"][time]
        assert row["point"] == data["names"][k] == f"n{truth[0, k, 0]:g}"
        assert float(row["x"]) == pytest.approx(frame["points"][k][0], abs=1e-3)
        assert float(row["y"]) == pytest.approx(frame["points"][k][1], abs=1e-3)
        assert float(row["score"]) == pytest.approx(frame["scores"][k], abs=1e-4)
        assert float(row["seconds"]) == pytest.approx(frame["seconds"]) == pytest.approx(0.4 * time)
        assert bool(int(row["lost"])) == frame["lost"][k]


WRONG = {
    "missing": (["none.mp4"], "video: there is no file none.mp4"),
    "folder": (["."], "video: . is a directory"),
    "text": (["text.mp4"], "video: text.mp4 is not a video"),
    "empty": (["empty.mp4"], "video: empty.mp4 is not a video"),
    "no index": (["cut.mp4"], "video: cut.mp4 is not a video"),
    "sound": (["sound.wav"], "video: sound.wav has no video stream"),
    "frame": (["v.mp4", "--frame", "12"], "frame: got 12, v.mp4 has 12 frames"),
    "negative frame": (["v.mp4", "--frame=-1"], "frame: got -1"),
    "every": (["v.mp4", "--every", "0"], "every: got 0"),
    "outside": (["v.mp4", "--points", "500,3"], "point 0 at (500, 3) lies outside the picture"),
    "not a point": (["v.mp4", "--points", "5"], "'5' is not x,y"),
    "ending": (["v.mp4", "--out", "o.gif"], "o.gif must end in .mp4 or .mov or .mkv"),
    "folder of out": (["v.mp4", "--out", "no/o.mp4"], "cannot write no/o.mp4"),
    "itself": (["v.mp4", "--out", "v.mp4"], "out: v.mp4 is the video itself"),
    "json": (["v.mp4", "--json", "o.txt"], "json: o.txt must end in .json"),
    "csv": (["v.mp4", "--csv", "o.txt"], "csv: o.txt must end in .csv"),
    "poses": (["v.mp4", "--poses", "flip"], "poses: got 'flip'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(capsys, video, tmp_path, monkeypatch, colour_matcher, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Matcher, "from_pretrained", lambda *_, **__: colour_matcher)
    Path("text.mp4").write_text("no video")
    Path("empty.mp4").touch()
    Path("cut.mp4").write_bytes(Path("v.mp4").read_bytes()[:2000])
    Path("sound.wav").write_bytes(
        b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 236, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8,
                              b"data", 200) + bytes(200)
    )  # fmt: skip
    before = sorted(tmp_path.iterdir())
    arguments, reason = WRONG[name]
    if "--points" not in arguments:
        arguments = [*arguments, "--points", "20,30"]
    if not {"--out", "--json", "--csv"} & set(arguments):
        arguments = [*arguments, "--out", "o.mp4"]
    with pytest.raises(SystemExit) as stop:
        cli.main(["track", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.startswith("homolog: ") and error.count("\n") == 1
    assert reason in error
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


def test_nothing_to_write_and_names(capsys, video, colour_matcher):
    with pytest.raises(SystemExit):
        cli.main(["track", str(video[0]), "--points", "20,30"])
    assert "takes --out, --json or --csv" in capsys.readouterr().err
    with pytest.raises(HomologError, match="names: got 1, takes 2"):
        track(colour_matcher, video[0], [[20, 30], [30, 30]], ["one"])


def test_a_drawing_that_fails_leaves_what_was_there(colour_matcher, video, tmp_path, monkeypatch):
    out = tmp_path / "o.mp4"
    out.write_text("precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(HomologError, match=r"out: cannot write .*o\.mp4: No space left"):
        track(colour_matcher, video[0], [[20, 30]], out=out)
    assert out.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "v.mp4"]


def test_without_pyav_it_says_what_to_install(colour_matcher, video, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(HomologError, match=r"pip install 'homolog\[video\]'"):
        track(colour_matcher, video[0], [[20, 30]])
