"""The command as a user meets it: results, one line for what is wrong, nothing half written."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command import run
from helpers.toys import random_image
from PIL import Image

from homolog import Matcher
from homolog.example import pair
from homolog.image.regions import Region
from homolog.utils import progress


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with the example pair in it, as the working directory."""
    monkeypatch.chdir(tmp_path)
    with pair() as example:
        for name, path in (("a.jpg", example.image0), ("b.jpg", example.image1)):
            (tmp_path / name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch, matcher):
    """The embedded weights are read once for all tests here, and slow machines stay silent."""
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    load = Matcher.from_pretrained.__func__

    def from_pretrained(cls, name="embedded", *, device=None, **limits):
        if name == "embedded" and device is None:
            return Matcher(
                matcher.backbone, matcher.config, network=matcher.network,
                side_head=matcher.side_head, **limits,
            )  # fmt: skip
        return load(cls, name, device=device, **limits)

    monkeypatch.setattr(Matcher, "from_pretrained", classmethod(from_pretrained))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert min(image.size) > 300
        return np.asarray(image.convert("RGB"))


def test_matching_given_points(capsys, folder):
    status, out, err = run(
        capsys, "match", "a.jpg", "b.jpg", "--points", "41.25,185.84", "108,163",
        "--out", "m.png", "--json", "m.json",
    )  # fmt: skip
    assert status == 0 and "image: m.png" in err
    data = json.loads((folder / "m.json").read_text())
    assert data["keypoints0"] == [[41.25, 185.84], [108, 163]]
    assert data["image0"] == "a.jpg" and data["pose"] == "identity" and data["size0"] == [640, 480]
    for (x, y), score in zip(data["keypoints1"], data["matching_scores"], strict=True):
        assert f"{x:8.1f} {y:8.1f}  {score:5.2f}" in out
    assert f"pair score {data['pair_score']:.2f} (same kind of object)" in out
    assert pixels(folder / "m.png").std() > 20
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "b.jpg", "m.json", "m.png"]


def test_mutual_matches_of_two_images(capsys, folder):
    status, out, _ = run(capsys, "match", "a.jpg", "b.jpg", "--json", "-", "--max-matches", "7")
    data = json.loads(out)
    assert status == 0 and len(data["keypoints1"]) == len(data["matching_scores"]) == 7


def test_points_from_files_and_results(capsys, folder):
    (folder / "p.csv").write_text("x,y,name\n41,185,nose\n441,127,tail_base\n")
    status, out, _ = run(capsys, "match", "a.jpg", "b.jpg", "--points", "p.csv", "--json", "m.json")
    assert status == 0 and "   2 " in out
    status, out, _ = run(capsys, "match", "a.jpg", "b.jpg", "--points", "m.json", "--json", "-")
    assert json.loads(out)["keypoints0"] == [[41, 185], [441, 127]]


def test_a_grid_of_points_on_a_mask(capsys, folder):
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 100:500] = 255
    Image.fromarray(mask).save("mask.png")
    status, out, _ = run(
        capsys, "match", "a.jpg", "b.jpg", "--grid", "8", "--mask0", "mask.png", "--json", "-"
    )
    points = np.array(json.loads(out)["keypoints0"])
    assert status == 0 and len(points) == 15
    assert points.min() > 100 and points[:, 0].max() < 500


def test_named_points_and_poses(capsys, folder):
    category = {"keypoints": ["nose", "left_ear", "right_ear"], "flip_indices": [0, 2, 1]}
    (folder / "coco.json").write_text(json.dumps({"categories": [category]}))
    common = ["match", "a.jpg", "b.jpg", "--points", "41,185", "109,98", "--json", "-"]
    named = ["--schema", "coco.json", "--point-ids", "nose", "left_ear"]
    zero_shot = ["--model", "embedded-zero-shot"]
    status, out, _ = run(capsys, *common, *named, *zero_shot, "--poses", "identity,flip")
    data = json.loads(out)
    assert status == 0 and data["point_ids"] == [0, 1]
    assert data["point_names"] == ["nose", "left_ear"]
    assert set(data["pose_distances"]) == {"identity", "flip"}
    # The default sees that both animals face left, and compares nothing.
    _, out, _ = run(capsys, *common, *named, "--poses", "identity,flip")
    data = json.loads(out)
    assert data["pose"] == "identity" and data["pose_distances"] == {}
    status, out, _ = run(capsys, *common, "--pose", "flip")
    data = json.loads(out)
    assert data["pose"] == "flip" and "matched to their mirror counterparts" in data["note"]


def test_sides_are_told(capsys, folder):
    """A file of names gives the schema; --sides tells what the names do not."""
    Path("names.txt").write_text("p\nq\nr\n")
    points = ("--points", "100,180", "140,180", "300,200", "--schema", "names.txt")
    status, _, err = run(capsys, "match", "a.jpg", "b.jpg", *points, "--poses", "flip")
    assert status == 2 and err.count("\n") == 1
    assert "poses: expected none with a flip" in err and "--sides" in err
    Path("sides.txt").write_text("p:q\n")
    found = []
    for sides in (["p:q"], ["sides.txt"], ["none"]):
        status, out, err = run(
            capsys, "match", "a.jpg", "b.jpg", *points, "--pose", "flip", "--sides", *sides
        )
        assert status == 0, err
        found.append([line.split() for line in out.splitlines() if line.split()[0] in "pqr"])
    assert found[0] == found[1]
    # In the flipped image, p is looked for where q was; on a wing, where it is itself.
    assert found[0][0][4:] == found[2][1][4:] and found[0][2] == found[2][2]
    for options, reason in (
        (["--sides", "p:x"], "sides: expected names of keypoints, p, q, r, got 'x'"),
        (["--sides", "p"], "sides: expected none, pairs left:right of names, or a file of them"),
    ):
        status, _, err = run(capsys, "match", "a.jpg", "b.jpg", *points, *options)
        assert status == 2 and reason in err and err.count("\n") == 1
    status, _, err = run(capsys, "match", "a.jpg", "b.jpg", "--sides", "none")
    assert status == 2 and "sides: expected --schema with it, got none" in err


def test_the_table_names_named_points(capsys, folder):
    category = {"keypoints": ["nose", "left_ear"], "flip_indices": [0, 1]}
    (folder / "coco.json").write_text(json.dumps({"categories": [category]}))
    points = ["match", "a.jpg", "b.jpg", "--points", "41,185", "109,98", "--max-matches", "2"]
    _, named, _ = run(capsys, *points, "--schema", "coco.json")
    _, free, _ = run(capsys, *points)
    assert [line.split()[0] for line in named.splitlines()[1:3]] == ["nose", "left_ear"]
    assert [line.split()[0] for line in free.splitlines()[1:3]] == ["1", "2"]
    assert len({len(line) for line in named.splitlines()[:3]}) == 1, "columns are aligned"


def test_window_and_temperature(capsys, folder):
    common = ["match", "a.jpg", "b.jpg", "--points", "109,98", "--json", "-"]
    answers = [
        json.loads(run(capsys, *common, *extra)[1])["keypoints1"]
        for extra in ([], ["--window", "0"], ["--window", "-1"], ["--temperature", "0.2"])
    ]
    assert len({str(answer) for answer in answers}) == 4


def test_flow_and_heatmap(capsys, folder):
    status, out, err = run(capsys, "flow", "a.jpg", "b.jpg", "--out", "flow.jpg")
    assert status == 0 and "pair score" in out and "flow.jpg" in err
    status, out, _ = run(
        capsys, "heatmap", "a.jpg", "b.jpg", "--point", "41,185", "--out", "heat.webp"
    )
    assert status == 0 and "41.0" in out
    assert pixels(folder / "flow.jpg").shape[0] > pixels(folder / "heat.webp").shape[0]


def test_boxes_fill_the_canvas(capsys, folder, matcher):
    """The command finds what the library finds in the same boxes, and says which part it saw."""
    points, boxes = (
        [[41.0, 186], [109, 163]],
        {"box0": (20, 60, 200, 150), "box1": (30, 30, 250, 200)},
    )
    arguments = ["--box0", "20,60,200,150", "--box1", "30,30,250,200"]
    common = ["match", "a.jpg", "b.jpg", "--points", "41,186", "109,163", "--json", "-"]
    status, out, _ = run(capsys, *common, *arguments, "--out", "boxed.png")
    data, expected = json.loads(out), matcher.transfer("a.jpg", "b.jpg", points, **boxes)
    assert status == 0 and data["keypoints1"] == expected.keypoints1.tolist()
    assert data["region0"] == expected.region0.to_list()
    assert expected.region0 == Region.around(boxes["box0"], (640, 480))
    assert data["region1"] == expected.region1.to_list()
    _, out, _ = run(capsys, *common, "--out", "whole.png")
    whole = json.loads(out)
    assert "region0" not in whole and whole["keypoints1"] != data["keypoints1"]
    assert (pixels(folder / "boxed.png") != pixels(folder / "whole.png")).any()
    _, out, _ = run(capsys, *common, "--zoom", "auto")
    zoomed = matcher.transfer("a.jpg", "b.jpg", points, zoom="auto")
    assert json.loads(out)["keypoints1"] == zoomed.keypoints1.tolist()
    _, out, _ = run(capsys, *common, "--zoom", "none")
    assert json.loads(out) == whole


def test_named_settings(capsys, folder, matcher):
    points = [[41, 186], [109, 163]]
    common = ["match", "a.jpg", "b.jpg", "--points", "41,186", "109,163", "--json", "-"]
    for options, arguments in (
        (["--quality", "best"], {"zoom": "auto", "mirror": True, "refine": True}),
        (["--quality", "best", "--zoom", "none", "--no-refine"], {"mirror": True}),
        (["--quality", "fast", "--mirror"], {"mirror": True}),
    ):
        status, out, _ = run(capsys, *common, *options)
        expected = matcher.transfer("a.jpg", "b.jpg", points, **arguments)
        assert status == 0 and json.loads(out)["keypoints1"] == expected.keypoints1.tolist()


def test_a_grid_of_points_in_a_box(capsys, folder):
    arguments = ["--grid", "4", "--box0", "20,60,200,150", "--json", "-"]
    _, out, _ = run(capsys, "match", "a.jpg", "b.jpg", *arguments)
    points = np.array(json.loads(out)["keypoints0"])
    assert points.min(0).tolist() == [45, 85] and points.max(0).tolist() == [195, 185]
    assert len(points) == 12


@pytest.mark.parametrize(
    "command", [("flow",), ("heatmap", "--point", "41,186"), ("warp",)], ids=lambda c: c[0]
)
def test_boxes_in_other_commands(capsys, folder, command):
    name, *options = command
    results = []
    for boxes in ([], ["--box0", "20,60,200,150", "--box1=-1,30,250,200", "--zoom", "auto"]):
        status, _, _ = run(capsys, name, "a.jpg", "b.jpg", *options, *boxes, "--out", "o.png")
        assert status == 0
        results.append(pixels(folder / "o.png"))
    assert results[0].shape == results[1].shape and (results[0] != results[1]).mean() > 0.02


def test_sides_in_a_box(capsys, folder, matcher):
    arguments = ["sides", "a.jpg", "--box", "20,60,200,150", "--json", "-"]
    status, out, _ = run(capsys, *arguments, "--out", "o.png")
    expected = matcher.sides("a.jpg", box=(20, 60, 200, 150))
    assert status == 0 and json.loads(out) == json.loads(json.dumps(expected.to_dict()))
    points = np.array(json.loads(out)["points"])
    assert points.max(0).tolist() < [250, 240] and pixels(folder / "o.png").std() > 20


def test_demo(capsys, folder):
    status, out, err = run(capsys, "demo")
    assert status == 0 and "image: homolog-demo.png" in err and "pair score" in out
    pixels(folder / "homolog-demo.png")
    status, _, err = run(capsys, "demo", "b.jpg", "a.jpg", "--out", "own.png")
    assert status == 0 and "own.png" in err
    assert run(capsys, "demo", "a.jpg")[0] == 2


def test_images_of_different_objects_are_reported(capsys, folder):
    random_image(300, 300, seed=5).save("other.png")
    _, out, _ = run(capsys, "match", "a.jpg", "other.png", "--points", "109,98")
    assert "perhaps not the same kind" in out


WRONG = {
    "no such image": (
        ["match", "none.jpg", "b.jpg"],
        "image0: expected an image file, got none.jpg",
    ),
    "no such second": (
        ["match", "a.jpg", "none.jpg"],
        "image1: expected an image file, got none.jpg",
    ),
    "folder": (
        ["match", ".", "b.jpg"],
        "image0: expected an image file, got ., which is a directory",
    ),
    "not an image": (
        ["match", "a.jpg", "text.png"],
        "image1: expected an image in a known format, got text.png",
    ),
    "truncated": (
        ["match", "cut.jpg", "b.jpg"],
        "image0: expected an image, got cut.jpg, which cannot be read",
    ),
    "empty": (
        ["match", "empty.jpg", "b.jpg"],
        "image0: expected an image in a known format, got empty.jpg",
    ),
    "too large": (["match", "a.jpg", "b.jpg", "--max-pixels", "1000"], "got a.jpg with 640 x 480"),
    "outside": (["match", "a.jpg", "b.jpg", "--points", "1,1", "641,3"], "got (641, 3) at index 1"),
    "negative": (["match", "a.jpg", "b.jpg", "--points=-5,3"], "got (-5, 3) at index 0"),
    "not a number": (["match", "a.jpg", "b.jpg", "--points", "nan,3"], "got (nan, 3) at index 0"),
    "not a point": (
        ["match", "a.jpg", "b.jpg", "--points", "1;3"],
        "points: expected x,y, got '1;3'",
    ),
    "no points": (["match", "a.jpg", "b.jpg", "--points"], "points"),
    "no such file": (["match", "a.jpg", "b.jpg", "--points", "p.csv"], "p.csv: No such file"),
    "bad file": (
        ["match", "a.jpg", "b.jpg", "--points", "text.png"],
        "text.png: expected a heading with x and y in pixels, got 'no image, no points'",
    ),
    "two ways": (
        ["match", "a.jpg", "b.jpg", "--points", "1,1", "--grid", "3"],
        "either --points or --grid, got both",
    ),
    "mask size": (
        ["match", "a.jpg", "b.jpg", "--mask0", "small.png"],
        "mask0: expected the size of its image, 640 x 480 pixels, got 9 x 9",
    ),
    "empty mask": (
        ["match", "a.jpg", "b.jpg", "--mask1", "black.png"],
        "mask1: expected at least one pixel that is not zero, got none",
    ),
    "schema": (["match", "a.jpg", "b.jpg", "--points", "1,1", "--schema", "spair:ufo"], "'ufo'"),
    "pose": (["match", "a.jpg", "b.jpg", "--poses", "sideways"], "'sideways'"),
    "model": (["match", "a.jpg", "b.jpg", "--model", "nonesuch"], "'nonesuch'"),
    "device": (["match", "a.jpg", "b.jpg", "--device", "nonesuch"], "'nonesuch'"),
    "window": (
        ["match", "a.jpg", "b.jpg", "--window", "-3"],
        "window: expected a number of cells from 0 on, got -3",
    ),
    "temperature": (["flow", "a.jpg", "b.jpg", "--temperature", "0", "--out", "o.png"], "temp"),
    "output folder": (["match", "a.jpg", "b.jpg", "--out", "no/o.png"], "cannot write no/o.png"),
    "output ending": (["match", "a.jpg", "b.jpg", "--out", "o.gif"], "out: expected a name"),
    "json ending": (["match", "a.jpg", "b.jpg", "--json", "o.txt"], "json: expected a name"),
    "number": (["match", "a.jpg", "b.jpg", "--max-matches", "many"], "many"),
    "too few": (
        ["match", "a.jpg", "b.jpg", "--max-matches", "0"],
        "max_matches: expected a whole number from 1 on, got 0",
    ),
    "option": (["match", "a.jpg", "b.jpg", "--nonesuch", "1"], "nonesuch"),
    "missing": (["match", "a.jpg"], "image1"),
    "command": (["nonesuch"], "nonesuch"),
    "box of three": (
        ["match", "a.jpg", "b.jpg", "--box0", "1,2,3"],
        "box0: expected x,y,width,height, got '1,2,3'",
    ),
    "box of words": (
        ["flow", "a.jpg", "b.jpg", "--box1", "left", "--out", "o.png"],
        "box1: expected x,y,width,height, got 'left'",
    ),
    "box outside": (
        ["match", "a.jpg", "b.jpg", "--box1", "700,0,50,50"],
        "box1: expected (x, y, width, height) in pixels, got (700, 0, 50, 50), which lies outside",
    ),
    "box of corners": (
        ["warp", "a.jpg", "b.jpg", "--box0", "300,200,640,480", "--out", "o.png"],
        "(300, 200, 340, 280)?",
    ),
    "box of nothing": (
        ["sides", "a.jpg", "--box", "9,9,0,9"],
        "box: expected (x, y, width, height) in pixels, got (9, 9, 0, 9), which is empty",
    ),
    "box of sides": (["sides", "a.jpg", "--box", "9"], "box: expected x,y,width,height, got '9'"),
    "box not finite": (["match", "a.jpg", "b.jpg", "--box0", "0,0,nan,5"], "box0: expected (x, y"),
    "zoom": (
        ["match", "a.jpg", "b.jpg", "--zoom", "2"],
        "zoom: expected one of auto, none, got '2'",
    ),
    "heatmap point": (["heatmap", "a.jpg", "b.jpg", "--point", "7", "--out", "o.png"], "'7'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_gets_one_line_and_status_2(capsys, folder, name):
    Path("text.png").write_text("no image, no points")
    Path("empty.jpg").touch()
    Path("cut.jpg").write_bytes(Path("a.jpg").read_bytes()[:9000])
    Image.new("L", (9, 9), 255).save("small.png")
    Image.new("L", (640, 480)).save("black.png")
    before = sorted(folder.iterdir())
    arguments, reason = WRONG[name]
    status, out, err = run(capsys, *arguments)
    assert status == 2 and out == ""
    assert err.startswith("homolog: ") and err.count("\n") == 1 and reason in err
    assert sorted(folder.iterdir()) == before, "nothing is left behind"


def test_an_output_that_cannot_be_written_is_found_before_the_work(capsys, folder, monkeypatch):
    monkeypatch.setattr(Matcher, "load_image", lambda *_: pytest.fail("worked before checking"))
    assert run(capsys, "match", "a.jpg", "b.jpg", "--out", "no/o.png")[0] == 2


def test_a_full_disk_loses_nothing(capsys, folder, monkeypatch):
    (folder / "m.json").write_text("precious")

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    status, _, err = run(capsys, "match", "a.jpg", "b.jpg", "--json", "m.json")
    assert status == 2 and "No space left" in err
    assert (folder / "m.json").read_text() == "precious"
    assert sorted(p.name for p in folder.iterdir()) == ["a.jpg", "b.jpg", "m.json"]


@pytest.mark.parametrize(
    "command",
    [
        ("match", "a.jpg", "b.jpg"),
        ("flow", "a.jpg", "b.jpg"),
        ("heatmap", "a.jpg", "b.jpg", "--point", "9,9"),
        ("warp", "b.jpg", "a.jpg"),
        ("sides", "a.jpg"),
    ],
)
def test_an_input_is_never_overwritten(capsys, folder, command):
    before = (folder / "a.jpg").read_bytes()
    status, _, err = run(capsys, *command, "--out", "a.jpg")
    assert status == 2 and "out: expected another file than the inputs, got a.jpg" in err
    assert (folder / "a.jpg").read_bytes() == before
