"""Derived multistep methods and their certificates: textbooks, barriers, formulas wrong on purpose."""

import json
from fractions import Fraction

import pytest
import sympy

from odekit.algebra import certificate
from odekit.algebra.derive import derive
from odekit.algebra.derive.multistep_published import PUBLISHED, first_difference
from odekit.algebra.multistep import FAMILIES, field_of_ratios, from_text, get
from odekit.algebra.multistep_conditions import order_of
from odekit.algebra.multistep_properties import multistep_certificate
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import UnknownNameError

RECIPES = {"ab": "adams-bashforth", "am": "adams-moulton", "bdf": "bdf", "nystroem": "nystroem"}


def newton_form(order):
    """Variable-step Adams-Bashforth by the recurrences of Hairer, Norsett, Wanner I, III.5 (5.5)-(5.9), transcribed.

    Independent of interpolation: divided differences scaled by beta_j(n), and g_j(n) from c_jq(n).
    """
    w = field_of_ratios(order - 1) if order > 1 else ()
    one = w[0] ** 0 if w else Fraction(1)
    lengths = [one]  # h_n, h_(n-1), ...
    for ratio in w:
        lengths.append(lengths[-1] / ratio)
    x = [one]  # x_(n+1), x_n, x_(n-1), ... from x_n = 0
    for length in lengths:
        x.append(x[-1] - length)

    def beta(j, m):  # beta_j(n - m)
        value = one
        for i in range(j):
            value = value * (x[m] - x[m + 1 + i]) / (x[m + 1] - x[m + 2 + i])
        return value

    def phi(j, m):  # Phi_j(n - m) as coefficients of f_n, f_(n-1), ...
        if j == 0:
            return [one * int(i == m) for i in range(order)]
        newer, older = phi(j - 1, m), phi(j - 1, m + 1)
        return [a - beta(j - 1, m + 1) * b for a, b in zip(newer, older, strict=True)]

    def c(j, q):
        if j == 0:
            return one / q
        if j == 1:
            return one / (q * (q + 1))
        return c(j - 1, q) - c(j - 1, q + 1) * lengths[0] / (x[0] - x[j])

    total = [one * 0] * order
    for j in range(order):
        factor = c(j, 1) * beta(j, 0)
        total = [a + factor * b for a, b in zip(total, phi(j, 0), strict=True)]
    return [str(v.as_expr() if w else v) for v in total]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_adams_bashforth_is_the_textbook_recurrence(order):
    data = derive("adams-bashforth", order=order).data
    published = ["1", "-1", *["0"] * (order - 1), "0", *newton_form(order)]
    assert first_difference(published, [*data["alpha"], *data["beta"]]) == ""


@pytest.mark.parametrize("name", sorted(PUBLISHED))
@pytest.mark.parametrize("equal_steps", [False, True], ids=["any", "equal"])
def test_published_formulas(name, equal_steps):
    family, _, k = name.rpartition("-")
    choices = {"steps" if family == "milne-simpson" else "order": int(k), "equal_steps": equal_steps}
    derived = derive(RECIPES.get(family, family), **choices)
    assert derived.published and not any(derived.published), [str(d) for d in derived.published]
    assert multistep_certificate(derived.method).order >= derived.data["order"]


def test_a_misprint_is_named():
    assert first_difference(
        ["1", "-1", "0", "0", "1 + w1/2", "-1/2"], ["1", "-1", "0", "0", "(2 + w1)/2", "-w1/2"]
    ) == ("beta_2: -1/2, derived -w1/2")
    assert first_difference(["1", "-1", "0", "0", "3/2", "-1/2"], ["1", "-1", "0", "0", "(2 + w1)/2", "-w1/2"]) == ""
    assert "beta_1: 5/3" in first_difference(["1", "-1", "0", "0", "5/3", "-2/3"], ["1", "-1", "0", "0", "3/2", "-1/2"])


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("ab-3", "1,-1", "0,?,?,?"),
        ("am-4", "1,-1", "?,?,?,?"),
        ("bdf-3", "1,?,?,?", "?"),
        ("nystroem-3", "1,0,-1", "0,?,?,?"),
        ("milne-simpson-2", "1,0,-1", "?,?,?"),
    ],
)
def test_conditions_give_what_interpolation_gives(name, alpha, beta):
    """Two routes: the moments solved as linear equations in the field of the ratios, and integrals of polynomials."""
    family, _, k = name.rpartition("-")
    solved = derive("multistep", alpha=alpha, beta=beta).method
    other = FAMILIES[family](int(k)).at_random()
    assert (solved.at_random().alpha, solved.at_random().beta) == (other.alpha, other.beta)


def test_superconvergence_needs_equal_steps():
    free = derive("multistep", alpha="1,0,-1", beta="?,?,?")
    fixed = derive("multistep", alpha="1,0,-1", beta="?,?,?", equal_steps=True)
    assert (free.data["order"], fixed.data["order"]) == (3, 4) and order_of(free.method.on_equal_steps) == 4


def test_the_explicit_family():
    """One free parameter for two steps: all are of order 2, none is of order 3 but an unstable one."""
    derived = derive("explicit-multistep", steps=2)
    assert derived.free == {"a2": "0"} and not any(derived.published)
    assert "error constant on equal steps: -(a2 + 5)/(12*(a2 - 1))" in derived.route
    for a in ("-1", "-1/2", "1/3", "9/10"):
        proof = derived.at(a2=a).certificate()
        assert (proof.order, proof.any_order, proof.zero_stable) == (2, 2, True)
    assert str(derived.at(a2="-1").certificate().error_constant) == "1/6"  # leapfrog: the smallest on [-1, 1)
    greedy = derived.at(a2="-5").certificate()
    assert greedy.order == 3 and "rho has the root -5, outside the unit circle" in greedy.findings()[0]
    assert "2-fold" in derived.at(a2="1").certificate().findings()[-1]


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"steps": 2, "order": 3}, r"root -5, outside.*explicit methods of 2 steps have order 2 at most \(Dahlquist"),
        ({"steps": 3, "order": 4, "equal_steps": True}, "where a3 = 0.*order 3 at most"),
        ({"steps": 3, "order": 5, "equal_steps": True}, "not zero-stable.*order 3 at most"),
        ({"steps": 2, "order": 4}, "order must be a whole number"),
        ({"steps": "many"}, "steps must be a whole number"),
    ],
)
def test_barriers_of_explicit_methods(choices, says):
    with pytest.raises(AlgebraError, match=says):
        derive("explicit-multistep", **choices)


def test_the_barrier_of_implicit_methods():
    """k = 1: the trapezoidal rule; k = 2: Simpson's order 4 is reached; k = 3: order 6 is not."""
    assert derive("multistep", alpha="1,?", beta="?,?").data["beta"] == ["1/2", "1/2"]
    assert derive("multistep", alpha="1,?,?", beta="?,?,?", equal_steps=True).data["alpha"] == ["1", "0", "-1"]
    with pytest.raises(AlgebraError, match="implicit methods of 3 steps have order 4 at most"):
        derive("multistep", alpha="1,?,?,?", beta="?,?,?,?", equal_steps=True)


@pytest.mark.parametrize(
    ("recipe", "choices", "says"),
    [
        ("bdf", {"order": 7}, r"bdf-7 of order 7 is not zero-stable.*1\.02222"),
        ("adams-bashforth", {"order": 6}, "equal_steps=True"),
        ("adams-bashforth", {"order": 0}, "whole number"),
        ("milne-simpson", {"steps": 1}, "whole number"),
        ("multistep", {"alpha": "1,-2", "beta": "0,?"}, "no formula with these coefficients is of order 1"),
        ("multistep", {"alpha": "1,-2,1", "beta": "0,?,?"}, "the root 1, 2-fold on the unit circle"),
        ("multistep", {"alpha": "1,-1,0", "beta": "0,?,?", "order": 3}, "of order 3"),
    ],
)
def test_refusals(recipe, choices, says):
    with pytest.raises(AlgebraError, match=says):
        derive(recipe, **choices)


def test_data_is_a_method_file():
    derived = derive("adams-moulton", order=3)
    assert (
        derived.method.at_random() == from_text(**{k: v for k, v in derived.data.items() if k != "family"}).at_random()
    )
    assert 'family = "multistep"' in derived.toml() and json.loads(derived.json())["order"] == 3
    assert derived.certificate().findings() == []


# Certificates.


def test_certificates_of_textbook_methods():
    rows = {
        "ab-3": (3, "C_4: 3/8, not 0", "3/8", Fraction(6, 11), False, True),
        "nystroem-2": (2, "C_3: 1/3, not 0", "1/6", 0, True, False),
        "milne-simpson-2": (4, "C_5: -1/90, not 0", "-1/180", 0, True, False),
        "bdf-2": (2, "C_3: -2/9, not 0", "-1/3", float("inf"), False, True),
    }
    for name, (order, failing, constant, interval, symmetric, strongly) in rows.items():
        proof = multistep_certificate(name)
        assert (proof.order, str(proof.failing[0]), str(proof.error_constant)) == (order, failing, constant)
        assert (proof.real_interval, proof.symmetric, proof.strongly_stable) == (interval, symmetric, strongly)
        assert proof.zero_stable and proof.findings() == []
        json.dumps(proof.to_dict(), allow_nan=True)
        assert dict(proof.rows())["symmetric"] == ("yes" if symmetric else "no")
    assert multistep_certificate("milne-simpson-2").any_order == 3


def test_findings():
    wrong = from_text("wrong", 3, ["1", "-1", "0", "0"], ["0", "23/12", "-15/12", "5/12"])
    assert multistep_certificate(wrong).findings() == ["order 0, not 3 as claimed: C_1: -1/12, not 0"]
    modest = from_text("modest", 1, ["1", "-1", "0"], ["0", "(2+w1)/2", "-w1/2"])
    assert multistep_certificate(modest).findings() == ["order 2, not 1 as claimed"]
    forgetful = from_text("ab3", 3, ["1", "-1", "0", "0"], ["0", "23/12", "-4/3", "5/12"])
    (finding,) = multistep_certificate(forgetful).findings()
    assert finding.startswith("order 3 on equal steps, 2 where they vary smoothly, 1 where they jump (C_2: ")
    assert certificate(forgetful).findings() == [finding] and certificate("milne-simpson-2").name == "milne-simpson-2"


def test_irrational_coefficients():
    root = "sqrt(2)/3"
    given = (["1", f"-1-{root}", root], ["0", f"(-{root}+w1**2+2*w1)/(2*w1)", f"-({root}+w1**2)/(2*w1)"])
    proof = multistep_certificate(from_text("m", 2, *given))
    assert (proof.order, proof.any_order, proof.zero_stable, proof.real_interval) == (2, 2, True, None)
    assert sympy.simplify(proof.error_constant - (5 + sympy.sqrt(2) / 3) / (12 * (1 - sympy.sqrt(2) / 3))) == 0
    assert proof.findings() == [] and "stable on the negative axis to" not in dict(proof.rows())


def test_what_has_no_certificate():
    with pytest.raises(AlgebraError, match="certain steps"):
        from dataclasses import replace

        multistep_certificate(replace(get("ab-2").at([2]), rule=None))
    with pytest.raises(UnknownNameError, match="multistep method"):
        multistep_certificate("ab-zero")
