"""Of several drivers one has a cell; a dead one's is taken over; a worker hears of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from interplay.tracking.lease import LEASE, Answer, Leases, is_held, read_answer

TAKERS, CELLS = 4, 60


def leases(root: Path, **settings: float) -> Leases:
    return Leases(root / "cells", "s", **settings)


def of_another_machine(path: Path, age_s: float) -> None:
    """What a driver elsewhere leaves, which cannot be asked whether it lives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"holder": "other", "host": "elsewhere", "machine": "elsewhere", "pid": 1, "born": 0}))
    now = time.time()
    os.utime(path, (now - age_s, now - age_s))


def test_one_of_two_has_the_cell_until_it_lets_go(tmp_path: Path) -> None:
    with leases(tmp_path) as one, leases(tmp_path) as other:
        assert one.take("a")
        assert not other.take("a")
        assert other.take("b")
        other.release("a")  # not its own: nothing happens
        assert is_held(tmp_path / "cells" / "a", one.holder)
        one.release("a")
        assert other.take("a")
    assert not list(tmp_path.rglob("*lease*"))  # all given back
    assert not list(tmp_path.rglob(".clock*"))


@pytest.mark.parametrize(("age_s", "taken"), [(0.0, False), (20.0, False), (40.0, True)])
def test_a_lease_that_is_not_renewed_expires(tmp_path: Path, age_s: float, taken: bool) -> None:
    path = tmp_path / "cells" / "a" / LEASE
    of_another_machine(path, age_s)
    with leases(tmp_path) as mine:
        assert mine.take("a") is taken
        assert is_held(path.parent, "other") is not taken
    assert [p.name for p in path.parent.iterdir()] == ([] if taken else [LEASE])


@pytest.mark.slow
def test_renewed_for_as_long_as_it_is_held(tmp_path: Path) -> None:
    with leases(tmp_path, renew_s=0.1, expires_s=2.0) as mine, leases(tmp_path, expires_s=2.0) as other:
        assert mine.take("a")
        deadline = time.monotonic() + 4.0
        while time.monotonic() < deadline:
            assert not other.take("a")
            time.sleep(0.05)


def _die_with_a_lease(root: Path) -> None:
    leases(root).take("a")
    os._exit(0)


def test_a_dead_driver_of_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_with_a_lease, args=(tmp_path,))
    process.start()
    process.join(60)
    assert (tmp_path / "cells" / "a" / LEASE).is_file()
    with leases(tmp_path) as mine:
        assert mine.take("a")


def test_a_number_used_again_is_another_process(tmp_path: Path) -> None:
    with leases(tmp_path) as first:
        first.take("a")
        path = tmp_path / "cells" / "a" / LEASE
        found = json.loads(path.read_text()) | {"holder": "old"}
        path.write_text(json.dumps(found))  # the same process under another lease lives
        assert not first.take("a")
        path.write_text(json.dumps(found | {"born": found["born"] - 1000}))
        assert first.take("a")


def test_a_paused_driver_does_not_renew_what_was_taken(tmp_path: Path) -> None:
    with leases(tmp_path, renew_s=0.02) as paused:
        assert paused.take("a")
        path = tmp_path / "cells" / "a" / LEASE
        of_another_machine(path, 10.0)
        time.sleep(0.2)
        assert time.time() - path.stat().st_mtime > 9
        paused.release("a")
        assert is_held(path.parent, "other")


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_lease_that_was_never_written_expires_too(tmp_path: Path, content: str) -> None:
    path = tmp_path / "cells" / "a" / LEASE
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with leases(tmp_path) as mine:
        assert not mine.take("a")
        os.utime(path, (time.time() - 40, time.time() - 40))
        assert mine.take("a")


def _take_all(root: Path, number: int, ready: Path) -> None:
    with leases(root) as mine:
        (ready / str(number)).touch()
        while len(list(ready.iterdir())) < TAKERS:
            time.sleep(0.001)
        (root / f"taken{number}").write_text(json.dumps([c for c in map(str, range(CELLS)) if mine.take(c)]))
        while len(list(root.glob("taken*"))) < TAKERS:  # nobody lets go before all have tried
            time.sleep(0.01)


@pytest.mark.parametrize("expired", [False, True])
def test_each_cell_is_taken_once(tmp_path: Path, expired: bool) -> None:
    if expired:
        for cell in map(str, range(CELLS)):
            of_another_machine(tmp_path / "cells" / cell / LEASE, 60.0)
    (tmp_path / "ready").mkdir()
    context = multiprocessing.get_context("spawn")
    takers = [context.Process(target=_take_all, args=(tmp_path, n, tmp_path / "ready")) for n in range(TAKERS)]
    for process in takers:
        process.start()
    for process in takers:
        process.join(60)
        assert process.exitcode == 0
    taken = [cell for n in range(TAKERS) for cell in json.loads((tmp_path / f"taken{n}").read_text())]
    assert sorted(taken, key=int) == list(map(str, range(CELLS)))


def test_answers_reach_their_own_worker_only(tmp_path: Path) -> None:
    directory = tmp_path / "cells" / "a"
    with leases(tmp_path) as mine:
        mine.answer("a", 3)  # not leased: nothing is written
        assert not directory.exists()
        assert mine.take("a")
        assert read_answer(directory, mine.holder) == Answer()
        mine.answer("a", 3)
        assert read_answer(directory, mine.holder) == Answer(3)
        assert read_answer(directory, "other") == Answer()
        mine.answer("a", 4, "pruned")
        mine.stop_all("stopped")
        assert read_answer(directory, mine.holder) == Answer(4, "pruned")  # what was said stands
        mine.release("a")
        assert mine.take("a")
        assert read_answer(directory, mine.holder) == Answer()
