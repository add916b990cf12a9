"""The log of a run: what a run that is resumed does again is logged once."""

import pytest

from homolog.training.logs import TENSORBOARD, TrainLog, curve, read_log


def tensorboard_steps(folder) -> list[int]:
    """The steps that TensorBoard shows of the loss."""
    loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs TensorBoard"
    )
    events = loader.EventAccumulator(str(folder / TENSORBOARD))
    events.Reload()
    return [event.step for event in events.Scalars("loss")]


def test_a_resumed_run_keeps_its_curves(tmp_path):
    """Killed after step 6 and resumed from the checkpoint of step 4."""
    log = TrainLog(tmp_path, 0)
    for step in range(1, 5):
        log.write(step, {"loss": float(step)})
    log.flush()  # with the checkpoint
    for step in (5, 6):
        log.write(step, {"loss": -1.0})
    log.flush()
    assert tensorboard_steps(tmp_path) == [1, 2, 3, 4, 5, 6]
    with TrainLog(tmp_path, 4) as again:
        for step in range(5, 9):
            again.write(step, {"loss": float(step)})
    assert [line["step"] for line in read_log(tmp_path)] == list(range(1, 9))
    assert curve(read_log(tmp_path), "loss") == (list(range(1, 9)), list(range(1, 9)))
    assert tensorboard_steps(tmp_path) == list(range(1, 9)), "neither lost nor twice"


def test_lines_that_were_cut_off_or_damaged_are_dropped(tmp_path):
    damaged = b'{"step": 1, "loss": 2.0}\n\xff\xfe\n[]\n' + b"[" * 10_000
    (tmp_path / "log.jsonl").write_bytes(damaged + b'\n{"step": 2, "lo')
    with TrainLog(tmp_path, 5) as log:
        log.write(6, {"loss": 1.0})
    assert [line["step"] for line in read_log(tmp_path)] == [1, 6]


def test_long_curves_are_averaged():
    lines = [{"step": step, "loss": step % 2} for step in range(1000)] + [{"step": 5, "other": 1}]
    steps, values = curve(lines, "loss")
    assert len(steps) == 100
    assert set(values) == {0.5}
