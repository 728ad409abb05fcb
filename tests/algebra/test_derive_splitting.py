"""Derived splittings: recovered exactly, to all digits, as the optima they are; wrong ones are told apart."""

import json
from dataclasses import replace
from fractions import Fraction

import mpmath
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import odekit as ok
from odekit.algebra import certificate, compositions
from odekit.algebra.derive.derivation import derive, recipe
from odekit.algebra.derive.splitting import compared
from odekit.algebra.splitting import Splitting, error_norm, first_failure, order_of
from odekit.algebra.splitting_files import Processed, splitting_data, splitting_from
from odekit.algebra.splitting_properties import splitting_certificate
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import ExpressionError, OdekitError

RECIPES = {
    "strang": {}, "ruth": {}, "yoshida": {"order": 6}, "kahan-li": {}, "suzuki": {}, "blanes-moan": {},
    "refined-splitting": {"method": "pefrl"}, "optimised-splitting": {"stages": 2, "order": 2, "starts": 8},
    "processed-splitting": {"starts": 3, "digits": 20},
}  # fmt: skip


# Exactly.


def test_ruth_is_recovered_and_its_family_is_of_order_three():
    ruth = derive("ruth")
    assert ruth.method.numbers() == compositions.get("ruth-3").numbers()
    assert all(isinstance(v, Fraction) for v in ruth.method.numbers())
    assert [bool(d) for d in ruth.published] == [False] and dict(ruth.free) == {"a1": "7/24"}


@settings(max_examples=10, deadline=None)
@given(a1=st.fractions(Fraction(-3), Fraction(3), max_denominator=12), branch=st.sampled_from("+-"))
def test_every_member_of_the_family_is_of_order_three(a1, branch):
    """Exactly in the field of its root, which covers both components of the curve."""
    assume((4 * a1 - 1) * (12 * a1**3 + 9 * a1**2 - 6 * a1 + 1) > 0 and a1 not in (1, Fraction(1, 3)))
    try:
        method = derive("ruth", branch=branch).at(a1=a1).method
    except ExpressionError:  # where d2 meets another node
        assume(False)
    assert order_of(method, 4) == 3


def test_outside_the_family_there_is_no_real_member():
    with pytest.raises(ExpressionError, match="root of a negative number"):
        _ = derive("ruth").at(a1="1/5").method


def test_jumps_and_fractals_are_exact():
    for name, order in (("yoshida", 4), ("suzuki", 4), ("suzuki", 6)):
        method = derive(name, order=order).method
        assert (method.digits, order_of(method, order + 1)) == (None, order)
    assert derive("yoshida", order=8, solution="triple-jump").method.steps == compositions.get("triple-jump-8").steps


@pytest.mark.parametrize("parts", ["AB", "BA", "ABC", "CABD"])
def test_strang_for_any_parts(parts):
    method = derive("strang", parts=parts).method
    assert order_of(method, 3) == 2 and method.is_symmetric


# To all digits.

KNOWN = {  # Hairer, Lubich, Wanner 2006, V.3.2, formula (3.11)
    "yoshida-6-a": ("0.78451361047755726382", "0.23557321335935813368", "-1.17767998417887100695"),
}


def test_yoshida_to_the_digits_that_others_computed():
    method = derive("yoshida", order=6, solution="a", digits=50).method
    with mpmath.workdps(60):
        for (_, ours), theirs in zip(method.steps, KNOWN["yoshida-6-a"], strict=False):
            assert abs(mpmath.mpf(ours) - mpmath.mpf(theirs)) < 1e-20
    assert method.digits == 48 and order_of(method, 7) == 6


def test_printed_digits_are_compared():
    """Blanes and Moan's S6 is printed right; the last digits of Yoshida's table 2 are not."""
    assert not derive("blanes-moan").published[0]
    wrong = derive("yoshida", order=8).published[0]
    assert wrong and "step 1 is S 1.04242620869991" in str(wrong) and "off by 2.1e-13" in str(wrong)


def test_a_mutated_table_is_told_apart_and_pulled_back():
    """A late digit changed: the conditions refuse it, Newton's iteration leads back, the comparison names the step."""
    printed = compositions.get("blanes-moan-4")
    steps = list(printed.steps)
    steps[1] = steps[-2] = ("B", "0.209515106623362")
    mutated = replace(printed, steps=tuple(steps))
    order, word, value = first_failure(mutated, 4)
    assert order < 4 and word and abs(value) > 1e-12
    assert "step 2 is B 0.209515106623362" in str(compared(derive("blanes-moan").method, mutated))


# As optima.


def test_pefrl_is_the_optimum_of_omelyans_measure():
    """All sixteen published digits: least norm of nested brackets for a quadratic kinetic energy."""
    method = derive("optimised-splitting", stages=4, nystrom=True, measure="nested", starts=60).method
    values, printed = ([float(v) for v in m.numbers(25)] for m in (method, compositions.get("pefrl")))
    assert values == pytest.approx(printed, abs=5e-16)
    lyndon = derive("optimised-splitting", stages=4, starts=24).method
    assert abs(float(lyndon.numbers(25)[0]) - printed[0]) > 1e-3
    assert error_norm(lyndon, 4) < error_norm(compositions.get("pefrl"), 4)


def test_optimum_and_rival_are_compared():
    found = derive("optimised-splitting", stages=4, starts=24).published
    assert [d.published for d in found] == ["pefrl"] and "error norms in Lyndon brackets 0.001330891" in found[0].what


def test_processed():
    derived = derive("processed-splitting")
    method, proof = derived.method, derived.certificate()
    assert isinstance(method, Processed) and (proof.order, proof.effective_order, proof.stages) == (4, 4, 3)
    assert order_of(method.kernel, 4) == 2 and not proof.findings()
    field = ok.problems.get("relativistic-pendulums")
    end = field.solution(1.0)[0]
    gaps = [
        (ok.solve(field.field, field.x0, m, ok.grid("time-uniform", (0.0, 1.0), 16)) - end).norm()
        for m in (method, "forest-ruth")
    ]
    assert 4 * gaps[0] < gaps[1]  # at equal cost


# What goes out.


@pytest.mark.parametrize("name", RECIPES)
def test_what_a_derivation_gives_out(name, tmp_path):
    derived = derive(name, **RECIPES[name])
    assert derived.route and derived.data["family"] == "splitting"
    proof = derived.certificate()
    assert (proof.order, proof.findings()) == (derived.data["order"], [])
    path = tmp_path / "method.toml"
    path.write_text(derived.toml())
    assert ok.methods.load(path).order.formula == proof.order
    assert json.loads(derived.json())["steps"] == [list(step) for step in derived.data["steps"]]
    assert derived.latex() and "odekit" not in derived.python().split('"""')[-1]


@pytest.mark.parametrize("name", ["ruth", "processed-splitting"])
def test_the_source_runs_alone(name):
    derived = derive(name, **RECIPES[name])
    problem, scope = ok.problems.get("pendulums"), {}
    exec(derived.python(), scope)
    flows = {x: (lambda state, h, part=part: part.flow(state, 0.0, h)) for x, part in problem.field.parts.items()}
    nodes = ok.grid("time-uniform", (0.0, 1.0), 8)
    found = scope["integrate"](flows, nodes.tolist(), problem.x0)
    assert torch.allclose(found, ok.solve(problem.field, problem.x0, derived.method, nodes), atol=1e-13)


def test_recipes_refuse_in_one_line():
    for name, choices, text in (
        ("strang", {"parts": "AA"}, "two or more letters"),
        ("strang", {"parts": "AS"}, "neither M nor S"),
        ("ruth", {"branch": "x"}, "unknown branch"),
        ("yoshida", {"order": 5}, "order must be a whole number"),
        ("yoshida", {"order": 8, "solution": "b"}, "unknown solution"),
        ("blanes-moan", {"method": "s7"}, "did you mean"),
        ("refined-splitting", {"method": "strang"}, "strang is exact"),
        ("optimised-splitting", {"measure": "l1"}, "expected 'lyndon', or 'nested'"),
        ("optimised-splitting", {"stages": 2, "starts": 2}, "no real solution"),
        ("processed-splitting", {"order": 3}, "order must be a whole number"),
    ):
        with pytest.raises(OdekitError, match=text):
            derive(name, **choices)
    assert recipe and derive("blanes-moan", method="S10", digits="20").data["digits"] == 18


# Certificates.


def test_certificate_of_strang():
    proof = certificate("strang")
    assert [str(f) for f in proof.failing] == ["[A,[A,B]]: -1/24, not 0", "[[A,B],B]: 1/12, not 0"]
    assert (proof.order, proof.effective_order, proof.stages, proof.symmetric, proof.negative) == (2, 2, 1, True, ())
    assert proof.error_norm == pytest.approx(5**0.5 / 24) and proof.stability_interval == 2.0
    assert dict(proof.rows())["order"] == "2; next: [A,[A,B]]: -1/24, not 0"


def test_certificates_compare_with_the_literature():
    """Effective errors of Blanes and Moan 2002, tables 2 and 3; limits of stability of the oscillator."""
    for name, printed in (("blanes-moan-4", 0.56), ("blanes-moan-srkn-6b", 0.28)):
        assert certificate(name).effective_error == pytest.approx(printed, abs=0.01)
    assert certificate("triple-jump-4").stability_interval == pytest.approx(1.573401947, abs=1e-8)
    assert certificate("trotter").stability_interval == 2.0


def test_half_a_trace_is_that_of_the_flows():
    """The oscillator, run: the matrix of a step from two unit states."""
    part = ok.fields.parts
    spring = ok.SplitField({"A": part.linear([[0, 1], [0, 0]]), "B": part.linear([[0, 0], [-1, 0]])}, (2,))
    for name in ("pefrl", "suzuki-4", "mclachlan-4", "blanes-moan-6"):
        step = ok.solve(spring, torch.eye(2).double(), name, torch.tensor([0.0, 1.3], dtype=torch.float64))
        assert float(certificate(name).half_trace(1.3)) == pytest.approx(float(step.trace()) / 2, abs=1e-13)


def test_the_interval_ends_where_powers_grow():
    for name in ("ruth-3", "pefrl", "yoshida-6-a", "kahan-li-6"):
        proof = certificate(name)
        end = proof.stability_interval
        inside = [abs(float(proof.half_trace(end * k / 200))) for k in range(1, 200)]
        assert max(inside) <= 1 + 1e-9 < abs(float(proof.half_trace(end + 1e-3))) and end <= 2 * proof.stages


def test_certificates_of_wrong_methods():
    swapped = splitting_certificate(compositions.swapped(compositions.get("mclachlan-4")))
    assert swapped.findings()[0].startswith("order 2, not 4 as claimed: [Y1,Y2]")
    inconsistent = splitting_certificate(Splitting("half", (("A", "1/2"), ("B", "1")), 1))
    assert inconsistent.findings() == ["order 0, not 1 as claimed: A: 1/2, not 1"]
    nystrom = compositions.get("mclachlan-atela-4")
    plain = splitting_certificate(replace(nystrom, nystrom=False))
    assert plain.order == 3 and plain.failing[0].order == 4 and certificate(nystrom).order == 4


def test_effective_order_sees_through_conjugation():
    proof = certificate("trotter")
    assert (proof.order, proof.effective_order, proof.symmetric) == (1, 2, False)
    assert certificate(Splitting("lie-3", (("A", "1"), ("B", "1"), ("C", "1")), 1)).effective_order is None


@pytest.mark.parametrize("name", ["strang", "mclachlan-4", "suzuki-4", "mclachlan-atela-4"])
def test_data_go_round(name):
    method = compositions.get(name)
    assert splitting_from(splitting_data(method)) == method
    floats = Splitting(
        "floats", tuple((x, float(v)) for (x, _), v in zip(method.steps, method.numbers(20), strict=True)), 1
    )
    again = splitting_from(splitting_data(floats))
    assert [float(v) for v in again.numbers(20)] == [v for _, v in floats.steps] and again.digits == 14
    with pytest.raises(AlgebraError, match="one kind"):
        Processed("mixed", compositions.get("suzuki-4"), compositions.get("strang"), 2)
