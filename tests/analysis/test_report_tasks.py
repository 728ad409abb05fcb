"""What the report measures: the core on every case, further tableaus on the first case that decides, and no less."""

from pathlib import Path

import odekit as ok
from analysis.problems import Case, default_cases
from analysis.tasks import CORE, OrderTask, report_tasks
from analysis.verify import verdict_of

MUTANT = Path(__file__).parents[1] / "methods" / "data" / "dp5-mutant.toml"
SPIRAL = Case("", "", "warped-spiral", "time-uniform")


def test_every_method_is_measured_and_the_core_on_every_case():
    tasks = report_tasks(ok.methods.names())
    assert {task.method for task in tasks} == set(ok.methods.names()) >= CORE
    for name in ("rk4", "gauss-2", "ab-3", "ddim", "unipc-3"):
        assert [task.case for task in tasks if task.method == name] == default_cases()
    (further,) = [task for task in tasks if task.method == "nystrom5"]
    assert [further.case, *further.otherwise] == [*default_cases(), SPIRAL]


def test_an_undetermined_claim_is_taken_to_the_next_case_and_says_so():
    first = default_cases()[0]
    rows = OrderTask("rk4", first, steps=(8, 11, 16), otherwise=(SPIRAL,)).run()
    assert [row["problem"] for row in rows] == ["warped-spiral"] * 2 and verdict_of(rows) == "undetermined"
    assert all(row["findings"][0] == f"undetermined on {first.name}" for row in rows)


def test_a_claim_that_fails_is_not_taken_elsewhere():
    rows = OrderTask(str(MUTANT), default_cases()[0], otherwise=(SPIRAL,)).run()
    assert verdict_of(rows) == "fail" and {row["process"] for row in rows} == {"vp"}
