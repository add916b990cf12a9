"""Logs of finished work: complete lines count, others are removed, other runs are refused."""

import json

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
