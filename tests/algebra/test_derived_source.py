"""Source of derived methods, run where odekit cannot be imported, takes the steps of the methods."""

import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from method_data import CLASSICAL, SAMPLERS, SEMILINEAR, SPLITTINGS
from scipy.linalg import expm

import odekit as ok
from odekit.algebra import stochastic_tables
from odekit.algebra.derive.source import python
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.fields.coordinates import Instant
from odekit.fields.parts import shear
from odekit.methods import catalogue
from odekit.methods.files import data_of, method_from

# The other side: the same fields and the same process written down again, in a process that cannot import odekit.
ISOLATED = """
import json, math, sys
sys.modules["odekit"] = None
import numpy as np

def f(x, t):
    return np.sin(x[..., ::-1] + t) - x * x / 4

def model(x, t):
    return np.tanh(x[..., ::-1] + t) + x / 5

def alpha(t):
    return math.exp(-(0.1 * t + 19.9 * t * t / 2) / 2)

def sigma(t):
    return math.sqrt(-math.expm1(-(0.1 * t + 19.9 * t * t / 2)))

def time_at_logsnr(l):
    area = math.log1p(math.exp(-2 * l)) if l > 0 else -2 * l + math.log1p(math.exp(2 * l))
    return 2 * area / (0.1 + math.sqrt(0.01 + 2 * 19.9 * area))

flows = {"A": lambda x, h: x + h * np.stack([x[..., 1], 0 * x[..., 1]], -1),
         "B": lambda x, h: x - h * np.stack([0 * x[..., 0], np.sin(x[..., 0])], -1)}
L = np.array([-3.0, 0.5])
given = json.load(sys.stdin)
x, t, out = np.array(given["x"]), given["t"], {}
for name, (kind, source) in given["sources"].items():
    names = {}
    exec(source, names)
    if kind == "classical":
        found = names["integrate"](f, t, x)
    elif kind == "splitting":
        found = names["integrate"](flows, t, x)
    elif kind == "semilinear":
        found = names["integrate"](f, t, x, L)
    else:
        more = [time_at_logsnr] if "time_at_logsnr)" in source else []
        found = names["sample"](model, x, given["times"], alpha, sigma, *more)
    out[name] = np.asarray(found).tolist()
assert "odekit" not in [m for m in sys.modules if sys.modules[m] is not None]
print(json.dumps(out))
"""

X = torch.tensor([[0.3, -1.2], [1.1, 0.4], [-0.7, 0.9]], dtype=torch.float64)
T = torch.tensor([0.0, 0.1, 0.22, 0.29, 0.43, 0.5], dtype=torch.float64)
EVEN = torch.linspace(0.0, 0.5, 6, dtype=torch.float64)
FIELD = ok.VectorField(lambda x, t: torch.sin(x.flip(-1) + t) - x * x / 4, shape=(2,))
PROCESS = ok.VP()
TIMES = ok.grid("logsnr", PROCESS, 7)
TIMES = torch.cat([TIMES[:3], TIMES[4:]])  # steps of several sizes


@pytest.fixture(scope="module")
def elsewhere():
    """Every source run once where odekit cannot be imported."""
    kinds = {"classical": CLASSICAL, "sampler": SAMPLERS, "semilinear": SEMILINEAR, "splitting": SPLITTINGS}
    sources = {f"{kind}: {name}": (kind, python(data)) for kind, cases in kinds.items() for name, data in cases.items()}
    given = {"x": X.tolist(), "t": T.tolist(), "times": TIMES.tolist(), "sources": sources}
    answers = {}
    for even in (False, True):  # processed methods ask for equal steps
        chosen = {k: v for k, v in sources.items() if ("processed" in k) == even}
        given |= {"t": EVEN.tolist() if even else T.tolist(), "sources": chosen}
        result = subprocess.run(
            [sys.executable, "-I", "-c", ISOLATED], input=json.dumps(given), capture_output=True, text=True
        )
        assert result.returncode == 0, result.stderr
        answers |= json.loads(result.stdout)
    return answers


def running(data):
    method = method_from(data)
    options = {"start": data["start"]} if "start" in data and not isinstance(method, dict) else {}
    return catalogue.from_data(method) if isinstance(method, dict) else ok.methods.get(method, **options)


def near(found, expected, tolerance=1e-12):
    found, expected = (torch.as_tensor(v, dtype=torch.float64) for v in (found, expected))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= tolerance * (1 + expected.abs().max())


@pytest.mark.parametrize("name", CLASSICAL)
def test_classical_source_is_the_method(elsewhere, name):
    near(elsewhere[f"classical: {name}"], ok.solve(FIELD, X, running(CLASSICAL[name]), T))


@pytest.mark.parametrize("name", SAMPLERS)
def test_source_of_samplers_is_the_plan(elsewhere, name):
    flow = ok.ProbabilityFlow(
        PROCESS, lambda x, t: torch.tanh(x.flip(-1) + t) + x / 5, prediction=SAMPLERS[name]["prediction"]
    )
    near(elsewhere[f"sampler: {name}"], ok.solve(flow, X, running(SAMPLERS[name]), TIMES))


@pytest.mark.parametrize("name", SPLITTINGS)
def test_source_of_splittings_is_the_method(elsewhere, name):
    parts = {
        "A": shear(lambda x, t: torch.stack([x[..., 1], 0 * x[..., 1]], -1)),
        "B": shear(lambda x, t: torch.stack([0 * x[..., 0], -torch.sin(x[..., 0])], -1)),
    }
    method = running(SPLITTINGS[name])
    near(
        elsewhere[f"splitting: {name}"],
        ok.solve(ok.SplitField(parts, (2,)), X, method, EVEN if name == "processed" else T),
    )


def textbook(method, g, t, u, L):
    """A step of an exponential method as it is printed, with this package's phi functions."""
    outputs = []
    for n in range(len(t) - 1):
        h = t[n + 1] - t[n]
        if hasattr(method, "nodes"):
            outputs = [g(u, t[n]), *outputs][: len(method.nodes)]
            formula = exponential_adams(len(outputs)) if len(outputs) < len(method.nodes) else method
            ratios = {f"r{j + 1}": (t[n - j] - t[n - j - 1]) / h for j in range(len(outputs) - 1)}
            k, b = outputs, formula.coefficients(h * L, **ratios)[1]
        else:
            c, A, b = method.coefficients(h * L)
            k = []
            for node, row in zip(c, A, strict=True):
                k.append(
                    g(np.exp(node * h * L) * u + h * sum(a * s for a, s in zip(row, k, strict=False)), t[n] + node * h)
                )
        u = np.exp(h * L) * u + h * sum(w * s for w, s in zip(b, k, strict=True))
    return u


@pytest.mark.parametrize("name", SEMILINEAR)
def test_semilinear_source_is_the_textbook_step(elsewhere, name):
    def g(x, t):
        return np.sin(x[..., ::-1] + t) - x * x / 4

    expected = textbook(method_from(SEMILINEAR[name]), g, T.tolist(), X.numpy(), np.array([-3.0, 0.5]))
    near(elsewhere[f"semilinear: {name}"], expected)


def test_a_wrong_coefficient_is_seen(elsewhere):
    wrong = CLASSICAL["rk4"] | {"b": ["1/6", "1/3", "1/3+1/1000", "1/6-1/1000"]}
    with pytest.raises(AssertionError):
        near(elsewhere["classical: rk4"], ok.solve(FIELD, X, running(wrong), T))


def run(data):
    names = {}
    exec(python(data), names)
    return names["integrate"]


@pytest.mark.parametrize("name", ["rk4", "ab-3", "adams"])
def test_numbers_and_tensors_are_taken_alike(name):
    integrate = run(CLASSICAL[name])
    tensors = integrate(lambda x, t: -x * x, T.tolist(), X.abs())
    numbers = [integrate(lambda x, t: -x * x, T.tolist(), x) for x in X.abs().flatten().tolist()]
    assert torch.is_tensor(tensors) and isinstance(numbers[0], float)
    near(tensors.flatten(), numbers, 1e-15)


def test_the_embedded_method_estimates_the_error():
    names = {}
    exec(python(CLASSICAL["pair"]), names)
    method = ok.methods.get("dp5")
    window = (Instant(T[1]), Instant(T[0]))
    carry, error = method.estimate(method.coordinates(FIELD), window, {"x": X})
    moved, found = names["step_with_error"](FIELD, X, 0.0, 0.1)
    near(moved, carry["x"])
    near(found, error, 1e-15)


def test_strong_stochastic_source_has_its_local_errors():
    """Geometric Brownian motion, expectations by Gauss and Hermite: h^2 in mean square, h^3 in the mean."""
    u, w = np.polynomial.hermite_e.hermegauss(24)
    U, V = np.meshgrid(u, u)
    W = np.outer(w, w) / w.sum() ** 2
    integrate, errors = run(data_of(stochastic_tables.get("sriw1"))), []
    for h in (0.02, 0.01):
        draws = iter((U, V))
        x = integrate(lambda x, t: 1.5 * x, lambda x, t: 0.7 * x, [0.0, h], np.ones_like(U), lambda d=draws: next(d))
        off = x - np.exp((1.5 - 0.7**2 / 2) * h + 0.7 * math.sqrt(h) * U)
        errors.append((math.sqrt((W * off * off).sum()), abs((W * off).sum())))
    slopes = [math.log2(a / b) for a, b in zip(*errors, strict=True)]
    assert slopes[0] > 1.95 and slopes[1] > 2.95


def test_additive_source_is_the_published_step():
    """SRA1, written out: Roessler 2010, table 6.3."""
    x, h, u, v = 0.3, 0.2, 0.7, -0.4
    draws = iter((u, v))
    found = run(data_of(stochastic_tables.get("sra1")))(
        lambda x, t: math.sin(x) + t, lambda t: 1 + t * t, [0.5, 0.5 + h], x, lambda: next(draws)
    )
    I1, I10 = math.sqrt(h) * u, h**1.5 / 2 * (u + v / math.sqrt(3))
    a1, b = math.sin(x) + 0.5, [1 + 0.7**2, 1 + 0.5**2]
    a2 = math.sin(x + 0.75 * h * a1 + 1.5 * b[0] * I10 / h) + 0.5 + 0.75 * h
    assert found == pytest.approx(x + h * (a1 + 2 * a2) / 3 + b[0] * I1 + (b[1] - b[0]) * I10 / h, abs=1e-14)


@pytest.mark.parametrize("name, expected", [("ri1", 3), ("dri1", 3), ("rdi1wm", 2)])
def test_weak_stochastic_source_has_its_local_error(name, expected):
    """Second moments of a linear equation with two noises that do not commute, over all outcomes of a step."""
    A = np.array([[-0.3, 0.8], [-0.5, 0.1]])
    B = [np.array([[0.4, 0.1], [0.3, -0.2]]), np.array([[-0.1, 0.6], [0.2, 0.3]])]
    one, start = np.eye(2), np.array([1.0, 0.5])
    generator = np.kron(A, one) + np.kron(one, A) + sum(np.kron(b, b) for b in B)
    integrate, errors = run(data_of(stochastic_tables.get(name))), []
    for h in (0.05, 0.025):
        moment = 0
        for first, second in itertools.product([(-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6)], repeat=2):
            for two in (-1, 1):
                draws = iter((first[0], second[0]))
                x = integrate(
                    lambda x, t: A @ x, lambda x, t, k: B[k] @ x, [0.0, h], start, 2,
                    lambda d=draws: next(d), lambda s=two: s,
                )  # fmt: skip
                moment = moment + first[1] * second[1] / 2 * np.kron(x, x)
        errors.append(np.abs(moment - expm(generator * h) @ np.kron(start, start)).max())
    assert abs(math.log2(errors[0] / errors[1]) - expected) < 0.15
