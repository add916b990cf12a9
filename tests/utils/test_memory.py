"""What memory there is, and the one line where it is too little."""

import pytest
import torch

from homolog import HomologError
from homolog.utils import memory

CPU = torch.device("cpu")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 4000000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    return tmp_path


def in_group(folder, limit: str, used: int, cached: int) -> None:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nfile 7\n")


def test_the_least_of_all_limits_counts(machine):
    assert memory.available_memory(CPU) == 4_096_000_000
    in_group(machine, "max", 100, 0)  # no limit
    assert memory.available_memory(CPU) == 4_096_000_000
    in_group(machine, "3000000000", 2_000_000_000, 500_000_000)
    assert memory.available_memory(CPU) == 1_500_000_000


def test_nothing_is_refused_where_nothing_tells(machine, monkeypatch):
    (machine / "meminfo").unlink()
    monkeypatch.setattr(memory.sys, "platform", "win32")
    assert memory.available_memory(CPU) is None
    assert memory.available_memory(torch.device("meta")) is None
    memory.require_memory(10**18, "anything", CPU)


def test_a_limit_of_addresses_counts(machine, monkeypatch):
    resource = pytest.importorskip("resource")
    (machine / "statm").write_text("250000 1 1 1 0 1 0\n")
    monkeypatch.setattr(memory, "_STATM", machine / "statm")
    monkeypatch.setattr(memory.os, "sysconf", lambda name: 4096)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1_500_000_000, -1))
    assert memory.available_memory(CPU) == 1_500_000_000 - 1_024_000_000


def test_the_number_that_is_needed_is_said(machine):
    memory.require_memory(4_000_000_000, "matching", CPU)
    with pytest.raises(HomologError) as refused:
        memory.require_memory(7_300_000_000, "matching 220 x 220 cells", CPU)
    assert str(refused.value) == (
        "memory: expected 7.3 GB free for matching 220 x 220 cells, got 4.1 GB; "
        "try a smaller canvas"
    )
