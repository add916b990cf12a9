"""The kinds of files that are read: whole ones, made here and small, and what reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from helpers import pose_documents, specimens, toy_training, videos
from helpers.toys import random_image
from PIL import Image

from homolog import Matcher
from homolog.applications.video import read_frames
from homolog.checkpoints import read_checkpoint
from homolog.data import label_files
from homolog.data.boxes import read_boxes
from homolog.data.formats import mat
from homolog.evaluation import read_predictions
from homolog.features.cache import FeatureCache
from homolog.image.masks import read_mask
from homolog.image.point_files import read_points
from homolog.image.reading import load_image


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        files: whole ones, of which one at a time is damaged.
        read: reads what one of them belongs to.
        inputs: how many of them are tried in the quick tests; fewer where each takes long.
    """

    files: list[Path]
    read: Callable[[Path], object]
    inputs: int = 1000


def _images(folder: Path) -> Kind:
    image = random_image(40, 24)
    sixteen_bits = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    made = {
        "a.jpg": (image, {}),
        "progressive.jpg": (image, {"progressive": True}),
        "cmyk.jpg": (image.convert("CMYK"), {}),
        "a.png": (image, {}),
        "palette.png": (image.convert("P"), {"transparency": 3}),
        "sixteen.png": (sixteen_bits, {}),
        "a.webp": (image, {}),
        "lossless.webp": (image, {"lossless": True}),
        "a.avif": (image, {}),
        "a.gif": (image, {"save_all": True, "append_images": [image.rotate(180)]}),
        "a.tif": (image, {}),
        "lzw.tif": (image, {"compression": "tiff_lzw"}),
        "sixteen.tif": (sixteen_bits, {"compression": "tiff_adobe_deflate"}),
        "a.bmp": (image, {}),
        "a.ppm": (image, {}),
        "a.pgm": (sixteen_bits, {}),
    }
    for name, (each, options) in made.items():
        each.save(folder / name, **options)
    values = " ".join(str(value) for value in np.asarray(image.resize((8, 6))).ravel())
    (folder / "plain.ppm").write_text(f"P3\n# as text\n8 6\n255\n{values}\n")
    return Kind([*sorted(folder.iterdir())], load_image)


def _heic(folder: Path) -> Kind:
    import pillow_heif

    pillow_heif.from_pillow(random_image(64, 64)).save(folder / "a.heic")
    return Kind([folder / "a.heic"], load_image)


def _masks(folder: Path) -> Kind:
    mask = Image.new("L", (40, 24))
    mask.paste(255, (5, 5, 20, 20))
    mask.save(folder / "a.png")
    mask.convert("1").save(folder / "bits.png")
    mask.convert("P").save(folder / "palette.png")
    return Kind([*sorted(folder.iterdir())], lambda path: read_mask(path, (40, 24)))


def _labels(form: str, suffix: str) -> Callable[[Path], Kind]:
    """Labels as one of the formats holds them, which it reads with the images beside it."""

    def make(folder: Path) -> Kind:
        out = folder / f"labels{suffix}"
        if form in ("imagej", "tps", "nts", "morphoj"):
            specimens.save_images(folder)
            points = np.arange(8, dtype=float).reshape(4, 2) + 5.5
            flat = [value for x, y in points for value in (x, y, 2)]
            document = {
                "images": [
                    {"id": number, "file_name": name, "width": size[0], "height": size[1]}
                    for number, (name, size) in enumerate(specimens.SIZES.items(), start=1)
                ],
                "annotations": [
                    {"id": number, "image_id": number, "category_id": 1, "keypoints": flat,
                     "bbox": [5, 5, 9, 9]}
                    for number in (1, 2, 3)
                ],
                "categories": [{"id": 1, "name": "wing", "keypoints": ["a", "b", "c", "d"]}],
            }  # fmt: skip
        else:
            pose_documents.save_images(folder)
            document = pose_documents.document()
            if form in ("deeplabcut", "yolo"):  # whose files have one category, or one size of it
                document["annotations"] = document["annotations"][:3]
                document["categories"] = document["categories"][:1]
        before = {*folder.rglob("*")}
        label_files.write(out, document, format=form)
        files = [path for path in sorted({*folder.rglob("*")} - before) if path.is_file()]
        assert files and out.exists(), f"{form} is written to other names"
        inputs = 50 if form == "nwb" else 250  # there are fifteen formats
        return Kind(files, lambda path: label_files.read(out, format=form), inputs)

    return make


def _boxes(folder: Path) -> Kind:
    for name in ("a.png", "b.png"):
        random_image(60, 40).save(folder / name)
    (folder / "boxes.csv").write_text(
        "image,x,y,width,height,score,id\na.png,5,5,20,20,0.9,1\nb.png,1.5,2,30,31,0.5,2\n"
    )
    (folder / "boxes.json").write_text(
        '[{"image_id": "a.png", "category_id": 1, "bbox": [5, 5, 20, 20], "score": 0.9}]'
    )
    return Kind(
        [folder / "boxes.csv", folder / "boxes.json"], lambda path: read_boxes(path, folder)
    )


def _points(folder: Path) -> Kind:
    (folder / "a.csv").write_text("name,x,y,v\nnose,1,2,2\ntail,3.5,4,0\n")
    (folder / "b.txt").write_text("1 2\n3 4.5\n")
    (folder / "c.json").write_text('[{"x": 1, "y": 2, "name": "a"}, {"x": 3, "y": 4, "name": "b"}]')
    (folder / "d.json").write_text('{"keypoints": [1, 2, 2, 3, 4, 0]}')
    return Kind([*sorted(folder.iterdir())], read_points)


def _predictions(folder: Path) -> Kind:
    data = toy_training.toy_data(folder / "images", 2)
    path = folder / "predictions.jsonl"
    path.write_text(
        "".join(
            f'{{"pair": "{pair.name}", "keypoint_ids": {pair.keypoint_ids.tolist()}, '
            f'"predicted_xy_in_target_pixels": '
            f"{[[1.5, 2.25]] * len(pair.keypoint_ids)}}}\n"
            for pair in data.pairs
        )
    )
    return Kind([path], lambda path: read_predictions(path, data))


def _models(folder: Path) -> Kind:
    config = toy_training.CONTEXT
    toy_training.register()
    data = toy_training.toy_data(folder / "images", 2)
    steps = toy_training.dataclasses.replace(config, steps=1, views=None)
    toy_training.train(data, folder / "run", toy_training.toy_matcher(), steps)
    model = folder / "run" / "last"
    files = [model / name for name in ("config.json", "model.safetensors")]
    return Kind(files, lambda path: Matcher.from_pretrained(str(model), device="cpu"))


def _checkpoints(folder: Path) -> Kind:
    path = folder / "a.pth"
    torch.save({"model": {"weight": torch.rand(3, 4), "bias": torch.zeros(3)}, "step": 5}, path)
    return Kind([path], read_checkpoint)


def _caches(folder: Path) -> Kind:
    """What a cache gives is what was put into it, whatever happened to its file."""
    cache = FeatureCache(folder)
    maps = [torch.arange(2 * 3 * 3).reshape(1, 2, 3, 3) / 16]

    def get(path: Path) -> None:
        (found,) = cache.get_or_compute(b"canvas", "key", torch.device("cpu"), lambda: maps)
        assert torch.equal(found.float(), maps[0]), "other numbers, silently"

    get(folder)
    return Kind(list(cache.files()), get)


def _mat(folder: Path) -> Kind:
    from scipy.io import savemat

    values = {"words": "many", "points": np.arange(15.0).reshape(3, 5), "z": np.eye(2)}
    savemat(folder / "a.mat", values)
    savemat(folder / "b.mat", values, do_compression=True)
    return Kind([folder / "a.mat", folder / "b.mat"], lambda path: mat.read(path, "points"))


def _videos(folder: Path) -> Kind:
    frames = [random_image(32, 32, seed) for seed in range(3)]
    files = [videos.write_video(folder / f"a{suffix}", frames) for suffix in (".mp4", ".mkv")]
    return Kind(files, lambda path: [*read_frames(path, [])])


KINDS: dict[str, Callable[[Path], Kind]] = {
    "image": _images,
    "heic": _heic,
    "mask": _masks,
    **{
        f"{form}{suffix}": _labels(form, suffix)
        for form, suffix in (
            ("deeplabcut", ".csv"),
            ("deeplabcut", ".h5"),
            ("label-studio", ".json"),
            ("labelme", ""),
            ("coco", ".json"),
            ("yolo", ".yaml"),
            ("csv", ".csv"),
            ("csv-wide", ".csv"),
            ("imagej", ".csv"),
            ("tps", ".tps"),
            ("nts", ".nts"),
            ("morphoj", ".txt"),
            ("cvat", ".xml"),
            ("sleap", ".slp"),
            ("nwb", ".nwb"),
        )
    },
    "boxes": _boxes,
    "points": _points,
    "predictions": _predictions,
    "model": _models,
    "checkpoint": _checkpoints,
    "cache": _caches,
    "mat": _mat,
    "video": _videos,
}
"""By name, what makes the files of a kind in an empty folder."""
