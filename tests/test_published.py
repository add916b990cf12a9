"""Models that others published: converted from their files, and fetched by name."""

import contextlib
import dataclasses
import hashlib
import http.server
import json
import shutil
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import real_images
import torch
from helpers import marco_parity as marco
from helpers.command import run
from helpers.foundation import save_dino
from huggingface_hub import constants

from homolog import HomologError, Matcher
from homolog.backbones import registry
from homolog.backbones.releases import Release, fetch
from homolog.presets import PRESETS
from homolog.published import convert, recognise

pytest.importorskip("transformers")
TINY = marco.FOLDER / "dinov2_tiny"
DIY_SC = real_images.ROOT.parent / "weights" / "diy_sc_dinov2_base.pth"


def state(channels=16, blocks=(0, 2), bottleneck=4, stages=2):
    """MARCO's weights for another backbone, under the published names."""
    from homolog.backbones.adapters import Adapter
    from homolog.networks.upsampler import Upsampler

    torch.manual_seed(0)
    found = dict(Upsampler(channels, stages).state_dict())
    for block in blocks:
        for name, tensor in Adapter(channels, bottleneck, 0.1).state_dict().items():
            name = name.replace("norm.", "adapter_layer_norm_before.")
            found[f"dino.blocks.{block}.adapter.{name}"] = tensor + 0.1
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return str(save_dino(tmp_path_factory.mktemp("dino"), "dinov2_with_registers"))


@marco.needs_figures
@pytest.mark.parametrize("file", ["checkpoint.pth", "weights alone", "of parallel training"])
def test_marcos_training_file_becomes_a_model_that_predicts_as_published(capsys, tmp_path, file):
    path = marco.FOLDER / file
    if file == "weights alone":
        torch.save(marco.weights(), path := tmp_path / "marco.pth")
    elif file == "of parallel training":
        named = {f"module.{name}": tensor for name, tensor in marco.weights().items()}
        torch.save({"model": named}, path := tmp_path / "marco.pth")
    out = tmp_path / "model"
    status, text, err = run(capsys, "convert", path, out, "--weights", TINY, "--size", "140")
    assert status == 0, err
    assert "MARCO's adapters in blocks 2 to 3, bottleneck 32, 2 upsamplers of 64" in text
    matcher = Matcher.from_pretrained(out)
    images = [marco.FOLDER / f"image{index}.png" for index in (0, 1)]
    stored = marco.tensors()
    found = matcher.transfer(*images, stored["keypoints"].numpy())
    assert np.abs(found.keypoints1 - stored["predicted"].numpy()).max() <= 1e-2
    assert matcher.config.post_processor.backbone_digest


def test_the_published_size_and_the_size_that_is_asked_for(tmp_path, backbone):
    torch.save(state(), tmp_path / "marco.pth")
    convert(tmp_path / "marco.pth", tmp_path / "a", backbone)
    config = json.loads((tmp_path / "a" / "config.json").read_text())["matcher"]
    assert config["backbone"]["side"] == 770 and config["temperature"] == 10
    assert config["suppression_sigma"] == 7 and config["coordinates"] == "corners"
    convert(tmp_path / "marco.pth", tmp_path / "b", [backbone], size=56)
    assert Matcher.from_pretrained(tmp_path / "b").backbone.canvas_size == 56


@pytest.mark.parametrize(
    ("changed", "options", "message"),
    [
        ({}, {"weights": None}, "weights: expected the folder or hub name of the DINO backbone"),
        ({}, {"weights": ["a", "b"]}, "weights: expected the folder or hub name"),
        ({"channels": 32}, {}, "weights: expected a backbone of 32 channels, got .*, which has 16"),
        ({"blocks": (1, 3)}, {}, "weights: expected a backbone of 4 blocks or more.*which has 3"),
        ({"blocks": ()}, {}, "checkpoint: expected MARCO's adapters, got .*x.pth without any"),
        ({"stages": 0}, {}, r"checkpoint: expected MARCO's upsamplers \(upscale"),
        ({}, {"size": 60}, "size: expected a multiple of 14, got 60"),
        ({}, {"size": 0}, "size: expected a multiple of 14, got 0"),
        ({"without": "upscale.1.norm.bias"}, {}, "got none called upscale.1.norm.bias"),
        ({"without": "dino.blocks.2.adapter.up_proj.bias"}, {}, "none called up_proj.bias"),
        ({"also": "dino.blocks.1.mlp.fc1.weight"}, {}, "with dino.blocks.1.mlp.fc1.weight"),
        ({"also": "head.weight"}, {}, "with head.weight"),
        ({"also": "upscale.0.conv9.weight"}, {}, "got one called upscale.0.conv9.weight"),
        (
            {"also": "dino.blocks.1.adapter.down_proj.weight"},
            {},
            r"blocks.1.adapter.down_proj.weight of shape \(4, 16\) in .*, got \(2,\)",
        ),
        ({"also": "upscale.7.norm.bias"}, {}, "expected upscale.7.conv1.weight in .*, got none"),
    ],
)
def test_checkpoints_and_backbones_that_do_not_fit(tmp_path, backbone, changed, options, message):
    sizes = {n: v for n, v in changed.items() if n in ("channels", "blocks", "stages")}
    if changed.get("stages") == 0:
        made = {n: w for n, w in state().items() if not n.startswith("upscale")}
    else:
        made = state(**sizes)
    made.pop(changed.get("without"), None)
    if "also" in changed:
        made[changed["also"]] = torch.zeros(2)
    torch.save({"model": made}, tmp_path / "x.pth")
    with pytest.raises(HomologError, match=message) as error:
        convert(tmp_path / "x.pth", tmp_path / "model", **{"weights": backbone, **options})
    assert "\n" not in str(error.value) and not (tmp_path / "model").exists()


def test_a_backbone_of_another_size_is_refused_when_the_model_is_loaded(tmp_path, backbone):
    torch.save(state(channels=32), tmp_path / "marco.pth")
    convert(tmp_path / "marco.pth", tmp_path / "model", "nobody/unknown", size=56)
    with pytest.raises(HomologError, match=r"expected blocks.0.adapter.\S+ of shape \(.*16.*\)"):
        Matcher.from_pretrained(tmp_path / "model", weights=backbone)


def test_what_only_one_kind_of_checkpoint_takes(tmp_path):
    from homolog.networks.post_processor import PostProcessor

    torch.save(PostProcessor((64, 96), 128).state_dict(), tmp_path / "head.pth")
    for option, value in (("weights", ["a"]), ("size", 420)):
        with pytest.raises(HomologError, match=f"{option}: expected none, for the backbone of"):
            convert(tmp_path / "head.pth", tmp_path / "model", **{option: value})
    torch.save(PostProcessor((640, 1280, 1280), 128).state_dict(), tmp_path / "sd.pth")
    with pytest.raises(HomologError, match="size: expected none, for it is for a single DINO"):
        convert(tmp_path / "sd.pth", tmp_path / "model", size=420)
    torch.save(PostProcessor((768,), 128).state_dict(), tmp_path / "diy.pth")
    convert(tmp_path / "diy.pth", tmp_path / "model", ["here/there"], 420)
    config = json.loads((tmp_path / "model" / "config.json").read_text())["matcher"]["backbone"]
    assert (config["model"], config["side"]) == ("here/there", 420)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves one file, and counts how often it is asked for."""

    content, asked, cut = b"", 0, False

    def do_GET(self):
        type(self).asked += 1
        self.send_response(200 if self.path.endswith(".pth") else 404)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2] if self.cut else self.content)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(content):
    handler = type("Handler", (Server,), {"content": content})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}/marco.pth"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "hub" / "homolog"


@pytest.fixture
def released(monkeypatch, tmp_path):
    """Gives the preset `marco` another release, for a small backbone."""
    torch.save({"model": state()}, tmp_path / "marco.pth")

    def change(**values):
        release = Release("MARCO's adapters and upsamplers", "http://127.0.0.1:9/marco.pth")
        presets = registry.FAMILIES["dino"].presets
        preset = dataclasses.replace(
            presets["marco"],
            release=dataclasses.replace(release, **values),
            matcher=f"{__name__}:small_marco",
        )
        family = dataclasses.replace(
            registry.FAMILIES["dino"], presets={**presets, "marco": preset}
        )
        monkeypatch.setitem(registry.FAMILIES, "dino", family)

    return change


def small_marco():
    from homolog.backbones import DinoConfig, TuningConfig
    from homolog.presets import marco as as_marco

    tuning = TuningConfig((0, 2), rank=None, bottleneck=4)
    return as_marco(DinoConfig("somebody/small", 56), tuning)


def test_a_release_is_fetched_once_and_shown(hub, released, tmp_path, backbone):
    content = (tmp_path / "marco.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with served(content) as (handler, url):
        released(url=url, size=len(content), sha256=digest)
        with pytest.warns(UserWarning, match=f"{len(content):,} bytes, SHA-256 {digest}"):
            matcher = Matcher.from_pretrained("marco", weights=backbone)
        assert (hub / "marco" / "marco.pth").read_bytes() == content
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Matcher.from_pretrained("marco", weights=backbone)
        assert handler.asked == 1
    # The same as a model folder that is converted from the file.
    convert(tmp_path / "marco.pth", tmp_path / "model", backbone, 56)
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    converted = Matcher.from_pretrained(tmp_path / "model")
    assert matcher.config == converted.config
    assert matcher.extract(image).descriptors.equal(converted.extract(image).descriptors)


def test_releases_that_are_cut_short_or_others(hub, released, tmp_path):
    content = (tmp_path / "marco.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with served(content) as (handler, url):
        for values, message in (
            ({"sha256": "0" * 64}, f"expected SHA-256 {'0' * 64}, got {digest}, from http"),
            ({"size": 9}, "expected 9 bytes, got"),
        ):
            released(url=url, **values)
            with pytest.raises(HomologError, match=message):
                Matcher.from_pretrained("marco")
            assert not list(hub.rglob("*.pth"))
        handler.cut = True
        released(url=url)
        with pytest.raises(HomologError, match=r"cannot be fetched.*try putting http.*hf download"):
            Matcher.from_pretrained("marco")
        assert not list(hub.rglob("*.pth"))
    place = hub / "marco" / "marco.pth"
    place.write_bytes(content[:-9])
    released(size=len(content))
    with pytest.raises(HomologError, match=rf"got {len(content) - 9:,}, in .*try removing it"):
        Matcher.from_pretrained("marco")
    released()
    with pytest.raises(HomologError, match="expected a file of weights alone"):
        Matcher.from_pretrained("marco")


@pytest.mark.skipif(not DIY_SC.is_file(), reason=f"{DIY_SC} is not there")
def test_the_head_of_diy_sc_in_its_place(hub, tmp_path, released):
    """The file at hand is the pinned one; in another's place it is refused by name."""
    release = registry.release_of("diy-sc")
    place = release.path("diy-sc")
    place.parent.mkdir(parents=True)
    shutil.copy(DIY_SC, place)
    assert fetch(release, "diy-sc", PRESETS["diy-sc"]().backbone) == place
    assert recognise(place).network.feature_dims == (768,)
    folder = str(save_dino(tmp_path / "dinov2", "dinov2", layers=1, width=768))
    matcher = Matcher.from_pretrained("diy-sc", weights=folder)
    config = matcher.config
    assert (config.backbone.canvas_size, config.backbone.pos_embed_mode) == (840, "published")
    assert config.window == 7 and config.post_processor.trained_on == "pseudo-labels"
    released()
    (hub / "marco").mkdir()
    shutil.copy(DIY_SC, hub / "marco" / "marco.pth")
    with pytest.raises(
        HomologError, match=r"expected MARCO's adapters and upsamplers in .*, got post"
    ):
        Matcher.from_pretrained("marco")


def test_without_a_network_one_line_says_which_files_to_put_where(hub, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    image = "nowhere.png"
    for preset, file, backbone in (
        ("marco", "marco_release.pth", "facebook/dinov2-with-registers-large"),
        ("diy-sc", "best.pth", "facebook/dinov2-base"),
        ("diy-sc-sd15", "best.pth", "stable-diffusion-v1-5"),
    ):
        status, out, err = run(capsys, "match", image, image, "--model", preset)
        assert (status, out) == (2, "") and err.count("\n") == 1
        assert str(hub / preset / file) in err and f"hf download {backbone}" in err
        assert registry.release_of(preset).url in err
    assert not hub.exists()


def test_presets_say_what_they_need_and_reach(capsys):
    status, out, _ = run(capsys, "backbones")
    assert status == 0
    for name, words in (
        ("marco", ("1.2 GB", "Apache-2.0", "87.2 / 77.6 / 27.0", "220 x 220 x 1024")),
        ("diy-sc", ("2.5 MB", "CC0-1.0", "71.3 / 51.4 / 9.1")),
        ("diy-sc-sd15", ("4.3 GB", "71.6 / 53.8 / 10.1")),
    ):
        (line,) = (line for line in out.splitlines() if f" {name} " in line)
        assert all(word in line for word in words), line
    published = json.loads(
        (Path(registry.__file__).parents[1] / "assets" / "published_results.json").read_text()
    )["methods"]
    known = [each["results"].get("SPair-71k test", {}) for each in published]
    figures = {
        tuple(each.get(f"pck@{alpha}") for alpha in ("0.10", "0.05", "0.01")) for each in known
    }
    for family in registry.FAMILIES.values():
        for preset in family.presets.values():
            if preset.reaches:
                own = tuple(float(value) for value in preset.reaches.split(" / "))
                assert any(own == found[: len(own)] for found in figures), preset.reaches
