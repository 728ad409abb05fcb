"""What a derivation goes out as: source that runs where odekit cannot be imported, LaTeX, files, and the command."""

import ast
import itertools
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import odekit as ok
from analysis.cli import main
from odekit.algebra import compositions, exponential_methods, multistep, stochastic_tables
from odekit.algebra.derive import Derivation, Difference, derivation
from odekit.algebra.derive.source import latex, literal, python
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.exceptions import MethodError, OdekitError
from odekit.methods import catalogue
from odekit.methods.files import data_of, get, method_from


def exponential(name, prediction=None, **values):
    method = exponential_methods.get(name)
    return data_of(method.substitute(**values) if values else method) | (
        {"prediction": prediction} if prediction else {}
    )


def adams(order, **keys):
    family = "exponential-multistep" if "clock" in keys else "multistep"
    return {"name": "adams", "family": family, "order": order, **keys}


ABOUT = {"order": 2, "source": "here"}
PARAMETRIC = {
    **{"name": "two-stage", "family": "runge-kutta", **ABOUT, "parameters": {"c2": "2/3"}},
    **{"c": ["0", "c2"], "A": [[], ["c2"]], "b": ["1-1/(2*c2)", "1/(2*c2)"]},
}
NOISE = ["phi1(h) + phi2(h)/r1", "-phi2(h)/r1"]
CLASSICAL = {
    "rk4": data_of(get("rk4")),
    "pair": data_of(get("dp5")),
    "roots": data_of(get("gauss-2")),
    "diagonal": data_of(get("sdirk2")),
    "parametric": PARAMETRIC,
    "ab-3": data_of(multistep.adams_bashforth(3, symbolic=True)),
    "bdf-2": data_of(multistep.bdf(2, symbolic=True)),
    "am-1": data_of(multistep.adams_moulton(1)),
    "started": data_of(multistep.adams_bashforth(3, symbolic=True)) | {"start": "heun2"},
    "adams": adams(4),
    "adams, rising": adams(3, start="rising", last="lower"),
}
SAMPLERS = {
    "noise, three stages": exponential("dpm-solver-3", r1="1/3", r2="2/3"),
    "noise, two stages": exponential("dpm-solver-2", r1="1/2"),
    "data, two stages": exponential("dpmpp-2s", r1="2/5"),
    "data, two steps": exponential("dpmpp-2m"),
    "data, three steps": exponential("dpmpp-3m-corrected"),
    "data, started": exponential("dpmpp-3m-corrected") | {"start": "midpoint"},
    "noise, started": data_of(exponential_adams(2)) | {"prediction": "noise", "start": "heun2", "weights": NOISE},
    "noise in logsnr": adams(3, prediction="noise", clock="logsnr"),
    "noise in t": adams(3, prediction="noise", clock="t", start="rising", last="lower"),
    "noise in kappa": adams(3, prediction="noise", clock="kappa", start="heun2"),
    "noise, index": adams(4, prediction="noise", clock="index", weights="lumped"),
    "data, lumped": adams(2, prediction="data", clock="logsnr", weights="lumped", start="rising"),
    "data in rho": adams(2, prediction="data", clock="alpha_over_sigma"),
}
SPLITTINGS = {
    "strang": data_of(compositions.get("strang")),
    "processed": {
        **{"name": "processed", "family": "splitting", **ABOUT, "steps": [["A", "1"], ["B", "1"]]},
        "processor": [["B", "1/2"], ["A", "-1/10"]],
    },
}
SEMILINEAR = {
    "krogstad4": exponential("krogstad4"),
    "exponential-ab-3": data_of(exponential_adams(3)),
}

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
    from odekit.fields.parts import shear

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
    from odekit.fields.coordinates import Instant

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


EVERY = {**CLASSICAL, **SAMPLERS, **SEMILINEAR, "strang": SPLITTINGS["strang"]}
EVERY |= {name: data_of(stochastic_tables.get(name)) for name in ("sra1", "sriw1", "ri1")}


@pytest.mark.parametrize("name", EVERY)
def test_source_says_what_it_is(name):
    source = python(EVERY[name])
    tree = ast.parse(source)
    doc = ast.get_docstring(tree)
    assert doc.startswith(f"{EVERY[name]['name']}: a method of order {EVERY[name]['order']}")
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"math", "numpy"} and max(map(len, source.splitlines())) <= 125
    assert "At c2 = 2/3." in doc if name == "parametric" else True


def test_a_name_or_source_cannot_escape_its_docstring():
    wild = CLASSICAL["rk4"] | {"name": 'a""" + b \\', "source": '"""\nimport os\n"""\\u0000 \\N{x} \x07'}
    tree = ast.parse(python(wild))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import)]


@pytest.mark.parametrize(
    "data, why",
    [
        (data_of(stochastic_tables.get("rs1")), "SRA, SRI, RI, not for RS"),
        (SAMPLERS["data, two steps"] | {"start": "dpmpp-2s"}, "start = 'rising'"),
        (adams(2, prediction="score", clock="t"), "not for score"),
        ({"name": "x"}, "'family' is missing"),
    ],
)
def test_what_no_source_is_written_for_is_said(data, why):
    with pytest.raises(OdekitError, match=why):
        python(data)


def test_literals_are_rounded_once():
    for text in ("1/3", "-2/7", "sqrt(2)/3", "0.1", "123456789012345/777", "0", "(5-sqrt(15))/10"):
        assert eval(literal(text)) == float(method_number(text))


def method_number(text):
    from odekit.expressions import FLOAT64

    return FLOAT64.number(text)


@pytest.mark.parametrize("name", EVERY)
def test_latex_is_balanced(name):
    text = latex(EVERY[name])
    assert text.count("{") == text.count("}") and text.count("\\left") == text.count("\\right")
    assert text.count("\\begin") == text.count("\\end") and "*" not in text.replace("{*}", "")


def test_latex_keeps_free_parameters_and_printed_decimals():
    assert "\\frac{1}{2 c_{2}}" in latex(PARAMETRIC)
    flows = {
        "name": "s",
        "family": "splitting",
        **ABOUT,
        "digits": 3,
        "steps": [["A", "-0.25"], ["B", "1"], ["A", "1.25"]],
    }
    assert latex(flows) == "\\Phi_h = \\varphi^{A}_{1.25 h} \\circ \\varphi^{B}_{h} \\circ \\varphi^{A}_{-0.25 h}"


# The command.


@pytest.fixture
def tiny(monkeypatch):
    """A recipe of two choices, and a published formula that differs."""
    known = dict(derivation.recipes())
    monkeypatch.setattr(derivation, "_RECIPES", known)

    @derivation.recipe("tiny")
    def tiny(order: int, c2: str = "1/2", bold: bool = False, size: float = 1.0) -> Derivation:
        """Two stages, for this test."""
        differences = (Difference("heun2", "Heun 1900", "b[1]: 0, not 1/2"), Difference("itself", "here", ""))
        data = PARAMETRIC | {"name": "tiny", "order": order, "parameters": {"c2": c2}}
        return Derivation(data, (f"solved; bold {bold}, size {size}",), differences)

    return tiny


def answer(capsys, *arguments):
    status = main(list(arguments))
    return status, *capsys.readouterr()


def test_recipes_are_listed_with_their_choices(capsys, tiny):
    status, out, err = answer(capsys, "derive")
    assert status == 0 and err == ""
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("tiny "))
    assert (
        "order [c2=1/2] [bold=False] [size=1.0]" in lines[at] and lines[at + 1].strip() == "Two stages, for this test."
    )
    assert "explicit-runge-kutta" in out


def test_a_derivation_is_told_with_its_mismatch(capsys, tiny):
    status, out, err = answer(capsys, "derive", "tiny", "order=2", "bold=true", "size=0.5", "c2=1/3")
    assert status == 0 and err == ""
    for text in ["tiny: runge-kutta, order 2", "bold True, size 0.5", "at: c2 = 1/3", "A[2,1] = c2", "certificate"]:
        assert text in out
    assert "MISMATCH  heun2 (Heun 1900): b[1]: 0, not 1/2" in out and "the same  itself: here" in out


def test_a_claim_that_does_not_hold_is_no_success(capsys, tiny):
    status, out, _ = answer(capsys, "derive", "tiny", "order=3")
    assert status == 1 and "not 3" in out


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["tinny"], ["unknown recipe 'tinny'", "did you mean 'tiny'"]),
        (["tiny"], ["tiny needs order"]),
        (["tiny", "order"], ["'order'", "choice=value"]),
        (["tiny", "order=two"], ["order=two", "a whole number"]),
        (["tiny", "order=2", "bold=perhaps"], ["bold=perhaps", "true or false"]),
        (["tiny", "order=2", "size=big"], ["size=big", "a number"]),
        (["tiny", "order=2", "order=3"], ["twice"]),
        (["tiny", "order=2", "c3=1"], ["unknown choice of tiny 'c3'", "c2"]),
        (["tiny", "order=2", "c2=0"], ["division by zero", "entry 1 of b"]),
        (["tiny", "order=2", "c2=x"], ["parameter c2", "'x'"]),
        (["tiny", "order=2", "--toml", "nowhere/t.toml"], ["--toml nowhere/t.toml", "folder that exists"]),
    ],
)
def test_bad_choices_are_refused_in_one_line(capsys, tiny, arguments, named):
    status, out, err = answer(capsys, "derive", *arguments)
    assert status == 2 and out == "" and err.count("\n") == 1 and err.startswith("odekit: ")
    for text in named:
        assert text in err, err


def test_derived_files_are_read_back_and_verified(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "cache"))
    files = {name: tmp_path / f"mine.{name}" for name in ("toml", "latex", "python", "json")}
    options = [text for name, path in files.items() for text in (f"--{name}", str(path))]
    status, out, _ = answer(capsys, "derive", "explicit-runge-kutta", "order=2", "c2=3/4", *options)
    assert status == 0 and "explicit-2" in out
    told = json.loads(files["json"].read_text())
    assert (
        told["parameters"] == {"c2": "3/4"} and told["route"] and told["published"][0].keys() >= {"differs", "source"}
    )
    assert files["latex"].read_text().startswith("\\begin{array}")
    names = {}
    exec(files["python"].read_text(), names)
    assert names["B"] == [1 / 3, 2 / 3]
    narrow = ["--problem", "exp-sin", "--steps", "64,128,256,512"]
    assert answer(capsys, "verify", str(files["toml"]), *narrow)[0] == 0
    text = files["toml"].read_text()
    files["toml"].write_text(text.replace("order = 2", "order = 3"))
    assert answer(capsys, "verify", str(files["toml"]), *narrow)[0] == 1
    files["toml"].write_text(text.replace('"c2"],', '"c2/2"],'))
    status, _, err = answer(capsys, "verify", str(files["toml"]), *narrow)
    assert status == 2 and "row 2 of A sums to 3/8" in err


def test_one_format_on_stdout_stands_alone(capsys):
    status, out, _ = answer(capsys, "derive", "explicit-runge-kutta", "order=2", "--python", "-")
    assert status == 0 and out.startswith('"""explicit-2: ')
    ast.parse(out)


def test_a_family_that_does_not_run_says_so_in_one_line(capsys, tmp_path):
    from odekit.methods.files import write_method_file

    path = tmp_path / "sra.toml"
    write_method_file(stochastic_tables.get("sra1"), path)
    status, out, err = answer(capsys, "verify", str(path))
    assert status == 2 and out == "" and "no numerical run" in err and "odekit certify" in err
    with pytest.raises(MethodError, match="no numerical run"):
        ok.methods.load(path)
