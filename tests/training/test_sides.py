"""Teaching sides: what is learnt from, against brute force, and that it is learnt."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.toys import ColourBackbone, random_picture
from PIL import Image

from homolog import HomologError, KeypointSchema, Matcher
from homolog.config import PostProcessorConfig
from homolog.data.pairs import Annotation, DataSet, Pair
from homolog.networks.sides import SideHead, SideMaps, SidesConfig, objectness_confidence
from homolog.training import sides as training
from homolog.training.sides import (
    Examples,
    Listing,
    Score,
    SidesRecipe,
    presence,
    score,
    teach,
    train,
)

SIZE = 96
NAMES = ["nose", "left_ear", "right_ear"]


def rendered(folder: Path, count: int = 4, models: tuple[str, ...] = ("Fox", "Cow")) -> Path:
    """A set as `homolog synth` writes it, of boxes whose left half is on the right."""
    (folder / "pictures").mkdir(parents=True)
    (folder / "coordinates").mkdir()
    images, annotations = [], []
    for index in range(count):
        name = f"{index:06d}"
        random_picture(SIZE, SIZE, index).save(folder / "pictures" / f"{name}.jpg")
        coordinates = np.full((SIZE, SIZE, 3), np.nan, np.float16)
        instance = np.zeros((SIZE, SIZE), np.uint8)
        x = np.arange(20, 80)
        coordinates[30:70, 20:80, 0] = (x - 50) / 100
        coordinates[30:70, 20:80, 1] = 0.5
        coordinates[30:70, 20:80, 2] = -0.25
        instance[30:70, 20:80] = 1
        np.savez(folder / "coordinates" / f"{name}.npz", coordinates=coordinates, instance=instance)
        images.append({"id": index + 1, "file_name": f"pictures/{name}.jpg"})
        annotations.append({
            "id": index + 1, "image_id": index + 1, "category_id": 1, "instance": 1,
            "model": models[index % len(models)], "facing": [0.6, 0.0, -0.8], "area": 2400,
            "bbox": [20, 30, 60, 40], "keypoints": [50, 35, 2, 70, 40, 2, 30, 41, 1],
        })  # fmt: skip
    plain = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "animal", "keypoints": NAMES, "flip_indices": [0, 2, 1]}],
    }
    (folder / "annotations.json").write_text(json.dumps(plain))
    return folder


@pytest.mark.parametrize("mirrored", [False, True])
def test_truth_of_cells_by_brute_force(colour_matcher, tmp_path, mirrored):
    listing = training.read(rendered(tmp_path / "set", 1))
    covered, side, place, facing, cells, sides = training._truth(
        listing, 0, colour_matcher, mirrored
    )
    with np.load(tmp_path / "set" / "coordinates" / "000000.npz") as stored:
        coordinates, instance = stored["coordinates"].astype(float), stored["instance"]
    if mirrored:
        coordinates, instance = coordinates[:, ::-1] * (-1, 1, 1), instance[:, ::-1]
    for row, column in ((4, 3), (5, 6), (6, 8), (3, 2), (0, 0), (8, 9), (4, 10)):
        block = np.s_[8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        shown = instance[block] > 0
        assert covered[row, column] == pytest.approx(shown.mean(), abs=0.15)
        if shown.mean() > 0.5:
            x = coordinates[block][shown][:, 0]
            assert side[row, column] == pytest.approx(np.clip(x / 0.05, -1, 1).mean(), abs=0.15)
            expected = [np.abs(x).mean(), 0.5, -0.25]
            assert place[row, column] == pytest.approx(expected, abs=0.02)
            sign = -1 if mirrored else 1
            assert facing[row, column] == pytest.approx([sign * 0.6, 0, -0.8], abs=1e-3)
    # The ear that can be seen; the nose has no side, and the other ear is hidden.
    assert np.count_nonzero(sides) == 1
    assert sides[0] == (-1 if mirrored else 1)
    x = SIZE - 70 if mirrored else 70
    assert cells[0] == pytest.approx([x / 8 - 0.5, 40 / 8 - 0.5])


def facing_problem(count: int, seed: int) -> Examples:
    """Sides that only a cue in a corner, far from the thing, can tell."""
    generator = torch.Generator().manual_seed(seed)
    reduced = 0.1 * torch.randn(count, 12, 12, 6, generator=generator)
    way = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, -1.0)
    reduced[:, :4, :4, 0] += 2 * way[:, None, None]
    thing = torch.zeros(count, 12, 12)
    thing[:, 6:11, 3:9] = 1
    reduced[..., 1] += 2 * thing
    column = torch.linspace(-1, 1, 12).sign()[None, None]
    side = thing * column * way[:, None, None]
    place = torch.zeros(count, 12, 12, 3)
    facing = torch.zeros(count, 12, 12, 3)
    facing[..., 0] = way[:, None, None]
    points = torch.tensor([[4.0, 8.0], [7.0, 8.0]]).expand(count, 2, 2)
    point_sides = way[:, None] * torch.tensor([-1.0, 1.0])
    half = [x.half() for x in (reduced, thing, side, place, facing)]
    return Examples(*half, points, point_sides)


def test_a_cue_far_away_is_learnt_and_the_same_seed_gives_the_same_weights():
    config = SidesConfig(6, components=6, widths=(16, 16, 32), layers=1)
    recipe = SidesRecipe(steps=200, pictures=16, learning_rate=4e-3, drop=0, hide=0, style=0.2)
    examples = facing_problem(128, 0)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        network = SideHead(config)
        before = score(network.eval(), examples, range(128)).share
        teach(network, examples, range(96), recipe)
        found.append(network)
    assert before < 0.8
    unseen = score(found[0], examples, range(96, 128))
    assert unseen.count == 64
    assert unseen.share > 0.9
    for one, other in zip(found[0].parameters(), found[1].parameters(), strict=True):
        assert torch.equal(one, other)


def test_only_rows_given_are_learnt_from():
    config = SidesConfig(6, components=6, widths=(8, 8, 16), layers=1)
    recipe = SidesRecipe(steps=5, pictures=4)
    examples = facing_problem(16, 0)
    others = facing_problem(16, 1)
    names = [field.name for field in dataclasses.fields(Examples)]
    mixed = Examples(
        *(torch.cat([getattr(examples, name)[:8], getattr(others, name)[8:]]) for name in names)
    )
    weights = []
    for given in (examples, mixed):
        torch.manual_seed(0)
        network = SideHead(config)
        teach(network, given, range(8), recipe)
        weights.append(network.leave.weight)
    assert torch.equal(*weights)


def test_what_is_not_asked_for_is_not_learnt():
    config = SidesConfig(6, components=6, widths=(8, 8, 16), layers=1)
    torch.manual_seed(0)
    network = SideHead(config)
    before = network.leave.weight.clone()
    recipe = SidesRecipe(steps=5, pictures=4, weight_decay=0.0, losses=("thing", "place"))
    teach(network, facing_problem(16, 0), range(16), recipe)
    learnt = (network.leave.weight != before).any(1)
    assert learnt.tolist() == [True, False, True, True, True, False, False, False]


def test_how_likely_a_picture_shows_a_thing_is_learnt_from_pictures_of_both_kinds():
    examples = facing_problem(80, 0)
    examples.reduced[60:, ..., 1] -= 2 * examples.covered[60:]
    examples.covered[60:] = 0
    shows, shows_not = range(60), range(60, 80)
    things = (({},),) * 60 + ((),) * 20
    listing = Listing(Path(), ("",) * 80, things, KeypointSchema(("nose",), (0,)))
    torch.manual_seed(0)
    network = SideHead(SidesConfig(6, components=6, widths=(16, 16, 32), layers=1))
    recipe = SidesRecipe(steps=150, pictures=16, learning_rate=4e-3, drop=0, hide=0, style=0.2)
    teach(network, examples, range(80), recipe)
    slope, offset = presence(network, examples, listing, shows)
    logits = network.logits(examples.reduced.float())[..., 0]
    likely = (
        torch.sigmoid(slope * objectness_confidence(logits.sigmoid()) + offset).detach().numpy()
    )
    assert likely[:60].min() > 0.5 > likely[60:].max()
    # Where the posterior is highest: both kinds weigh as 40 pictures, the offset's variance is 100.
    gradient = 40 * (likely[:60].mean() - 1) + 40 * likely[60:].mean() + offset / 100
    assert gradient == pytest.approx(0, abs=1e-4)
    assert presence(network, examples, listing, shows_not) is None
    every = dataclasses.replace(listing, things=(({},),) * 80)
    assert presence(network, examples, every, shows) is None


def test_score_and_its_interval():
    found = Score(np.array([2, 4, 0, 1]), np.array([2, 4, 0, 2]))
    assert (found.share, found.count) == (7 / 8, 8)
    low, high = found.interval
    assert low == pytest.approx(0.5)  # one draw in 16 is of the last two and of none
    assert high == 1
    assert Score(np.zeros(2, int), np.zeros(2, int)).share == 0


class Told(SideHead):
    """Says where on the picture each cell is."""

    def forward(self, features_BHWC):
        shape = features_BHWC.shape[:3]
        column = torch.linspace(-1, 1, shape[2])[:, None].expand(*shape, 3)
        return SideMaps(torch.ones(shape), torch.zeros(shape), column, torch.ones(*shape, 3))


@pytest.fixture
def twins(tmp_path) -> DataSet:
    """A picture whose halves are equal, with itself; each half's points mirror the other's."""
    half = np.asarray(random_picture(48, 96, 0))
    Image.fromarray(np.concatenate([half, half], axis=1)).save(tmp_path / "twins.png")
    points = np.array([(x, y) for x in (12.0, 20.0, 60.0, 68.0) for y in (36.0, 52.0)])
    thing = Annotation("twins", tmp_path / "twins.png", "thing", points, (0, 0, 96, 96))
    pair = Pair.of("twins", thing, thing)
    schema = KeypointSchema(tuple("abcdefgh"), (4, 5, 6, 7, 0, 1, 2, 3))
    return DataSet("twins", tmp_path, {"thing": schema}, [pair], "box", (0.1,))


def test_places_count_where_they_help(twins, colour_matcher):
    told = Told(SidesConfig(12, components=8)).eval()
    best, tried = training.calibrate(colour_matcher, told, [twins])
    assert tried[0][0].side == tried[0][0].place == 0
    # What is not found lies on the other half, where its counterpart is: right less mirrored.
    assert tried[0][1] < 0.6
    assert dict(tried)[best] == max(value for _, value in tried) > 0.8


@pytest.fixture
def used(monkeypatch) -> list[SidesConfig]:
    """The weights that were tried, the last one last."""
    tried = []

    def fused(descriptors, maps, config):
        tried.append(config)
        return descriptors

    monkeypatch.setattr(training, "with_sides", fused)
    return tried


def test_what_helps_one_set_must_harm_no_other(monkeypatch, used, twins, colour_matcher):
    def shares(matcher, data, features):
        place, count = used[-1].place, len(data.pairs)
        found = place if count == 1 else 0.5 - max(place - 0.2, 0) / 2
        return np.full(count, found), np.zeros(count)

    monkeypatch.setattr(training, "_shares", shares)
    told = Told(SidesConfig(12, components=8)).eval()
    sets = [twins, dataclasses.replace(twins, pairs=[*twins.pairs, *twins.pairs])]
    best, tried = training.calibrate(colour_matcher, told, sets)
    assert max(tried, key=lambda each: each[1])[0].place > 0.2
    assert best.place == 0.2

    # A fifth of a point is no harm, however sure.
    def little(matcher, data, features):
        place, count = used[-1].place, len(data.pairs)
        return np.full(count, place if count == 1 else 0.5 - 0.002 * (place > 0)), np.zeros(count)

    monkeypatch.setattr(training, "_shares", little)
    best, tried = training.calibrate(colour_matcher, told, sets)
    assert best == max(tried, key=lambda each: each[1])[0]
    assert best.place > 0.2

    # What is lost is no harm if some pairs gain and others lose more than that.
    def noisy(matcher, data, features):
        place, count = used[-1].place, len(data.pairs)
        uneven = 0.5 + place * np.array([1.0, -1.1])
        return (np.array([place]) if count == 1 else uneven), np.zeros(count)

    monkeypatch.setattr(training, "_shares", noisy)
    best, tried = training.calibrate(colour_matcher, told, sets)
    assert best == max(tried, key=lambda each: each[1])[0]
    assert best.place > 0.2


def test_a_point_on_its_counterpart_counts_against(monkeypatch, used, twins, colour_matcher):
    def shares(matcher, data, features):
        return np.array([0.8]), np.array([0.4 - used[-1].side])

    monkeypatch.setattr(training, "_shares", shares)
    best, tried = training.calibrate(colour_matcher, Told(SidesConfig(12, components=8)), [twins])
    assert best.side == max(config.side for config, _ in tried)
    assert dict(tried)[best] == pytest.approx(0.8 - 0.4 + best.side)


def test_pairs_of_rendered_pictures(tmp_path):
    listing = training.read(rendered(tmp_path / "set", 5))
    shown = list(listing.things)
    shown[1], shown[2] = (), (shown[2][0], shown[2][0])
    listing = dataclasses.replace(listing, things=tuple(shown))
    rows = listing.alone([0, 1, 2, 4])
    assert rows == [0, 4]
    data = listing.data_set(rows)
    names = [(pair.source.path.name, pair.target.path.name) for pair in data.pairs]
    assert names == [("000000.jpg", "000004.jpg"), ("000004.jpg", "000000.jpg")]
    (pair, _) = data.pairs
    assert pair.keypoint_ids.tolist() == [0, 1]  # the third is hidden
    assert pair.source.keypoints[:2].tolist() == [[50, 35], [70, 40]]
    assert pair.source.box == (20, 30, 80, 70)
    assert data.schemas[pair.category].mirror == (0, 2, 1)


def test_the_whole_way(monkeypatch, tmp_path, colour_matcher):
    monkeypatch.setattr("homolog.checkpoints.create", lambda config, device: ColourBackbone())
    folder = rendered(tmp_path / "set", 6)
    recipe = SidesRecipe(steps=2, pictures=2)
    found = train(folder, tmp_path / "model", colour_matcher, recipe, held_out=["Cow"])
    assert found.count == 3
    loaded = Matcher.from_pretrained(str(tmp_path / "model"), device="cpu")
    assert loaded.sides(folder / "pictures" / "000000.jpg").left.shape == (12, 12)
    # Sides that a model tells are not what others are learnt from.
    assert train(folder, tmp_path / "again", loaded, recipe) is None
    again = Matcher.from_pretrained(str(tmp_path / "again"), device="cpu")
    assert again.weights_digest != loaded.weights_digest
    # Of static models no keypoints are known, and they may be in sets with others.
    plain = json.loads((folder / "annotations.json").read_text())
    plain["categories"].append({"id": 2, "name": "car"})
    for thing in plain["annotations"][1:]:
        del thing["keypoints"]
    (folder / "annotations.json").write_text(json.dumps(plain))
    found = train(folder, tmp_path / "cars", colour_matcher, recipe, held_out=["Cow"])
    assert found.count == 0
    assert training.read(folder).schema.names == tuple(NAMES)
    trained = dataclasses.replace(colour_matcher.config, post_processor=PostProcessorConfig("maps"))
    matcher = Matcher(ColourBackbone(), trained, network=torch.nn.Identity())
    with pytest.raises(HomologError, match="is trained already"):
        train(folder, tmp_path / "not", matcher, recipe)


def test_what_is_wrong_is_said(tmp_path, colour_matcher):
    recipe = SidesRecipe(steps=1, pictures=1)

    def run(folder: Path, **keywords):
        train(folder, tmp_path / "out", colour_matcher, recipe, **keywords)

    with pytest.raises(HomologError, match=r"cannot read .*annotations\.json"):
        run(tmp_path)
    folder = rendered(tmp_path / "set", 2)
    with pytest.raises(HomologError, match=r"hold_out: Dragon is not in .*; there are Cow, Fox"):
        run(folder, held_out=["Dragon"])
    with pytest.raises(HomologError, match="no pictures of things to learn from"):
        run(folder, held_out=["Cow", "Fox"])
    (folder / "coordinates" / "000001.npz").write_bytes(b"PK")
    with pytest.raises(HomologError, match=r"000001.npz is not of a rendered set"):
        run(folder)
    (folder / "annotations.json").write_text('{"images": []}')
    with pytest.raises(HomologError, match="is not of a rendered set"):
        run(folder)
    assert not (tmp_path / "out").exists()
