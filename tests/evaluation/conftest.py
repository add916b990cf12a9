"""A data set for the tests of evaluation."""

import pytest
from helpers import toy_evaluation

from homolog.data import DataSet


@pytest.fixture
def data(tmp_path) -> DataSet:
    return toy_evaluation.make_data(tmp_path)
