"""Weak orders as the command line, the report and certificates tell them; the laws they are measured against."""

import math

import pytest
import torch

import analysis
import odekit as ok
from analysis.cli import main
from analysis.problems import Case, default_cases
from analysis.tasks import order_tasks, report_tasks
from analysis.weak import STEPS, WeakOrderTask, distance, law, pushed, weak_order
from odekit.exceptions import OdekitError

FEW = (16, 23, 32, 45, 64)


def test_methods_that_draw_have_tasks_of_their_own():
    assert order_tasks(["roba", "rk4"], default_cases())[0] == WeakOrderTask("roba")
    assert report_tasks(["roba"]) == [WeakOrderTask("roba")]
    vp = Case(process="vp")
    assert order_tasks(["euler-maruyama"], [vp], FEW) == [WeakOrderTask("euler-maruyama", vp, FEW)]


def test_a_row_is_that_of_every_claim():
    (row,) = WeakOrderTask("sscs-midpoint", steps=FEW).run()
    (other,) = [r for r in ok_rows() if r["kind"] == "formula"]
    assert set(other) - {"few", "round_trip"} == set(row)
    assert (row["kind"], row["verdict"], row["claimed_order"], row["problem"]) == ("weak", "pass", 2, "gaussian")


def ok_rows():
    from analysis.tasks import OrderTask

    return OrderTask("rk4", default_cases()[0], steps=(8, 16)).run()


def test_verify_tells_weak_orders(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["verify", "sscs", "--steps", "32,45,64,91"]) == 0
    told = capsys.readouterr().out
    assert "pass         sscs             weak" in told and "1 pass" in told
    assert main(["verify", "roba", "--process", "vp"]) == 2
    assert "position and momentum" in capsys.readouterr().err
    assert main(["certify", "sscs", "--steps", "32,45,64,91"]) == 0
    assert main(["certify", "sscs", "--order", "2", "--steps", "32,45,64,91"]) == 1


@pytest.mark.parametrize("process", ["vp", "ve", "blurring", "psld", "cld"])
def test_laws_are_those_of_samples(process):
    """Mean and covariance at t from the score alone: it is -S^-1 (u - mean)."""
    signal = {"shape": (1,)} if process == "blurring" else {}
    prediction = "score" if process in ("blurring", "psld", "cld") else "data"
    sde = ok.ReverseSDE(ok.processes.get(process, **signal), ok.Gaussian([0.7], [[0.25]]), prediction=prediction)
    t = 0.4 * sde.process.t_max
    mean, covariance = law(sde, t)
    score = ok.ReverseSDE(sde.process, sde.target, prediction="score").model
    size = len(mean)
    u = torch.cat([mean[None], mean + torch.eye(size, dtype=torch.float64)])
    scores = score(u.reshape(-1, *sde.shape), t).reshape(-1, size)
    torch.testing.assert_close(scores[0], torch.zeros(size).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(-scores[1:] @ covariance, torch.eye(size).double(), atol=1e-12, rtol=0)


def test_pushing_is_what_samples_do():
    """A hundred thousand samples of a plan against its law, within four standard errors."""
    sde = ok.ReverseSDE(ok.PSLD(Gamma=0.5, nu=2.5), ok.Gaussian([0.7], [[0.25]]), prediction="score")
    grid = torch.linspace(1.0, 0.1, 9, dtype=torch.float64)
    start = law(sde, 1.0)
    mean, covariance = pushed(ok.plan("robabo", sde, grid), sde.model, (2, 1), start)
    z = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = (start[0] + z @ torch.linalg.cholesky(start[1]).T)[..., None]
    found = ok.solve(sde, u, "robabo", grid, seed=1)[..., 0]
    error = covariance.diagonal().sqrt() / math.sqrt(len(z))
    assert ((found.mean(0) - mean).abs() < 4 * error).all()
    assert (torch.cov(found.T) - covariance).abs().max() < 4 * math.sqrt(2 / len(z)) * covariance.abs().max()


def test_on_isotropic_processes_too():
    sde = ok.ReverseSDE(ok.VP(), ok.Gaussian([0.7, -0.2], [[0.25, 0.1], [0.1, 0.5]]))
    study = analysis.weak_order("euler-maruyama", sde, grid="logsnr", steps=(32, 45, 64, 91, 128))
    assert study.verdict == "pass" and study.row["process"] == "vp"
    silent = ok.ReverseSDE(ok.VP(), sde.target, eta=0.0)
    assert weak_order("heun2", silent, grid="logsnr", steps=(32, 45, 64, 91, 128)).slope == pytest.approx(2, abs=0.1)


def test_a_slope_that_has_not_settled_is_followed_to_finer_steps():
    """Reduced symplectic Euler on CLD: up to 128 steps [0.84, 0.98]; what is claimed does not choose the steps."""
    case = Case(process="cld", prediction="score", grid="time-quadratic")
    (row,) = WeakOrderTask("roba", case).run()
    assert row["verdict"] == "pass" and row["steps"][-1] == 512 and row["steps"][:7] == list(STEPS)
    (few,) = WeakOrderTask("roba", case, STEPS).run()
    assert few["verdict"] == "undetermined" and few["steps"] == list(STEPS)
    (other,) = WeakOrderTask("roba", case, claim=2).run()
    assert other["verdict"] == "fail" and other["steps"] == row["steps"]
    assert weak_order("sscs-midpoint").row["steps"] == list(STEPS)


def test_what_is_refused():
    with pytest.raises(OdekitError, match="draws no noise"):
        weak_order("rk4")
    with pytest.raises(OdekitError, match="one Gaussian"):
        law(ok.ReverseSDE(ok.VP(), ok.targets.bimodal()), 0.5)


def test_distances():
    a = torch.zeros(2).double(), torch.eye(2).double()
    assert distance(a, (a[0] + 3.0, a[1])) == pytest.approx(math.sqrt(18)) and distance(a, a) == 0
