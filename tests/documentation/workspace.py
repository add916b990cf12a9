"""The files that the documentation's names stand for, each made when it is first asked for."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath

import av
import torch
from helpers import benchmarks, datasets, foundation, toy_models
from PIL import Image, ImageOps

import homolog
from documentation import programs
from homolog import example
from homolog.backbones.adapters import Adapter
from homolog.backbones.registry import release_of
from homolog.data import label_files
from homolog.networks.post_processor import PostProcessor
from homolog.networks.upsampler import Upsampler

BOX = (20, 20, 600, 440)


class Workspace:
    """Makes files once, and puts copies where they are needed.

    Args:
        store: the folder that they are made in.
    """

    def __init__(self, store: Path):
        self.store = store

    def provide(self, folder: Path, words: Iterable[str]) -> None:
        """Put the files that words name into a folder, but for those it has already."""
        for word in words:
            path = PurePosixPath(word)
            for name in (str(path), *map(str, path.parents)):
                if name in FILES:
                    self._put(folder, name)
                    break

    def _put(self, folder: Path, name: str) -> None:
        make, needs = FILES[name]
        self.provide(folder, needs)
        if (folder / name).exists():
            return
        kept = self.store / name
        if not kept.exists():
            self.provide(self.store, needs)
            kept.parent.mkdir(parents=True, exist_ok=True)
            make(kept)
        if folder == self.store:
            return
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if kept.is_dir() else shutil.copy)(kept, folder / name)


def animal(number: int) -> tuple[Image.Image, dict[str, tuple[float, float, int]]]:
    """The fox (0), the husky (1), and the two in a mirror; keypoints with COCO's visibility."""
    with example.pair() as pair:
        path = (pair.image0, pair.image1)[number % 2]
        points = (pair.keypoints0, pair.keypoints1)[number % 2]
        names, mirror = pair.schema.names, pair.schema.mirror
        image = Image.open(path).convert("RGB")
        visibility = 2 * pair.visible.astype(int)
    if number < 2:
        return image, {
            name: (x, y, int(v)) for name, (x, y), v in zip(names, points, visibility, strict=True)
        }
    return ImageOps.mirror(image), {
        names[mirror[k]]: (image.width - x, y, int(visibility[k]))
        for k, (x, y) in enumerate(points)
    }


def _animal(number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with example.pair() as pair:
            path.write_bytes((pair.image0, pair.image1)[number].read_bytes())

    return make


def _animals(*names: str) -> Callable[[Path], None]:
    """A folder with images of both animals, facing both ways."""

    def make(folder: Path) -> None:
        folder.mkdir()
        for number, name in enumerate(names):
            # Without loss, so that all files of an animal have the very same pixels.
            animal(number)[0].save(folder / f"{name}.png")

    return make


def _coco(names: Iterable[str], category: str, labels: bool = False) -> Callable[[Path], None]:
    """Keypoints of the animals in images of these names, perhaps as `annotate` writes them."""

    def make(path: Path) -> None:
        found = [(name, *animal(number)) for number, name in enumerate(names)]
        keypoints = list(found[0][2])
        annotations = []
        for number, (_, _, points) in enumerate(found, start=1):
            flat = [float(value) for name in keypoints for value in points[name]]
            entry = {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "bbox": list(BOX),
                "keypoints": flat,
            }
            if labels:
                scores = [0.9] * len(keypoints)
                entry["homolog"] = {
                    "scores": scores, "doubtful": [0], "reviewed": [], "predicted": flat,
                    "exemplars": [],
                }  # fmt: skip
            annotations.append(entry)
        content = {
            "images": [
                {"id": number, "file_name": name, "width": image.width, "height": image.height}
                for number, (name, image, _) in enumerate(found, start=1)
            ],
            "annotations": annotations,
            "categories": [{"id": 1, "name": category, "keypoints": keypoints}],
        }
        path.write_text(json.dumps(content))

    return make


def _annotated(category: str, *files: str, images: Iterable[str]) -> Callable[[Path], None]:
    """A folder with COCO files, and one with their images."""

    def make(folder: Path) -> None:
        folder.mkdir()
        _animals(*images)(folder / "images")
        for file in files:
            # Named as in other files: random views of the same image under the same name are
            # the same, and made once.
            _coco([f"images/{name}.png" for name in images], category)(folder / file)

    return make


def _unlabelled(folder: Path) -> None:
    """As many different images as an adaptation needs: parts of the animals'."""
    folder.mkdir()
    for number in range(13):
        left, top = 8 * (number // 4), 6 * (number // 4)
        part = animal(number % 4)[0].crop((left, top, left + 600, top + 450))
        part.resize((320, 240)).save(folder / f"{number:02}.png")


def _masks(folder: Path) -> None:
    folder.mkdir()
    for image in (folder.parent / "unlabelled").iterdir():
        mask = Image.new("L", (320, 240))
        mask.paste(255, (20, 40, 300, 230))
        mask.save(folder / image.name)


_CAGE = ((10, 15, 320, 240), (330, 215, 320, 240))
"""Boxes (x, y, width, height) of the fox and the husky in an image of a cage."""


def _cage_image(shift: int = 0) -> Image.Image:
    image = Image.new("RGB", (660, 480), "white")
    for number, (x, y, width, height) in enumerate(_CAGE):
        image.paste(animal(number)[0].resize((width, height)), (x + shift, y))
    return image


def _cage(folder: Path) -> None:
    """A folder of images with two animals each."""
    folder.mkdir()
    for name in "123":
        _cage_image().save(folder / f"{name}.png")


def _tracks(path: Path) -> None:
    """Tracks of the fox's keypoints, which move a pixel a frame, in the first frames of a video."""
    lines = ["frame,seconds,point,x,y,score,lost"]
    for frame in range(4):
        for name, (x, y, v) in animal(0)[1].items():
            place = f"{x + frame:.3f},{y:.3f}" if v else ","
            lines.append(f"{frame},{frame / 10:.6f},{name},{place},1.0000,0")
    path.write_text("\n".join(lines) + "\n")


def _cage_labels(path: Path) -> None:
    """Keypoints of both animals of the first image."""
    names = list(animal(0)[1])
    annotations = []
    for number, (x, y, width, height) in enumerate(_CAGE):
        points = animal(number)[1]
        flat = [
            value
            for name in names
            for value in (points[name][0] / 2 + x, points[name][1] / 2 + y, points[name][2])
        ]
        annotations.append(
            {
                "id": number + 1,
                "image_id": 1,
                "category_id": 1,
                "bbox": [x, y, width, height],
                "keypoints": flat,
            }
        )
    content = {
        "images": [{"id": 1, "file_name": "1.png", "width": 660, "height": 480}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "animal", "keypoints": names}],
    }
    path.write_text(json.dumps(content))


def _cage_boxes(*images: str) -> Callable[[Path], None]:
    """A table with the boxes of both animals in images."""

    def make(path: Path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "x", "y", "width", "height", "instance"])
            for image in images:
                for name, box in zip(("fox", "husky"), _CAGE, strict=True):
                    writer.writerow([image, *box, name])

    return make


def _cage_video(path: Path) -> None:
    _encode(path, [_cage_image(4 * number) for number in range(6)])


def _tps(*numbers: int) -> Callable[[Path], None]:
    """Landmarks of specimens, whose y runs from the bottom, and a scale."""

    def make(path: Path) -> None:
        lines = []
        for number in numbers:
            image, points = animal(number)
            lines.append(f"LM={len(points)}")
            lines += [
                f"{x:.2f} {image.height - y:.2f}" if v else "NA NA" for x, y, v in points.values()
            ]
            lines += [f"IMAGE=s{number}.png", f"ID=specimen {number}", "SCALE=0.25"]
        path.write_text("\n".join(lines) + "\n")

    return make


def _points(path: Path) -> None:
    """Keypoints of the fox that AP-10K has, too, with their names."""
    known = animal(0)[1]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["x", "y", "name"])
        for name in ("nose", "left_eye", "left_front_paw", "right_front_paw"):
            writer.writerow([*known[name][:2], name])


def _mask(path: Path) -> None:
    mask = Image.new("L", (640, 480))
    mask.paste(255, BOX)
    mask.save(path)


def _video(path: Path) -> None:
    """The fox, moved a little after every third frame."""
    fox = animal(0)[0]
    frames = []
    for number in range(8):
        frames.append(Image.new("RGB", fox.size, "white"))
        frames[-1].paste(fox, (8 * (number // 3), 0))
    _encode(path, frames)


def _encode(path: Path, frames: Sequence[Image.Image]) -> None:
    """A video whose frames are each coded by themselves."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, bit_rate=20_000_000)
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        stream.gop_size = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def _views(folder: Path) -> None:
    for number, view in enumerate(("left", "right", "front", "back")):
        for part in (view, "templates"):
            (folder / part).mkdir(parents=True, exist_ok=True)
            animal(number)[0].save(folder / part / f"{view}.png")


def _models(folder: Path) -> None:
    folder.mkdir()
    for number, name in enumerate(("Fox", "Donkey", "Stag", "Horse")):
        toy_models.rigged_animal(folder / f"{name}.glb", stretch=(1, 1, 1 + 0.1 * number))


def _predictions(path: Path) -> None:
    """The truth of all test pairs."""
    pairs = sorted((path.parent / "SPair-71k" / "PairAnnotation" / "test").glob("*.json"))
    lines = []
    for pair in pairs:
        truth = json.loads(pair.read_text())
        line = {
            "pair": pair.stem,
            "keypoint_ids": [int(number) for number in truth["kps_ids"]],
            "predicted_xy_in_target_pixels": truth["trg_kps"],
        }
        lines.append(json.dumps(line) + "\n")
    path.write_text("".join(lines))


def _checkpoint(path: Path) -> None:
    """Widths of the published system, but a narrower network."""
    torch.manual_seed(0)
    torch.save(homolog.PostProcessor((640, 1280, 1280, 768), 128).state_dict(), path)


def _export(path: Path) -> None:
    """Labels as Label Studio exports them."""
    labels = label_files.read(path.with_name("few.json"))
    label_files.write(path, labels.document, format="label-studio")


def _by(command: str) -> Callable[[Path], None]:
    """Made by a command of homolog that writes it."""
    words = command.split()
    out = words[words.index("--out") + 1]

    def make(path: Path) -> None:
        with contextlib.chdir(path.parents[out.count("/")]):
            programs.homolog(words)

    return make


_BEES = ("bee1", "bee2", "bee8")
_IN_IMAGES = [f"images/{name}.png" for name in _BEES]
_MICE = ("m1", "m2", "m3", "m4")
_LABELLED = [f"{name}.png" for name in _BEES[:2]]

HUB = {
    **{f"facebook/dinov2-{size}": "dinov2" for size in ("small", "base", "large")},
    "facebook/dinov2-with-registers-large": "dinov2_with_registers",
    **{f"facebook/dinov3-vit{size}16-pretrain-lvd1689m": "dinov3_vit" for size in "sbl"},
}


def fill_hub(cache: Path) -> None:
    """A model hub's cache with small random models under the names of those that presets take."""

    def snapshot(name: str) -> Path:
        folder = cache / f"models--{name.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        (folder / "snapshots").mkdir()
        return folder / "snapshots" / ("0" * 40)

    for name, kind in HUB.items():
        # As many layers as the pages ask for: of the large one the sixth from the end, and of that
        # with registers the last nine of 24. Presets of DINOv3 leave out 20 directions.
        width = 32 if kind == "dinov3_vit" else 16
        layers = 24 if "registers" in name else 6 if "large" in name else 4
        foundation.save_dino(snapshot(name), kind, layers=layers, width=width)
    _releases(cache / "homolog")
    _diffusion(snapshot("stable-diffusion-v1-5/stable-diffusion-v1-5"))
    foundation.save_detector(snapshot("PekingU/rtdetr_v2_r18vd"))


def _releases(folder: Path) -> None:
    """Random weights in place of those that presets fetch, for the models of the cache."""
    torch.manual_seed(0)
    marco = dict(Upsampler(16).state_dict())
    for block in range(15, 24):
        for name, tensor in Adapter(16, 512, 0.1).state_dict().items():
            name = name.replace("norm.", "adapter_layer_norm_before.")
            marco[f"dino.blocks.{block}.adapter.{name}"] = tensor
    head = PostProcessor((16,), 128).state_dict()
    for preset, state in (("marco", marco), ("diy-sc", head)):
        release = release_of(preset)
        assert release is not None
        (folder / preset).mkdir(parents=True)
        torch.save(state, folder / preset / release.file)


def _diffusion(folder: Path) -> None:
    """Without attention at full resolution, which takes most of the time at 960 pixels."""
    foundation.save_stable_diffusion(
        folder,
        down_block_types=("DownBlock2D", *["CrossAttnDownBlock2D"] * 2, "DownBlock2D"),
        up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 2, "UpBlock2D"),
    )


FILES: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    # Images
    "a.jpg": (_animal(0), ()),
    "b.jpg": (_animal(1), ()),
    "c.jpg": (_animal(1), ()),
    "fox.jpg": (_animal(0), ()),
    "husky.jpg": (_animal(1), ()),
    "photo.jpg": (_animal(0), ()),
    "mask.png": (_mask, ()),
    "unlabelled": (_unlabelled, ()),
    "masks": (_masks, ("unlabelled",)),
    "dog.mp4": (_video, ()),
    "points.csv": (_points, ()),
    "images": (_animals(*_BEES), ()),
    "dogs": (_animals("bo", "max", "sam"), ()),
    "dogs/annotations.json": (_coco(["bo.png", "max.png"], "dog"), ("dogs",)),
    "dogs/rex.jpg": (_animal(0), ("dogs",)),
    "views": (_views, ()),
    "cage": (_cage, ()),
    "cage.mp4": (_cage_video, ()),
    "boxes.csv": (_cage_boxes("1.png", "2.png", "3.png"), ()),
    "first.csv": (_cage_boxes("cage/1.png"), ("cage",)),
    # Labels
    "cage.json": (_cage_labels, ("cage",)),
    "few.json": (_coco(_LABELLED, "bee"), ("images",)),
    "export.json": (_export, ("few.json",)),
    "labelled.json": (_coco(_LABELLED, "bee"), ("images",)),
    "hand.json": (_coco(_LABELLED, "bee"), ("images",)),
    "labels.json": (_coco(_LABELLED, "bee", labels=True), ("images",)),
    "annotations.json": (_coco(_IN_IMAGES, "bee"), ("images",)),
    "bees.json": (_coco(_IN_IMAGES, "bee"), ("images",)),
    "mice.json": (_coco([f"{name}.png" for name in _MICE], "mouse"), ("mice",)),
    "mice": (_animals(*_MICE), ()),
    "tracks.csv": (_tracks, ()),
    "others.json": (_coco(_IN_IMAGES, "bee"), ("images",)),
    "bees": (_annotated("bee", "train.json", "test.json", images=_BEES), ()),
    "specimens": (_animals("s0", "s1", "s2"), ()),
    "ten.tps": (_tps(0, 1), ("specimens",)),
    "more.tps": (_tps(2), ("specimens",)),
    "names.txt": (lambda path: path.write_text("\n".join(animal(0)[1])), ()),
    # Benchmarks
    "SPair-71k": (lambda folder: datasets.make_spair(folder, ["cat"], images=2), ()),
    "ap-10k": (lambda folder: datasets.make_ap10k(folder, images=True), ()),
    "listed/ap-10k": (lambda folder: benchmarks.make_ap10k_pairs(folder, images=1), ()),
    "SOCOv1": (benchmarks.make_soco, ()),
    "mp100_all": (benchmarks.make_mp100, ()),
    "PF-WILLOW": (lambda folder: datasets.make_pf_willow(folder, ["duck(S)"]), ()),
    "yours.jsonl": (_predictions, ("SPair-71k",)),
    # Models
    "models": (_models, ()),
    "animals": (_models, ()),
    "models/dinov2-base": (lambda folder: foundation.save_dino(folder, "dinov2"), ()),
    "models/sd15": (_diffusion, ()),
    "official.pth": (_checkpoint, ()),
    "rendered": (_by("synth models --out rendered --count 8 --size 160 --workers 1"), ("models",)),
    "my-sides": (
        _by("train-sides rendered --out my-sides --steps 2"),
        ("rendered",),
    ),
    "runs/bees": (_by("train coco bees.json --out runs/bees --steps 1"), ("bees.json",)),
}
"""What makes each file or folder, and which others it needs."""
