"""The feature cache: a budget, broken files, several processes, and its commands."""

import multiprocessing
import time

import pytest
import safetensors.torch
import torch
from helpers.command import run
from helpers.toys import ColourBackbone, random_image

from homolog import HomologError, Matcher
from homolog.features import FeatureCache
from homolog.utils import progress

CPU = torch.device("cpu")


def maps(value: float) -> list[torch.Tensor]:
    return [torch.full((1, 4, 8, 8), value), torch.full((1, 2, 3, 3), -value)]


def fill(cache: FeatureCache, image: bytes, made: list[bytes] | None = None, by="backbone"):
    def make():
        if made is not None:
            made.append(image)
        return maps(float(len(image)))

    return cache.get_or_compute(image, by, CPU, make)


def test_what_is_kept_is_not_made_again(tmp_path):
    cache, made = FeatureCache(tmp_path / "cache"), []
    first, again = fill(cache, b"one", made), fill(cache, b"one", made)
    assert made == [b"one"] and all(a.equal(b) for a, b in zip(first, again, strict=True))
    assert first[0].dtype == torch.float32 and first[0].shape == (1, 4, 8, 8)
    fill(cache, b"one", made, by="another backbone")
    fill(cache, b"two", made)
    assert made == [b"one", b"one", b"two"], "nothing is taken for something else"


def test_maps_are_rounded_the_same_whether_kept_or_made(tmp_path):
    cache = FeatureCache(tmp_path)
    third = [torch.full((1, 1, 2, 2), 1 / 3)]
    made = cache.get_or_compute(b"x", "b", CPU, lambda: third)
    assert made[0].equal(cache.get_or_compute(b"x", "b", CPU, lambda: third)[0])
    assert made[0].equal(third[0].half().float())


def test_the_budget_is_kept_and_the_last_used_stays(tmp_path):
    one = FeatureCache(tmp_path / "one")
    fill(one, b"x")
    size = one.size()
    cache, made = FeatureCache(tmp_path / "cache", budget=3 * size), []
    for image in (b"a", b"b", b"c"):
        fill(cache, image, made)
        time.sleep(0.02)
    fill(cache, b"a", made)  # used again
    time.sleep(0.02)
    fill(cache, b"d", made)
    assert cache.size() <= 3 * size
    fill(cache, b"a", made)
    fill(cache, b"d", made)
    assert made == [b"a", b"b", b"c", b"d"], "b gave way, not a"
    fill(cache, b"b", made)
    assert made[-1] == b"b"
    assert FeatureCache(tmp_path / "cache", budget=3 * size)._used == cache.size()


def test_damaged_files_are_found_and_computed_again(tmp_path, caplog):
    cache, made = FeatureCache(tmp_path), []
    whole = fill(cache, b"x", made)
    (file,) = cache.files()
    for content in (b"", file.read_bytes()[:100], b"junk" * 100):
        file.write_bytes(content)
        assert cache.check() == [file]
        remade = fill(cache, b"x", made)
        assert all(a.equal(b) for a, b in zip(whole, remade, strict=True))
        assert cache.check() == []
    assert len(made) == 4
    assert [record.getMessage() for record in caplog.records] == [
        f"{file} is damaged; its feature maps are computed again"
    ] * 3


def _work(folder, barrier):
    cache = FeatureCache(folder, budget=100_000)
    barrier.wait()
    for index in range(40):
        found = fill(cache, bytes(index))
        assert found[0].eq(index).all()


def test_several_processes_share_a_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    workers = [context.Process(target=_work, args=(tmp_path, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = FeatureCache(tmp_path)
    assert cache.check() == []
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "no half-written file"


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(HomologError, match="cache: cannot make"):
        FeatureCache(tmp_path / "cache")


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    cache = FeatureCache(tmp_path)
    fill(cache, b"x")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("homolog.utils.outputs.tempfile.NamedTemporaryFile", full)
    with pytest.raises(HomologError, match=r"cache: cannot write .*No space left"):
        fill(cache, b"y")
    assert len(list(cache.files())) == 1 and cache.check() == []


def test_commands(capsys, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.setattr(progress, "_PATIENCE", 3600)
    backbone = ColourBackbone()
    monkeypatch.setattr(
        Matcher, "from_pretrained", lambda *_, **__: Matcher(backbone, colour_matcher.config)
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for index, name in enumerate(("folder/a.png", "folder/below/b.jpg", "c.png")):
        random_image(40, 30, index).save(tmp_path / name)
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    build = ("features", "build", "folder", "c.png", "folder", "--cache", "cache")
    status, out, err = run(capsys, *build, "--poses", "flip")
    assert status == 0 and "3 images, 2 poses" in out, err
    assert backbone.seen == 6 and len(list(FeatureCache("cache").files())) == 6
    run(capsys, *build, "--poses", "flip")
    assert backbone.seen == 6
    status, out, _ = run(capsys, "features", "check", "cache")
    assert status == 0 and out.startswith("6 files")
    broken = next(FeatureCache("cache").files())
    broken.write_bytes(b"")
    status, out, err = run(capsys, "features", "check", "cache")
    assert status == 1 and broken.name in out and err == "1 broken\n"
    status, out, _ = run(capsys, "features", "clear", "cache")
    assert status == 0 and out == "6 files removed\n" and not list(FeatureCache("cache").files())
    for arguments, reason in (
        (("build", "nowhere", "--cache", "cache"), "expected a file or folder, got nowhere"),
        (("build", "--cache", "cache"), ", got none"),
        (("build", "cache", "--cache", "cache"), ", got none"),
        (("check", "nowhere"), "expected a folder, got nowhere"),
    ):
        status, _, err = run(capsys, "features", *arguments)
        assert status == 2 and reason in err and err.count("\n") == 1


@pytest.mark.parametrize("form", ["int8", "compact"])
def test_smaller_forms_are_smaller_and_near(tmp_path, form):
    """Eight bits err by at most half a level; components lose only what they leave out."""
    torch.manual_seed(0)
    mixing = torch.randn(4, 16)  # maps of 16 channels that vary along 4
    images = [torch.einsum("bkhw,kc->bchw", torch.randn(1, 4, 9, 9), mixing) for _ in range(5)]
    half, small = FeatureCache(tmp_path / "half"), FeatureCache(tmp_path / form, codec=form)
    assert small.fitted == (form == "int8")
    if form == "compact":
        with pytest.raises(HomologError, match="cache: expected principal components"):
            small.get_or_compute(b"x", "b", CPU, lambda: images[:1])
        small.fit([[features] for features in images])
    for index, features in enumerate(images):
        for cache in (half, small):
            name = bytes([index])
            made = cache.get_or_compute(name, "b", CPU, lambda features=features: [features])
            assert made[0].equal(cache.get_or_compute(name, "b", CPU, lambda: 1 / 0)[0])
        level = features.abs().amax((2, 3), keepdim=True) / 127
        limit = level if form == "int8" else level.amax() * 4
        assert ((made[0] - features).abs() <= limit).all()
    assert small.size() < (0.75 if form == "int8" else 0.5) * half.size()
    again = FeatureCache(tmp_path / form)
    assert again.codec == form and again.fitted and again.check() == []
    assert again.get_or_compute(b"\x00", "b", CPU, lambda: 1 / 0)[0].shape == (1, 16, 9, 9)
    with pytest.raises(HomologError, match=f"to have the form half, got {form}"):
        FeatureCache(tmp_path / form, codec="half")


def test_building_a_compact_cache(capsys, tmp_path, monkeypatch, colour_matcher):
    monkeypatch.setattr(
        Matcher,
        "from_pretrained",
        lambda *_, **__: Matcher(ColourBackbone(), colour_matcher.config),
    )
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        random_image(40, 30, index).save(tmp_path / f"{index}.png")
    build = ("features", "build", "0.png", "1.png", "2.png", "--cache", "cache")
    status, out, err = run(capsys, *build, "--form", "compact")
    assert status == 0 and "3 images" in out
    assert FeatureCache("cache").codec == "compact" and FeatureCache("cache").check() == []
    status, _, err = run(capsys, *build, "--form", "int8")
    assert status == 2 and "to have the form int8, got compact" in err


@pytest.mark.parametrize("form", ["half", "int8", "compact"])
def test_no_flipped_byte_gives_other_numbers(tmp_path, form):
    cache = FeatureCache(tmp_path, codec=form)
    torch.manual_seed(0)
    made = [torch.rand(1, 4, 3, 3)]
    if form == "compact":
        cache.fit([made])
    good = cache.get_or_compute(b"x", "b", CPU, lambda: made)[0]
    (file,) = cache.files()
    content = file.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 2
        file.write_bytes(damaged)
        assert cache.get_or_compute(b"x", "b", CPU, lambda: made)[0].equal(good), position
    if form == "compact":
        components = tmp_path / "components.safetensors"
        content = bytearray(components.read_bytes())
        content[-1] ^= 2
        components.write_bytes(content)
        with pytest.raises(HomologError, match="cache: expected principal components"):
            FeatureCache(tmp_path).get_or_compute(b"x", "b", CPU, lambda: made)


def test_files_without_a_checksum_are_read_if_they_are_maps(tmp_path):
    """As they were written before there were checksums."""
    cache, made = FeatureCache(tmp_path), []
    fill(cache, b"x", made)
    (file,) = cache.files()
    maps = safetensors.torch.load(file.read_bytes())
    file.write_bytes(safetensors.torch.save(maps))
    assert cache.check() == [] and fill(cache, b"x", made)[0].equal(maps["0"].float())
    assert len(made) == 1
    for wrong in (
        {**maps, "1": torch.full((1, 2, 3, 3), torch.nan, dtype=torch.half)},
        {**maps, "1": maps["1"].view(torch.int16)},
        {**maps, "1": maps["1"].view(torch.bfloat16)},
        {**maps, "1": maps["1"][0]},
        {"1": maps["1"]},
        {},
    ):
        file.write_bytes(safetensors.torch.save(wrong))
        assert cache.check() == [file]
        assert fill(cache, b"x", made)[0].equal(maps["0"].float())
    assert len(made) == 7
