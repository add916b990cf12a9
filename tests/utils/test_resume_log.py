"""Logs of finished work: complete lines count, others are removed, other runs are refused."""

import contextlib
import json
import resource
import signal

import pytest

from homolog import HomologError
from homolog.utils.resume_log import ResumeLog

HEADER = {"model": "a", "poses": ["identity"]}


def fill(path, *names, **options):
    with ResumeLog(path, "name", **options) as log:
        for name in names:
            log.append({"name": name, "score": 0.5})
    return log


@pytest.mark.parametrize("header", [None, HEADER])
def test_records_come_back(tmp_path, header):
    path = tmp_path / "log.jsonl"
    log = fill(path, "a", "b", header=header)
    assert list(log.records) == ["a", "b"]
    written = path.read_bytes()
    assert written == b"".join(
        json.dumps(line).encode() + b"\n"
        for line in ([] if header is None else [header]) + list(log.records.values())
    )
    again = fill(path, "c", header=header)
    assert list(again.records) == ["a", "b", "c"] and again.records["a"]["score"] == 0.5
    assert path.read_bytes().startswith(written)
    again.remove()
    again.remove()
    assert not path.exists()


def test_an_incomplete_line_is_removed(tmp_path):
    path = tmp_path / "log.jsonl"
    fill(path, "a", "b")
    complete = path.read_bytes()
    path.write_bytes(complete + b'{"name": "c", "sc')
    assert list(ResumeLog(path, "name").records) == ["a", "b"]
    assert path.read_bytes() == complete


def test_no_file_is_made_before_there_is_something_to_write(tmp_path):
    log = ResumeLog(tmp_path / "log.jsonl", "name")
    assert log.records == {} and list(tmp_path.iterdir()) == []


def test_the_log_of_another_run_is_refused_or_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    fill(path, "a", header=HEADER)
    before = path.read_bytes()
    other = HEADER | {"model": "b"}
    with pytest.raises(HomologError, match=r"^out: expected to resume .*log\.jsonl"):
        ResumeLog(path, "name", header=other)
    assert path.read_bytes() == before
    assert ResumeLog(path, "name", header=other, restart=True).records == {}
    assert path.read_bytes() == json.dumps(other).encode() + b"\n"
    path.write_bytes(before[:10])  # killed while the header was written
    assert ResumeLog(path, "name", header=HEADER, restart=True).records == {}


@pytest.mark.parametrize("line", ["no JSON", "[1, 2]", '{"title": "a"}', "null", '{"name": [1]}'])
def test_other_lines_are_named(tmp_path, line):
    path = tmp_path / "log.jsonl"
    fill(path, "a")
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(HomologError, match=r"^out: expected records with 'name' .* line 2"):
        ResumeLog(path, "name")


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(HomologError, match=r"^out: cannot read"):
        ResumeLog(tmp_path / "log.jsonl", "name")
    log = ResumeLog(tmp_path / "missing" / "log.jsonl", "name")
    with pytest.raises(HomologError, match=r"^out: cannot write .*No such file"), log:
        pass


def test_lines_of_two_processes_that_agree_are_one(tmp_path):
    path = tmp_path / "log.jsonl"
    fill(path, "a", "b")
    clean = path.read_bytes()
    again = json.dumps({"name": "a", "score": 0.5 + 1e-9, "point": [float("nan")]}).encode()
    path.write_bytes(clean + clean)
    assert list(ResumeLog(path, "name").records) == ["a", "b"] and path.read_bytes() == clean
    path.write_bytes(clean + again.replace(b', "point": [NaN]', b"") + b"\n")
    assert ResumeLog(path, "name").records["a"]["score"] == 0.5 and path.read_bytes() == clean
    for other in (again, again.replace(b"0.5", b"0.6"), b'{"name": "a"}', b'{"name": "a", "s": 1}'):
        path.write_bytes(clean + other + b"\n")
        with pytest.raises(HomologError, match=r"^out: expected one record of each name.* line 3;"):
            ResumeLog(path, "name")
        assert path.read_bytes() == clean + other + b"\n", "nothing is removed"


def check(record):
    if not isinstance(record["score"], float):
        raise TypeError


def test_damaged_lines_are_removed_where_lines_have_checksums(tmp_path, caplog):
    path = tmp_path / "log.jsonl"
    fill(path, "a", "b", check=check)
    whole = path.read_bytes()
    records = ResumeLog(path, "name", check=check).records
    assert records == {name: {"name": name, "score": 0.5} for name in "ab"}
    second = whole.index(b"\n") + 1
    for position in range(second):  # any byte of the first line; its end joins it with the next
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        caplog.clear()
        try:
            found = ResumeLog(path, "name", check=check).records
        except HomologError as error:  # no checksum is left, nor what else a record has
            assert "another line 1; try" in str(error)
            continue
        assert all(each.items() <= found[name].items() for name, each in records.items()
                   if name in found) and found.keys() <= records.keys()  # fmt: skip
        assert len(found) == 2 or "line 1 is damaged" in caplog.text
    old = b'{"name": "c", "score": 0.25}\n'
    path.write_bytes(whole + old)
    assert list(ResumeLog(path, "name", check=check).records) == ["a", "b", "c"]
    path.write_bytes(whole + old.replace(b"0.25", b"[1]"))
    with pytest.raises(HomologError, match="another line 3"):
        ResumeLog(path, "name", check=check)


def test_a_full_disk_is_what_is_said_and_costs_no_line(tmp_path):
    path = tmp_path / "log.jsonl"
    fill(path, "a")
    before = path.read_bytes()
    log = ResumeLog(path, "name")
    with pytest.raises(HomologError, match=r"^out: cannot write .*File too large"), log, limit(60):
        log.append({"name": "b", "text": "x" * 100})
    assert path.read_bytes() == before and list(log.records) == ["a"]
    assert list(fill(path, "b").records) == ["a", "b"]


@contextlib.contextmanager
def limit(size):
    """As on a full disk, no file can grow beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
