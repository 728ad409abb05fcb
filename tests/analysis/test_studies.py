"""The studies of matrix diffusions at small size: what must hold in them, and that they see it when it does not."""

import csv
import json
import math

import numpy as np
import pytest
import torch

import odekit as ok
from analysis.cli import main
from analysis.distances import frechet, frechet_of_moments, wasserstein
from analysis.exact import time_at_logsnr
from analysis.measure import convergence
from analysis.problems import cases, matrix_cases, own_cases
from analysis.studies import conjugate, frames, phase_space
from analysis.studies.comparison import Bench, Table, mixture_of, slope, starts
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

    def test_budgets_name_the_best(self):
        table = phase_space.budgets(evaluations=(20,), count=24)
        assert len(table.rows) == len(phase_space.CONTENDERS)
        best = min((row for row in table.rows if math.isfinite(row["W2"])), key=lambda row: row["W2"])
        assert any(f"W2 {best['method']} (" in finding for finding in table.findings)
        assert all(row["W2"] <= row["error"] for row in table.rows if math.isfinite(row["W2"]))


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
