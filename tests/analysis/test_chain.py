"""The whole chain on the real core: command line, method or file, exact problem, ladder, verdict, exit status."""

import json
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.problems import Case, default_cases
from analysis.tasks import OrderTask

CONTROLS = Path(__file__).parents[1] / "methods" / "data"
MINE = """
name = "mine"
family = "runge-kutta"
order = {order}
source = "a test"
c = ["0", "1/2", "1"]
A = [[], ["1/2"], ["{a}", "{b}"]]
b = ["1/6", "2/3", "1/6"]
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def verify(tmp_path, capsys):
    """Run `odekit verify` on VP with the noise; exit status, rows, stdout, stderr."""

    def run(*arguments, problem=("--process", "vp", "--prediction", "noise", "--grid", "logsnr")):
        path = tmp_path / "rows.json"
        path.unlink(missing_ok=True)
        status = main(["verify", *map(str, arguments), *problem, "--json", str(path)])
        out, err = capsys.readouterr()
        return status, json.loads(path.read_text())["results"] if path.exists() else [], out, err

    return run


def mine(folder, order=3, a="-1", b="2"):
    path = folder / "mine.toml"
    path.write_text(MINE.format(order=order, a=a, b=b))
    return path


@pytest.mark.parametrize("case", default_cases(), ids=lambda case: case.process)
@pytest.mark.parametrize("method", ["ddim", "dpmpp-2m", "heun2", "deis-tab-3", "rk4", "abm-5", "dop853", "sdirk2"])
def test_claims_hold_on_every_default_problem_and_the_next_order_never_does(method, case):
    for row in OrderTask(method, case).run():
        assert row["verdict"] == "pass", row["reason"]
        assert row["order_high"] < row["claimed_order"] + 0.9, row["reason"]


def test_a_start_of_low_order_is_told_from_the_formula(verify):
    status, rows, _, _ = verify("deis-rhoab-3")
    assert status == 0
    assert [(row["kind"], row["claimed_order"], round(row["observed_order"])) for row in rows] == [
        ("formula", 4, 4),
        ("with start", 2, 2),
    ]


def test_results_carry_what_the_contract_lists(verify):
    _, rows, out, _ = verify("rk4")
    listed = "method process prediction problem claimed_order observed_order order_low order_high verdict"
    assert set(f"{listed} asymptotic_from steps errors nfe".split()) <= set(rows[0])
    assert len(rows[0]["steps"]) == len(rows[0]["errors"]) == len(rows[0]["nfe"]) >= 4
    assert rows[1]["few"][1]["evaluations"] == 10 and rows[1]["few"][1]["used"] == 8
    assert "there and back" in out


def test_a_symmetric_method_comes_back_and_others_miss_by_their_error(verify):
    _, rows, _, _ = verify("implicit-midpoint", "ddim", "--kind", "with start")
    assert rows[0]["round_trip"]["error"] < 1e-12 < 1e-3 < rows[1]["round_trip"]["error"]


def test_a_good_file_passes(verify, tmp_path):
    status, rows, out, _ = verify(mine(tmp_path))
    assert status == 0 and "1 pass" in out or "2 pass" in out
    assert {row["method"] for row in rows} == {"mine"}


def test_one_edited_coefficient_changes_the_verdict_and_the_old_one_is_remembered(verify, tmp_path, cache):
    assert verify(mine(tmp_path))[0] == 0
    kept = sorted(cache.rglob("*.json"))
    status, rows, _, _ = verify(mine(tmp_path, a="0", b="1"))
    assert status == 1 and {row["verdict"] for row in rows} == {"fail"}
    assert len(sorted(cache.rglob("*.json"))) == 2 * len(kept)
    assert verify(mine(tmp_path))[0] == 0
    assert len(sorted(cache.rglob("*.json"))) == 2 * len(kept)


@pytest.mark.parametrize(
    "control, claimed, true", [("four-stage", 4, 2), ("dp5-mutant", 5, 3)], ids=["four-stage", "dp5-mutant"]
)
def test_methods_that_only_linear_problems_would_confirm_fail(verify, control, claimed, true):
    status, rows, out, _ = verify(CONTROLS / f"{control}.toml", problem=())
    assert status == 1 and "fail" in out
    assert {row["process"] for row in rows} == {"vp", "rectified-flow", "cosine"}
    for row in rows:
        assert row["verdict"] == "fail" and row["claimed_order"] == claimed
        assert row["observed_order"] == pytest.approx(true, abs=0.1)


def test_a_label_too_high_fails(verify, tmp_path):
    status, rows, _, _ = verify(mine(tmp_path, order=4))
    assert status == 1 and {row["verdict"] for row in rows} == {"fail"}


@pytest.mark.parametrize("control, sums", [("cash-karp-18574", "48383/48384"), ("fehlberg45-3554", "509/1026")])
def test_tableaux_whose_sums_are_wrong_are_refused_before_anything_runs(verify, control, sums, cache):
    status, rows, out, err = verify(CONTROLS / f"{control}.toml")
    assert (status, rows, out) == (2, [], "") and err.count("\n") == 1
    assert sums in err and "Traceback" not in err
    assert not list(cache.rglob("*.json"))


def test_the_sharper_mixture_serves_methods_that_reach_rounding_at_once():
    row = OrderTask("dop853", Case(sharper="trio-sharp"), ("with start",)).run()[0]
    assert row["problem"] == "trio-sharp" and "sharper mixture" in row["findings"][0]
    blunt = OrderTask("dop853", Case(), ("with start",)).run()[0]
    assert blunt["problem"] == "trio" and blunt["order_high"] is None or blunt["errors"][-1] < 1e-14


def test_history_is_exact_by_the_standard_of_the_reference():
    import odekit as ok
    from analysis.exact import exact_problem

    exact = exact_problem(Case(batch=8))
    states = exact.history(16, 5)
    reference = ok.reference(exact.field, exact.x, exact.grid(16)[1:5].tolist(), t_start=exact.t_start)
    assert float((states[1:] - reference.x).norm()) < 1e-12
    assert exact.floor(16) < 1e-13


def test_local_error_has_one_order_more():
    from analysis.measure import local_error

    study = local_error("rk4", Case(batch=32))
    assert study.verdict == "pass" and study.slope == pytest.approx(5, abs=0.1)
    assert local_error("heun2", Case(batch=32), claim=4).verdict == "fail"


def test_a_problem_that_cannot_testify_withholds_its_verdict(verify):
    """The 4-stage method has the stability polynomial of RK4: linear problems would confirm it."""
    status, rows, out, _ = verify(CONTROLS / "four-stage.toml", "--problem", "dahlquist", problem=())
    assert status == 1 and rows[0]["observed_order"] == pytest.approx(4, abs=0.1)
    assert rows[0]["verdict"] == "undetermined" and "testifies to order 2 at most" in out


def test_classical_problems_have_no_process(verify):
    status, rows, _, _ = verify("rk4", "ab-3", "--problem", "warped-spiral", problem=())
    assert status == 0 and {row["process"] for row in rows} == {None}
    status, _, _, err = verify("ddim", "--problem", "kepler", problem=())
    assert status == 2 and "plain field" in err
    status, _, _, err = verify("rk4", "--problem", "kepler")
    assert status == 2 and "no process" in err


def test_the_default_mixtures_declare_what_they_excite():
    from analysis.exact import exact_problem

    for case in default_cases():
        assert exact_problem(case).excitation.covers(8)


def test_convergence_takes_flows_and_problems_and_refuses_bare_fields():
    import analysis
    import odekit as ok

    flow = ok.ProbabilityFlow(ok.EDM(), ok.targets.ring6(), prediction="data")
    study = analysis.convergence("heun-edm", flow, batch=16)
    assert study.verdict == "pass" and study.low <= study.slope <= study.high
    assert study.rows[0]["process"] == "edm"
    assert analysis.convergence("rk4", ok.problems.get("van-der-pol")).verdict == "pass"
    assert analysis.convergence("rk4", ok.problems.get("ring6")).rows[0]["process"] == "vp"
    with pytest.raises(ok.OdekitError, match="cannot measure on VectorField"):
        analysis.convergence("rk4", ok.VectorField(lambda x, t: -x))
