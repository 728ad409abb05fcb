"""Many tasks: kept one by one, resumed after an interruption, and never measured twice."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.cache import Cache
from analysis.ladder import climb, rungs
from analysis.order import FAIL, PASS
from analysis.verify import as_json, plain, process_pool, run_tasks, verdict_of


@dataclass(frozen=True)
class Textbook:
    """Euler or the midpoint rule on x' = -x + x^2 / 3; `weight` is the last coefficient of the midpoint rule."""

    claim: int
    weight: float
    log: str

    @property
    def label(self):
        return f"midpoint {self.weight}"

    def description(self):
        return {"claim": self.claim, "coefficients": [0.5, self.weight]}

    def run(self):
        with open(self.log, "a") as file:
            file.write(f"{self.weight} {os.getpid()}\n")

        def solve(n):
            x, h = 1.0, 1.0 / n
            for _ in range(n):
                middle = x + h / 2 * (-x + x * x / 3)
                x += h * self.weight * (-middle + middle * middle / 3)
            return x

        e = 1 / (1 / 3 + 2 / 3 * 2.718281828459045)
        ladder = climb(lambda n: (abs(solve(n) - e), 2 * n), rungs(4), self.claim)
        return [{"method": "midpoint", "verdict": ladder.estimate.verdict, "slope": ladder.estimate.slope}]


def lines(log):
    return Path(log).read_text().splitlines()


def test_one_edited_coefficient_changes_the_verdict_and_nothing_else_is_redone(tmp_path):
    log, cache = str(tmp_path / "log"), Cache(tmp_path / "cache")
    assert [row["verdict"] for row in run_tasks([Textbook(2, 1.0, log)], cache)] == [PASS]
    rows = run_tasks([Textbook(2, 1.0, log), Textbook(2, 1.001, log)], cache)
    assert [row["verdict"] for row in rows] == [PASS, FAIL]
    assert len(lines(log)) == 2


def test_fresh_measures_again(tmp_path):
    log, tasks = str(tmp_path / "log"), [Textbook(2, 1.0, str(tmp_path / "log"))]
    run_tasks(tasks, Cache(tmp_path / "cache"))
    run_tasks(tasks, Cache(tmp_path / "cache", fresh=True))
    assert len(lines(log)) == 2


def test_a_damaged_entry_is_measured_again(tmp_path):
    log, cache = str(tmp_path / "log"), Cache(tmp_path / "cache")
    first = run_tasks([Textbook(2, 1.0, log)], cache)
    for path in cache.folder.rglob("*.json"):
        path.write_text(path.read_text()[:-20])
    assert run_tasks([Textbook(2, 1.0, log)], cache) == first
    assert len(lines(log)) == 2


def test_a_pool_gives_the_rows_in_the_order_of_the_tasks(tmp_path):
    log = str(tmp_path / "log")
    tasks = [Textbook(2, weight, log) for weight in (1.0, 1.01, 0.99, 1.0001)]
    here = run_tasks(tasks)
    seen = []
    with process_pool(2) as pool:
        there = run_tasks(tasks, Cache(tmp_path / "cache"), pool, lambda task, rows, cached: seen.append(task))
    assert there == here
    assert sorted(one.weight for one in seen) == sorted(one.weight for one in tasks)
    assert str(os.getpid()) not in {line.split()[1] for line in lines(log)[4:]}


def test_an_interrupted_run_keeps_what_is_finished(tmp_path):
    """The third task is interrupted as Ctrl-C would; the next run measures only that one and what came after."""
    log, cache = str(tmp_path / "log"), Cache(tmp_path / "cache")
    tasks = [Textbook(2, weight, log) for weight in (1.0, 1.01, 1.02, 1.03)]

    def stop(task, rows, cached):
        if len(lines(log)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks, cache, on_result=stop)
    assert len(run_tasks(tasks, cache)) == 4
    assert [line.split()[0] for line in lines(log)] == ["1.0", "1.01", "1.02", "1.03"]


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started the suite in the background
from dataclasses import dataclass
from analysis.cache import Cache
from analysis.verify import process_pool, run_tasks

@dataclass(frozen=True)
class Slow:
    number: int
    label: str = "slow"
    def description(self): return {"number": self.number}
    def run(self):
        time.sleep(0.05 if self.number < 4 else 60)
        return [{"number": self.number}]

if __name__ == "__main__":
    try:
        with process_pool(2) as pool:
            run_tasks([Slow(i) for i in range(8)], Cache(sys.argv[1]), pool, lambda t, r, c: print("done", flush=True))
    except KeyboardInterrupt:
        print("kept", flush=True)
        sys.exit(130)
"""


def test_ctrl_c_ends_the_pool_at_once_and_keeps_finished_rows(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, "program.py", "cache"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    for _ in range(4):
        assert process.stdout.readline() == "done\n"
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and out == "kept\n" and "Traceback" not in err
    assert time.monotonic() - began < 10
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 4


def test_one_failing_row_fails_the_whole():
    rows = [{"verdict": PASS}, {"verdict": "undetermined"}, {"verdict": FAIL}]
    assert [verdict_of(rows[:n]) for n in range(4)] == ["undetermined", PASS, "undetermined", FAIL]


def test_json_is_strict():
    text = as_json({"results": [{"errors": [1.0, float("nan"), float("inf")], "name": "é"}], "seconds": float("nan")})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "results": [{"errors": [1.0, None, None], "name": "é"}],
        "seconds": None,
    }
    assert plain({"a": (1, True)}) == {"a": [1, True]}
