"""Linear SDEs from SymPy matrices: what closes, what does not, and collocation, each against other routes."""

import pickle

import mpmath
import numpy as np
import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.exceptions import OdekitError
from odekit.fields.operator_predictions import OPERATOR_PREDICTIONS
from odekit.processes.linear_derivation import START, exponential
from odekit.processes.propagate import propagate, propagated

t = sympy.Symbol("t")
half = sympy.Rational(1, 2)
CASES = {
    "critical": (sympy.Matrix([[0, 4], [-1, -4]]), sympy.Matrix([0, 2])),
    "critical on a clock": (sympy.Matrix([[0, 4], [-1, -4]]) * (1 + t), sympy.Matrix([0, 2]) * sympy.sqrt(1 + t)),
    "overdamped": (sympy.Matrix([[0, 1], [-1, -3]]), sympy.Matrix([0, 1])),
    "underdamped": (sympy.Matrix([[0, 3], [-3, -half]]), sympy.diag(half, 1)),
    "correlated": (sympy.Matrix([[-1, 2], [-1, 0]]), sympy.Matrix([[1, half], [0, 1]])),
    "no stationary law": (sympy.Matrix([[0, 1], [-1, 0]]), sympy.Matrix([0, 1 + t])),
    "does not commute": (sympy.Matrix([[-t, 1 + t], [-2, -3 * t**2]]), sympy.diag(1, 2 + sympy.sin(t))),
    "no antiderivative": (sympy.Matrix([[0, 1], [-1, -1]]) * sympy.exp(sympy.sin(t)), sympy.Matrix([0, 1])),
}
PROCESSES = {name: ok.LinearSDE(F, G, initial=(0.0, 0.1)) for name, (F, G) in CASES.items()}
CLOSED = ["critical", "critical on a clock", "overdamped", "underdamped", "correlated", "no stationary law"]
OBLIQUE = ok.LinearSDE(sympy.Matrix([[-1, 1], [0, -2]]), sympy.Matrix([1, 1]))
every_process = pytest.mark.parametrize("name", PROCESSES)


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(a, b, tolerance):
    gap = (torch.as_tensor(a) - torch.as_tensor(b)).abs().max().item()
    assert gap <= tolerance, gap


def integrated(name, kind, start, nodes):
    """DOP853 on the equation itself, with F and G evaluated by SymPy's own code."""
    F, G = (sympy.lambdify(t, matrix, "numpy") for matrix in CASES[name])

    def rate(s, y):
        a, y = np.array(F(s), float), y.reshape(2, 2)
        g = np.array(G(s), float)
        return (a @ y if kind == "transition" else a @ y + y @ a.T + g @ g.T).flatten()

    span = (nodes[0], nodes[-1])
    path = solve_ivp(
        rate, span, np.array(start, float).flatten(), method="DOP853", rtol=1e-12, atol=1e-14, t_eval=nodes
    )
    return torch.tensor(path.y.T).reshape(-1, 2, 2)


@every_process
def test_transition_and_covariance_solve_their_equations(name):
    process, nodes = PROCESSES[name], [0.0, 0.05, 0.4, 1.0]
    close(process.transition(times(*nodes), 0.0).value, integrated(name, "transition", np.eye(2), nodes), 1e-11)
    sigma = integrated(name, "covariance", np.diag([0.0, 0.1]), nodes)
    close(process.covariance(times(*nodes)).value, sigma, 1e-11)
    back = process.transition(0.2, 0.9) @ process.transition(0.9, 0.2)
    close(back.value, torch.eye(2), 1e-13)


@every_process
def test_factors(name):
    process, nodes = PROCESSES[name], torch.logspace(-9, 0, 30, dtype=torch.float64)
    sigma = process.covariance(nodes).value
    unit = torch.einsum("ti,tj->tij", *2 * [sigma.diagonal(dim1=1, dim2=2).sqrt()])
    for kind in ("L", "R"):
        K = process.factor(nodes, kind).value
        assert ((K @ K.mT - sigma).abs() / unit).max() < 1e-14

    def field(s):
        flat = s.flatten()
        a = process.drift(flat) + process.diffusion(flat) @ process.covariance(flat).inverse() * 0.5
        return a.value.reshape(*s.shape, 2, 2)

    carried = propagate(field, times(1e-2, 0.3), times(1.0, 1.0)) @ process.factor(1.0).value
    close(process.factor(times(1e-2, 0.3)).value, carried, 1e-11)


def test_tabulated_history_is_the_direct_route():
    """The table of Psi(t, 0) and the noise, against quadrature at each time, down to the first times."""
    process = PROCESSES["does not commute"]
    from odekit.processes.entries import Words

    nodes = torch.logspace(-11.9, 0, 12, dtype=torch.float64)
    psi, (xx, xm, mm) = process.from_start(Words, nodes)
    direct = process._transition(Words, nodes, 0 * nodes), process._noise(Words, nodes)
    for mine, exact in zip((xx, xm, mm), direct[1], strict=True):
        unit = {id(xx): xx, id(mm): mm}.get(id(mine), (xx * mm).sqrt())
        assert ((mine - exact).abs() / unit).max() < 1e-12
    close(torch.stack(sum(psi, ())), torch.stack(sum(direct[0], ())), 1e-13)


@pytest.mark.parametrize("name", CLOSED)
def test_symbols_and_numbers_agree(name):
    process = PROCESSES[name]
    known, s, r = process.expressions, mpmath.mpf("0.7"), mpmath.mpf("0.2")
    at = {sympy.Symbol("t", positive=True): sympy.Rational(7, 10), START: sympy.Rational(1, 5)}
    exact = np.array(known["transition"].subs(at).evalf(30).tolist(), float)
    close(process.transition(0.7, 0.2).value, exact, 5e-15)
    with mpmath.workdps(30):
        ours = process.transition(mpmath.mpf(7) / 10, mpmath.mpf(1) / 5).value
        gap = sympy.Matrix(2, 2, lambda i, j: sympy.Float(str(ours[i, j]), 28)) - known["transition"].subs(at).evalf(28)
        assert max(map(abs, gap)) < 1e-26
    if known["covariance"] is not None:
        close(process.covariance(0.7).value, np.array(known["covariance"].subs(at).evalf(30).tolist(), float), 5e-15)
        close(process.factor(0.7, "L").value, np.array(known["cholesky"].subs(at).evalf(30).tolist(), float), 5e-15)
        assert sympy.simplify(known["covariance"].subs(sympy.Symbol("t", positive=True), 0)) == sympy.diag(0, half / 5)
    assert s > r and r"\Psi(t, s) &=" in process.latex()


def test_angle_in_symbols():
    """theta' of R = L Q(theta), symbols against the numbers that the table integrates."""
    from odekit.processes.entries import Words

    for name in ("critical", "underdamped", "correlated"):
        process = PROCESSES[name]
        symbol = process.expressions["angle_rate"].subs(sympy.Symbol("t", positive=True), sympy.Rational(3, 10))
        assert float(symbol.evalf(30)) == pytest.approx(process.angle_rate(Words, times(0.3)).item(), rel=1e-12)


def test_what_closes():
    closes = {name: tuple(process.expressions[what] is not None for what in ("transition", "covariance"))
              for name, process in PROCESSES.items()}  # fmt: skip
    assert closes == {name: (name in CLOSED, name in CLOSED[:5]) for name in PROCESSES}


def test_critical_damping_gives_a_polynomial_times_an_exponential():
    transition = PROCESSES["critical"].expressions["transition"]
    for entry in transition:
        polynomial = sympy.simplify(entry * sympy.exp(2 * (sympy.Symbol("t", positive=True) - START)))
        assert polynomial.is_polynomial() and not polynomial.has(sympy.exp)


def test_critical_damping_in_symbols():
    """PSLD's E(b) = e^(-a b) (I + b N) for any Gamma and nu, from F alone."""
    Gamma, nu, b = sympy.symbols("Gamma nu b", positive=True)
    F = sympy.Matrix([[-Gamma, (nu - Gamma) ** 2 / 4], [-1, -nu]]) / 2
    a = (Gamma + nu) / 4
    claimed = sympy.exp(-a * b) * (sympy.eye(2) + b * (F + a * sympy.eye(2)))
    assert sympy.simplify(exponential(b * F) - claimed) == sympy.zeros(2)


def test_psld_as_a_linear_sde():
    """Quadrature and symbols against the closed forms of phase space, the angle's table included."""
    psld = ok.PSLD(Gamma=0.5, nu=2.5)
    F = 4 * sympy.Matrix([[-half, 1], [-1, -5 * half]])
    process = ok.LinearSDE(F, sympy.diag(2, sympy.sqrt(20)), initial=psld.initial_variances)
    nodes = times(1e-6, 1e-3, 0.2, 1.0)
    for verb in ("mean", "covariance", "factor"):
        close(getattr(process, verb)(nodes).value, getattr(psld, verb)(nodes).value, 5e-13)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3), st.floats(-1.5, 1.5))
def test_exponentials_of_any_matrix(a, b, c, d, span):
    """Both branches of the discriminant and its zero, against mpmath."""
    from odekit.processes.entries import MpmathWords, Words
    from odekit.processes.linear import exponentials

    B = mpmath.matrix([[a, b], [c, d]]) * span
    exact = mpmath.expm(B)
    m, r2 = (B[0, 0] + B[1, 1]) / 2, ((B[0, 0] - B[1, 1]) / 2) ** 2 + B[0, 1] * B[1, 0]
    for words, number in ((Words, lambda v: torch.tensor(float(v), dtype=torch.float64)), (MpmathWords, mpmath.mpf)):
        even, odd = (mpmath.mpf(float(v)) for v in exponentials(words, number(m), number(r2)))
        ours = even * mpmath.eye(2) + odd * (B - m * mpmath.eye(2))
        assert mpmath.mnorm(ours - exact) <= 1e-13 * (1 + mpmath.mnorm(exact))


def test_collocation_has_order_twenty():
    """One piece against two, on a rotation whose rate varies: the gap falls by 2^21 or reaches rounding."""
    from odekit.processes.propagate import _product, _steps

    turn = times(0.0, -1.0, 1.0, 0.0).reshape(2, 2)

    def spin(s):
        return (4 * torch.cos(3 * s))[..., None, None] * turn

    def error(length):
        exact = 4 * torch.sin(times(3 * length)) / 3
        mine = _product(_steps(spin, times(length), times(0.0), 1))[0, 1, 0]
        return (mine - torch.sin(exact)).abs().item()

    assert 18 < np.log2(error(0.8) / error(0.4)) < 22
    with pytest.raises(OdekitError, match="does not settle"):
        propagate(lambda s: (1 / (s - 1 / 3).abs() ** 1.5)[..., None, None] * turn, times(1.0), times(0.0))


def test_values_and_gradients():
    process = PROCESSES["critical"]
    assert pickle.loads(pickle.dumps(process)) == process and hash(process) == hash(pickle.loads(pickle.dumps(process)))
    for name in ("critical", "does not commute"):
        at = times(0.4).requires_grad_()
        (slope,) = torch.autograd.grad(PROCESSES[name].covariance(at).value[0, 1, 1], at)
        with torch.no_grad():
            near = [PROCESSES[name].covariance(times(0.4 + h)).value[0, 1, 1] for h in (1e-5, -1e-5)]
        assert abs(slope.item() - (near[0] - near[1]).item() / 2e-5) < 1e-8


a, b = sympy.symbols("a b")
SQUARE, COLUMN = CASES["critical"]


class BlockForScalar(ok.processes.IsotropicProcess):
    name = "block-for-scalar"

    @staticmethod
    def define(t):
        return {"alpha": sympy.exp(-t) * sympy.eye(2), "sigma": 1}


REFUSED = {
    "block for scalar": (
        lambda: BlockForScalar().alpha(0.5),
        "a 2x2 matrix where a process has scalar .*LinearSDE is",
    ),
    "text": (lambda: ok.LinearSDE("[[0]]", COLUMN), "F must be a SymPy matrix, not str"),
    "not square": (lambda: ok.LinearSDE(SQUARE[:1, :], COLUMN), r"F must be square, .* got \(1, 2\)"),
    "noise on other channels": (lambda: ok.LinearSDE(sympy.eye(3), COLUMN), "G has 2 rows, F 3 channels"),
    "no noise": (lambda: ok.LinearSDE(SQUARE, sympy.zeros(2, 0)), r"G is empty, got shape \(2, 0\)"),
    "two symbols": (
        lambda: ok.LinearSDE(SQUARE * a, COLUMN * b),
        "F and G contain a, b; expected numbers and one symbol",
    ),
    "missing": (lambda: ok.LinearSDE(SQUARE), "LinearSDE needs a value for G"),
    "one variance": (lambda: ok.LinearSDE(SQUARE, COLUMN, initial=1), "must be the variances of the channels"),
    "a variance too many": (lambda: ok.LinearSDE(SQUARE, COLUMN, initial=(0, 0, 1)), "must be 2 variances"),
    "negative variance": (lambda: ok.LinearSDE(SQUARE, COLUMN, initial=(0, -1)), "must not be negative"),
    "fifty digits": (
        lambda: PROCESSES["does not commute"].transition(mpmath.mpf(1), mpmath.mpf(0)),
        "no closed form .* times are float64",
    ),
    "noise that reaches one channel only": (
        lambda: ok.LinearSDE(sympy.diag(-1, -1), COLUMN).factor(0.5),
        "the noise leaves a direction out.* no R_t",
    ),
    "R before the noise has reached the other channel": (
        lambda: OBLIQUE.factor(1e-6),
        r"not known at t = 1e-06, .* is singular, or Sigma_t is to rounding; take t >= 1e-05 or",
    ),
    "noise in the frame of a singular factor": (
        lambda: OPERATOR_PREDICTIONS["l-noise"].out(ok.LinearSDE(sympy.diag(-1, -1), sympy.Matrix([0, 1])), 0.25),
        "^LinearSDE: l-noise .* Sigma_t is singular at t = 0.25; expected times t > 0 and noise or an initial variance",
    ),
    "L there": (
        lambda: OBLIQUE.factor(1e-7, "L"),
        r"noise of channel 1 that is its own is lost in rounding at t = 1.0e-07 .* take t >= 1.0e-06",
    ),
    "no number": (lambda: ok.LinearSDE(SQUARE, sympy.Matrix([0, sympy.nan])), "G has the entry nan; expected real"),
    "infinite": (lambda: ok.LinearSDE(sympy.diag(sympy.oo, 1), COLUMN), "F has the entry oo; expected real"),
    "complex": (lambda: ok.LinearSDE(sympy.diag(-1, sympy.I), COLUMN), "F has the entry I; expected real"),
    "singular start": (lambda: PROCESSES["critical"].factor(0.0), r"Sigma_0 = diag\(0, 0.1\) is singular"),
}


def test_oblique_noise_has_factors_from_where_the_covariance_is_regular():
    """Noise into both channels at once: L_22 is t^(3/2)/sqrt(3) at first, against forty digits; R up to its own end."""
    with mpmath.workdps(40):
        exact = {at: OBLIQUE.factor(mpmath.mpf(at), "L").value for at in (1e-9, 2e-5, 1e-2)}
    assert abs(exact[1e-9][1, 1] / (1e-9**1.5 / 3**0.5) - 1) < 1e-8
    for at, tolerance in ((2e-5, 3e-6), (1e-2, 1e-11)):
        L = OBLIQUE.factor(at, "L").value
        assert abs(L[1, 1].item() / float(exact[at][1, 1]) - 1) < tolerance
        step = 1e-3 * at
        slope = (OBLIQUE.factor(at + step).value - OBLIQUE.factor(at - step).value) / (2 * step)
        R, D = OBLIQUE.factor(at).value, OBLIQUE.diffusion(at).value
        rate = OBLIQUE.drift(at).value @ R + D @ R.inverse().T / 2
        assert ((slope - rate).abs().max() / rate.abs().max()) < 1e-5
        close(R @ R.T / at, L @ L.T / at, 1e-13)
    never = ok.LinearSDE(sympy.diag(-1, -1), sympy.Matrix([1, 1])).factor(0.5, "L").value
    assert never[1, 1] == 0  # a direction that no noise ever reaches has no deviation


def test_messages_show_a_process_whole_or_say_that_it_goes_on():
    with pytest.raises(OdekitError) as caught:
        ok.plan("cvv", ok.ProbabilityFlow(ok.LinearSDE(sympy.eye(3), sympy.eye(3)), len, "score"), [0.5, 0.4])
    assert repr(ok.LinearSDE(sympy.eye(3), sympy.eye(3))) in str(caught.value)
    with pytest.raises(OdekitError, match=r"LinearSDE\(.{100,160}\.\.\. has no such pair"):
        ok.plan("cvv", ok.ProbabilityFlow(ok.LinearSDE(sympy.eye(9), sympy.eye(9)), len, "score"), [0.5, 0.4])


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(OdekitError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_operators_are_propagated_where_they_do_not_close():
    """Psi_A of A = F + 1/2 G G^T Sigma^-1, whose flow is known: R_s R_t^-1 in phase space, s_s/s_t under blurring."""
    for process in (ok.PSLD(), ok.Blurring(shape=(2, 3))):

        def shifted(s, process=process):
            return process.drift(s) + process.diffusion(s) @ process.covariance(s).inverse() * 0.5

        to, at = times(0.2, 0.9, 0.5), times(0.8, 0.3, 0.5)
        exact = process.factor(to) @ process.factor(at).inverse()
        assert type(propagated(shifted, 0.2, 0.8)) is type(exact)
        close(propagated(shifted, to, at).value, exact.value, 2e-12)
        columns = propagated(shifted, to, at.unsqueeze(1)).value
        assert columns.shape == (3, 3, *exact.value.shape[1:])
        close(columns[0, 1], propagated(shifted, 0.9, 0.8).value, 2e-12)
