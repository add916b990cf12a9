"""The image store: what it keeps is what the matcher extracts, whatever happens to its files."""

import gc
import math
import multiprocessing
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.toy_adaptation import CHANNELS, cuts, save_images, toy_store
from helpers.toy_training import toy_matcher
from helpers.toys import random_image
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from homolog import HomologError, example
from homolog.image.poses import FLIP, IDENTITY, PoseVariant
from homolog.training.adaptation import store as stores
from homolog.training.adaptation.store import ImageStore, spread
from homolog.training.augmentation import FLIPPED, UNCHANGED, PoseView, RandomAffineView
from homolog.training.distributed import Process
from homolog.utils.tensor_files import tensor_bytes

ROTATED = RandomAffineView(True, 25.0, 1.1, (0.05, -0.1), (1.1, 0.9, 1.2), (1.0, 1.05, 0.95))
HALF = 2e-3  # of numbers up to 1 in half precision, summed over the channels


def contents(store):
    return {path.name: path.read_bytes() for path in store.folder.iterdir()}


@pytest.mark.parametrize("pose", [IDENTITY, FLIP, PoseVariant(rotation=90), PoseVariant(True, 30)])
def test_with_all_components_descriptors_are_the_extractors_to_half_precision(tmp_path, pose):
    store = toy_store(tmp_path, [random_image(120, 80, 0), random_image(60, 96, 1)], 1000)
    assert store.basis_CK.shape == (CHANNELS, CHANNELS)
    for index, path in enumerate(store.paths):
        expected = store.matcher.descriptor_map(path, pose)
        view = store.view(index, PoseView(pose))
        # In the black around the image, which has no gradient, the toy's are shorter.
        descriptors = F.normalize(expected.descriptors_HWC, dim=-1)
        torch.testing.assert_close(store.zero_shot(view), descriptors, rtol=0, atol=HALF)
        assert view.components_HWK.dtype == torch.float16
        assert torch.equal(view.valid_HW, expected.valid_HW)
        torch.testing.assert_close(view.saliency_HW, expected.saliency_HW)
        assert view.size == ((120, 80), (60, 96))[index]


def test_fewer_components_are_the_projection_onto_the_first_ones(tmp_path):
    images = [random_image(96, 96, seed) for seed in range(3)]
    store = toy_store(tmp_path, images, 12)
    maps = [store.matcher.descriptor_map(path) for path in store.paths]
    cells = torch.cat([each.descriptors_HWC[each.valid_HW][::3] for each in maps]).double()
    _, _, directions = torch.linalg.svd(cells, full_matrices=False)
    basis = store.basis_CK.double()
    torch.testing.assert_close(basis.T @ basis, torch.eye(12).double(), rtol=0, atol=1e-5)
    # The same subspace as by a decomposition in singular values, component by component.
    agreement = (directions[:12] @ basis).abs()
    torch.testing.assert_close(agreement, torch.eye(12).double(), rtol=0, atol=1e-3)
    for index, found in enumerate(maps):
        view = store.view(index)
        projected = found.descriptors_HWC @ store.basis_CK
        torch.testing.assert_close(view.components_HWK.float(), projected, rtol=0, atol=1e-3)
        expected = F.normalize(projected @ store.basis_CK.T, dim=-1)
        torch.testing.assert_close(store.zero_shot(view), expected, rtol=0, atol=2 * HALF)


def test_a_flipped_view_is_that_of_the_mirrored_image(tmp_path):
    image = random_image(90, 60)
    store = toy_store(tmp_path, [image, ImageOps.mirror(image)])
    flipped, mirrored = store.view(0, FLIPPED), store.view(1)
    assert torch.equal(flipped.components_HWK, mirrored.components_HWK)
    assert torch.equal(flipped.saliency_HW, mirrored.saliency_HW)
    assert not torch.equal(store.view(0).components_HWK, flipped.components_HWK)


def test_a_random_view_is_that_of_its_canvas(tmp_path):
    store = toy_store(tmp_path, [random_image(90, 60)])
    view = store.view(0, ROTATED)
    image = random_image(90, 60).resize((96, 64), Image.Resampling.BILINEAR)
    canvas = ROTATED.canvas(image, store.transform(0))
    extractor = store.matcher.extractor
    maps = next(extractor.feature_maps([torch.from_numpy(np.array(canvas))]))
    expected = F.normalize(extractor.zero_shot(maps, view.valid_HW[None])[0], dim=-1)
    torch.testing.assert_close(store.zero_shot(view), expected, rtol=0, atol=HALF)


def test_the_default_models_descriptors_are_kept_by_384_components(tmp_path, matcher):
    with example.pair() as pair:
        store = ImageStore(tmp_path / "store", matcher, [pair.image0, pair.image1], 384)
        for index, path in enumerate(store.paths):
            zero_shot = matcher.with_config(sides=None, post_processor=None).descriptor_map(path)
            cosine = (store.zero_shot(store.view(index)) * zero_shot.descriptors_HWC).sum(-1)
            assert cosine[zero_shot.valid_HW].min() > 0.99
            torch.testing.assert_close(store.view(index).saliency_HW, zero_shot.saliency_HW)


def test_a_store_that_is_there_extracts_nothing_again(tmp_path):
    first = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(3)], 20)
    keys = [(index, view) for index in range(3) for view in (UNCHANGED, FLIPPED, ROTATED)]
    first.fill([*keys, *keys], "extracting")
    backbone = first.matcher.backbone
    assert backbone.seen == 3 + len(keys)  # for the components, and once for every view
    second = ImageStore(first.folder, first.matcher, first.paths, 20)
    second.fill(keys, "extracting")
    for key in keys:
        assert torch.equal(second.view(*key).components_HWK, first.view(*key).components_HWK)
        assert second.transform(key[0]) == first.transform(key[0])
    assert torch.equal(second.basis_CK, first.basis_CK)
    assert backbone.seen == 3 + len(keys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[::-1],
        lambda data: tensor_bytes({"other": torch.zeros(2)}),
    ],
    ids=["empty", "truncated", "garbled", "of something else"],
)
@pytest.mark.parametrize("which", ["view", "basis"])
def test_a_damaged_file_is_made_again(tmp_path, damage, which):
    store = toy_store(tmp_path, cuts((0, 0), (40, 40)), 20)
    expected = [store.view(index).components_HWK for index in range(2)]
    before = contents(store)
    assert len(before) == 3
    for path in store.folder.iterdir():
        if path.name.startswith("basis") == (which == "basis"):
            path.write_bytes(damage(path.read_bytes()))
    again = ImageStore(store.folder, store.matcher, store.paths, 20)
    again.fill([(0, UNCHANGED), (1, UNCHANGED)], "extracting")
    for index in range(2):
        assert torch.equal(again.view(index).components_HWK, expected[index])
    assert contents(store) == before


def test_memory_is_bounded_by_few_views(tmp_path, monkeypatch):
    probe = toy_store(tmp_path / "probe", [random_image(96, 96)]).view(0)
    monkeypatch.setattr(stores, "_CACHE_BYTES", 3 * probe.components_HWK.nbytes)
    store = toy_store(tmp_path, [random_image(96, 96, seed) for seed in range(10)])
    held = [weakref.ref(store.view(index)) for index in range(10)]
    gc.collect()
    assert [each() is not None for each in held] == [False] * 7 + [True] * 3
    assert store.view(9) is held[9]()


@settings(max_examples=25)
@given(
    mirrored=st.booleans(), angle=st.floats(-180, 180), scale=st.floats(0.6, 1.6),
    shift=st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
    point=st.tuples(st.floats(10, 170), st.floats(10, 110)), posed=st.booleans(),
)  # fmt: skip
def test_cells_in_another_view_are_where_a_spot_is_drawn(
    tmp_path_factory, mirrored, angle, scale, shift, point, posed
):
    """A white spot at the point, found again by its pixels on the canvas of the view."""
    view = (
        PoseView(PoseVariant(mirrored, angle))
        if posed
        else RandomAffineView(mirrored, angle, scale, shift, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    )
    image = Image.new("RGB", (180, 120))
    x, y = point
    ImageDraw.Draw(image).ellipse((x - 6, y - 6, x + 6, y + 6), fill="white")
    store = toy_store(tmp_path_factory.mktemp("spot"), [image])
    # The middles of cells are 8 pixels apart on the canvas of 96; the longer side fills it.
    cells = np.array([[(x * 96 / 180 - 4) / 8, ((y * 96 / 180 + 16) - 4) / 8]])
    np.testing.assert_allclose(store.transform(0).to_cells(np.array([point])), cells)
    found = store.to_view(0, cells, view)[0]
    canvas = np.asarray(view.canvas(image.resize((96, 64)), store.transform(0)).convert("L"), float)
    where = np.argwhere(canvas > 127)
    if np.isnan(found).any():
        assert not len(where) or (np.abs(where.mean(0) + 0.5 - 48) > 40).any()
        return
    expected = (where.mean(0)[::-1] + 0.5 - 4) / 8
    if (np.abs(expected - 5.5) < 5).all():  # whole spots only
        np.testing.assert_allclose(found, expected, atol=0.12)


class Apart(Process):
    """A process of a run whose others are not there."""

    def gather(self, value):
        return [value]


def test_processes_share_the_work(tmp_path):
    images = [random_image(96, 96, seed) for seed in range(20)]
    whole, shared = (toy_store(tmp_path / name, images, 16) for name in ("whole", "shared"))
    keys = [(index, view) for index in range(20) for view in (UNCHANGED, FLIPPED)]
    whole.fill(keys, "extracting")
    done = []
    for rank in range(2):
        shared.fill(keys, "extracting", Apart(rank, 2))
        done.append(len(contents(shared)) - 1)
    assert done == [24, 40]  # batches of eight: three and two
    assert contents(shared) == contents(whole)


def test_two_processes_may_fill_one_store_at_once(tmp_path):
    images = [random_image(96, 96, seed) for seed in range(6)]
    expected = toy_store(tmp_path / "alone", images, 16)
    keys = [(index, view) for index in range(6) for view in (UNCHANGED, FLIPPED)]
    expected.fill(keys, "extracting")
    paths = save_images(tmp_path / "images", images)

    def fill():
        torch.set_num_threads(1)
        store = ImageStore(tmp_path / "store", toy_matcher(), paths, 16)
        store.fill(keys, "extracting")
        for key in keys:
            store.view(*key)

    processes = [multiprocessing.get_context("fork").Process(target=fill) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    found = {path.name: path.read_bytes() for path in (tmp_path / "store").iterdir()}
    assert found == contents(expected)


def test_an_image_that_is_gone_is_named(tmp_path):
    store = toy_store(tmp_path, cuts((0, 0), (8, 8)), 16)
    store.paths[1].unlink()
    store.fill([(0, FLIPPED)], "extracting")
    with pytest.raises(HomologError, match=r"1\.png") as error:
        store.fill([(1, FLIPPED)], "extracting")
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    paths = save_images(tmp_path, cuts((0, 0)))
    (tmp_path / "file").write_text("")
    with pytest.raises(HomologError, match=r"^out: cannot make .*file/store: "):
        ImageStore(tmp_path / "file" / "store", toy_matcher(), paths, 16)


@given(count=st.integers(1, 10_000), most=st.integers(1, 200))
def test_indices_are_spread_over_all(count, most):
    found = list(spread(count, most))
    assert found[0] == 0 and 1 <= len(found) <= most
    gaps = np.diff([*found, count])
    assert len(set(gaps[:-1])) <= 1 and gaps[-1] <= math.ceil(count / most) == max(gaps)
