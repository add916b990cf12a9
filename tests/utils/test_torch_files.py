"""Checkpoints with other objects in them: tensors are read, nothing else happens."""

import argparse
import collections
import io
import os
import pathlib
import pickle
import sys
import types
import zipfile

import pytest
import torch
from helpers import marco_parity as marco

from homolog.utils.torch_files import load_torch_file

TENSORS = {
    "matrix": torch.arange(12.0).view(3, 4).T,
    "half": torch.ones(2, dtype=torch.float16)[1:],
    "none": torch.zeros(0, 3),
    "number": torch.tensor(7),
    "brain": torch.tensor([1.5], dtype=torch.bfloat16),
    "yes": torch.tensor([True, False]),
    "parameter": torch.nn.Parameter(torch.tensor([2.0])),
}


class Calls:
    def __init__(self, function, *args):
        self.made = function, args

    def __reduce__(self):
        return self.made


@pytest.fixture
def foreign(monkeypatch):
    """A module that is there while a file is written; `gone` takes it away."""
    module = types.ModuleType("another_package")
    for name, base in (("Config", object), ("Counts", dict)):
        setattr(module, name, type(name, (base,), {"__module__": module.__name__}))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def gone(foreign):
    del sys.modules[foreign.__name__]


def same(found, tensors=TENSORS):
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].equal(tensor) and found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape


def test_tensors_beside_objects_of_other_packages(tmp_path, foreign):
    counts, config = foreign.Counts(a=1), foreign.Config()
    counts.extra, config.lr = config, 1e-4
    whole = {
        "model": collections.OrderedDict(TENSORS),
        "args": argparse.Namespace(lr=1, config=config),
        "counts": [counts, {"nested": counts}],
        "default": collections.defaultdict(list, a=[1]),
        "size": torch.Size([2]),
        "types": (foreign.Config, dict, os.system, float),
        "set": {1, 2},
    }
    torch.save(whole, tmp_path / "checkpoint.pth")
    gone(foreign)
    found = load_torch_file(tmp_path / "checkpoint.pth")
    same(found["model"])
    assert found["default"] == {"a": [1]} and found["set"] == {1, 2} and found["size"] == (2,)
    assert "another_package" not in sys.modules
    for each in (found["args"], found["counts"][0], *found["types"][:1]):
        assert "another_package" in repr(each) or "argparse" in repr(each)
    assert found["types"][2] is not os.system


@marco.needs_figures
def test_the_file_of_marcos_training():
    found = load_torch_file(marco.FOLDER / "checkpoint.pth")
    same(found["model"], marco.weights())
    assert "omegaconf" not in sys.modules


@pytest.mark.parametrize(
    ("what", "named"),
    [
        (Calls(os.system, "touch unpickled"), "system"),
        (Calls(eval, "open('unpickled', 'w')"), "eval"),
        (Calls(getattr, "x", "upper"), "getattr"),
        (Calls(__import__, "antigravity"), "__import__"),
        (Calls(pathlib.Path, "."), "Path"),
        (Calls(torch.load, "x"), "torch"),
        (Calls(io.open, "unpickled", "w"), "open"),
        (Calls(map, len, ("a",)), "map"),
        (Calls(type, "X", (), {}), "type"),
    ],
)
def test_calls_are_refused(tmp_path, monkeypatch, what, named):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": TENSORS, "args": what}, "bad.pth")
    with pytest.raises(ValueError, match=rf"^it would have to call \S*{named}\S*$"):
        load_torch_file(pathlib.Path("bad.pth"))
    assert not pathlib.Path("unpickled").exists()


def rewritten(path, **records):
    """The same archive with some records replaced, or left out."""
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    for ending, data in records.items():
        (name,) = (name for name in kept if name.endswith("/" + ending.replace("__", "/")))
        kept[name] = data
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in kept.items():
            if data is not None:
                archive.writestr(name, data)


class Persistent(pickle.Pickler):
    def persistent_id(self, value):
        return value.made if isinstance(value, Calls) else None


def crafted(value):
    data = io.BytesIO()
    Persistent(data, 2).dump(value)
    return data.getvalue()


def tensor_of(count, offset, size, stride):
    made = Calls("storage")
    made.made = ("storage", torch.FloatStorage, "0", "cpu", count)
    rebuild = torch._utils._rebuild_tensor_v2

    class Rebuilt:
        def __reduce__(self):
            return rebuild, (made, offset, size, stride, False, collections.OrderedDict())

    return Rebuilt()


# One number that stands for many, in a file that torch refuses for the sake of a name.
REPEATED = crafted({"x": tensor_of(9, 0, (9**9,), (0,)), "args": os.system})


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ({"data.pkl": None}, "no data.pkl"),
        ({"data.pkl": b""}, "Ran out of input"),
        ({"data.pkl": b"\x80\x02}q\x00(X\x05\x00"}, "truncated"),
        ({"byteorder": b"big"}, "not little-endian"),
        ({"data__0": b"\0" * 7}, "a storage is cut short"),
        ({"data__0": None}, "data/0"),
        ({"data.pkl": crafted({"x": tensor_of(9, 0, (3, 4), (4, 1))})}, "larger than its storage"),
        ({"data.pkl": REPEATED}, "larger than its storage"),
        ({"data.pkl": crafted({"x": tensor_of(9, -1, (3,), (1,))})}, "size or stride is damaged"),
        ({"data.pkl": crafted({"x": tensor_of(9, 0, (3,), (1, 1))})}, "size or stride is damaged"),
        ({"data.pkl": crafted({"x": tensor_of(9**9, 0, (3,), (1,))})}, "a storage is cut short"),
    ],
)
def test_damaged_files(tmp_path, foreign, records, reason):
    path = tmp_path / "checkpoint.pth"
    torch.save({"x": torch.arange(9.0), "args": foreign.Config()}, path)
    gone(foreign)
    rewritten(path, **records)
    with pytest.raises(ValueError, match=reason) as error:
        load_torch_file(path)
    assert "\n" not in str(error.value)


def test_every_cut_of_a_file_is_refused_in_one_line(tmp_path, foreign):
    path = tmp_path / "checkpoint.pth"
    torch.save({"x": torch.arange(9.0), "args": foreign.Config()}, path)
    gone(foreign)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            load_torch_file(path)


def test_what_is_handed_out_cannot_be_changed(tmp_path):
    """A file that sets attributes of what it names changes nothing for others."""
    state = {"__defaults__": (1,), "__code__": None}
    for target in (torch._utils._rebuild_tensor_v2, collections.OrderedDict, dict):
        data = io.BytesIO()
        pickler = pickle._Pickler(data, 2)
        pickler.proto = 2
        pickler.write(pickle.PROTO + b"\x02")
        pickler.save(target)
        pickler.save((None, state))
        pickler.write(pickle.BUILD + pickle.STOP)
        path = tmp_path / "checkpoint.pth"
        torch.save({"x": torch.arange(9.0)}, path)
        rewritten(path, **{"data.pkl": data.getvalue()})
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            load_torch_file(path)
    assert torch._utils._rebuild_tensor_v2.__defaults__ != (1,)
