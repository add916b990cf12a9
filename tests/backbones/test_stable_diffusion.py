"""Stable Diffusion as a backbone, against a run of the UNet's blocks written out here."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.foundation import save_dino, save_stable_diffusion, small_unet
from helpers.toys import random_image

from homolog import HomologError, Matcher
from homolog.backbones import DinoConfig, FreeUConfig, FusedConfig, StableDiffusionConfig, create
from homolog.backbones.stable_diffusion import StableDiffusionBackbone, free_u
from homolog.presets import PRESETS, zero_shot

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
CPU, SIDE = torch.device("cpu"), 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_stable_diffusion(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="module")
def canvases():
    images = [np.array(random_image(SIDE, SIDE, seed)) for seed in range(3)]
    return torch.from_numpy(np.stack(images))


def release_filter(joined, factor):
    """FreeU's filter as its release describes it: centred spectrum, a square of radius 1."""
    spectrum = torch.fft.fftshift(torch.fft.fft2(joined), dim=(-2, -1))
    row, column = joined.shape[2] // 2, joined.shape[3] // 2
    mask = torch.ones_like(joined)
    mask[..., row - 1 : row + 1, column - 1 : column + 1] = factor
    return torch.fft.ifft2(torch.fft.ifftshift(spectrum * mask, dim=(-2, -1))).real


def step_by_step(unet, latents, timestep, text, freeu):
    """The decoder's hidden states entering each third residual block: no hooks, block by block."""
    embedded = unet.time_embedding(
        unet.time_proj(torch.tensor([timestep])).expand(len(latents), -1)
    )
    state = unet.conv_in(latents)
    skips = [state]
    for block in unet.down_blocks:
        given = {"encoder_hidden_states": text} if hasattr(block, "attentions") else {}
        state, more = block(state, embedded, **given)
        skips += more
    state = unet.mid_block(state, embedded, encoder_hidden_states=text)
    widest, maps = max(unet.config.block_out_channels), []
    for block in unet.up_blocks[:3]:
        attentions = getattr(block, "attentions", [None] * 3)
        for number, (resnet, attention) in enumerate(zip(block.resnets, attentions, strict=True)):
            skip = skips.pop()
            if freeu is not None and state.shape[1] in (widest, widest // 2):
                wide = state.shape[1] == widest
                backbone, low = (freeu.b1, freeu.s1) if wide else (freeu.b2, freeu.s2)
                state = torch.cat([state[:, : state.shape[1] // 2] * backbone,
                                   state[:, state.shape[1] // 2 :]], 1)  # fmt: skip
                skip = release_filter(skip, low)
            if number == 2:
                maps.append(state)
            state = resnet(torch.cat([state, skip], 1), embedded)
            if attention is not None:
                state = attention(state, encoder_hidden_states=text, return_dict=False)[0]
        state = block.upsamplers[0](state)
    return maps[::-1]


@pytest.mark.parametrize("freeu", [None, FreeUConfig()])
@torch.no_grad()
def test_maps_are_those_of_the_blocks_one_by_one(folder, canvases, freeu):
    config = StableDiffusionConfig(folder, canvas_size=SIDE, freeu=freeu, prompt="a cat")
    backbone = create(config, CPU)
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").eval()
    encoder = transformers.CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    tokens = tokenizer("a cat", padding="max_length", return_tensors="pt").input_ids
    assert tokens.shape == (1, 8)
    images = canvases.permute(0, 3, 1, 2) / 127.5 - 1
    moments = vae.quant_conv(vae.encoder(images))
    latents = moments[:, :4] * vae.config.scaling_factor  # the posterior's mean
    torch.testing.assert_close(backbone.latents(images), latents)
    # Noise for timestep 50, from the schedule's own definition.
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    kept = (1 - betas).cumprod(0)[50]
    noise = torch.randn(1, 4, 64, 64, generator=torch.Generator().manual_seed(42))
    noise = F.interpolate(noise, size=(16, 16), mode="bicubic")
    noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
    text = encoder(tokens).last_hidden_state.expand(3, -1, -1)
    expected = step_by_step(unet, noisy, 50, text, freeu)
    found = backbone(canvases)
    assert [tuple(x.shape[1:]) for x in found] == [(16, 8, 8), (32, 4, 4), (32, 2, 2)]
    assert [grid.shape for grid in backbone.grids] == [(8, 8), (4, 4), (2, 2)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_free_u_changes_what_it_should():
    torch.manual_seed(0)
    config = FreeUConfig()
    for hidden, backbone, low in ((32, 1.2, 0.9), (16, 1.4, 0.2)):
        joined = torch.randn(2, hidden + 6, 5, 8)
        found = free_u(joined, hidden, 32, config)
        half = hidden // 2
        assert found[:, :half].equal(joined[:, :half] * backbone)
        assert found[:, half:hidden].equal(joined[:, half:hidden])
        torch.testing.assert_close(found[:, hidden:], release_filter(joined[:, hidden:], low))
    other = torch.randn(1, 14, 4, 4)
    assert free_u(other, 8, 32, config) is other


@torch.no_grad()
def test_free_u_by_channels_is_not_diffusers_own_switch():
    """That goes by stage: the second stage's first block has the widest state, too."""
    torch.manual_seed(0)
    unet, latents, text = small_unet(), torch.randn(1, 4, 16, 16), torch.randn(1, 8, 12)
    ours = step_by_step(unet, latents, 50, text, FreeUConfig())
    caught = []
    handle = (
        unet.up_blocks[2]
        .resnets[2]
        .register_forward_pre_hook(lambda _, given: caught.append(given[0][:, :16]))
    )
    unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    unet(latents, 50, encoder_hidden_states=text)
    handle.remove()
    assert (caught[0] - ours[0]).abs().max() > 1e-3


def test_the_same_again_and_in_batches(folder, canvases):
    backbone = create(StableDiffusionConfig(folder, canvas_size=SIDE), CPU)
    all_at_once, again = backbone(canvases), backbone(canvases)
    assert all(a.equal(b) for a, b in zip(all_at_once, again, strict=True))
    other = create(StableDiffusionConfig(folder, canvas_size=SIDE), CPU)(canvases)
    assert all(a.equal(b) for a, b in zip(all_at_once, other, strict=True))
    one = backbone(canvases[1:2])
    for a, b in zip(all_at_once, one, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-4)


def test_timesteps_and_draws_are_averaged(folder, canvases):
    config = StableDiffusionConfig(folder, canvas_size=SIDE)
    maps = {
        t: create(dataclasses.replace(config, timesteps=t), CPU)(canvases)
        for t in ((50,), (200,), (50, 200))
    }
    for a, b, both in zip(maps[50,], maps[200,], maps[50, 200], strict=True):
        torch.testing.assert_close((a + b) / 2, both)
    several = create(dataclasses.replace(config, ensemble=3), CPU)(canvases)
    assert not several[0].equal(maps[50,][0])
    clean = create(dataclasses.replace(config, noise=False, ensemble=1), CPU)(canvases)
    assert not clean[0].equal(maps[50,][0])


def test_another_unet_and_slices(folder, canvases, tmp_path):
    plain = create(StableDiffusionConfig(folder, canvas_size=SIDE), CPU)(canvases)
    sliced = create(StableDiffusionConfig(folder, canvas_size=SIDE, slicing=True), CPU)(canvases)
    for a, b in zip(plain, sliced, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    torch.manual_seed(5)
    other = small_unet()
    other.save_pretrained(tmp_path / "unet")
    config = StableDiffusionConfig(folder, canvas_size=SIDE, unet=str(tmp_path / "unet"))
    by_folder = create(config, CPU)(canvases)
    file = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    by_file = create(dataclasses.replace(config, unet=str(file)), CPU)(canvases)
    assert by_folder[0].equal(by_file[0]) and not by_folder[0].equal(plain[0])
    with pytest.raises(HomologError, match="unet: cannot read"):
        create(dataclasses.replace(config, unet="no.safetensors"), CPU)


def test_a_pickle_is_not_loaded(folder, tmp_path):
    import shutil

    copy = tmp_path / "sd"
    shutil.copytree(folder, copy)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    torch.save({}, copy / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(HomologError, match=r"expected unet of .*, got none"):
        create(StableDiffusionConfig(str(copy), canvas_size=SIDE), CPU)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"canvas_size": 100}, "canvas_size: expected a multiple of 64, got 100"),
        ({"timesteps": (1000,)}, "timesteps: expected numbers from 0 to 999, got [1000]"),
        ({"ensemble": 0}, "ensemble: expected at least 1, got 0"),
    ],
)
def test_settings_that_do_not_fit(folder, changes, reason):
    config = dataclasses.replace(StableDiffusionConfig(folder, canvas_size=SIDE), **changes)
    with pytest.raises(HomologError, match=reason.replace("[", r"\[")):
        create(config, CPU)


def test_shapes_at_the_real_size():
    """Without computing: 60, 30 and 15 cells, 640, 1280 and 1280 channels."""
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(
            block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, sample_size=64
        )
        vae = diffusers.AutoencoderKL(
            block_out_channels=(128, 256, 512, 512), layers_per_block=2, sample_size=512,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        )  # fmt: skip
        text = torch.empty(1, 77, 768)
    scheduler = diffusers.DDPMScheduler()
    config = StableDiffusionConfig("x", noise=False, freeu=None)
    backbone = StableDiffusionBackbone(vae.eval(), unet.eval(), scheduler, lambda _: text, config)
    found = backbone(torch.empty(1, 960, 960, 3, dtype=torch.uint8, device="meta"))
    assert [tuple(x.shape[1:]) for x in found] == [(640, 60, 60), (1280, 30, 30), (1280, 15, 15)]


def fused(folder, dino, size=SIDE):
    parts = (
        StableDiffusionConfig(folder, canvas_size=size),
        DinoConfig(dino, 112, pos_embed_mode="published"),
    )
    return FusedConfig(parts)


def test_parts_side_by_side(folder, canvases, tmp_path):
    """The maps of each by itself, the smaller on a canvas reduced as Pillow would."""
    dino = str(save_dino(tmp_path / "dino", "dinov2"))
    config = fused(folder, dino)
    backbone = create(config, CPU)
    found = backbone(canvases)
    alone = create(config.parts[0], CPU)(canvases)
    assert all(a.equal(b) for a, b in zip(found[:3], alone, strict=True))
    from PIL import Image

    reduced = [
        np.array(Image.fromarray(c.numpy()).resize((112, 112), Image.Resampling.BILINEAR))
        for c in canvases
    ]
    (expected,) = create(config.parts[1], CPU)(torch.from_numpy(np.stack(reduced)))
    cosine = F.cosine_similarity(found[3], expected, dim=1)
    assert cosine.min() > 0.99
    assert backbone.canvas_size == SIDE and backbone.grid.shape == (8, 8)
    assert backbone.grid.stride == 16 and backbone.grid.origin == 8


def test_the_published_system_the_whole_way(folder, tmp_path):
    """Descriptors are the parts normalised by themselves, then together; a post-processor trained
    on them is loaded again; the parts are found by the folder alone."""
    from helpers import toy_training

    from homolog import evaluation, training

    dino = str(save_dino(tmp_path / "dino", "dinov2"))
    config = dataclasses.replace(zero_shot(fused(folder, dino), (0, 1, 2), (3,)), window=2)
    matcher = Matcher(create(config.backbone, CPU), config)
    data = toy_training.toy_data(tmp_path / "images", 3)
    descriptors = matcher.extract(data.annotations[0].path).descriptors
    assert descriptors.shape == (8, 8, 16 + 32 + 32 + 16)
    for part in (descriptors[..., :80], descriptors[..., 80:]):
        lengths = torch.linalg.vector_norm(part, dim=-1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.5**0.5))
    predictions = evaluation.predict(matcher, data, tmp_path / "evaluation")
    assert len(predictions.read_text().splitlines()) == len(data.pairs)
    run = dataclasses.replace(toy_training.PUBLISHED, steps=2)
    trained = Matcher.from_pretrained(str(training.train(data, tmp_path / "run", matcher, run)))
    assert trained.config.backbone == config.backbone
    paths = [annotation.path for annotation in data.annotations]
    assert trained.transfer(*paths[:2], [(40, 40)]).keypoints1.shape == (1, 2)


def test_presets_take_weights_from_folders(folder, tmp_path, monkeypatch):
    """The published system in one line, from folders; a converted checkpoint goes with it."""
    dino = str(save_dino(tmp_path / "dino", "dinov2"))
    small = {"sd15+dinov2-base": lambda: zero_shot(fused("x", "y"), (0, 1, 2), (3,))}
    monkeypatch.setattr("homolog.model.PRESETS", {**PRESETS, **small})
    matcher = Matcher.from_pretrained(
        "sd15+dinov2-base", weights=[folder, dino], prompt="a cat", device="cpu"
    )
    assert [part.model for part in matcher.config.backbone.parts] == [folder, dino]
    assert matcher.config.backbone.parts[0].prompt == "a cat"
    empty = Matcher.from_pretrained("sd15+dinov2-base", weights=[folder, dino], device="cpu")
    image = random_image(64, 64)
    assert not matcher.extract(image).descriptors.equal(empty.extract(image).descriptors)
    for options, reason in (
        ({"weights": folder}, "weights: expected 2, in place of x, y, got 1"),
        ({"weights": ["no-folder", dino]}, "expected a folder or .*, got no-folder"),
    ):
        with pytest.raises(HomologError, match=reason):
            Matcher.from_pretrained("sd15+dinov2-base", **options)
    with pytest.raises(HomologError, match="prompt: expected none, for only Stable Diffusion"):
        Matcher.from_pretrained("dinov2-base", prompt="a cat")
    with pytest.raises(HomologError, match="brings its own"):
        Matcher.from_pretrained("embedded", weights="x")


def test_a_published_checkpoint_assembles_the_published_system(folder, tmp_path):
    """Widths say which backbones: the folder needs their weights only."""
    from homolog import PostProcessor
    from homolog.checkpoints import load
    from homolog.published import convert

    torch.manual_seed(0)
    torch.save(PostProcessor((640, 1280, 1280, 768), 128).state_dict(), tmp_path / "official.pth")
    convert(tmp_path / "official.pth", tmp_path / "model")
    config, network = load(str(tmp_path / "model"), CPU)
    assert config.backbone == PRESETS["sd15+dinov2-base"]().backbone
    assert config.window == 7 and config.post_processor.input == "maps"
    assert network.feature_dims == (640, 1280, 1280, 768)


def test_a_prompt_may_name_the_category(folder, tmp_path):
    """The same as the prompt written out, wherever the category is known; said where it is not."""
    from helpers import toy_training

    from homolog import evaluation, training
    from homolog.features import FeatureCache

    dino = str(save_dino(tmp_path / "dino", "dinov2"))
    config = zero_shot(fused(folder, dino), (0, 1, 2), (3,))
    cache = FeatureCache(tmp_path / "cache")

    def with_prompt(prompt, cache=None):
        prompted = config.with_weights(None, prompt)
        return Matcher(create(prompted.backbone, CPU), prompted, cache=cache)

    by_category, cat = with_prompt("{category}"), with_prompt("cat")
    image = random_image(64, 64)
    features = by_category.extract(image, category="cat")
    assert features.category == "cat"
    assert features.descriptors.equal(cat.extract(image).descriptors)
    assert not features.descriptors.equal(by_category.extract(image, category="a").descriptors)
    with pytest.raises(HomologError, match=r"prompt: expected the image's category .*, got none"):
        by_category.extract(image)
    with pytest.raises(HomologError, match=r"prompt: expected .* but \{category\}, got \{kind\}"):
        config.with_weights(None, "{kind}")

    data = toy_training.toy_data(tmp_path / "images", 3)
    (name,) = data.schemas
    written = with_prompt(name, cache)
    expected = evaluation.predict(written, data, tmp_path / "written").read_bytes()
    stored = len(list(cache.files()))
    assert stored > 0
    by_category = with_prompt("{category}", cache)
    assert evaluation.predict(by_category, data, tmp_path / "by").read_bytes() == expected
    run = dataclasses.replace(toy_training.PUBLISHED, steps=1, variants=None)
    training.train(data, tmp_path / "run", by_category, run)
    assert len(list(cache.files())) == stored  # all were found there


def test_half_precision_is_near(folder, canvases):
    single = create(StableDiffusionConfig(folder, canvas_size=SIDE), CPU)(canvases)
    config = StableDiffusionConfig(folder, canvas_size=SIDE, precision="bfloat16")
    half = create(config, CPU)(canvases)
    for a, b in zip(single, half, strict=True):
        assert b.dtype == torch.float32 and not a.equal(b)
        assert F.cosine_similarity(a.flatten(1), b.flatten(1)).min() > 0.99


def test_a_unet_in_place_of_another_has_weights_of_its_own():
    config = PRESETS["cleandift+dinov2-base"]().with_weights(["a", "b.safetensors", "c"], None)
    unet, dino = config.backbone.parts
    assert (unet.model, unet.unet, dino.model) == ("a", "b.safetensors", "c")
