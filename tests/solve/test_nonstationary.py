"""Non-stationary methods: exact where they say so, and no better than they are on what they have not seen."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import odekit as ok
from analysis.cli import main
from odekit.algebra.derive import derive
from odekit.exceptions import ExpressionError, GridError, MethodError, OdekitError, UnknownNameError
from odekit.fields import predictions
from odekit.methods.files import method_from
from odekit.methods.nonstationary import NonStationary, exact_on, polynomials
from odekit.solve.fitted import end_errors, fitted

VP = ok.VP()


def solved(process, prediction, function, start, end, x):
    """The linear flow of a model that returns a function of time alone, by SciPy's DOP853."""
    flow = ok.ProbabilityFlow(process, lambda x, t: x, prediction)

    def slope(t, x):
        A, B = predictions.prediction(prediction).evaluate("semilinear", flow.process, t)
        return [float(A) * x[0] + float(B) * function(t)]

    return solve_ivp(slope, (start, end), [x], method="DOP853", rtol=1e-13, atol=1e-14).y[0, -1]


def end_of(method, process, grid, prediction, function):
    """The result of a method for a model that returns a function of time alone, and the exact one."""
    flow = ok.ProbabilityFlow(process, lambda x, t: torch.full_like(x, function(float(t))), prediction)
    x = torch.full((1, 1), 0.3, dtype=torch.float64)
    exact = solved(process, prediction, function, float(grid[0]), float(grid[-1]), 0.3)
    return float(ok.plan(method, flow, grid)(flow.model, x)), exact


@pytest.mark.parametrize("prediction", ["data", "noise", "velocity"])
def test_polynomials_in_log_snr_give_the_exponential_adams_method(prediction):
    grid = ok.grid("logsnr", VP, 6)
    clock = "t" if prediction == "velocity" else "logsnr"
    method = exact_on(polynomials(clock, 3), VP, grid, prediction)
    flow = ok.ProbabilityFlow(VP, ok.targets.ring6(), prediction)
    options = {"prediction": prediction, "clock": clock, "start": "rising"}
    adams = ok.methods.get("exponential-ab-3", **options)
    assert ok.same(ok.plan(method, flow, grid), ok.plan(adams, flow, grid))
    assert not ok.same(ok.plan(method, flow, grid), ok.plan("ddim", flow, grid))


@pytest.mark.parametrize("prediction", ["data", "noise", "velocity", "score"])
@pytest.mark.parametrize("process", [VP, ok.Cosine()], ids=lambda p: p.name)
def test_a_model_in_the_space_is_integrated_without_error_and_one_outside_is_not(process, prediction):
    grid = ok.grid("time-uniform", process, 5)
    for functions, function, inside in (
        (("phi0(-t)", "1"), lambda t: math.exp(-t), True),  # step 0 has one output: it is exact on the first alone
        (("1", "phi0(-t)"), lambda t: 0.7, True),
        (("1", "phi0(-t)"), lambda t: math.exp(-t), False),
    ):
        found, exact = end_of(exact_on(functions, process, grid, prediction), process, grid, prediction, function)
        assert bool(abs(found - exact) < 1e-10 * (1 + abs(exact))) is inside


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["data", "noise"]))
def test_every_step_is_exact_on_its_functions(seed, prediction):
    """Step i, alone, on a random member of the span: against fine quadrature of variation of constants."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.sort(0.01 + 0.98 * torch.rand(5, generator=generator, dtype=torch.float64), descending=True).values
    if (grid[:-1] - grid[1:]).min() < 0.02:
        grid = torch.linspace(0.95, 0.05, 5, dtype=torch.float64)
    functions = ("1", "phi0(-t)", "t**3")
    method = exact_on(functions, VP, grid, prediction)
    a, b, c = torch.randn(3, generator=generator, dtype=torch.float64).tolist()

    def member(t):
        return a + b * math.exp(-t) + c * t**3

    for i in (2, 3):
        exact = solved(VP, prediction, member, float(grid[i]), float(grid[i + 1]), 0.0)
        outputs = torch.tensor([member(t) for t in grid[: i + 1].tolist()], dtype=torch.float64)
        assert float(method.weights[i, : i + 1] @ outputs) == pytest.approx(exact, rel=1e-10, abs=1e-10)


def test_a_fitted_method_beats_the_classical_ones_on_mixtures_it_has_not_seen():
    grid = ok.grid("logsnr", VP, 4)
    train, test = (
        [ok.ProbabilityFlow(VP, ok.targets.scattered(seed, 3, 1), "data") for seed in seeds]
        for seeds in (range(8), range(100, 104))
    )
    best, locally = (fitted(train, grid, samples=24, rounds=rounds) for rounds in (30, 0))
    known = ("ddim", "dpmpp-2m", "exponential-ab-3", "deis-tab-2")
    own, *rivals = end_errors([best, *known], test, grid, 32)
    assert own < 0.8 * min(rivals)
    globally, stepwise = end_errors([best, locally], train, grid, 24, seed=0)
    assert globally < stepwise
    constant = best.weights.sum(1) - exact_on(("1",), VP, grid).weights.sum(1)
    assert constant.abs().max() < 1e-12  # what was to stay exact, stays


def test_weights_belong_to_one_grid_and_one_process():
    grid = ok.grid("logsnr", VP, 4)
    method = exact_on(("1",), VP, grid)
    flow = ok.ProbabilityFlow(VP, ok.targets.bimodal(), "data")
    with pytest.raises(GridError, match="grid of 4 steps; got one of 5"):
        ok.plan(method, flow, ok.grid("logsnr", VP, 5))
    with pytest.raises(GridError, match="made for a grid with t = "):
        ok.plan(method, flow, ok.grid("time-uniform", VP, 4))
    other = ok.VP(beta_1=10.0)
    with pytest.raises(MethodError, match="was made for VP"):
        ok.plan(method, ok.ProbabilityFlow(other, ok.targets.bimodal(), "data"), grid)


def test_what_cannot_be_is_refused_in_one_line():
    grid = ok.grid("logsnr", VP, 4)
    with pytest.raises(MethodError, match="t, 2\\*t are not independent"):
        exact_on(("t", "2*t"), VP, grid)
    with pytest.raises(MethodError, match="at least one"):
        exact_on((), VP, grid)
    with pytest.raises(ExpressionError):
        exact_on(("__import__('os')",), VP, grid)
    with pytest.raises(GridError, match="infinite"):
        exact_on(("1",), ok.RectifiedFlow(), ok.grid("time-uniform", ok.RectifiedFlow(), 4), "noise")
    with pytest.raises(MethodError, match="lower triangular"):
        NonStationary(VP, grid, torch.ones(4, 4))
    with pytest.raises(MethodError, match="no target"):
        fitted([ok.ProbabilityFlow(VP, lambda x, t: x)], grid)
    with pytest.raises(MethodError, match="several processes"):
        fitted([ok.ProbabilityFlow(p, ok.targets.bimodal()) for p in (VP, ok.Cosine())], grid)


def test_a_derived_method_goes_out_as_a_file_and_as_source_and_comes_back(tmp_path):
    found = derive("non-stationary", steps=4, exact=("1", "logsnr"))
    path = tmp_path / "mine.toml"
    path.write_text(found.toml())
    method = ok.methods.load(path)
    assert torch.equal(method.weights, found.method.weights) and method.exact == ("1", "logsnr")
    assert found.certificate().findings() == [] and "exact on logsnr" in dict(found.certificate().rows())
    names = {}
    exec(found.python(), names)  # without odekit in its names
    flow = ok.ProbabilityFlow(VP, ok.targets.bimodal(), "data")
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    expected = ok.solve(flow, x, path, ok.grid("logsnr", VP, 4))
    assert torch.allclose(names["sample"](flow.model, x), expected, rtol=1e-12, atol=1e-12)
    assert "odekit" not in "".join(line for line in found.python().splitlines() if "import" in line)
    assert found.latex().count("\\\\") == 3


def test_verify_and_certify_confirm_the_file_and_refuse_a_changed_one(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(derive("non-stationary", steps=3, exact=("1", "kappa"), prediction="noise").toml())
    assert main(["verify", str(path)]) == 0
    assert main(["certify", str(path)]) == 0
    weight = repr(float(ok.methods.load(path).weights[1, 1]))
    path.write_text(path.read_text().replace(weight, repr(float(weight) + 1e-5)))
    assert main(["verify", str(path)]) == 1
    assert main(["certify", str(path)]) == 1
    assert "not exact on 1" in capsys.readouterr().out


def test_files_that_make_no_method_are_refused():
    data = dict(derive("non-stationary", steps=3).data)
    with pytest.raises(MethodError, match="rows of weights"):
        method_from({**data, "weights": data["weights"][:2]})
    with pytest.raises(UnknownNameError, match="vp"):
        method_from({**data, "process": "vq"})
    for key, value, error, says in (
        ("grid", ["1", "two", "3", "4"], OdekitError, "entry 2 of grid"),
        ("grid", ["1", "1/2", "1/3", "-1"], OdekitError, "-1"),
        ("grid", ["1", "1", "1/3", "1/4"], GridError, "monotone"),
        ("exact", 5, MethodError, "exact must be a list of texts"),
        ("exact", ["1", "q"], ExpressionError, "unknown symbol 'q'"),
        ("prediction", "dat", UnknownNameError, "did you mean 'data'"),
    ):
        with pytest.raises(error, match=says):
            method_from({**data, key: value})
