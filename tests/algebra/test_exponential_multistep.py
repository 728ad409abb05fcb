"""Exponential multistep methods on arbitrary step ratios: pinned residuals, published mistakes, measured orders."""

import math
import pickle

import numpy as np
import pytest
import sympy

from odekit.algebra.exponential import classical_order, stiff_order
from odekit.algebra.exponential_methods import get
from odekit.algebra.exponential_multistep import ExponentialMultistep, exponential_adams, multistep_conditions
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import MethodError

# k-diffusion, issue 56: -h_last in place of -h in the last expm1
SWAPPED = ExponentialMultistep(
    "swapped", 2, "k-diffusion #56", ("0", "-r1"), ("(1+1/(2*r1))*r1*phi1(-r1*h)", "-1/2*phi1(-r1*h)"), ("r1",), "data"
)
# plain variable-step Adams-Bashforth weights behind an exact linear part
PLAIN = ExponentialMultistep("plain", 2, "", ("0", "-r1"), ("1+1/(2*r1)", "-1/(2*r1)"), ("r1",), "data")

# name: classical order, stiff order in the strong and in the weak form
ORDERS = {
    "dpmpp-2m": (2, 1, 2),
    "dpmpp-2m-heun": (2, 2, 2),
    "dpmpp-3m": (2, 2, 2),  # claims 3: spec/samplers.md, finding 1
    "dpmpp-3m-corrected": (3, 3, 3),
}


@pytest.mark.parametrize("name", sorted(ORDERS))
def test_orders(name):
    method = get(name)
    found = int(classical_order(method)), int(stiff_order(method)), int(stiff_order(method, weak=True))
    assert found == ORDERS[name]
    assert (found[0] == method.order) == (name != "dpmpp-3m")


def test_the_third_order_formula_misses_half_of_a_weight():
    """psi_3 = phi_3/2 exactly, on any step ratios; twice the weight of the second difference mends it."""
    ring, _, _ = get("dpmpp-3m").parts
    half = ring.constant("1/2")
    assert get("dpmpp-3m").residual(3) == ring.phi(3, ring.constant("1")) * half
    assert str(classical_order(get("dpmpp-3m"))) == "2 (psi_3: 1/12, not 0)"
    assert get("dpmpp-3m-corrected").parts[2] == exponential_adams(3).parts[2]


def residuals(method, h, r1):
    """psi_1 and psi_2 in the units of theory.md: sums of effective weights minus the exact integrals."""
    nodes, weights = method.coefficients(-h, r1=r1)
    moment = h * h * sum(x * w for x, w in zip(nodes, weights, strict=True))
    return h * sum(weights) + math.expm1(-h), moment - (h + math.expm1(-h))


def test_the_residuals_of_2m_are_those_measured_on_its_code():
    """spec/theory.md, B: black-box deduction from k-diffusion's sample_dpmpp_2m."""
    pinned = {0.4: -4.38e-3, 0.2: -6.04e-4, 0.1: -7.93e-5, 0.05: -1.02e-5}
    for h, expected in pinned.items():
        for r1 in (0.5, 1.0, 2.0):
            first, second = residuals(get("dpmpp-2m"), h, r1)
            assert abs(first) < 2e-16 and second == pytest.approx(expected, rel=6e-3)


def test_the_variant_of_issue_56_is_inconsistent_on_unequal_steps():
    """Negative control; its residuals at the step ratio 1.36 are those of spec/theory.md, B."""
    assert str(classical_order(SWAPPED)) == "0 (psi_1: 1 - r1, not 0)"
    measured = [residuals(SWAPPED, h, 1.36) for h in (0.4, 0.2, 0.1, 0.05)]
    assert [first for first, _ in measured] == pytest.approx([9.0e-2, 5.7e-2, 3.2e-2, 1.7e-2], rel=2e-2)
    assert (measured[0][1], measured[3][1]) == pytest.approx((1.4e-2, 4.1e-4), rel=4e-2)
    equal = ExponentialMultistep("r1 = 1", 2, "", ("0", "-1"), ("3/2*phi1(-h)", "-1/2*phi1(-h)"), (), "data")
    assert int(classical_order(equal)) == 2  # on equal steps nobody would have noticed


def test_adams_bashforth_in_disguise_is_found():
    """Negative control: `dpmpp_2m` that really is AB2 (spec/theory.md, C)."""
    assert str(classical_order(PLAIN)) == "1 (psi_1: z/2, not 0)"
    assert int(stiff_order(PLAIN)) == 0


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("implicit", [False, True])
def test_exponential_adams_on_symbolic_ratios(steps, implicit):
    method = exponential_adams(steps, implicit)
    order = steps + implicit
    assert (
        method.order
        == order
        == int(stiff_order(method, limit=order + 1))
        == int(classical_order(method, limit=order + 1))
    )


def test_exponential_adams_become_adams_where_the_linear_part_is_none():
    for steps, implicit, expected in (
        (2, False, [3 / 2, -1 / 2]),
        (3, False, [23 / 12, -16 / 12, 5 / 12]),
        (4, False, [55 / 24, -59 / 24, 37 / 24, -9 / 24]),
        (2, True, [5 / 12, 8 / 12, -1 / 12]),
    ):
        ones = {f"r{i}": 1.0 for i in range(1, steps)}
        assert exponential_adams(steps, implicit).coefficients(0.0, **ones)[1] == pytest.approx(expected, rel=1e-14)
    with pytest.raises(AlgebraError, match="1 to 8"):
        exponential_adams(9)


def test_a_wrong_weight_is_found():
    """Negative control: one weight off by 1e-12, exactly."""
    good = exponential_adams(3)
    for i in range(3):
        weights = list(good.weights)
        weights[i] = f"1.000000000001*({weights[i]})"
        wrong = ExponentialMultistep("wrong", 3, "", good.nodes, tuple(weights), good.parameters)
        assert int(classical_order(wrong)) == 0


def test_conditions_print():
    method = get("dpmpp-2m")
    z, r1 = -0.3, 0.7
    nodes, weights = method.coefficients(z, r1=r1)
    from odekit.algebra.phi import phi

    for condition in multistep_conditions(4, stiff=True):
        value = eval(condition.python(), {"phi": phi, "z": z, "w": weights, "theta": nodes})
        exact = (
            method.residual(condition.k).expression().subs({"z": sympy.Float("-0.3", 30), "r1": sympy.Float("0.7", 30)})
        )
        assert value == pytest.approx(float(exact), abs=1e-14)
    assert [str(c.tree) for c in multistep_conditions(3, stiff=True)] == ["tau", "[tau]", "[tau,tau]"]
    classical = multistep_conditions(2)
    assert [c.latex() for c in classical] == [
        r"\varphi_{1}(z) - \sum_{i} w_{i}(z) = \mathcal{O}(z^{1})",
        r"\varphi_{1}(z) - \sum_{i} w_{i}(z) = \mathcal{O}(z^{2})",
        r"\varphi_{2}(z) - \sum_{i} w_{i}(z)\,\theta_{i} = \mathcal{O}(z^{1})",
    ]


# ---------------------------------------------------------------- measured


def global_error(method, steps):
    """On u' = -u + g(t, u) with u = 1/(1+t) + sin t, from exact starting values, steps in ratios that never settle."""

    def u(t):
        return 1 / (1 + t) + np.sin(t)

    def g(t, x):
        return np.cos(x) + u(t) - 1 / (1 + t) ** 2 + np.cos(t) - np.cos(u(t))

    sizes = np.resize([1.0, 1.4, 0.8], steps)
    times = 2.0 * np.concatenate([[0.0], np.cumsum(sizes) / sizes.sum()])
    k = len(method.nodes)
    x, values = u(times[k - 1]), [g(t, u(t)) for t in times[: k - 1]]
    for n in range(k - 1, steps):
        h = times[n + 1] - times[n]
        values.append(g(times[n], x))
        ratios = {f"r{j}": (times[n - j + 1] - times[n - j]) / h for j in range(1, k)}
        _, weights = method.coefficients(-h, **ratios)
        x = math.exp(-h) * x + h * sum(w * value for w, value in zip(weights, reversed(values[-k:]), strict=True))
    return abs(x - u(2.0))


@pytest.mark.parametrize(
    "method, slope",
    [(get(name), orders[0]) for name, orders in ORDERS.items()] + [(exponential_adams(4), 4), (PLAIN, 1)],
    ids=lambda m: getattr(m, "name", ""),
)
def test_orders_are_seen(method, slope):
    errors = [global_error(method, n) for n in (48, 96, 192)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(slope, abs=0.15)


def test_the_inconsistent_variant_still_converges_with_order_one():
    """Its defects h (1 - r1) g = (h_n - h_{n-1}) g sum by parts to O(h): a slope of 1 on any fine grid, against the
    order 2 that it claims. Local error and algebra say 0, the global slope says 1, and all three are right."""
    errors = [global_error(SWAPPED, n) for n in (48, 96, 192)]
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.15)


def test_the_data_class():
    method = get("dpmpp-2m")
    assert method.family == "exponential-multistep"
    classical_order(method)
    assert pickle.loads(pickle.dumps(method)) == method
    with pytest.raises(MethodError, match="2 nodes and 1 weights"):
        ExponentialMultistep("x", 1, "", ("0", "-1"), ("phi1(z)",))
    with pytest.raises(MethodError, match="'score'"):
        ExponentialMultistep("x", 1, "", ("0",), ("phi1(h)",), prediction="score")
