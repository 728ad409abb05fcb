"""CLD and PSLD against the literature's digits, matrix exponentials, and the equations that define them."""

import math
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from odekit import processes
from odekit.exceptions import OdekitError, TimeRangeError
from odekit.processes.phase_space import moments
from odekit.processes.propagate import propagate

PSLD = ok.PSLD()
CLD = ok.CLD()
ABLATION = ok.PSLD(Gamma=0.5, nu=2.5, momentum_variance=1.0)
PUBLISHED_CLD = ok.CLD(position_variance=1e-6, momentum_variance=0.040004)  # public gDDIM: 1e-6 on both variances
PROCESSES = {"psld": PSLD, "cld": CLD, "ablation": ABLATION, "published-cld": PUBLISHED_CLD}
every_process = pytest.mark.parametrize("name", PROCESSES)


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(a, b, tolerance):
    gap = float((torch.as_tensor(a) - torch.as_tensor(b)).abs().max())
    assert gap <= tolerance, gap


# ------------------------------------------------------------ the literature's digits


def test_golden_transition_and_covariance_of_psld():
    close(PSLD.mean(0.3).value, times(0.30476187, 0.43025205, -0.10756301, -0.12549018).reshape(2, 2), 5.1e-9)
    close(PSLD.covariance(0.3).value, times(0.86269217, 0.04573928, 0.04573928, 0.23465073).reshape(2, 2), 5.1e-9)


def test_golden_angles_and_end_of_cld():
    turned = [PUBLISHED_CLD.rotation(t) - PUBLISHED_CLD.rotation(0.0) for t in (1.0, 1e-3)]
    assert [round(angle, 2) for angle in turned] == [-12.48, -1.14]
    end = PUBLISHED_CLD.covariance(1.0).value
    assert [math.floor(v * 1e5) for v in end.diagonal().tolist()] == [99998, 24999]  # printed truncated: it is .249997
    assert PUBLISHED_CLD.mean(1.0).value.abs().max() <= 5.4e-3


def test_golden_covariance_of_the_stochastic_step():
    """P of gDDIM's lambda = 1 step, .6 -> .3: the bridge posterior and Sigma_s - Psih Sigma_t Psih^T agree."""
    t, s = 0.6, 0.3
    sigma_t, sigma_s = PUBLISHED_CLD.covariance(t), PUBLISHED_CLD.covariance(s)
    psi = PUBLISHED_CLD.transition(t, s)
    bridge = sigma_s - sigma_s @ psi.transpose() @ sigma_t.inverse() @ psi @ sigma_s

    def field(r):
        flat = r.flatten()
        a = PUBLISHED_CLD.drift(flat) + PUBLISHED_CLD.diffusion(flat) @ PUBLISHED_CLD.covariance(flat).inverse()
        return a.value.reshape(*r.shape, 2, 2)

    hat = propagate(field, times(s), times(t))[0]
    stepped = sigma_s.value - hat @ sigma_t.value @ hat.T
    close(bridge.value, stepped, 1e-12)
    close(bridge.value, times(0.7375, -0.0006, -0.0006, 0.2157).reshape(2, 2), 5.1e-5)
    twisted = sigma_s.value - hat @ sigma_t.value @ hat  # the missing transpose of the public code
    assert (twisted - bridge.value).abs().max() > 0.1


def test_cld_is_pslds_gamma_zero():
    same = ok.PSLD(Gamma=0.0, nu=4.0, beta=8.0)
    t = times(1e-3, 0.2, 1.0)
    for verb in (CLD.covariance, CLD.mean, CLD.drift, CLD.diffusion, CLD.factor):
        close(verb(t).value, getattr(same, verb.__name__)(t).value, 0.0)


def test_isotropic_limit_is_vp():
    """As nu -> Gamma the position forgets the momentum: VP with beta Gamma, at second order in nu - Gamma."""
    vp, t, gaps = ok.VP(beta_0=4.0, beta_1=4.0), 0.3, []
    for gap in (1e-3, 1e-4):
        process = ok.PSLD(Gamma=0.5, nu=0.5 + gap)
        found = process.mean(t).value[0, 0].item(), process.covariance(t).value[0, 0].item()
        gaps.append([abs(found[0] - vp.alpha(t)), abs(found[1] - vp.sigma(t) ** 2)])
    assert [a / b for a, b in zip(*gaps, strict=True)] == pytest.approx([100, 100], rel=0.03) and max(gaps[1]) < 1e-8


# ------------------------------------------------------------ independent routes


@every_process
def test_transition_is_the_matrix_exponential(name):
    process = PROCESSES[name]
    F = mpmath.matrix(process.drift(mpmath.mpf("0.5")).value.tolist())
    for to, at in ((0.7, 0.2), (0.1, 0.9), (1e-3, 0.0)):
        exact = mpmath.expm(F * (mpmath.mpf(to) - mpmath.mpf(at)))
        size = max(abs(entry) for entry in exact)
        ours = process.transition(to, at).value
        assert all(abs(ours[i, j].item() - exact[i, j]) <= 4e-15 * size for i in range(2) for j in range(2))


@every_process
def test_equilibrium_is_kept(name):
    process = PROCESSES[name]
    F, D, Q = process.drift(0.4).value, process.diffusion(0.4).value, torch.diag(times(*process.equilibrium_variances))
    close(F @ Q + Q @ F.T + D, torch.zeros(2, 2), 2e-15)


@every_process
def test_covariance_solves_the_lyapunov_equation(name):
    process = PROCESSES[name]

    def rate(t, s):
        F, D, S = process.drift(t).value.numpy(), process.diffusion(t).value.numpy(), s.reshape(2, 2)
        return (F @ S + S @ F.T + D).flatten()

    start = np.diag([float(v) for v in process.initial_variances]).flatten()
    path = solve_ivp(rate, (0, 1), start, method="DOP853", rtol=3e-14, atol=1e-16, t_eval=[1e-2, 0.1, 0.5, 1.0])
    close(process.covariance(times(*path.t)).value.flatten(1), path.y.T, 1e-13)


@every_process
@pytest.mark.parametrize("initial", [True, False])
def test_covariance_keeps_its_digits_near_zero(name, initial):
    """Relative to sixty digits of Q - E Q E^T; the same form in float64 has none left."""
    process, mp = PROCESSES[name], mpmath.mp.clone()
    mp.dps = 60
    Gamma, nu, beta, M = (mp.mpf(c.numerator) / c.denominator for c in process.constants)
    F = beta / 2 * mp.matrix([[-Gamma, 1 / M], [-1, -nu]])
    Q = mp.diag([1, M])
    start = [mp.mpf(v.numerator) / v.denominator if initial else 0 for v in process.initial_variances]
    for t in (1e-10, 1e-6, 1e-3, 0.1, 0.49, 0.51, 3.0):
        E = mp.expm(F * mp.mpf(t))
        exact = Q + E * (mp.diag(start) - Q) * E.T
        ours = process.covariance(t, initial=initial).value
        for i in range(2):
            for j in range(2):
                unit = mp.sqrt(exact[i, i] * exact[j, j])
                assert abs(ours[i, j].item() - exact[i, j]) <= 2e-15 * unit, (t, i, j)
    t = 1e-10
    E, Q = process.mean(t).value, torch.diag(times(*process.equilibrium_variances))
    plain = (Q - E @ Q @ E.T)[0, 0].item()
    exact = process.covariance(t, initial=False).value[0, 0].item()
    assert abs(plain - exact) > 1e-9 * exact


@pytest.mark.parametrize("z", [0.0, 1e-300, 1e-8, 0.3, 3.999, 4.0, 4.001, 40.0, 700.0])
def test_moments_of_the_exponential(z):
    from odekit.processes.entries import Words

    ours = moments(Words, times(z))
    for k in range(3):
        with mpmath.workdps(40):
            exact = mpmath.hyp1f1(k + 1, k + 2, -mpmath.mpf(z)) / (k + 1)
        assert abs(ours[k].item() - exact) <= 3e-15 * exact


@every_process
def test_mpmath_says_the_same_with_more_digits(name):
    process = PROCESSES[name]
    with mpmath.workdps(40):
        t = mpmath.mpf("0.3")
        E, S = (mpmath.matrix(op.value.tolist()) for op in (process.mean(t), process.covariance(t)))
        F, D = (mpmath.matrix(op.value.tolist()) for op in (process.drift(t), process.diffusion(t)))
        assert mpmath.mnorm(E - mpmath.expm(F * t)) < 1e-38
        rate = mpmath.matrix(2, 2)
        for i in range(2):
            for j in range(2):
                rate[i, j] = mpmath.diff(lambda s, i=i, j=j: process.covariance(s).value[i, j], t)
        assert mpmath.mnorm(rate - (F * S + S * F.T + D)) < 1e-18
    close(
        torch.tensor(np.array(process.covariance(mpmath.mpf(0.3)).value, float)), process.covariance(0.3).value, 1e-15
    )


# ------------------------------------------------------------ factors


@every_process
def test_factors_square_to_the_covariance(name):
    process, t = PROCESSES[name], torch.logspace(-10, 0, 60, dtype=torch.float64)
    sigma = process.covariance(t).value
    unit = (sigma.diagonal(dim1=1, dim2=2).unsqueeze(2) * sigma.diagonal(dim1=1, dim2=2).unsqueeze(1)).sqrt()
    for kind in ("L", "R"):
        K = process.factor(t, kind).value
        assert ((K @ K.mT - sigma).abs() / unit).max() < 2e-15
    assert process.factor(t, "L").value[:, 0, 1].abs().max() == 0


@every_process
def test_cholesky_factor_keeps_its_digits_near_zero(name):
    """L_22 = sqrt(det/xx) with a determinant of terms that do not cancel, against sixty digits."""
    process, t = PROCESSES[name], 1e-8
    with mpmath.workdps(60):
        S = process.covariance(mpmath.mpf(t)).value
        exact = mpmath.sqrt((S[0, 0] * S[1, 1] - S[0, 1] ** 2) / S[0, 0])
    assert abs(process.factor(t, "L").value[1, 1].item() - exact) <= 3e-15 * exact


@pytest.mark.parametrize("name", ["psld", "published-cld"])
def test_r_solves_its_equation(name):
    """DOP853 on dR/dt = (F + 1/2 G G^T Sigma^-1) R from t_max, where R = L."""
    process = PROCESSES[name]
    close(process.factor(1.0, "R").value, process.factor(1.0, "L").value, 1e-15)

    def rate(t, r):
        a = process.drift(t).value + process.diffusion(t).value @ torch.linalg.inv(process.covariance(t).value) / 2
        return (a.numpy() @ r.reshape(2, 2)).flatten()

    nodes = [0.7, 0.3, 0.05]
    start = process.factor(1.0, "R").value.flatten().numpy()
    path = solve_ivp(rate, (1, 0.05), start, method="DOP853", rtol=1e-12, atol=1e-14, t_eval=nodes)
    close(process.factor(times(*nodes), "R").value.flatten(1), path.y.T, 1e-11)


@every_process
def test_angle_is_its_quadrature(name):
    process = PROCESSES[name]
    assert abs(process.rotation(1e-6) - process.rotation(mpmath.mpf(1e-6))) <= 3e-13


def test_gauges_differ_by_one_rotation():
    """Another t_max moves R by a constant orthogonal matrix, nothing else."""
    other, t = ok.PSLD(t_max=0.6), torch.linspace(1e-3, 0.6, 7, dtype=torch.float64)
    turn = torch.linalg.solve(PSLD.factor(t).value, other.factor(t).value)
    close(turn, turn[:1].expand(7, 2, 2), 1e-11)
    close(turn[0] @ turn[0].T, torch.eye(2), 1e-12)
    assert (turn[0] - torch.eye(2)).abs().max() > 0.1


@every_process
def test_sum_rule(name):
    """int_t^s Psi(s, r) 1/2 G G^T R_r^-T dr = R_s - Psi(s, t) R_t (spec, I9); with L_r it is not L_s - Psi L_t."""
    process, (t, s) = PROCESSES[name], (0.8, 0.5)
    x, w = np.polynomial.legendre.leggauss(40)
    r = torch.tensor((t + s) / 2 + (s - t) / 2 * x)
    w = torch.tensor(w * (s - t) / 2).reshape(-1, 1, 1)

    def gap(kind):
        forcing = process.transition(s, r) @ process.diffusion(r) @ process.factor(r, kind).inverse().transpose()
        total = process.factor(s, kind) - process.transition(s, t) @ process.factor(t, kind)
        return ((w * forcing.value / 2).sum(0) - total.value).abs().max()

    assert gap("R") < 1e-12
    assert gap("L") > 1e-2


@given(st.floats(0.0, 1.0), st.floats(0.3, 6.0), st.floats(0.5, 20.0), st.floats(0.0, 1.0), st.floats(1e-3, 0.9))
def test_laws_of_any_psld(Gamma, gap, beta, kappa, t):
    process = ok.PSLD(Gamma=Gamma, nu=Gamma + gap, beta=beta, momentum_variance=kappa)
    s, r = t / 3, t / 7
    there = (process.transition(t, r) @ process.transition(r, s)).value
    direct = process.transition(t, s).value
    assert (there - direct).abs().max() <= 1e-13 * (
        process.transition(t, r).value.abs().max() * process.transition(r, s).value.abs().max()
    )
    psi, sigma = direct, process.covariance(s).value
    step = process.covariance(t - s, initial=False).value  # time-homogeneous
    close(psi @ sigma @ psi.T + step, process.covariance(t).value, 1e-13 * (1 + float(process.M)))
    R = process.factor(t).value
    close(R @ R.T, process.covariance(t).value, 1e-13 * (1 + float(process.M)))


# ------------------------------------------------------------ the surface


def test_vectors_of_times_are_operators_over_steps():
    t = times(0.1, 0.5, 0.9)
    for verb in (PSLD.mean, PSLD.covariance, PSLD.factor, PSLD.drift, PSLD.diffusion):
        over = verb(t)
        for k in range(3):
            close(over[k].value, verb(t[k].item()).value, 1e-15)
            close(verb(t[k]).value, verb(t[k].item()).value, 0.0)


def test_coefficients_differentiate_in_time():
    t = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    for verb in (PSLD.covariance, PSLD.mean, PSLD.factor):
        for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
            (slope,) = torch.autograd.grad(verb(t).value[:, i, j].sum(), t)
            h = 1e-5
            with torch.no_grad():
                difference = (verb(t + h).value - verb(t - h).value)[:, i, j] / (2 * h)
            close(slope, difference, 1e-7)


def test_states():
    x = torch.randn(3, 2, 4)
    u = PSLD.embed(x)
    assert u.shape == (3, 2, 2, 4) and u[:, 1].abs().max() == 0
    close(PSLD.project(u), x, 0.0)
    assert PSLD.transition(0.3, 0.1).apply(u).dtype == torch.float32


def test_processes_are_values():
    for name, process in PROCESSES.items():
        assert pickle.loads(pickle.dumps(process)) == process and hash(process) == hash(PROCESSES[name])
    assert processes.get("psld", Gamma=0.02, nu=4.02) == ok.PSLD(Gamma=0.02, nu=4.02) != PSLD
    assert ok.PSLD(M=0.25) == PSLD and PSLD.M == 0.25 and PSLD.carrier == "block"
    assert repr(PSLD) == (
        "PSLD(Gamma=0.01, nu=4.01, beta=8.0, momentum_variance=0.04, position_variance=0.0, t_min=0.001, t_max=1.0)"
    )


REFUSED = {
    "free mass": (lambda: ok.PSLD(M=0.5), r"M = 0.5 is not critical .* expected M = 4/\(nu - Gamma\)\^2 = 0.25"),
    "nu = Gamma": (lambda: ok.PSLD(Gamma=4, nu=4), r"nu = Gamma = 4 leaves no finite mass.*VP\(beta_0=32, beta_1=32\)"),
    "nu < Gamma": (lambda: ok.PSLD(Gamma=4, nu=1), "nu = 1 must exceed Gamma = 4"),
    "negative Gamma": (lambda: ok.PSLD(Gamma=-1), "Gamma = -1 must not be negative"),
    "negative variance": (lambda: ok.CLD(momentum_variance=-1), "momentum_variance = -1 must not be negative"),
    "underdamped": (lambda: ok.CLD(Gamma=0.5), r"not critically damped; expected Gamma\^2 = 4 M, such as M = 0.0625"),
    "zero mass": (lambda: ok.CLD(Gamma=0, M=0), "Gamma = 0 must be positive"),
    "a word for a number": (lambda: ok.PSLD(beta="a"), "PSLD: beta = 'a' is no number: unknown symbol 'a'"),
    "typing error": (lambda: ok.PSLD(gamma=0.1), "unknown parameter of PSLD 'gamma'; did you mean 'Gamma'"),
    "negative time": (lambda: PSLD.covariance(-0.1), "t = -0.1 is outside the range of PSLD"),
    "unknown factor": (lambda: PSLD.factor(0.5, "Q"), "unknown factor 'Q'"),
    "no channel axis": (lambda: PSLD.project(torch.zeros(5, 3)), r"states of PSLD are \(batch, 2, ...\).*embed"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(OdekitError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_r_is_refused_where_it_is_not_known():
    with pytest.raises(TimeRangeError, match=r"R_t is not known at t = 0, where Sigma_0 = diag\(0, 0.01\) is singular"):
        CLD.factor(0.0)
    with pytest.raises(TimeRangeError, match="R_t is known up to t_max = 1, got t = 1.5"):
        CLD.factor(1.5)
    close(CLD.factor(1 + 1e-15).value, CLD.factor(1.0).value, 1e-13)  # a grid's end in rounding
    close(CLD.factor(0.0, "L").value, torch.diag(times(0.0, 0.1)), 1e-17)
    assert math.isfinite(PUBLISHED_CLD.rotation(0.0))


def test_factors_load_no_symbolic_algebra():
    """A second of import at the first factor, for nothing: `torch.broadcast_shapes` does that."""
    code = "import sys, odekit; odekit.PSLD().factor(0.5); print('sympy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
