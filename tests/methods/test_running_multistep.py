"""Linear multistep methods from their coefficients: orders, plans, starts, and formulas that forget their steps."""

import dataclasses
import math

import pytest
import torch

import odekit as ok
from odekit.algebra.derive import derive
from odekit.algebra.multistep import Multistep, adams_bashforth, from_text, nodes
from odekit.exceptions import MethodError, OdekitError
from odekit.fields.coordinates import Instant
from odekit.methods import catalogue
from odekit.methods.multistep import NAMES, named


def turning(x, t):
    """Nonlinear, non-autonomous, two components that feel each other."""
    c, s = math.cos(float(t)), math.sin(2 * float(t))
    a, b = x[:, 0], x[:, 1]
    return torch.stack([c * b - 0.5 * a * b + 0.3 * a * a * s, -c * a + 0.4 * a * b * b - 0.2 * b], 1)


FIELD = ok.VectorField(turning, name="turning")
START = torch.tensor([[1.0, 0.5], [0.3, -0.7]], dtype=torch.float64)
END = 1.6
EXACT = ok.reference(FIELD, START, END, t_start=0.0).x
EXPLICIT = [name for name in NAMES if name.startswith("nystroem")]


def smooth(steps):
    u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    return END * (u + 0.3 * u * (1 - u))


def jumping(steps, ratio=2.0):
    """Steps of lengths 1, ratio, 1, ratio, ..."""
    lengths = torch.ones(steps, dtype=torch.float64)
    lengths[1::2] = ratio
    return END * torch.cat([torch.zeros(1, dtype=torch.float64), lengths.cumsum(0) / lengths.sum()])


def slope(method, grid, few=160, many=320):
    errors = [float((ok.solve(FIELD, START, method, grid(n)) - EXACT).norm()) for n in (few, many)]
    return math.log2(errors[0] / errors[1])


def texts(method):
    return tuple([str(v) for v in part] for part in method.expressions())


# Orders.


@pytest.mark.parametrize("grid", [smooth, jumping], ids=["smooth", "jumping"])
@pytest.mark.parametrize("name", [*EXPLICIT, "milne-simpson-2"])
def test_the_order_claimed(name, grid):
    method = ok.methods.get(name)
    order = 3 if (name, grid) == ("milne-simpson-2", jumping) else method.order.method
    assert slope(method, grid, 320, 640) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("k", [2, 3, 4])
def test_adams_from_its_text_is_adams(k):
    method = ok.methods.get(from_text("mine", k, *texts(adams_bashforth(k, symbolic=True))))
    for grid in (smooth(12), jumping(12)):
        same = ok.same(ok.plan(method, FIELD, grid), ok.plan(f"ab-{k}", FIELD, grid))
        assert same, same


@pytest.mark.parametrize("k", [2, 3, 4])
def test_a_formula_for_equal_steps_forgets_the_others(k):
    """It runs as it is written: of its order on equal steps, 2 on smooth grids, 1 where steps jump."""
    method = ok.methods.get(from_text("mine", k, *texts(adams_bashforth(k))))
    assert slope(method, lambda n: jumping(n, 1.0)) == pytest.approx(k, abs=0.2)
    assert slope(method, smooth, 320, 640) == pytest.approx(2, abs=0.25)
    assert slope(method, jumping, 320, 640) == pytest.approx(1, abs=0.2)
    assert slope(f"ab-{k}", jumping) == pytest.approx(k, abs=0.3)


def test_a_wrong_weight_is_seen():
    wrong = from_text("wrong", 3, ["1", "-1", "0", "0"], ["0", "23/12", "-16/12", "5/12 + 1/100"])
    assert abs(slope(ok.methods.get(wrong), smooth)) < 0.2


def test_an_unstable_formula_blows_up():
    """Order 3 with two steps: consistent, and useless."""
    greedy = ok.methods.get(from_text("greedy", 3, ["1", "4", "-5"], ["0", "4", "2"]))
    with pytest.raises(OdekitError, match="overflows|NaN"):
        ok.solve(FIELD, START, greedy, smooth(1000), eager=True)


@pytest.mark.parametrize("name", ["nystroem-3", "milne-simpson-2", "bdf-3", "am-4"])
def test_a_rising_start_costs_what_is_claimed(name):
    method = ok.methods.get(name, start="rising")
    assert method.order.method < method.order.formula
    assert slope(method, smooth) == pytest.approx(method.order.method, abs=0.35)


def test_a_weakly_stable_formula_starts_with_its_own_order():
    assert ok.methods.get("milne-simpson-2").starter.order.method == 4
    assert ok.methods.get("nystroem-3").starter.order.method == 3
    assert ok.methods.get("bdf-3").starter.order.method == 2


# Plans.


@pytest.mark.parametrize("grid", [smooth, jumping], ids=["smooth", "jumping"])
@pytest.mark.parametrize("name", ["nystroem-2", "nystroem-4", "free"])
def test_plan_is_the_eager_run(name, grid):
    method = derive("explicit-multistep", steps=3).at(a2="1/4", a3="-1/8").method if name == "free" else name
    planned, eager = (ok.solve(FIELD, START, method, grid(24), eager=e) for e in (False, True))
    assert (planned - eager).abs().max() < 1e-12


def test_fifty_digits_and_gradients():
    grid = smooth(9)
    exact, plain = (ok.plan("nystroem-3", FIELD, grid, precision=p).dense() for p in (50, None))
    assert max(abs(float(a) - float(b)) for a, b in zip(exact.output, plain.output, strict=True)) < 1e-14
    free = grid.clone().requires_grad_()
    ok.plan("nystroem-3", FIELD, free).dense().output.sum().backward()
    assert torch.isfinite(free.grad).all() and free.grad.abs().max() > 0


def test_a_textbook_leapfrog():
    """y_(n+1) = y_(n-1) + 2 h f_n on equal steps, started by the midpoint rule; transcribed."""
    h, x = END / 20, START
    ahead = x + h * turning(x + h / 2 * turning(x, 0.0), h / 2)
    for n in range(1, 20):
        x, ahead = ahead, x + 2 * h * turning(ahead, n * h)
    assert (ok.solve(FIELD, START, "nystroem-2", jumping(20, 1.0)) - ahead).abs().max() < 1e-13


@pytest.mark.parametrize("prediction", ["noise", "data"])
def test_straight_coordinates(prediction):
    """In the straight clock of the noise, Adams from its text is DEIS-rhoAB."""
    process = ok.VP()
    flow = ok.ProbabilityFlow(process, ok.targets.ring6(), prediction="noise")
    grid = ok.grid("logsnr", process, steps=8)
    formula = from_text("mine", 3, *texts(adams_bashforth(3, symbolic=True)))
    ours = ok.plan(ok.methods.get(formula, prediction=prediction, start="euler"), flow, grid)
    clock = {"noise": "kappa", "data": "alpha_over_sigma"}[prediction]
    theirs = ok.plan(ok.methods.get("ab-3", prediction=prediction, clock=clock, start="euler"), flow, grid)
    same = ok.same(ours, theirs)
    assert same, same


def test_history_and_carry():
    method = ok.methods.get("nystroem-3")
    assert method.history == 2 and method.phases(4) == ["start", "start", 3, 3] and method.phases(1) == ["start"]
    instants = [Instant(0.2), Instant(0.1), Instant(0.0)]
    carry = method.carry_from(method.coordinates(FIELD), instants, [START, 2 * START, 3 * START])
    assert len(carry["past"]) == 1 and torch.equal(carry["past"][0], 2 * START)
    assert len(carry["N"]) == 2 and torch.equal(carry["N"][1], turning(3 * START, 0.0))
    assert "past" not in ok.methods.get("am-4").carry_from(method.coordinates(FIELD), instants, [START] * 3)


# What is made and what is refused.


def test_files_run(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(derive("explicit-multistep", steps=2).toml())
    half = ok.methods.load(path, a2="-1/2", start="rk4")
    assert str(half.formula.alpha[1]) == "-1/2" and half.starter.name == "rk4"
    assert slope(half, jumping) == pytest.approx(2, abs=0.2)


def test_keys_tell_formulas_apart():
    made = [ok.methods.get(name) for name in NAMES] + [ok.methods.get("bdf-3", start="rising")]
    made += [ok.methods.get(from_text("ab-2", 2, *texts(adams_bashforth(2, symbolic=s)))) for s in (True, False)]
    assert len({repr(method.key()) for method in made}) == len(made)
    assert Multistep in catalogue.MAKERS and set(NAMES) <= set(ok.methods.names())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: named("bdf-7"), "zero-stable to order 6"),
        (lambda: named("ab-x"), "unknown multistep method"),
        (lambda: ok.methods.get("nystroem-3", start="gauss-2"), "starts with an explicit tableau"),
        (lambda: ok.methods.get("nystroem-3", prediction="nois"), "nois"),
        (lambda: ok.methods.get("nystroem-3", tol=1e-3), "option of nystroem-3"),
        (lambda: ok.methods.get(adams_bashforth(3, ["2", "1"]).at(["2", "1"]), start="none"), "unknown tableau"),
        (
            lambda: ok.methods.get(dataclasses.replace(adams_bashforth(2, ["2"]), rule=None)),
            "made for certain steps",
        ),
        (
            lambda: ok.methods.get(from_text("m", 2, ["1", "-1", "0"], ["0", "3/2", "-1/2"]), start="rising"),
            "without formulas of lower order",
        ),
        (lambda: ok.plan("milne-simpson-2", FIELD, smooth(8)), "runs eagerly; it is implicit"),
    ],
)
def test_refusals(make, says):
    with pytest.raises((MethodError, OdekitError), match=says):
        make()


def test_constants_by_hand():
    """A formula typed in as numbers on equal steps runs like one from a file."""
    typed = Multistep("typed", nodes(2), (2, -2, 0), (0, 3, -1), 2)
    read = from_text("read", 2, ["2", "-2", "0"], ["0", "3", "-1"])
    ends = [ok.solve(FIELD, START, ok.methods.get(m), smooth(10)) for m in (typed, read)]
    assert torch.equal(*ends)
