"""Boxes around the keypoints and the masks of instances, and of images that are turned."""

import numpy as np
import pandas as pd
import pytest
from helpers import datasets
from helpers.boxes import OBJECTS, SIZES, flat, save_images
from PIL import ExifTags, Image

from homolog.data.boxes import read_boxes


@pytest.fixture
def folder(tmp_path):
    return save_images(tmp_path)


def test_tables_of_keypoints(folder):
    """Boxes are those around the keypoints of each image, instance and category."""
    rows = [
        {"image": name, "instance": number, "category": category, "keypoint": part, "x": x, "y": y}
        for number, name, _, (left, top, width, height), category, _ in flat()
        for part, x, y in (
            ("nose", left, top + 1),
            ("tail", left + width, top),
            ("ear", left + 1, top + height),
        )
    ]
    path = folder.parent / "points.csv"
    pd.DataFrame(rows).sample(frac=1, random_state=1).sort_values("image").to_csv(path)
    found = read_boxes(path, folder)
    assert found.count == 5 and found.problems == ()
    for number, name, _, box, category, _ in flat():
        (got,) = (each for each in found.of(folder / name) if each.instance == number)
        assert got.box == box and got.category == category


def deeplabcut_table(images, individuals, columns=1):
    """As `DataFrame.to_csv` writes the tables of DeepLabCut, whose columns have several levels."""
    parts = ("nose", "left_ear", "tail")
    levels = pd.MultiIndex.from_product(
        [["anna"], [name for name in individuals if name], parts, ["x", "y"]],
        names=["scorer", "individuals", "bodyparts", "coords"],
    )
    if individuals == [None]:
        levels = pd.MultiIndex.from_product(
            [["anna"], parts, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
        )
    rng = np.random.default_rng(0)
    values = rng.uniform(2, 46, (len(images), len(levels)))
    index = images if columns == 1 else pd.MultiIndex.from_tuples([n.split("/") for n in images])
    return pd.DataFrame(values, index=index, columns=levels)


@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("individuals", [["m1", "m2", "single"], [None]])
def test_deeplabcut(individuals, columns, tmp_path):
    folder = tmp_path / "labeled-data" / "video1"
    names = ["img003.png", "img017.png"]
    for name in names:
        datasets.save_image(folder / name, 0)
    path = folder / "CollectedData_anna.csv"
    table = deeplabcut_table(
        [f"labeled-data/video1/{name}" for name in names], individuals, columns
    )
    table.iloc[0, 2:4] = np.nan  # a keypoint that is not visible
    if individuals[0]:
        table.iloc[1, 6:12] = np.nan  # an animal that is not there
    table.to_csv(path)
    found = read_boxes(path)
    assert found.problems == ()
    expected = []
    for row, name in enumerate(names):
        for at, animal in enumerate(each for each in individuals if each != "single"):
            points = table.to_numpy()[row, 6 * at : 6 * at + 6].reshape(3, 2)
            if np.isfinite(points).any():
                low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
                expected.append((name, animal or 1, (*low, *(high - low))))
    got = [(p.name, o.instance, o.box) for p, each in found.objects.items() for o in each]
    assert len(got) == len(expected) == (3 if individuals[0] else 2)
    for one, other in zip(got, expected, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(one[2], other[2])
    assert len(found.notes) == (individuals[0] is not None), "body parts of no individual"
    # Elsewhere, from the folder of the project, or with Windows' names.
    away = path.rename(tmp_path / "table.csv")
    assert read_boxes(away).count == len(got) and read_boxes(away, folder).count == len(got)
    if columns == 1:
        away.write_text(away.read_text().replace("/", "\\"))
        assert read_boxes(away, folder).count == len(got)


def test_deeplabcut_of_a_video(tmp_path):
    path = tmp_path / "v.csv"
    deeplabcut_table([0, 1], ["m1"]).to_csv(path)
    datasets.refused(lambda: read_boxes(path), path, "line 5: expected the name of an image, got 0")


@pytest.mark.parametrize(
    "header",
    [
        "scorer,me,me\nbodyparts,a,a\n",
        "scorer,me,me\ncoords,x,y\n",
        "scorer,me,me\nbodyparts,a,a\ncoords,x\n",
        "scorer,me,me\nbodyparts,a,a\ncoords,x,x\n",
        "scorer,me,me\nbodyparts,a,a\ncoords,u,v\n",
        "scorer,me,me\nindividuals,m\nbodyparts,a,a\ncoords,x,y\n",
        "scorer,me,me\nindividuals,single,single\nbodyparts,a,a\ncoords,x,y\n",
    ],
)
def test_tables_that_are_not_deeplabcuts(header, tmp_path):
    path = tmp_path / "v.csv"
    path.write_text(f"{header}a.png,1,2\n")
    datasets.refused(lambda: read_boxes(path), path, "expected the header of a DeepLabCut table")


def test_deeplabcut_rows_that_are_wrong(folder):
    """With the likelihood of predictions, which are no coordinates."""
    path = folder / "p.csv"
    names = "scorer,me,me,me,me,me,me\nbodyparts,a,a,a,b,b,b\n"
    rows = "coords,x,y,likelihood,x,y,likelihood\na.png,1,2,0.9,21,32,1\n"
    path.write_text(f"{names}{rows}b.png,1,2,0.9,21,x,1\nb.png,1,2\nb.png,,,,21,32,1\n")
    found = read_boxes(path)
    assert [each.box for each in found.of(folder / "a.png")] == [(1, 2, 20, 30)]
    assert [line.removeprefix(f"{path}, line ").partition(": ")[0] for line in found.problems] == [
        "5", "6", "7"
    ]  # fmt: skip
    assert "which is empty" in found.problems[2], "one keypoint has no box around it"


def test_sleap(folder):
    """A file written by sleap-io, with images, tracks, predictions and corrections of them."""
    sio = pytest.importorskip("sleap_io", reason="no sleap-io, which reads SLEAP's files")
    skeleton = sio.Skeleton(["nose", "ear", "tail"])
    images = list(SIZES)
    video = sio.Video.from_filename([str(folder / name) for name in images])
    film = sio.Video(filename="cage.mp4", open_backend=False)
    tracks = {number: sio.Track(f"m{number}") for number, *_ in flat()}

    def points_in(box):
        x, y, width, height = box
        return np.array([[x, y + 1], [x + width, y], [x + 1, y + height]])

    frames = []
    for name in images:
        instances = []
        for number, image, index, box, _, score in flat():
            if image != name:
                continue
            options = {"skeleton": skeleton, "track": tracks[number]}
            if index == 1:
                predicted = sio.PredictedInstance.from_numpy(
                    points_in(box) + 1, point_scores=np.ones(3), score=0.5, **options
                )
                corrected = sio.Instance.from_numpy(points_in(box), **options)
                corrected.from_predicted = predicted
                instances += [predicted, corrected]
            else:
                instances.append(
                    sio.PredictedInstance.from_numpy(
                        points_in(box), point_scores=np.ones(3), score=score, **options
                    )
                )
        frames.append(
            sio.LabeledFrame(video=video, frame_idx=images.index(name), instances=instances)
        )
    lost = sio.Instance.from_numpy(np.full((3, 2), np.nan), skeleton=skeleton)
    of_film = sio.LabeledFrame(video=film, frame_idx=4, instances=[lost])
    path = folder / "mice.slp"
    sio.Labels([*frames, of_film]).save(str(path))
    found = read_boxes(path)
    assert found.notes == (f"{path}: frames of cage.mp4, which are left out: 1",)
    assert found.problems == () and found.count == 5
    for number, name, index, box, _, score in flat():
        got = found.of(folder / name)[index - 1]
        np.testing.assert_allclose(got.box, box)
        assert got.instance == f"m{number}"
        assert got.score == (None if index == 1 else pytest.approx(score))
    sio.Labels(frames).save(str(folder / "mice.pkg.slp"), embed=True, verbose=False)
    assert read_boxes(folder / "mice.pkg.slp").count == 5, "packed with its images"
    sio.Labels([of_film]).save(str(path))
    datasets.refused(lambda: read_boxes(path), "got frames of cage.mp4", path)
    path.write_text("no HDF5")
    datasets.refused(lambda: read_boxes(path), "boxes: expected a SLEAP file", path)


def test_masks(folder):
    masks = folder.parent / "masks"
    (masks / "sub").mkdir(parents=True)
    for name, size in SIZES.items():
        values = np.zeros(size[::-1], dtype=np.uint8)
        for index, ((x, y, width, height), *_) in enumerate(OBJECTS[name], start=1):
            values[int(y) : int(y + height), int(x) : int(x + width)] = 10 * index
        Image.fromarray(values).save(masks / name)
    found = read_boxes(masks, folder)
    assert {p.name: [o.instance for o in each] for p, each in found.objects.items()} == {
        "a.png": [10, 20], "b.png": [10], "c.png": [10, 20]
    }  # fmt: skip
    assert [each.box for each in found.of(folder / "a.png")] == [b for b, *_ in OBJECTS["a.png"]]
    second = found.of(folder / "a.png")[1].mask()
    assert second[8:40, 30:46].all() and second.sum() == 16 * 32
    datasets.refused(lambda: read_boxes(masks), "expected the folder of the images", masks)


def save_mask(path, values, **options):
    path.parent.mkdir(exist_ok=True)
    image = Image.fromarray(values)
    if options.pop("palette", False):
        image = image.convert("P") if image.mode != "L" else Image.frombytes(
            "P", image.size, values.tobytes()
        )  # fmt: skip
        image.putpalette([value for value in range(256) for _ in range(3)])
    image.save(path, **options)
    return path


def test_masks_of_all_kinds(tmp_path):
    image = datasets.save_image(tmp_path / "images" / "a.jpg", 0)
    values = np.zeros((48, 64), dtype=np.uint8)
    values[10:20, 5:25] = 255
    masks = tmp_path / "masks"

    def read(values, **options):
        save_mask(masks / "a.png", values, **options)
        return read_boxes(masks, image.parent).of(image)

    for binary in (values, values > 0, np.dstack([values] * 3), values.astype(np.uint16) * 257):
        (one,) = read(binary)
        assert one.box == (5, 10, 20, 10) and one.mask().sum() == 200
    assert read(values)[0].instance == 1, "255 is no number of an object"
    labels = values.copy()
    labels[30:40, 50:60] = 3
    assert [each.instance for each in read(labels)] == [3, 255]
    assert [each.instance for each in read(labels, palette=True)] == [3], "255 is void there"
    # Cut-outs: what is opaque, whatever its colours; values where these are numbers of objects.
    photo = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    for under in (photo, photo[..., :1].repeat(3, axis=2), np.zeros_like(photo)):
        (one,) = read(np.dstack([under, values]))
        assert one.box == (5, 10, 20, 10) and one.instance == 1
    assert [
        each.instance
        for each in read(np.dstack([labels] * 3 + [np.where(labels, 255, 0).astype(np.uint8)]))
    ] == [3, 255]
    many = labels.astype(np.uint16)
    many[0:3, 0:3] = 40000
    assert [each.instance for each in read(many)] == [3, 255, 40000]
    soft = np.array(Image.fromarray(values).resize((640, 480), Image.Resampling.BICUBIC))
    soft = np.array(Image.fromarray(soft).rotate(20, Image.Resampling.BICUBIC).resize((64, 48)))
    for wrong, reason in (
        (soft, "soft edges"),
        (np.dstack([values, values, values // 2]), "got an image in colours"),
        (np.zeros_like(values), "expected values above 0"),
        (values[:-1], "mask: expected 64 x 48 pixels, got 64 x 47 pixels"),
    ):
        save_mask(masks / "a.png", wrong)
        datasets.refused(lambda: read_boxes(masks, image.parent), reason, masks / "a.png")


def save_sideways(path, size):
    """An image whose EXIF orientation turns it upright; its pixels are `size`, upright is not."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    datasets.save_image(path, 0, size)
    with Image.open(path) as image:
        image.save(path, exif=exif)
    return path


def test_boxes_refer_to_the_upright_image(tmp_path):
    image = save_sideways(tmp_path / "a.jpg", (64, 48))
    file = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 48, "height": 64}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [4, 40, 20, 20]}],
        "categories": [],
    }
    path = datasets.save_json(tmp_path / "boxes.json", file)
    assert read_boxes(path).of(image)[0].box == (4, 40, 20, 20)
    datasets.edit_json(path, datasets.change_first("images", width=64, height=48))
    found = read_boxes(path)  # they fit the upright image alone, whatever the file says
    assert found.of(image)[0].box == (4, 40, 20, 20) and "points fit the upright" in found.notes[0]
    image.with_suffix(".txt").write_text("0 0.5 0.75 0.5 0.25\n")
    assert read_boxes(tmp_path).of(image)[0].box == (12, 40, 24, 16)
