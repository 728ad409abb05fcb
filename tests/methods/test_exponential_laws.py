"""Exponential methods that run: numbers of any field, derivatives, exactness, claims, ends, starts and refusals."""

from dataclasses import replace

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
import odekit as ok
from odekit.algebra import certificate, exponential_methods
from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_multistep import ExponentialMultistep, exponential_adams
from odekit.algebra.phi import phi_mp
from odekit.exceptions import MethodError, OdekitError, UnknownNameError
from odekit.expressions import FLOAT64, mpfield, parse
from odekit.fields.coordinates import Instant
from odekit.methods.entries import compiled, phi
from odekit.methods.exponential_catalogue import ANY, METHODS, STATED

PROCESS = ok.VP()
NOISE = ok.ProbabilityFlow(PROCESS, ok.targets.ring6(), prediction="noise")
GRID = ok.grid("logsnr", PROCESS, 6, t_start=0.8, t_end=0.05)
ROUGH = PROCESS.time_at_logsnr(torch.tensor([-2.0, -1.5, -0.2, 0.1, 0.9, 1.2, 2.4], dtype=torch.float64))


def start(rows=4):
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


# ---------------------------------------------------------------- numbers


@given(st.integers(0, 6), st.one_of(st.floats(-40, 40), st.floats(-1e-6, 1e-6)))
@settings(deadline=None, max_examples=100)
def test_phi_and_its_derivative_are_exact_on_tensors(k, z):
    at = torch.tensor([z], dtype=torch.float64, requires_grad=True)
    value = phi(k, at)
    (slope,) = torch.autograd.grad(value.sum(), at)
    exact = phi_mp(k, z, 30)
    assert float(abs(value.item() - exact) / exact) < 1e-14
    exact = phi_mp(k, z, 40) - k * phi_mp(k + 1, z, 40)
    assert float(abs(slope.item() - exact) / exact) < 1e-14 * max(1, abs(z))  # phi_k - k phi_{k+1} cancels by |z|


def test_second_derivatives_of_phi():
    z = torch.tensor([-1.3, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda z: phi(3, z), z)


def test_entries_that_are_zero_are_zero_and_unknown_symbols_are_refused():
    run = compiled([parse("0"), [parse("1/2"), parse("phi1(z)**2", "z")]], "z")
    found = run(FLOAT64, torch.zeros(3, dtype=torch.float64))
    assert type(found[0]) is int and found[1][0] == 0.5 and found[1][1].tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(OdekitError, match="c2 has no value"):
        compiled([parse("c2*z", ("c2", "z"))], "z")


@pytest.mark.parametrize("name", ["exprk5s8", "dpmpp-3m", "unipc-3"])
def test_fifty_digits_are_fifty(name):
    """The weights of a step sum to sigma_s - (alpha_s/alpha_t) sigma_t, whatever the method."""
    numbers = mpfield(50)
    first, rounded = (ok.plan(name, NOISE, GRID, precision=digits).segments[0] for digits in (50, None))
    with numbers.context:
        t, s = (numbers.number(float(v)) for v in GRID[:2])
        ratio = PROCESS.alpha(s) / PROCESS.alpha(t)
        x, *weights = first.outputs[0, 0]
        assert abs(x - ratio) < mpmath.mpf(10) ** -48
        assert abs(sum(weights) - (PROCESS.sigma(s) - ratio * PROCESS.sigma(t))) < mpmath.mpf(10) ** -48
    assert max(abs(float(w) - v) for w, v in zip(weights, rounded.outputs[0, 0, 1:].tolist(), strict=True)) < 1e-14


@pytest.mark.parametrize("name", ["dpm-solver-3", "ho4", "dpmpp-3m-corrected", "unipc-2"])
def test_tables_are_differentiable_in_their_grid(name):
    grid = ROUGH[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda g: ok.plan(name, NOISE, g).dense().output, grid)


@pytest.mark.parametrize("h", [1.0, 1e-2, 1e-5])
def test_small_steps_do_not_cancel(h):
    """exp(-h) - 1 and the recursion of phi_3 in floats lose eps/h^3; here every weight keeps its digits."""
    lam = [0.3, 0.3 - h, 0.3 - 1.5 * h, 0.3 - 3.5 * h]
    instants = [Instant(float(PROCESS.time_at_logsnr(v)), memo={"logsnr": v}) for v in lam]
    method = ok.methods.get("dpmpp-3m-corrected")
    found = method.weights(method.coordinates(NOISE), instants[0], instants[1], tuple(instants[1:]))
    with mpmath.workdps(40):
        step, r1, r2 = (mpmath.mpf(b - a) for a, b in zip(lam[1:], lam[:-1], strict=True))
        _, exact = exponential_methods.get("dpmpp-3m-corrected").coefficients(-step, r1=r1 / step, r2=r2 / step)
        scale = step * mpmath.mpf(PROCESS.alpha(instants[0].time))
        assert max(abs(w / (scale * e) - 1) for w, e in zip(found, exact, strict=True)) < 2e-14


# ---------------------------------------------------------------- plan, eager and the laws of the family


@pytest.mark.parametrize("name", METHODS)
def test_plan_and_eager_agree(name):
    planned, eager = (ok.solve(NOISE, start(), name, ROUGH, eager=eager) for eager in (False, True))
    assert float((planned - eager).abs().max()) < 1e-12


POINT = torch.tensor([[0.7, -0.4]], dtype=torch.float64)


def delta(x, t):
    """The noise of data that are one point."""
    return (x - PROCESS.alpha(t) * POINT) / PROCESS.sigma(t)


@pytest.mark.parametrize("name", METHODS)
def test_one_point_is_solved_exactly_except_by_lawson(name):
    flow = ok.ProbabilityFlow(PROCESS, delta)
    (a, s), (b, r) = ((PROCESS.alpha(t), PROCESS.sigma(t)) for t in (float(ROUGH[0]), float(ROUGH[-1])))
    exact = b * POINT + r / s * (start() - a * POINT)
    error = float((ok.solve(flow, start(), name, ROUGH) - exact).abs().max())
    assert error > 1e-6 if name == "lawson4" else error < 1e-13


@pytest.mark.parametrize("name", [*METHODS, "dpmpp-2m"])
def test_a_step_to_no_noise_is_of_order_one(name):
    grid = ok.grid("logsnr", PROCESS, 5, final="zero")
    solution = ok.solve(NOISE, start(), name, grid, full=True)
    assert torch.isfinite(solution.x).all()
    # x at sigma = 0 is the data predicted at the last evaluation, at the node before the end
    before, t = solution.trajectory[-2], grid[-2]
    data = (before - PROCESS.sigma(t) * NOISE.model(before, t)) / PROCESS.alpha(t)
    if not name.startswith("unipc"):  # which corrects the state before it goes on
        assert float((solution.x - data).abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["krogstad4", "dpm-solver-2", "dpmpp-3m"])
def test_a_lower_last_step_is_ddim(name):
    grid = GRID
    lower = ok.solve(NOISE, start(), name, grid, last="lower", full=True).trajectory
    assert float((ok.solve(NOISE, lower[-2], "ddim", grid[-2:]) - lower[-1]).abs().max()) < 1e-13
    full = ok.solve(NOISE, start(), name, grid)
    assert float((full - lower[-1]).abs().max()) > 1e-4


SAME = [
    ("dpm-solver-1", {}, "ddim", {}),
    ("dpmpp-1", {}, "ddim", {}),
    ("res-2m", {}, "dpmpp-2m", {"rule": "interpolating"}),
    ("unip-2", {}, "dpmpp-2m", {}),
    ("unip-3", {"variant": "vary"}, "exponential-ab-3", {"prediction": "data"}),
    ("dpmpp-3m-corrected", {"start": "rising"}, "exponential-ab-3", {"prediction": "data"}),
    ("dpmpp-3m-corrected", {}, "exponential-ab-3", {"prediction": "data", "start": "dpmpp-2s"}),
    ("dpm-solver-2-taylor", {}, "ho2", {"prediction": "noise"}),
    ("res-2s", {}, "ho2", {}),
    ("dpm-solver-3", {}, "ho3", {"prediction": "noise", "c2": "1/3"}),
    ("dpm-solver-fast", {"last": "full"}, "dpm-solver-3", {}),
]


@pytest.mark.parametrize(("a", "own", "b", "other"), SAME, ids=[f"{a}-{b}-{len(o)}" for a, o, b, _ in SAME])
def test_methods_that_are_the_same_are_found_to_be(a, own, b, other):
    assert ok.same(ok.plan(ok.methods.get(a, **own), NOISE, ROUGH), ok.plan(ok.methods.get(b, **other), NOISE, ROUGH))


def test_the_coefficient_form_is_the_catalogues():
    exact = ok.methods.get(exponential_methods.get("dpmpp-2m"))
    assert ok.same(ok.plan(exact, NOISE, ROUGH), ok.plan("dpmpp-2m", NOISE, ROUGH))


DIFFERENT = [("dpmpp-3m", "dpmpp-3m-corrected"), ("dpmpp-3s", "dpm-solver-3"), ("unip-3", "unipc-3"), ("ho2", "etd2rk")]


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_methods_that_differ_are_told_apart(a, b):
    assert not ok.same(ok.plan(a, NOISE, ROUGH), ok.plan(b, NOISE, ROUGH))


# ---------------------------------------------------------------- claims


SHORT = (8, 16, 32, 64)


def measured(method, kind="with start", **options):
    return analysis.convergence(method, kind=kind, **options)


@pytest.mark.parametrize("kind", ["formula", "with start"])
@pytest.mark.parametrize("name", ["dpmpp-3m-corrected", "unipc-2"])
def test_claims_hold(name, kind):
    assert measured(name, kind).verdict == "pass"


def test_the_third_order_published_is_of_order_two():
    published = exponential_methods.get("dpmpp-3m")
    assert ok.methods.get(published).order.formula == 3 and ok.methods.get("dpmpp-3m").order == (2, 2)
    study = measured(ok.methods.get(published), "formula")
    assert study.verdict == "fail" and abs(study.slope - 2) < 0.1


def test_corrected_it_reaches_three_with_its_own_start_and_two_with_a_rising_one():
    assert ok.methods.get("dpmpp-3m-corrected").order == (3, 3)
    rising = ok.methods.get("dpmpp-3m-corrected", start="rising")
    assert rising.order == (3, 2)
    assert measured(rising).verdict == "pass" and measured(rising, claim=3).verdict == "fail"
    assert ok.methods.get("dpmpp-3m-corrected", start="etd2rk").order == (3, 3)


def test_other_parameters_claim_no_more_than_they_reach():
    lower = ok.methods.get("dpm-solver-3", r2="3/4")
    assert lower.order == (2, 2) and measured(lower).verdict == "pass"
    assert measured(lower, claim=3).verdict == "fail"
    assert ok.methods.get("dpm-solver-3", r1="1/5").order == (3, 3)


def test_mutilated_weights_fail():
    good = ok.methods.get(exponential_methods.get("krogstad4"))
    bad = replace(good.tableau, b=(*good.tableau.b[:-1], "-phi2(z)+3.9*phi3(z)"))
    assert measured(good).verdict == "pass" and measured(ok.methods.get(bad), steps=SHORT).verdict == "fail"
    weights = list(exponential_methods.get("dpmpp-2m").weights)
    wrong = replace(exponential_methods.get("dpmpp-2m"), weights=(weights[0], "-1/(3*r1)*phi1(-h)"))
    assert measured(ok.methods.get(wrong), "formula").verdict == "fail"
    euler = ok.methods.get(ExponentialMultistep("euler", 1, "-", ("0",), ("1.1*phi1(z)",)))
    assert measured(euler, steps=SHORT).slope < 0.5  # not even consistent
    assert ok.same(ok.plan(ok.methods.get(exponential_adams(1)), NOISE, ROUGH), ok.plan("ddim", NOISE, ROUGH))


@pytest.mark.parametrize("variant", ["bh1", "bh2", "vary"])
@pytest.mark.parametrize("name", ["unip-2", "unipc-1", "unipc-3"])
def test_the_exact_formulas_of_unipc_prove_its_claim(name, variant):
    method = ok.methods.get(name, variant=variant)
    proof = certificate(method)
    assert proof.order == method.order.formula and not proof.findings()


def test_a_formula_in_z_runs_on_either_prediction():
    for prediction in ("data", "noise"):
        method = ok.methods.get(exponential_adams(3), prediction=prediction)
        other = ok.methods.get("exponential-ab-3", prediction=prediction)
        assert ok.same(ok.plan(method, NOISE, ROUGH), ok.plan(other, NOISE, ROUGH))


@pytest.mark.parametrize("start", ["dpmpp-2s", "rk4"])
def test_multistep_methods_start_with_any_one_step_method(start):
    method = ok.methods.get("exponential-ab-3", prediction="data", start=start)
    assert method.order == (3, 3) and measured(method).verdict == "pass"


def test_a_weak_start_is_not_claimed_away():
    assert ok.methods.get("ab-4", start="euler").order == (4, 2)
    assert ok.methods.get("exponential-ab-4", prediction="data", start="dpmpp-2s").order == (4, 3)


@pytest.mark.parametrize("name", ["dpm-solver-3", "dpmpp-2s"])
def test_embedded_pairs_control_their_steps(name):
    reference = ok.reference(NOISE, start(), float(GRID[-1]), t_start=float(GRID[0])).x
    errors = []
    for tolerance in (1e-2, 1e-4):
        x = ok.solve(
            NOISE, start(), name, rtol=tolerance, atol=tolerance, control="batch",
            t_start=float(GRID[0]), t_end=float(GRID[-1]),
        )  # fmt: skip
        errors.append(float((x - reference).abs().max()))
    assert errors[0] < 1e-1 and errors[1] < 1e-3 and errors[1] < errors[0] / 10


# ---------------------------------------------------------------- refusals

IMPLICIT = ExponentialTableau("implicit", 1, "-", ("1",), (("phi1(z)",),), ("phi1(z)",))
OTHER_NODES = ExponentialMultistep("half", 1, "-", ("0", "-r1/2"), ("phi1(z)", "0"), ("r1",))
REFUSED = {
    "free": (lambda: ok.methods.get(exponential_methods.get("ho2")), MethodError, "free parameters c2"),
    "implicit": (lambda: ok.methods.get(IMPLICIT), MethodError, "explicit tableau was expected"),
    "nodes": (lambda: ok.methods.get(OTHER_NODES), MethodError, "expected 0, -r1"),
    "ahead": (lambda: ok.methods.get(exponential_adams(2, implicit=True)), MethodError, "expected 0, -r1"),
    "prediction": (lambda: ok.methods.get("krogstad4", prediction="velocity"), UnknownNameError, "noise, data|data"),
    "other": (lambda: ok.methods.get("exponential-ab-3", start="dpmpp-2s"), MethodError, "stated for the data"),
    "last": (lambda: ok.methods.get("ho4", last="lowest"), UnknownNameError, "lower"),
    "option": (lambda: ok.methods.get("dpm-solver-3", r3="1"), UnknownNameError, "r1"),
    "pole": (lambda: ok.methods.get("dpm-solver-2", r1="0"), MethodError, "has no value"),
    "start": (lambda: ok.methods.get("exponential-ab-3", start="krogstad"), UnknownNameError, "krogstad4"),
    "variant": (lambda: ok.methods.get("unipc-2", variant="bh3"), UnknownNameError, "bh1|bh2"),
    "pair": (lambda: ok.solve(NOISE, start(), "krogstad4", rtol=1e-3), MethodError, "embedded pair"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_run_is_refused_in_one_line(what):
    call, error, message = REFUSED[what]
    with pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_is_described(name):
    method = ok.methods.get(name)
    assert method.name == name and method.source and method.order.formula >= method.order.method >= 1
    assert method.evaluations >= 1 and isinstance(method.key(), dict)
    assert name not in {**STATED, **ANY} or method.evaluations == method.tableau.stages
