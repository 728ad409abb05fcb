"""The studies of matrix diffusions at small size: what must hold in them, and that they see it when it does not."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

import analysis
import odekit as ok
from analysis.cli import main
from analysis.distances import frechet, frechet_of_moments, wasserstein
from analysis.exact import time_at_logsnr
from analysis.measure import convergence
from analysis.order import estimate_order
from analysis.problems import cases, matrix_cases, own_cases
from analysis.studies import budgets, conjugate, frames, laws, orders, page, phase_space
from analysis.studies.comparison import Bench, Table, mixture_of, signals, slope, starts
from analysis.studies.matrix import STUDIES, draw_studies
from odekit.exceptions import OdekitError, UnknownNameError
from odekit.methods.phase_splitting import PhaseSplitting


class TestDistances:
    def test_a_shift_is_the_distance_of_what_was_shifted(self):
        a = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        by = torch.tensor([1.0, -2.0, 2.0], dtype=torch.float64)
        assert wasserstein(a, a[torch.randperm(50)] + by) == pytest.approx(3.0, rel=1e-12)
        assert frechet(a, a + by) == pytest.approx(3.0, rel=1e-6)

    def test_on_a_line_sorting_is_the_assignment(self):
        random = np.random.default_rng(1)
        a, b = random.normal(size=(40, 1)), random.exponential(size=(40, 1))
        plane = np.concatenate([a, 0 * a], 1), np.concatenate([b, 0 * b], 1)
        assert wasserstein(a, b) == pytest.approx(wasserstein(*plane), rel=1e-12)

    def test_commuting_gaussians_are_apart_by_their_deviations(self):
        A, B = np.diag([1.0, 4.0]), np.diag([9.0, 16.0])
        assert frechet_of_moments([0, 0], A, [0, 0], B) == pytest.approx(math.sqrt(4 + 4), rel=1e-9)

    def test_frechet_is_blind_where_wasserstein_is_not(self):
        a = np.repeat([-1.0, 1.0], 20)[:, None]
        b = np.linspace(-1, 1, 40)[:, None]
        b = b / b.std()
        assert frechet(a, b) < 1e-6 < 0.3 < wasserstein(a, b)

    def test_samples_must_match(self):
        with pytest.raises(OdekitError, match="expected equal ones"):
            wasserstein(np.zeros((3, 2)), np.zeros((4, 2)))


class TestFrames:
    def test_one_step_is_exact_in_the_frame_of_R_and_not_in_that_of_L(self):
        table = frames.one_step(counts=(1,))
        assert max(row["error"] for row in table.where(frame="R")) < 1e-10
        assert min(row["error"] for row in table.where(frame="L")) > 1e-3

    def test_no_frame_is_exact_on_two_modes(self):
        process = ok.CLD()
        bench = Bench(process, mixture_of(((-1.0, 0.8), (0.3, 0.2), (0.3, 0.7))), starts(process, 4), 0.1, tol=1e-4)
        assert bench.error(ok.methods.get("gddim-0"), 1) > 0.1

    def test_degrees_and_frames_on_two_modes(self):
        table = frames.frames(counts=(40, 80))
        for q in range(4):
            R, L = (table.where(method=f"gddim-{q}", frame=frame)[-1] for frame in "RL")
            assert R["error"] < L["error"]
        errors = [table.where(method=f"gddim-{q}", frame="R")[-1]["error"] for q in range(4)]
        assert errors == sorted(errors, reverse=True)
        printed = {"gddim-0": 0.17, "gddim-2": 0.010, "gddim-3": 0.0029, "gddim-pece-1": 0.010, "gddim-pece-2": 0.0015}
        for name, value in printed.items():
            assert table.where(method=name, frame="R")[-1]["error"] == pytest.approx(value, rel=0.051)


class TestConjugate:
    def test_lambda_lowers_the_error_in_the_frame_of_L_only(self):
        table = conjugate.sweep(rates=(0.0, 2.0), budgets=(32,))
        error = {(row["variant"], row["lambda"]): row["error"] for row in table.rows}
        assert error["II", 2.0] == pytest.approx(0.629, rel=5e-3) and error["II", 0.0] == pytest.approx(1.59, rel=5e-3)
        assert error["II, frame R", 0.0] < error["II, frame R", 2.0]
        assert error["rvv", None] < error["II", 2.0]

    def test_spectra(self):
        table = conjugate.stability(rates=(0.0, 8.0))
        one, two = (table.where(kind=kind)[0] for kind in ("I", "II"))  # one method where lambda is zero
        assert {**one, "kind": ""} == pytest.approx({**two, "kind": ""}, abs=1e-8)
        row = table.where(kind="II")[1]  # stable in the conjugate variable, and it grows
        radius = {
            part: max(abs(complex(row[f"{part} {i} real"], row[f"{part} {i} imag"])) for i in (1, 2))
            for part in ("factor", "conjugate")
        }
        assert radius["conjugate"] < 1 < 1.2 < radius["factor"]

    def test_jacobians_of_linear_steps_are_their_matrices(self):
        matrix = torch.tensor([[0.9, 0.2], [-0.3, 0.8]], dtype=torch.float64)
        z = torch.zeros(1, 2, 1, dtype=torch.float64)
        found = conjugate._jacobian(lambda z: torch.einsum("ij,bjk->bik", matrix, z), z)
        assert torch.allclose(found, matrix, atol=1e-12)


class TestSplittings:
    def test_reduced_is_better_at_equal_evaluations(self):
        table = phase_space.naive_and_reduced(budgets=(50,), names=("P2",))
        error = {(row["method"], row["evaluations"]): row["error"] for row in table.rows}
        assert error["RSE", 50] < 0.5 * error["NSE", 50]
        assert error["RVV", 50] < 0.4 * error["NVV", 50]

    def test_verlet_bends(self):
        table = phase_space.bend(counts=(32, 64, 512, 1024), names=("P2",), labels=("RVV",))
        slopes = [row["slope"] for row in table.rows]
        assert 1.9 < slopes[1] < 2.3 and 1.0 < slopes[3] < 1.15

    def test_where_the_position_has_noise_it_is_straight_and_so_is_its_repair(self):
        table = phase_space.bend(counts=(64, 128), names=("P1b",), labels=("RVV", "velocity Verlet, order 2"))
        assert table.where(method="RVV")[1]["slope"] == pytest.approx(1, abs=0.05)
        assert table.where(method="velocity Verlet, order 2")[1]["slope"] == pytest.approx(2, abs=0.1)

    def test_the_bend_is_two_terms(self):
        counts = (32, 64, 128, 256, 512)
        rows = [{"problem": "P2", "method": "RVV", "steps": n, "error": 0.5 / n + 50 / n**2} for n in counts]
        assert phase_space.two_terms(Table("", "", rows), "P2") == pytest.approx((0.5, 50, 0), abs=1e-9)
        straight = [{**row, "error": row["steps"] ** -1.5} for row in rows]  # neither term, nor a sum of both
        assert phase_space.two_terms(Table("", "", straight), "P2")[2] > 0.05

    def test_reduced_is_better_in_law_too(self):
        table = phase_space.laws(budgets=(50,), count=64)
        found = {(row["word"], row["kind"]): row["Frechet of x"] for row in table.rows if "word" in row}
        for word in phase_space.WORDS:
            assert found[word, "reduced"] < found[word, "naive"]
        assert found["VV", "reduced"] < 0.2 * found["OBA", "reduced"]  # where FID has it the other way round


SOME = ("RK4", "Lawson-RK4, noise", "gDDIM-2, started", "gDDIM-PECE-2", "RVV", "CVV, 0", "ROBA", "SSCS, midpoint")


class TestBudgets:
    @pytest.mark.parametrize("process", ["psld", "blurring"])
    def test_every_contender_is_measured_and_none_spends_more(self, process, monkeypatch):
        some = [one for one in budgets.CONTENDERS[process] if process == "blurring" or one.label in SOME]
        monkeypatch.setitem(budgets.CONTENDERS, process, some)
        table = budgets.budgets(process, evaluations=(20,), count=24)
        rows = table.where(evaluations=20)
        assert [row["method"] for row in rows] == [one.label for one in budgets.CONTENDERS[process]]
        assert all(row["spent"] <= 20 for row in rows)
        for row, one in zip(rows, budgets.CONTENDERS[process], strict=True):
            if one.family == budgets.STOCHASTIC:  # no trajectory to be held against
                assert math.isnan(row["error"]) and "W2 paired" not in row and math.isfinite(row["W2"])
            elif math.isfinite(row["error"]):
                assert row["W2 paired"] <= row["error"] * (1 + 1e-9)
        best = budgets.ranked(table, 20, "error")[0]
        assert any(f"error {best['method']} " in finding for finding in table.findings)

    def test_what_a_start_costs_is_counted(self):
        bench = budgets.bench("psld", 2)
        started = ok.methods.get("gddim-3", start=None)
        plan, plain = bench.within(started, 20), bench.within(ok.methods.get("gddim-3"), 20)
        assert sum(s.steps for s in plan.segments) < sum(s.steps for s in plain.segments) == 20 == plan.evaluations
        assert bench.within(started, 2) is None  # not one step for that

    def test_the_distance_from_a_law_is_exact(self):
        mixture = mixture_of(((-1.0, 0.8), (0.3, 0.2), (0.3, 0.7)))
        end = laws.EndLaw(ok.PSLD(), mixture, 1e-3)
        spread = np.sqrt(end.covariance[0, 0])
        assert end.wasserstein(np.repeat(end.mean[None], 50, 0)) == pytest.approx(spread, rel=1e-12)  # a point
        averages, within = end._cells(400)
        assert averages.mean() == pytest.approx(end.mean[0], rel=1e-9)
        shifted = math.sqrt(0.04 + within[0])
        assert end.wasserstein(averages + 0.2) == pytest.approx(shifted, rel=1e-9)
        assert end.wasserstein(averages * 1.3) > 0.1

    def test_quantiles_by_brute_force(self):
        end = laws.EndLaw(ok.PSLD(), mixture_of(((-1.0, 0.8), (0.3, 0.2), (0.3, 0.7))), 1e-3)
        x, fine = end.sample(50, 3), np.sort(end.sample(400_000, 4)[:, 0])
        brute = np.sqrt(np.mean((np.repeat(np.sort(x[:, 0]), 8000) - fine) ** 2))
        assert end.wasserstein(x) == pytest.approx(brute, rel=0.03)

    def test_each_frequency_has_its_own_law(self):
        bench = signals(2)
        end = laws.EndLaw(bench.process, bench.mixture, bench.t_end)
        seen = ok.targets.under(bench.process, bench.mixture)
        draws = seen.sample(20_000, t=bench.t_end, seed=5).flatten(1)
        assert end.frechet(draws) < 3 * end.noise(20_000)["Frechet largest"]
        assert end.frechet(draws.flip(1)) > 1

    def test_bold_is_the_best_and_italic_is_noise(self, monkeypatch):
        names = ("Heun", "RK4")
        monkeypatch.setitem(
            budgets.CONTENDERS, "psld", [one for one in budgets.CONTENDERS["psld"] if one.label in names]
        )
        rows = [
            {"method": name, "evaluations": n, "error": i + n, "W2": i / 10, "Frechet": 0.5 + i, "W2 paired": 1.0}
            for i, name in enumerate(names)
            for n in (10, 20, 50)
        ]
        exact = {"method": laws.EXACT, "W2": 0.03, "W2 largest": 0.05, "Frechet": 0.01, "Frechet largest": 0.02}
        told = page.budgets(Table("budgets", "", [*rows, exact])).splitlines()
        assert told[2].startswith("| Heun | **10** | **20** | **50** | *0* |") and "| **0.5** |" in told[2]
        assert told[3].startswith("| RK4 | 11 | 21 | 51 | 0.1 |") and "0.03 to 0.05" in told[4]
        assert "Heun 10, RK4 11" in page.best(Table("budgets", "", [*rows, exact]))


class TestOrders:
    def test_constants_come_with_their_interval(self):
        counts = (16, 32, 64, 128, 256)
        errors = [3.0 / n**2 + 5.0 / n**3 for n in counts]
        estimate = estimate_order([1 / n for n in counts], errors)
        found = orders._constant(counts, errors, estimate)
        assert found["p"] == 2 and found["C low"] <= 3 * (1 + 1e-9) <= found["C high"] and found["at N"] == 256
        assert not found["C low"] <= 3.3 <= found["C high"]

    def test_with_noise_and_without(self, monkeypatch):
        chosen = [one for one in budgets.CONTENDERS["psld"] if one.label in ("Heun", "SSCS", "SSCS, midpoint")]
        monkeypatch.setitem(budgets.CONTENDERS, "psld", chosen)
        monkeypatch.setattr(orders, "TOL", 1e-9)  # errors are far larger
        table = orders.orders("psld", counts=(64, 128, 256, 512))
        assert [row["p"] for row in table.rows] == [2, 1, 2]
        assert all(row["low"] - 0.05 <= row["claim"] <= row["high"] + 0.05 for row in table.rows)


class TestOrdersOnMatrices:
    @pytest.mark.parametrize(("name", "order"), [("nse", 1), ("rvv", 1), ("cvv", 1), ("velocity-verlet", 2)])
    def test_own_cases_show_the_formal_order(self, name, order):
        method = ok.methods.get(name)
        study = convergence(method, own_cases(method)[0])
        assert (study.verdict, round(study.slope)) == ("pass", order)
        assert [finding.partition(":")[0] for finding in study.row["findings"]] == ["the slope bends"] * (name == "rvv")

    def test_gddim_has_its_order_where_coefficients_are_matrices(self):
        (case,) = matrix_cases("blurring")  # where scores cost least; on CLD errors are held against printed ones above
        study = convergence("gddim-1", case, kind="formula")
        assert study.verdict == "pass" and study.slope == pytest.approx(2, abs=0.1)

    def test_the_case_of_a_process_by_name(self):
        (case,) = cases("cld", "r-noise", None, None)
        assert (case.name, case.grid) == ("cld · r-noise · trio", "time-quadratic")

    def test_velocity_verlet_that_claims_order_two_is_refused(self):
        rvv = ok.methods.get("rvv")
        wrong = PhaseSplitting("rvv", rvv.moves, "claims two")
        wrong.order = wrong.order._replace(formula=2, method=2)
        assert convergence(wrong, own_cases(rvv)[0]).verdict == "fail"

    def test_a_method_without_a_prediction_there_is_refused_by_name(self, capsys):
        assert main(["verify", "ddim", "--process", "cld"]) == 2
        assert "has no prediction 'noise'" in capsys.readouterr().err

    @pytest.mark.parametrize("process", ["cld", "psld", "blurring"])
    def test_the_log_snr_of_the_position(self, process):
        for case in matrix_cases(process):
            signal = {"shape": (2,)} if process == "blurring" else {}
            found = ok.processes.get(process, **signal, **dict(case.parameters))
            t = time_at_logsnr(found, 0.3)
            mean, variance = (x.value.reshape(-1)[0] for x in (found.mean(t), found.covariance(t)))
            assert (mean / variance.sqrt()).log().item() == pytest.approx(0.3, abs=1e-10)


RESULTS = Path(analysis.__file__).parent / "studies" / "results"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "studies.md").read_text()


def committed(name: str) -> Table:
    told = json.loads((RESULTS / f"{name}.json").read_text())
    rows = [{**row, "error": math.nan} if row.get("error", 0) is None else row for row in told["rows"]]
    return Table(name, told["title"], rows, told["about"], told["findings"])


def told_of_the_bend(table: Table) -> list[str]:
    slopes = [f"{row['slope']:.2f}" for row in table.where(problem="P2", method="RVV")[1:]]
    first, second, off = phase_space.two_terms(table, "P2")
    assert 0.04 < off < 0.05
    return [", ".join(slopes), f"{first:.2f}/N + {second:.0f}/N^2 to 5 %", f"equal at N = {second / first:.0f}"]


def told_of_naive_ones(table: Table) -> list[str]:
    error = {(row["problem"], row["method"], row["evaluations"]): row["error"] for row in table.rows}
    ratios = [error["P2", "NVV", n] / error["P2", "RVV", n] for n in (50, 100, 200)]
    worse = [error["P2u", "RVV", n] / error["P2u", "NVV", n] for n in (50, 100)]
    return ["{:.1f}, {:.1f} and {:.1f}".format(*ratios), "RVV has {:.1f} and {:.1f} times".format(*worse)]


def told_of_laws(table: Table) -> list[str]:
    found = {(row["word"], row["kind"]): row for row in table.where(evaluations=50)}
    published, squares = (
        [(found[word, "naive"][column] / found[word, "reduced"][column]) ** power for word in ("VV", "OBA")]
        for column, power in (("published FID", 1), ("Frechet of x", 2))
    )
    noise = laws.noise_of(table, "W2")
    return [
        "NVV has {:.1f} times RVV's, NOBA {:.1f} times ROBA's".format(*published),
        "ratios {:.1f} and {:.1f}".format(*squares),
        f"one of twenty draws ({noise:.2g})",
    ]


def told_of_budgets(table: Table) -> list[str]:
    (exact,) = table.where(method=laws.EXACT)
    error = {(row["method"], row["evaluations"]): row["error"] for row in table.rows if row.get("evaluations")}
    gains = [error["gDDIM-3", n] / error["exp. AB4, pre.", n] for n in budgets.BUDGETS]
    assert 4.5 < min(gains) < 5.5 and 6.5 < max(gains) < 7.5  # a fifth to a seventh
    return [
        f"{exact['W2']:.2g} away in W2 and {exact['Frechet']:.2g} in Frechet",
        f"{exact['W2 largest']:.2g} and {exact['Frechet largest']:.2g} at most",
    ]


def told_of_orders(table: Table) -> list[str]:
    C = {row["method"]: row["C"] for row in table.rows}
    gain, frame = (C[name] / C["Lawson-RK4, pre."] for name in ("RK4", "Lawson-RK4, noise"))
    return [
        f"{gain:.0f} times better than RK4, and {round(frame, -1):.0f} times better than itself",
        f"(order 1, C = {C['RVV']:.2g}) is better than Heun (order 2, C = {round(C['Heun'], -1):.0f}) up to N ="
        f" {round(C['Heun'] / C['RVV'], -1):.0f} steps",
    ]


SENTENCES = {
    "verlet-bend": told_of_the_bend,
    "naive-reduced": told_of_naive_ones,
    "naive-reduced-laws": told_of_laws,
    "budgets": told_of_budgets,
    "orders": told_of_orders,
}


class TestThePage:
    """Numbers in docs/studies.md are those of the committed tables."""

    @pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.page])
    def test_its_tables(self, name):
        table = STUDIES[name].page(committed(name))
        assert table in DOCUMENT, f"docs/studies.md has not the table of results/{name}.json; paste it from {name}.md"

    @pytest.mark.parametrize("name", STUDIES)
    def test_its_figures_and_columns(self, name):
        with open(RESULTS / f"{name}.csv") as file:
            rows = list(csv.DictReader(file))
        told = json.loads((RESULTS / f"{name}.json").read_text())["rows"]
        assert len(rows) == len(told) and f"studies/results/{name}.png" in DOCUMENT
        for row, other in zip(rows, told, strict=True):
            assert all(row[key] in (("", "nan") if value is None else (str(value),)) for key, value in other.items())

    @pytest.mark.parametrize("name", ["verlet-bend", "naive-reduced", "naive-reduced-laws", "budgets", "orders"])
    def test_what_its_sentences_say(self, name):
        text = " ".join(DOCUMENT.split())
        assert [said for said in SENTENCES[name](committed(name)) if said not in text] == []

    def test_it_sees_a_number_that_moved(self):
        table = committed("naive-reduced")
        table.where(problem="P2", method="RVV")[0]["error"] *= 1.01
        assert STUDIES["naive-reduced"].page(table) not in DOCUMENT


class TestWriting:
    def test_tables_and_pictures(self, tmp_path, monkeypatch):
        parts = [{"process": p, "q": q, "frame": f} for p in ("cld", "psld") for q in (0, 1) for f in "RL"]
        rows = [{**part, "steps": n, "error": 1.0 / n} for part in parts for n in (1, 2)]
        table = Table("one-step", "A table", rows, findings=["errors are one over the steps"])
        monkeypatch.setitem(STUDIES, "one-step", STUDIES["one-step"]._replace(make=lambda: table))
        paths = draw_studies(["one-step"], tmp_path)
        assert {path.suffix for path in paths} == {".csv", ".json", ".md", ".png", ".svg", ".pdf"}
        told = json.loads((tmp_path / "one-step.json").read_text())
        with open(tmp_path / "one-step.csv") as file:
            assert len(list(csv.DictReader(file))) == len(told["rows"]) == 16
        assert "torch" in told["versions"] and told["findings"]

    def test_an_unknown_study_is_one_line(self, tmp_path):
        with pytest.raises(UnknownNameError, match="one-step"):
            draw_studies(["one-stp"], tmp_path)

    def test_the_command_refuses_it_too(self, capsys):
        assert main(["figures", "--study", "one-stp"]) == 2
        assert "did you mean 'one-step'" in capsys.readouterr().err

    def test_slopes_of_what_blew_up_are_no_numbers(self):
        assert math.isnan(slope((10, 20), (math.nan, 1.0)))
        assert "-" in Table("x", "x", [{"error": math.nan}]).markdown()
