"""Filtering: each test rejects what it should, alone, and few matches are no matches."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.training.adaptation.config import MiningConfig
from homolog.training.adaptation.filtering import failures, kept
from homolog.training.adaptation.mining import PseudoMatches

CONFIG = MiningConfig(
    cycle_tolerance=0.05, coordinate_tolerance=0.35, affine_tolerance=0.1, fewest=1
)
# A value of each measure that passes, one that fails, and the test's name.
MEASURES = {
    "on_object": (1.0, 0.0, "object"),
    "cycle_errors": (0.05, 0.0501, "cycle"),
    "coordinate_distances": (0.35, 0.36, "coordinates"),
    "side_agreement": (0.0, -0.01, "side"),
    "affine_residuals": (0.1, 0.11, "affine"),
}


def matches(**measures) -> PseudoMatches:
    """Matches that pass all tests, but for the measures given."""
    count = len(next(iter(measures.values())))
    values = {name: np.full(count, passes) for name, (passes, _, _) in MEASURES.items()}
    points = np.zeros((count, 2))
    return PseudoMatches(0, 1, points, points, **values | measures)


@pytest.mark.parametrize("name", MEASURES)
def test_each_test_alone_rejects_what_fails_it(name):
    passes, fails, test = MEASURES[name]
    found = matches(**{name: np.array([passes, fails, passes])})
    assert kept(found, CONFIG).tolist() == [True, False, True]
    rejected = failures(found, CONFIG)
    assert list(rejected) == [test for _, _, test in MEASURES.values()]
    for each, rows in rejected.items():
        assert rows.tolist() == [False, each == test, False]


rows = st.tuples(
    st.sampled_from([0.0, 1.0]), *(st.floats(0, 1) for _ in range(2)), st.floats(-1, 1),
    st.floats(0, 1),
)  # fmt: skip


@given(
    measures=st.lists(rows, max_size=12),
    tolerances=st.tuples(*(st.floats(0, 1) for _ in range(3))),
    fewest=st.integers(0, 6),
)
def test_what_passes_every_test_is_kept(measures, tolerances, fewest):
    cycle, coordinates, affine = tolerances
    config = MiningConfig(
        cycle_tolerance=cycle, coordinate_tolerance=coordinates, affine_tolerance=affine,
        fewest=fewest,
    )  # fmt: skip
    table = np.array(measures).reshape(-1, 5)
    found = matches(**dict(zip(MEASURES, table.T, strict=True)))
    passed = [
        landed > 0.5 and error <= cycle and apart <= coordinates and agree >= 0 and off <= affine
        for landed, error, apart, agree, off in measures
    ]
    expected = passed if sum(passed) >= fewest else [False] * len(passed)
    assert kept(found, config).tolist() == expected
    tests = failures(found, config)
    assert [not any(column) for column in zip(*tests.values(), strict=True)] == passed


@given(measures=st.lists(rows, min_size=1, max_size=12), wider=st.floats(1, 3))
def test_wider_tolerances_keep_no_fewer(measures, wider):
    table = np.array(measures).T
    found = matches(**dict(zip(MEASURES, table, strict=True)))
    loose = dataclasses.replace(
        CONFIG, cycle_tolerance=CONFIG.cycle_tolerance * wider,
        coordinate_tolerance=CONFIG.coordinate_tolerance * wider,
        affine_tolerance=CONFIG.affine_tolerance * wider,
    )  # fmt: skip
    assert (kept(found, loose) >= kept(found, CONFIG)).all()


@pytest.mark.parametrize("fewest", [3, 4])
def test_a_pair_with_too_few_matches_has_none(fewest):
    found = matches(cycle_errors=np.array([0.0, 0.0, 1.0, 0.0]))
    config = dataclasses.replace(CONFIG, fewest=fewest)
    assert kept(found, config).sum() == (3 if fewest == 3 else 0)


def test_what_is_no_number_is_not_kept():
    for name, (passes, _, _) in MEASURES.items():
        found = matches(**{name: np.array([passes, np.nan])})
        assert kept(found, CONFIG).tolist() == [True, False], name
