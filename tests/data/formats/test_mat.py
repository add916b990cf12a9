"""Matrices of MATLAB files as scipy writes them, and damaged files, which never end the process."""

import struct

import numpy as np
import pytest
import real_images
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from homolog import HomologError
from homolog.data.formats import mat

HOSTILE = real_images.ROOT.parent / "cases" / "hostile" / "segfaults_scipy.mat"
TYPES = ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_matrices_are_those_that_scipy_reads(tmp_path, compressed, dtype):
    rng = np.random.default_rng(0)
    values = {name: rng.integers(0, 100, (3, 5)).astype(dtype) for name in ("a", "points", "z")}
    path = tmp_path / "a.mat"
    savemat(path, {"words": "many", **values}, do_compression=compressed)
    for name, expected in values.items():
        found = mat.read(path, name)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found, loadmat(path)[name])


def test_files_of_other_machines(tmp_path):
    """Big-endian, with numbers stored in fewer bytes than their class has."""

    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    parts = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">ii", 2, 3))
    parts += struct.pack(">HH", 3, 1) + b"kps\0" + element(2, bytes([1, 2, 3, 4, 5, 6]))
    header = b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    path = tmp_path / "a.mat"
    path.write_bytes(header + element(14, parts))
    np.testing.assert_array_equal(mat.read(path, "kps"), [[1, 3, 5], [2, 4, 6]])
    np.testing.assert_array_equal(loadmat(path)["kps"], [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("words", "text"),
        (np.ones((2, 2), complex), "complex ones"),
        (np.ones((2, 3, 4)), r"an array of shape \(2, 3, 4\)"),
        ({"x": 1}, "a structure"),
        (np.array([["a", 1]], object), "cells"),
    ],
)
def test_variables_that_are_no_matrix(tmp_path, value, reason):
    path = tmp_path / "a.mat"
    savemat(path, {"points": value})
    with pytest.raises(HomologError, match=f"'points': expected a matrix of numbers, got {reason}"):
        mat.read(path, "points")


def test_what_is_no_file_of_level_5(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"points": np.ones((2, 2))}, format="4")
    for content in (path.read_bytes(), b"", b"no matrix", bytes(128)):
        path.write_bytes(content)
        with pytest.raises(HomologError, match="expected a MATLAB file"):
            mat.read(path, "points")
    path.unlink()
    with pytest.raises(HomologError, match=r"a\.mat"):
        mat.read(path, "points")


@pytest.mark.skipif(not HOSTILE.is_file(), reason=f"no file at {HOSTILE}")
def test_a_file_on_which_scipy_ends_the_process():
    with pytest.raises(HomologError, match="expected a MATLAB file"):
        mat.read(HOSTILE, "pts_coord")


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_refused_in_one_line_or_read(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged.mat"
    compressed = data.draw(st.booleans())
    savemat(path, {"a": np.ones(3), "points": np.eye(4)}, do_compression=compressed)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(120, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(100, len(content)))])
    try:
        assert mat.read(path, "points").ndim == 2
    except HomologError as error:
        assert "\n" not in str(error) and str(path) in str(error)
