"""What a study used is counted over all its runs, killed ones too, and no cell is begun when it is used up."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from interplay.errors import InterplayError
from interplay.study.driving.budget import Budget, Prices, Use, parse_prices, use_text
from interplay.study.driving.ledger import LEDGER, Ledger, Tally, read_ledger, use_of_study
from interplay.tracking.journal import read

HOUR = 3600.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpu=0.05", Prices(0.05)),
        ("cpu=0.05,gpu=2.1", Prices(0.05, 2.1)),
        ("gpu=2,A10G=1.2,H100=4", Prices(0.0, 2.0, {"A10G": 1.2, "H100": 4.0})),
    ],
)
def test_prices(tmp_path: Path, text: str, expected: Prices) -> None:
    assert parse_prices(text) == expected
    file = tmp_path / "prices.yaml"
    file.write_text(text.replace("=", ": ").replace(",", "\n"))
    assert parse_prices(str(file)) == expected


@pytest.mark.parametrize("text", ["cpu=", "cpu=a", "cpu=-1", "cpu=inf", "cpu=1,gpu", "nowhere.yaml", "cpu=nan"])
def test_prices_that_are_none(text: str) -> None:
    with pytest.raises(InterplayError, match="price"):
        parse_prices(text)


@pytest.mark.parametrize(
    ("device", "price"), [("NVIDIA A10G", 1.2), ("NVIDIA H100 80GB HBM3", 4.0), ("h100", 4.0), ("NVIDIA T4", 2.0)]
)
def test_the_price_of_a_gpu(device: str, price: float) -> None:
    assert parse_prices("gpu=2,A10G=1.2,H100=4").of_gpu(device) == price
    assert parse_prices("A10G=1.2,H100=4").of_gpu("unknown") == 4.0  # the dearest: a budget must hold


@pytest.mark.parametrize(
    ("budget", "gpus", "match"),
    [
        (Budget(hours=0.0), 0, "max-hours"),
        (Budget(hours=float("nan")), 0, "max-hours"),
        (Budget(gpu_hours=1.0), 0, "use no GPU"),
        (Budget(cost=1.0), 0, "add --price"),
        (Budget(cost=1.0, prices=Prices(gpu=1.0)), 0, "nothing of CPUs"),
        (Budget(cost=1.0, prices=Prices(cpu=1.0)), 1, "nothing of GPUs"),
    ],
)
def test_a_budget_that_limits_nothing_is_refused(budget: Budget, gpus: float, match: str) -> None:
    with pytest.raises(InterplayError, match=match):
        budget.check(gpus)


def test_used_up() -> None:
    budget = Budget(hours=2.0, gpu_hours=4.0, cost=10.0, prices=Prices(1.0, 1.0))
    budget.check(1.0)
    assert budget.used_up(Use(1.9, 8.0, 3.9, 9.9)) == ""
    assert (
        budget.used_up(Use(2.0, 0.0, 0.0, 0.0)) == "the study has used 2 of its 2 hours; raise --max-hours to go on"
    )
    assert "raise --max-gpu-hours" in budget.used_up(Use(1.0, 0.0, 4.1, 0.0))
    assert "raise --max-cost" in budget.used_up(Use(1.0, 0.0, 0.0, 10.5))
    plain = budget.plain(Use(0.5, 1.0, 1.0, 4.0))
    assert plain["left"] == {"hours": 1.5, "gpu_hours": 3.0, "cost": 6.0}
    assert use_text(plain) == (
        "used: 0.5 hours, 1 CPU-hours, 1 GPU-hours, cost 4; left: 1.5 hours, 3 gpu-hours, 6 cost"
    )


def record(event: str, at_h: float, run: str = "r", **fields: Any) -> dict[str, Any]:
    return {"at": at_h * HOUR, "event": event, "run": run, **fields}


def begin(at_h: float, cell: str, run: str = "r", cpus: float = 2.0, gpus: float = 1.0) -> dict[str, Any]:
    return record("begin", at_h, run, cell=cell, cpus=cpus, gpus=gpus, device="")


def tally(*records: dict[str, Any]) -> Tally:
    found = Tally()
    for one in records:
        found.add(one)
    return found


def test_every_attempt_counts() -> None:
    prices = Prices(cpu=0.5, gpu=1.0, accelerators={"A10G": 2.0})
    found = tally(
        record("open", 0, budget={}),
        begin(0, "a"),
        begin(1, "b"),
        record("end", 2, cell="a", status="lost", device="NVIDIA A10G"),  # its process died
        begin(2, "a"),
        record("end", 3, cell="a", status="ended", device="NVIDIA A10G"),
        record("end", 3, cell="b", status="ended", device="NVIDIA T4"),
        record("close", 4),
    )
    assert found.use(prices) == Use(4.0, 10.0, 5.0, 0.5 * 10 + 2.0 * 3 + 1.0 * 2, attempts=3, lost=1)


def test_the_use_of_a_killed_driver_counts_until_its_last_sign_of_life() -> None:
    first = [record("open", 0, budget={}), begin(0, "a"), record("alive", 1), begin(1, "b"), record("alive", 2)]
    # the machine was off from hour 2 to hour 10
    second = [record("open", 10, "s", budget={}), begin(10, "a", "s"), record("alive", 11, "s")]
    found = tally(*first, *second)
    use = found.use(None, "s", 12 * HOUR)
    assert (use.hours, use.gpu_hours, use.attempts, use.lost) == (4.0, 2.0 + 1.0 + 2.0, 3, 2)
    assert use.cost is None
    assert found.use(None).hours == 3.0  # read by somebody else: until the last sign of life


def test_an_interrupted_attempt_ends_with_its_run() -> None:
    found = tally(record("open", 0, budget={}), begin(1, "a"), record("close", 3), record("open", 9, "s", budget={}))
    assert found.use(None, "s", 9 * HOUR) == Use(3.0, 4.0, 2.0, None, attempts=1, lost=0)


def test_a_ledger_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    budget = Budget(hours=1.0, prices=Prices(cpu=1.0))
    with Ledger(tmp_path, budget) as ledger:
        ledger.begin("a", 2.0, 0.0)
        time.sleep(0.3)
        ledger.end("a", "ended", "CPU, 1 threads")
        ledger.end("never begun", "ended")
        first = ledger.use()
        assert 0.3 / HOUR <= first.hours < 20 / HOUR
        assert 0.6 / HOUR <= first.cpu_hours <= 2 * first.hours
        assert not ledger.used_up()
    with (tmp_path / LEDGER).open("a") as file:
        file.write('{"at": 1, "event": "ali')  # torn: the writer was killed
    with Ledger(tmp_path, Budget(hours=0.2 / HOUR)) as ledger:
        assert ledger.use().cpu_hours == pytest.approx(first.cpu_hours)
        assert ledger.use().hours >= first.hours
        assert "raise --max-hours" in ledger.used_up()
    events = [r["event"] for r in read(tmp_path / LEDGER)[0]]
    assert events == ["open", "begin", "end", "close", "open", "close"]
    found = use_of_study(tmp_path)
    assert found is not None
    assert found["left"] == {"hours": 0.0}
    assert found["used"]["attempts"] == 1
    assert use_of_study(tmp_path / "other") is None


def test_it_shows_that_it_lives_and_says_once_that_the_budget_is_used_up(tmp_path: Path) -> None:
    said: list[str] = []
    with Ledger(tmp_path, Budget(hours=0.1 / HOUR), said.append, beat_s=0.05):
        time.sleep(1.0)
    assert len(said) == 1
    assert "raise --max-hours" in said[0]
    assert len([r for r in read(tmp_path / LEDGER)[0] if r["event"] == "alive"]) >= 2
    assert read_ledger(tmp_path).budget.hours == 0.1 / HOUR


def test_memory_does_not_grow_with_cells(tmp_path: Path) -> None:
    found = Tally()
    found.add(record("open", 0, budget={}))
    for n in range(1000):
        found.add(begin(n, str(n)))
        found.add(record("end", n + 1, cell=str(n), status="ended", device="NVIDIA T4"))
    assert (len(found.open), len(found.spans), len(found.gpu_s)) == (0, 1, 1)
    assert found.use(None).gpu_hours == 1000.0
