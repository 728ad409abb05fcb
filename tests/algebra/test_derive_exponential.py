"""Exponential methods solved from their conditions: the families, the known members, and what does not exist."""

import itertools
from dataclasses import replace

import pytest

from odekit.algebra.derive import derive
from odekit.algebra.derive.ansatz import Demand, ansatz, demands, multistep_ansatz, solve, span
from odekit.algebra.derive.comparison import compare
from odekit.algebra.derive.exponential import FAMILIES, MEMBERS, five, multistep, solved
from odekit.algebra.exponential import classical_order, stiff_order
from odekit.algebra.exponential_methods import get
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import OdekitError, UnknownNameError

QUICK = [(order, name) for order, families in FAMILIES.items() for name in families if name != "five-stages-general"]
# for each family: which published methods it contains, and which it is not
KNOWN = {
    (1, "euler"): {"etd1": True},
    (2, "strong"): {"ho2": True, "etd2rk, where c2 = 1": True, "ho2-weak": False},
    (2, "weak"): {"ho2-weak": True, "ho2": False},
    (3, "one-weight"): {"ho3": True},
    (3, "two-weights"): {"ho3-gamma": True, "ho3, where c3 = 2/3": True},
    (4, "five-stages"): {"ho4, where c2 = 1/2": True},
}


@pytest.mark.parametrize(("order", "family"), QUICK)
def test_families_have_the_stiff_order_they_are_solved_for(order, family):
    derived = derive("exponential-runge-kutta", stiff=order, family=family)
    same = {d.published: not d for d in derived.published}
    assert same == KNOWN[order, family]
    method = derived.method
    assert method.stiff_order == order == derived.data["order"]
    strong, weak = stiff_order(method, order + 1), stiff_order(method, order + 1, weak=True)
    assert max(int(strong), int(weak)) == order == int(classical_order(method, order + 1))
    assert int(strong) == (order if family in ("euler", "strong") else order - 1)
    assert derived.certificate().findings() == []


def test_other_nodes_keep_the_order():
    """Negative control included: the same coefficients at another node have not the order."""
    third = derive("exponential-runge-kutta", stiff=3, family="two-weights")
    for c2, c3 in itertools.product(("1/5", "1/2"), ("3/5", "1")):
        assert int(stiff_order(third.at(c2=c2, c3=c3).method, 3, weak=True)) == 3
    wrong = {**third.data, "c": ["0", "c2", "c3 + 1/100"]}
    from odekit.methods.files import method_from

    assert str(stiff_order(method_from(wrong), 3)) == "1 (psi_{1,i}: 1/100 + ..., not 0)"


@pytest.mark.parametrize("prediction", ["noise", "data"])
def test_predictions_change_the_variable_alone(prediction):
    plain = derive("exponential-runge-kutta", stiff=3).method
    other = derive("exponential-runge-kutta", stiff=3, prediction=prediction)
    assert "h" in other.data["b"][0] and other.method.prediction == prediction
    assert not compare(plain, other.method)


def test_both_weights_meet_where_one_of_them_vanishes():
    two, one = (derive("exponential-runge-kutta", stiff=3, family=name) for name in ("two-weights", "one-weight"))
    assert not compare(one.at(c2="1/2").method, two.at(c2="1/2", c3="2/3").method)
    assert compare(one.at(c2="1/2").method, two.at(c2="1/2", c3="3/4").method).what.startswith("c3: 2/3, derived 3/4")


def test_five_stages_on_other_nodes():
    """c4 = 9/10 makes c5 = 3/7: another member of the general family, of order 4."""
    _, _, method = solved(five("9/10", free={"c2": "1/2"}, known={}))
    assert method.c[4] == "3/7" and str(stiff_order(method.substitute(c2="1/3"), 4, weak=True)).startswith("4")


def test_a_family_that_does_not_keep_its_claim_is_refused():
    """Negative control: a family solved for order 2 that says 3."""
    with pytest.raises(AlgebraError, match=r"order 2 \(\[tau_0,tau_0\]_0"):
        solved(replace(FAMILIES[2]["strong"], order=3))


def test_three_stages_do_not_reach_order_three_in_the_strong_form():
    three = ansatz(
        "three", ("0", "c2", "c3"), ((), ("*",), ("*", span("a32", "c2", "c3", k=(2, 1, 3)))),
        ("*", span("b2", "1", k=(2, 3, 1)), span("b3", "1", k=(2, 3, 1))),
    )  # fmt: skip
    with pytest.raises(AlgebraError, match=r"\[\[tau\]\] cannot hold"):
        solve(three, demands("[tau] [tau,tau] [[tau]]"), free=("c2", "c3"))


def test_one_stage_does_not_reach_order_two():
    with pytest.raises(AlgebraError, match=r"\[tau\] cannot hold"):
        solve(ansatz("one", ("0",), ((),), ("*",)), [Demand("[tau]")])


ORDERS = {"cox-matthews-3": (3, 2), "cox-matthews": (4, 2), "krogstad": (4, 3), "strehmel-weiner": (4, 3)}


@pytest.mark.parametrize("member", sorted(MEMBERS))
def test_classical_methods_are_recovered(member):
    derived = derive("etd-runge-kutta", member=member)
    assert len(derived.published) == 1 and not derived.published[0]
    method = derived.method
    assert (int(classical_order(method)), int(stiff_order(method))) == ORDERS[member]
    assert derived.certificate().findings() == []


def test_a_stiff_order_that_is_not_there_is_refused_by_the_condition():
    with pytest.raises(AlgebraError, match=r"krogstad: stiff order 3, not 4: \[tau,tau,tau\]: z/720"):
        derive("etd-runge-kutta", member="krogstad", stiff=4)


def test_a_perturbed_coefficient_is_named():
    """Negative control: a published method with one entry off."""
    krogstad = get("krogstad4")
    A = [list(row) for row in krogstad.A]
    A[3][2] = "1001/1000*(2*phi2(z))"
    wrong = compare(replace(krogstad, A=tuple(map(tuple, A))), derive("etd-runge-kutta").method)
    assert wrong and wrong.what.startswith("a43: 1001*phi2(z)/500, derived 2*phi2(z); a factor 1000/1001")


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_exponential_adams_of_any_order(order):
    derived = derive("exponential-adams", order=order, prediction="noise")
    assert int(stiff_order(derived.method, order)) == order
    assert derived.method.parameters == tuple(f"r{j}" for j in range(1, order))


@pytest.mark.parametrize("points", [2, 3])
def test_the_moment_conditions_have_one_solution(points):
    """The linear solve and Lagrange's basis, two routes to the same formula."""
    ratios = [f"r{j}" for j in range(1, points)]
    found = solve(multistep("solved", points), demands(" ".join(f"psi_{k}" for k in range(2, points + 1))), ratios)
    assert not compare(exponential_adams(points), found.method)


def test_too_few_points_are_refused():
    with pytest.raises(AlgebraError, match="psi_3 cannot hold"):
        solve(multistep_ansatz("two", ("0", "-r1"), ("*", span("w", "1"))), demands("psi_2 psi_3"), free=("r1",))


def test_other_clocks_are_adams_forms():
    derived = derive("exponential-adams", order=3, prediction="noise", clock="kappa", start="midpoint")
    assert derived.method["clock"] == "kappa" and derived.method["start"] == "midpoint"
    with pytest.raises(AlgebraError, match="choose a prediction"):
        derive("exponential-adams", clock="t", prediction=None)


@pytest.mark.parametrize(
    ("recipe", "choices", "error"),
    [
        ("exponential-runge-kutta", {"stiff": 5}, AlgebraError),
        ("exponential-runge-kutta", {"stiff": 3, "family": "onewheight"}, UnknownNameError),
        ("exponential-runge-kutta", {"prediction": "velocity"}, OdekitError),
        ("etd-runge-kutta", {"member": "kogstad"}, UnknownNameError),
        ("exponential-adams", {"order": 7}, AlgebraError),
        ("exponential-adams", {"prediction": "velocity"}, OdekitError),
    ],
    ids=["order", "family", "prediction", "member", "steps", "form"],
)
def test_refusals(recipe, choices, error):
    with pytest.raises(error) as refused:
        derive(recipe, **choices)
    assert "\n" not in str(refused.value)
