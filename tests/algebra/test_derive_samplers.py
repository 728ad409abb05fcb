"""Samplers derived from their definitions beside the formulas in print: what agrees, and the one that does not."""

from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch

import odekit as ok
from odekit.algebra.derive import derive
from odekit.algebra.derive.published import FORMULAS, unipc
from odekit.algebra.exponential import classical_order, stiff_order
from odekit.algebra.exponential_methods import get
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError, UnknownNameError

# recipe and choices: for each published formula, whether it is the derived one; classical and stiff order
AGREES = {
    "ddim": ("ddim", {}, [True], 1),
    "ddim, data": ("ddim", {"prediction": "data"}, [True], 1),
    "dpm-solver-2": ("dpm-solver-2", {}, [True, False], 2),
    "dpm-solver-2, heun": ("dpm-solver-2", {"kind": "heun"}, [False, True], 2),
    "dpm-solver-3": ("dpm-solver-3", {}, [True], 3),
    "dpmpp-2s": ("dpmpp-2s", {}, [True, False], 2),
    "dpmpp-2s, heun": ("dpmpp-2s", {"kind": "heun"}, [False, True], 2),
    "dpmpp-2m": ("dpmpp-2m", {}, [True, False], 2),
    "dpmpp-2m, heun": ("dpmpp-2m", {"kind": "heun"}, [False, True], 2),
    "dpmpp-3m": ("dpmpp-3m", {}, [False], 3),
    "unip-1": ("unipc-p", {"p": 1}, [True, True], 1),
    "unip-2": ("unipc-p", {"p": 2}, [True, False], 2),
    "unip-3": ("unipc-p", {"p": 3, "prediction": "noise"}, [True, True], 3),
    "unic-1": ("unipc-p", {"p": 1, "corrector": True, "variant": "bh1"}, [True, False], 2),
    "unic-2": ("unipc-p", {"p": 2, "corrector": True}, [True, True], 3),
}


@pytest.mark.parametrize("case", sorted(AGREES))
def test_published_formulas(case):
    name, choices, agrees, order = AGREES[case]
    derived = derive(name, **choices)
    assert [not d for d in derived.published] == agrees
    method = derived.method
    assert derived.data["order"] == order == int(classical_order(method, order + 1))
    assert order == max(int(stiff_order(method, order + 1, weak=weak)) for weak in (False, True))
    assert derived.certificate().findings() == [] and len(derived.route) > 1


def test_the_third_order_multistep_formula_misses_a_factor_two():
    (wrong,) = derive("dpmpp-3m").published
    assert wrong.what.startswith("coefficient of ((N0-N1)/r1-(N1-N2)/r2)/(r1+r2)")
    assert wrong.what.endswith("derived 2*phi3(z); a factor 2 is missing")
    # with the factor nothing is left to say
    row = FORMULAS["dpmpp-3m"].rows[0]
    mended = replace(FORMULAS["dpmpp-3m"], rows=[replace(row, terms=[*row.terms[:2], _times(row.terms[2], 2)])])
    assert not mended.difference(exponential_adams(3))


def _times(term, factor):
    return term[0], f"{factor}*({term[1]})"


def test_the_transcriptions_are_those_of_the_list_of_methods():
    """Two transcriptions of the same pages, made apart; the one of 3M is wrong in the same way."""
    for printed, name in (("dpmpp-2m", "dpmpp-2m"), ("dpmpp-2m 'heun'", "dpmpp-2m-heun"), ("dpmpp-3m", "dpmpp-3m")):
        assert not FORMULAS[printed].difference(get(name))
    for name in ("dpm-solver-2", "dpmpp-2s"):
        assert not FORMULAS[name].difference(get(name).substitute(r1="1/3"), c2="1/3")
    third = get("dpm-solver-3").substitute(r1="1/3", r2="3/4")
    assert not FORMULAS["dpm-solver-3"].difference(third, c2="1/3", c3="3/4")


def test_dpm_solver_3_is_of_order_three_on_one_node_only():
    derived = derive("dpm-solver-3")
    assert derived.data["c"][2] == "2/3" and any("c3 = 2/3, and nowhere else" in line for line in derived.route)
    for r2, order in (("2/3", 3), ("1/2", 2), ("3/4", 2)):
        assert int(classical_order(get("dpm-solver-3").substitute(r1="1/3", r2=r2), 4)) == order


@pytest.mark.parametrize("prediction", ["noise", "data"])
@pytest.mark.parametrize(("p", "corrector"), [(2, False), (3, False), (1, True), (2, True)])
def test_unipc_is_one_formula_for_every_b(p, corrector, prediction):
    exact = exponential_adams(p, implicit=corrector)
    if corrector:
        exact = replace(exact, weights=(exact.weights[1], exact.weights[0], *exact.weights[2:]))
    for B in ("any", "bh1", "bh2"):
        assert not unipc(p, corrector, prediction, B, shortcut=False).difference(exact)


@pytest.mark.parametrize(("variant", "left"), [("bh1", "-z/6"), ("bh2", "z/12")])
def test_the_shortcut_of_unipc_leaves_a_term_of_first_order(variant, left):
    _, printed = derive("unipc-p", p=2, variant=variant, prediction="noise").published
    assert printed.what.endswith(f"published minus derived is {left} + ...")


EXACT = {
    "ddim": "etd1",
    "ddim in the data": "etd1",
    "dpm-solver-2": "dpm-solver-2",
    "dpm-solver-2 'taylor'": "ho2",
    "dpm-solver-3": "dpm-solver-3",
    "dpmpp-2s": "dpmpp-2s",
    "dpmpp-2s 'taylor'": "ho2",
    "dpmpp-2m": "dpmpp-2m",
    "dpmpp-2m 'heun'": "dpmpp-2m-heun",
    "dpmpp-3m": "dpmpp-3m",
}


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_a_perturbed_published_coefficient_is_a_mismatch(name):
    """Negative control: each coefficient in print, one after the other, off by one in a thousand."""
    node = {"c2": "1/3", "c3": "3/4"}
    method, formula = get(EXACT[name]), FORMULAS[name]
    given = (
        dict(zip(method.parameters, node.values(), strict=False)) if method.family == "exponential-runge-kutta" else {}
    )
    method = method.substitute(**given) if given else method
    assert not formula.difference(method, **node)
    for i, row in enumerate(formula.rows):
        changed = [replace(row, x=f"1001/1000*({row.x})")]
        for j, term in enumerate(row.terms):
            terms = list(row.terms)
            terms[j] = _times(term, "1001/1000")
            changed.append(replace(row, terms=terms))
        for other in changed:
            rows = [other if k == i else r for k, r in enumerate(formula.rows)]
            assert replace(formula, rows=rows).difference(method, **node)


# ---------------------------------------------------------------- in time


@pytest.mark.parametrize("name", ["deis-tab-q", "gddim-q"])
def test_integrands_in_time(name):
    derived = derive(name, q=2)
    assert not derived.published[0]
    assert derived.data == {**derived.data, "order": 3, "clock": "t", "prediction": "noise", "weights": "interpolating"}


def test_a_wrong_density_is_a_mismatch():
    """Negative control: L = 1 - alpha^2 for L = sqrt(1 - alpha^2)."""
    import sympy

    from odekit.algebra.derive import samplers

    def wrong(*process):
        return samplers._deis(*process) / sympy.sqrt(1 - process[1] ** 2)

    assert samplers._integrand("wrong", "", wrong, vp=True).what.startswith("density")
    assert not samplers._integrand("right", "", samplers._deis, vp=True)


def test_weights_in_time_are_those_of_the_integral_in_print():
    """tAB-2 as it runs beside the published integral, by an independent quadrature on unequal nodes."""
    process = ok.VP()
    times = [0.7, 0.6, 0.52, 0.4]
    plan = ok.plan("deis-tab-2", ok.ProbabilityFlow(process, ok.targets.ring6(), prediction="noise"), tensor(times))
    table, (_, _, now, to) = plan.dense(), times
    carried = process.alpha(to) / process.alpha(now)
    found = (table.output - carried * table.inputs[2])[1:].tolist()  # of the last step alone
    nodes = [times[0], times[1], now]

    def log_alpha(t):
        return -t * t * mpmath.mpf("19.9") / 4 - t * mpmath.mpf("0.1") / 2

    def density(t):  # Psi(s, t) times -(1/2) d(log alpha^2)/dt / sigma
        rate = -t * mpmath.mpf("19.9") / 2 - mpmath.mpf("0.1") / 2
        return mpmath.exp(log_alpha(to) - log_alpha(t)) * -rate / mpmath.sqrt(-mpmath.expm1(2 * log_alpha(t)))

    for j, node in enumerate(nodes):
        others = [n for n in nodes if n != node]

        def basis(t, node=node, others=others):
            return mpmath.fprod((t - n) / (node - n) for n in others)

        assert found[j] == pytest.approx(float(mpmath.quad(lambda t: density(t) * basis(t), [now, to])), rel=1e-11)


def tensor(times):
    return torch.tensor(times, dtype=torch.float64)


# ---------------------------------------------------------------- run


def measured(method, process, flow, x, reference, steps=(40, 80, 160)):
    """The last slope of log error against log steps, on a log-SNR grid from t = 0.4."""
    errors = []
    for n in steps:
        ends = process.logsnr(0.4), process.logsnr(0.02)
        grid = process.time_at_logsnr(tensor(np.linspace(*map(float, ends), n + 1)))
        errors.append((ok.solve(flow, x, method, grid) - reference).norm().item())
    return float(np.log2(errors[-2] / errors[-1]))


def test_with_its_start_the_corrected_formula_reaches_order_three(tmp_path):
    """spec/samplers.md, finding 1: the published start, which rises from order 1, leaves order 2."""
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction="noise")
    x = flow.target.marginal(process.alpha(0.4), process.sigma(0.4)).sample(8, seed=1)
    reference = ok.reference(flow, x, 0.02, t_start=0.4).x
    derived = derive("dpmpp-3m")
    slopes = {}
    for name, data in {
        "corrected": derived.data,
        "rising": {k: v for k, v in derived.data.items() if k != "start"},
        "published": "dpmpp-3m",
    }.items():
        if isinstance(data, str):
            method = ok.methods.get(data, start="midpoint")
        else:
            file = tmp_path / f"{name}.toml"
            file.write_text(replace(derived, data=data).toml(), encoding="utf-8")
            method = ok.methods.load(file)
        slopes[name] = measured(method, process, flow, x, reference)
    assert slopes["corrected"] == pytest.approx(3, abs=0.15)
    assert slopes["rising"] == pytest.approx(2, abs=0.15) and slopes["published"] == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize(
    ("recipe", "choices", "order"),
    [
        ("exponential-runge-kutta", {"stiff": 3, "family": "two-weights", "prediction": "data"}, 3),
        ("exponential-runge-kutta", {"stiff": 4, "prediction": "noise"}, 4),
        ("etd-runge-kutta", {"member": "strehmel-weiner", "prediction": "data"}, 4),
    ],
    ids=["two-weights", "five-stages", "strehmel-weiner"],
)
def test_derived_methods_run_at_their_order(recipe, choices, order, tmp_path):
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction="noise")
    x = flow.target.marginal(process.alpha(0.4), process.sigma(0.4)).sample(8, seed=1)
    reference = ok.reference(flow, x, 0.02, t_start=0.4).x
    file = tmp_path / "method.toml"
    file.write_text(derive(recipe, **choices).toml(), encoding="utf-8")
    slope = measured(ok.methods.load(file), process, flow, x, reference, steps=(40, 80, 160))
    assert slope == pytest.approx(order, abs=0.15)


def test_a_start_of_order_one_is_refused():
    with pytest.raises(AlgebraError, match="need order 2 for order 3"):
        derive("dpmpp-3m", start="euler")


@pytest.mark.parametrize(
    ("recipe", "choices", "error"),
    [
        ("dpm-solver-2", {"kind": "huen"}, UnknownNameError),
        ("unipc-p", {"p": 4}, AlgebraError),
        ("unipc-p", {"variant": "bh3"}, UnknownNameError),
        ("unipc-p", {"prediction": "velocity"}, UnknownNameError),
        ("ddim", {"prediction": "velocity"}, UnknownNameError),
        ("deis-tab-q", {"q": 9}, AlgebraError),
        ("dpmpp-3m", {"start": "middpoint"}, OdekitError),
    ],
    ids=["kind", "p", "variant", "form", "ddim", "degree", "start"],
)
def test_refusals(recipe, choices, error):
    with pytest.raises(error) as refused:
        derive(recipe, **choices)
    assert "\n" not in str(refused.value)
