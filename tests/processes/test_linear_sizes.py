"""Linear SDEs of one, three and four channels, against the equations they solve, mpmath and the processes they are."""

import mpmath
import numpy as np
import pytest
import sympy
import torch
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.exceptions import OdekitError, OperatorError
from odekit.processes.entries import Words, as_matrix
from odekit.processes.exponential import exponential
from odekit.processes.linear_derivation import START, of_direction
from odekit.processes.triangular import product, transposed, triangular

t = sympy.Symbol("t")
CHAIN = sympy.Matrix([[0, 1, 0], [-1, 0, 2], [0, -2, -3]]) * 2  # position, velocity, acceleration (Shi & Liu 2024)
CASES = {
    "third order": (CHAIN, sympy.Matrix([0, 0, sympy.sqrt(12)]), (0, 0.04, 0.04)),
    "from points": (CHAIN, sympy.Matrix([0, 0, sympy.sqrt(12)]), (0, 0, 0)),
    "defective on a clock": (
        sympy.Matrix([[-1, 1, 0], [0, -1, 1], [0, 0, -1]]) * (1 + t),
        sympy.Matrix([0, 0, 1]) * sympy.sqrt(1 + t),
        (0, 1, 0),
    ),
    "does not commute": (
        sympy.Matrix([[0, 1, 0], [-1, 0, 2], [t, -2, -3]]),
        sympy.diag(1, 1, 2 + sympy.sin(t)),
        (0, 0.04, 0.04),
    ),
    "four": (
        sympy.Matrix([[-1, 1, 0, 0], [-1, 0, 1, 0], [0, -1, 0, 1], [0, 0, -1, -4]]) * 3,
        sympy.Matrix([0, 0, 0, 3]),
        (0, 0.1, 0.1, 0.1),
    ),
    "one": (sympy.Matrix([[-(1 + 9 * t) / 2]]), sympy.Matrix([[sympy.sqrt(1 + 9 * t)]]), (0,)),
}
PROCESSES = {name: ok.LinearSDE(F, G, initial=start) for name, (F, G, start) in CASES.items()}
every_process = pytest.mark.parametrize("name", PROCESSES)


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


def close(a, b, tolerance):
    gap = (torch.as_tensor(a) - torch.as_tensor(b)).abs().max().item()
    assert gap <= tolerance, gap


def units(sigma):
    deviations = sigma.diagonal(dim1=-2, dim2=-1).sqrt()
    return deviations.unsqueeze(-1) * deviations.unsqueeze(-2)


def carried(name, start, rate, nodes, rtol=3e-14):
    """DOP853 on a matrix equation, F and G evaluated by SymPy's own code."""
    F, G = (sympy.lambdify(t, matrix, "numpy") for matrix in CASES[name][:2])
    n = PROCESSES[name].channels

    def field(s, y):
        a, g = np.array(F(s), float), np.array(G(s), float).reshape(n, -1)
        return rate(a, g @ g.T, y.reshape(n, n), s).flatten()

    path = solve_ivp(
        field, (nodes[0], nodes[-1]), np.array(start, float).flatten(), "DOP853", nodes, rtol=rtol, atol=rtol / 30
    )
    return torch.tensor(path.y.T).reshape(-1, n, n)


@every_process
def test_transitions_and_covariances_solve_their_equations(name):
    process, nodes = PROCESSES[name], [0.0, 0.05, 0.4, 1.0]
    n = process.channels
    close(
        process.transition(times(*nodes), 0.0).value,
        carried(name, np.eye(n), lambda F, D, y, s: F @ y, nodes),
        1e-13,
    )
    sigma = carried(name, np.diag(CASES[name][2]), lambda F, D, y, s: F @ y + y @ F.T + D, nodes)
    close(process.covariance(times(*nodes)).value, sigma, 1e-13)
    back = process.transition(0.2, 0.9) @ process.transition(0.9, 0.2)
    close(back.value, torch.eye(n), 1e-12)


@every_process
def test_factors_square_to_the_covariance(name):
    process, nodes = PROCESSES[name], torch.logspace(-11, 0, 40, dtype=torch.float64)
    sigma = process.covariance(nodes).value
    for kind in ("L", "R"):
        K = process.factor(nodes, kind).value
        assert ((K @ K.mT - sigma).abs() / units(sigma)).max() < 4e-15
    lower = process.factor(nodes, "L").value
    assert lower.triu(1).abs().max() == 0 and lower.diagonal(dim1=1, dim2=2).min() > 0
    turn = process.turn(nodes).value
    close(turn @ turn.mT, torch.eye(process.channels), 4e-15)
    close(process.turn(process.t_max).value, torch.eye(process.channels), 1e-13)


@every_process
def test_r_solves_its_equation_and_l_does_not(name):
    process, nodes = PROCESSES[name], [1.0, 0.6, 0.4]

    def rate(F, D, y, s):
        return (F + D @ np.linalg.inv(process.covariance(s).value.numpy()) / 2) @ y

    path = carried(name, process.factor(1.0).value.numpy(), rate, nodes, rtol=1e-11)
    close(process.factor(times(*nodes)).value, path, 2e-10)
    if process.channels > 1:  # one channel has one factor
        assert (process.factor(times(*nodes), "L").value - path).abs().max() > 1e-2


def test_the_rotation_is_generated_by_what_stands_above_the_diagonal():
    """L^-1 L' is lower triangular: derivatives of L by autograd, X = L^-1 F L + 1/2 L^-1 G G^T L^-T."""
    process, at = PROCESSES["third order"], 0.3
    L = process.factor(at, "L").value
    slope = torch.autograd.functional.jacobian(lambda s: process.factor(s, "L").value, times(at).squeeze(0))
    back = torch.linalg.inv(L)
    X = back @ process.drift(at).value @ L + back @ process.diffusion(at).value @ back.T / 2
    Omega = as_matrix(process.rotation_rate(Words, times(at).squeeze(0)))
    close(X - Omega, (X - Omega).tril(), 1e-13)
    close(back @ slope, X - Omega, 1e-11)
    assert (back @ slope - X).abs().max() > 0.1


@pytest.mark.parametrize("start", [(0, 0, 0), (0, 0.04, 0), (0.3, 0, 0.04), (1e-6, 1, 0)], ids=str)
@pytest.mark.parametrize("at", [1e-11, 1e-6, 1e-3])
def test_factors_keep_their_digits_near_zero(start, at):
    """Every entry of L beside its own row, against sixty digits; a plain Cholesky of the sum loses them."""
    F, G, _ = CASES["third order"]
    process = ok.LinearSDE(F, G, initial=start)
    L = process.factor(at, "L").value.tolist()
    with mpmath.workdps(60):
        exact = mpmath.cholesky(van_loan(F, G, mpmath.mpf(at), [mpmath.mpf(str(v)) for v in start]))
    for i in range(3):
        size = mpmath.sqrt(sum(exact[i, k] ** 2 for k in range(3)))
        assert max(abs(L[i][j] - exact[i, j]) for j in range(i)) <= 4e-14 * size if i else True
        assert abs(L[i][i] - exact[i, i]) <= 2e-13 * exact[i, i]


def van_loan(F, G, at, start):
    """Psi Sigma_0 Psi^T + noise at t from one exponential of twice the size (Van Loan 1978)."""
    n, D = F.rows, G * G.T
    M = mpmath.matrix(2 * n, 2 * n)
    for i in range(n):
        for j in range(n):
            M[i, j], M[i, n + j], M[n + i, n + j] = (
                at * mpmath.mpmathify(sympy.N(x, 60)) for x in (-F[i, j], D[i, j], F[j, i])
            )
    E = mpmath.expm(M)
    psi = E[n : 2 * n, n : 2 * n].T
    return psi * mpmath.diag(start) * psi.T + psi * E[:n, n : 2 * n]


def test_a_plain_cholesky_factor_loses_them():
    process = PROCESSES["third order"]
    ours, plain = process.factor(1e-4, "L"), process.covariance(1e-4).factor()
    assert ((ours - plain).value.diagonal() / ours.value.diagonal()).abs().max() > 1e-8
    with pytest.raises(OperatorError, match="positive semi-definite"):
        process.covariance(1e-6).factor()


@pytest.mark.parametrize("name", ["from points", "defective on a clock", "one"])
def test_fifty_digits(name):
    """Transition and covariance at mpmath times, against Van Loan's exponential or the symbols, and floats."""
    process = PROCESSES[name]
    with mpmath.workdps(30):
        s, r = mpmath.mpf("0.7"), mpmath.mpf("0.2")
        psi, sigma = process.transition(s, r).value, process.covariance(s).value
        flow = process.transition(r, s) @ process.transition(s, r)
        assert max(map(abs, (flow.value - np.eye(process.channels)).flat)) < 1e-27
        if name == "from points":
            exact = van_loan(*CASES[name][:2], s, [0, 0, 0])
            assert max(abs(sigma[i, j] - exact[i, j]) for i in range(3) for j in range(3)) < 1e-26
        L = process.factor(s, "L")
        assert max(map(abs, ((L @ L.transpose()).value - sigma).flat)) < 1e-27
    close(process.transition(0.7, 0.2).value, psi.astype(float), 1e-14)
    close(process.covariance(0.7).value, sigma.astype(float), 1e-14)


@pytest.mark.parametrize("name", ["defective on a clock", "one"])
def test_symbols_and_numbers_agree(name):
    process = PROCESSES[name]
    known = process.expressions
    at = {sympy.Symbol("t", positive=True): sympy.Rational(7, 10), START: sympy.Rational(1, 5)}

    def value(what):
        return np.array(known[what].subs(at).evalf(30).tolist(), float)

    close(process.transition(0.7, 0.2).value, value("transition"), 1e-14)
    close(process.covariance(0.7).value, value("covariance"), 1e-14)
    close(process.factor(0.7, "L").value, value("cholesky"), 1e-14)
    if process.channels > 1:
        close(as_matrix(process.rotation_rate(Words, times(0.7).squeeze(0))), value("rotation_rate"), 1e-12)


def test_what_closes_in_symbols():
    """A triple eigenvalue, a complex pair and square roots close; a cubic's roots do not, and numbers serve."""
    b = sympy.Symbol("b")
    defective = of_direction(sympy.Matrix([[-1, 1, 0], [0, -1, 1], [0, 0, -1]]), b)
    assert sympy.simplify(defective[0, 2] - b**2 / 2 * sympy.exp(-b)) == 0
    pair = of_direction(sympy.Matrix([[0, 1, 0], [-1, 0, 0], [0, 0, -2]]), b)
    assert pair == sympy.Matrix([[sympy.cos(b), sympy.sin(b), 0], [-sympy.sin(b), sympy.cos(b), 0],
                                 [0, 0, sympy.exp(-2 * b)]])  # fmt: skip
    assert of_direction(sympy.Matrix([[0, 1, 0], [0, 0, 1], [-1, -1, 0]]), b) is None
    closes = {name: process.expressions["transition"] is not None for name, process in PROCESSES.items()}
    assert closes == {name: name in ("third order", "from points", "defective on a clock", "one") for name in CASES}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 12.0])
def test_exponentials_of_matrices(scale):
    B = scale * torch.randn(20, 4, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    B[10:] = B[10:].triu(1)  # nilpotent: a polynomial
    for mine, matrix in zip(exponential(B), B, strict=True):
        with mpmath.workdps(40):
            exact = np.array(mpmath.expm(mpmath.matrix(matrix.tolist())).tolist(), float)
        close(mine, exact, 2e-13 * np.abs(exact).max() if scale > 1 else 4e-15 * np.abs(exact).max())


def test_rotations_of_columns():
    random = np.random.default_rng(0)
    rows = [[mpmath.mpf(float(x)) for x in row] for row in random.standard_normal((3, 5))]
    from odekit.processes.entries import MpmathWords

    lower = triangular(MpmathWords, rows, 3)
    gap = np.array(product(lower, transposed(lower)), object) - np.array(product(rows, transposed(rows)), object)
    assert abs(gap).max() < 1e-14 and all(lower[i][j] == 0 for i in range(3) for j in range(i + 1, 3))


class TestOneChannel:
    """VP as a 1x1 linear SDE: its coefficients, and gDDIM on it the DEIS of VP (I7)."""

    vp = ok.VP(beta_0=0.1, beta_1=20)
    rate = sympy.Rational(1, 10) + t * sympy.Rational(199, 10)
    process = ok.LinearSDE(sympy.Matrix([[-rate / 2]]), sympy.Matrix([[sympy.sqrt(rate)]]))
    mixture = ok.GaussianMixture([[-1.0, 0.5], [1.2, -0.3]], [0.4, 0.5], [0.4, 0.6])

    def test_coefficients(self):
        nodes = torch.logspace(-4, 0, 20, dtype=torch.float64)
        close(self.process.mean(nodes).value[:, 0, 0], self.vp.alpha(nodes), 1e-14)
        for kind in ("L", "R"):
            close(self.process.factor(nodes, kind).value[:, 0, 0] / self.vp.sigma(nodes), torch.ones(20), 1e-13)

    @pytest.mark.parametrize("q", range(4))
    def test_gddim_is_deis(self, q):
        nodes = ok.grid("time-quadratic", self.vp, 6)
        one, scalar = (
            ok.plan(method, ok.ProbabilityFlow(process, self.mixture, prediction), nodes).dense()
            for method, process, prediction in (
                (f"gddim-{q}", self.process, "r-noise"),
                (f"deis-tab-{q}", self.vp, "noise"),
            )
        )
        for mine, theirs in ((one.inputs, scalar.inputs), (one.output, scalar.output)):
            close(mine[..., 0, 0], theirs, 2e-12 * theirs.abs().max().item())
        other = ok.plan(f"deis-tab-{(q + 1) % 4}", ok.ProbabilityFlow(self.vp, self.mixture), nodes).dense()
        assert (one.output[..., 0, 0] - other.output).abs().max() > 1e-3

    def test_states_have_a_channel(self):
        x = self.mixture.sample(3)
        assert torch.equal(self.process.project(self.process.embed(x)), x)
        with pytest.raises(OperatorError, match=r"are \(batch, 1, ...\)"):
            self.process.check_states(x[:, None][:, [0, 0]])


def test_larger_sizes_are_made_at_once_and_print_on_a_line():
    process = PROCESSES["four"]
    assert process.channels == 4 and "\n" not in repr(process) and ok.LinearSDE(*CASES["four"][:2]).initial == (0,) * 4
    assert process == ok.LinearSDE(*CASES["four"][:2], initial=CASES["four"][2])


REFUSED = {
    "not square": (lambda: ok.LinearSDE(CHAIN[:2, :], CASES["third order"][1]), r"F must be square.*got \(2, 3\)"),
    "noise of another size": (lambda: ok.LinearSDE(CHAIN, sympy.Matrix([0, 1])), "G has 2 rows, F 3 channels"),
    "two variances": (lambda: ok.LinearSDE(*CASES["third order"][:2], initial=(0, 1)), "must be 3 variances"),
    "several symbols": (
        lambda: ok.LinearSDE(CHAIN * sympy.Symbol("a"), sympy.Matrix([0, 0, t])),
        "F and G contain a, t; expected numbers and one symbol",
    ),
    "noise that never reaches a channel": (
        lambda: ok.LinearSDE(sympy.diag(-1, -1, -1), sympy.Matrix([1, 1, 0])).factor(0.5),
        "the noise leaves a direction out.* noise must reach every channel",
    ),
    "an angle of three channels": (lambda: PROCESSES["third order"].rotation(0.5), r"no one angle; turn\(t\) is"),
    "fifty digits of R": (
        lambda: PROCESSES["third order"].factor(mpmath.mpf("0.5")),
        r"R_t of 3 channels is tabulated in float64; .* factor\(t, 'L'\)",
    ),
    "beyond the table": (lambda: PROCESSES["third order"].factor(1.5), "R_t is known up to t_max = 1, got t = 1.5"),
    "singular start": (lambda: PROCESSES["third order"].factor(0.0), r"Sigma_0 = diag\(0, 0.04, 0.04\) is singular"),
    "a state of two channels": (
        lambda: PROCESSES["third order"].check_states(torch.zeros(5, 2)),
        r"states of LinearSDE are \(batch, 3, ...\)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    make, words = REFUSED[name]
    with pytest.raises(OdekitError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
