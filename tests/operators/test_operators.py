"""The coefficient algebra: the laws of linear maps, in every carrier and number kind."""

import itertools
import pickle

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from odekit.exceptions import OperatorError
from odekit.operators import Block, Diagonal, Scalar, identity

CARRIERS = ["scalar", "diagonal", "block"]
COMPONENTS = 2  # states of shape (2,) fit all three carriers
laws = settings(deadline=None, max_examples=40)
numbers = st.floats(-4, 4).map(lambda v: v if abs(v) > 1e-3 else 0.5)  # away from singular, signs kept


@st.composite
def operators(draw, carrier, steps=()):
    """A well-conditioned operator of the carrier, for a single step or one a step."""
    shape = {"scalar": (), "diagonal": (COMPONENTS,), "block": (2, 2)}[carrier]
    size = int(np.prod(steps + shape, dtype=int))
    value = torch.tensor(draw(st.lists(numbers, min_size=size, max_size=size)), dtype=torch.float64)
    value = value.reshape(steps + shape)
    if carrier == "scalar":
        return Scalar(value)
    if carrier == "diagonal":
        return Diagonal(value)
    return Block(value + 9 * torch.eye(2, dtype=torch.float64))  # strictly diagonally dominant


def dense(operator, x):
    """The operator as a matrix on flattened states, one a row of x, found by applying it to unit vectors."""
    columns = []
    for j in range(x[0].numel()):
        unit = torch.zeros_like(x).reshape(len(x), -1)
        unit[:, j] = 1
        columns.append(operator.apply(unit.reshape(x.shape)).reshape(len(x), -1))
    return torch.stack(columns, -1)


def close(a, b, x, tol=1e-13):
    difference = (dense(a, x) - dense(b, x)).abs().max()
    assert difference <= tol * (1 + dense(b, x).abs().max()), float(difference)


states = torch.linspace(-1, 1, 3 * COMPONENTS, dtype=torch.float64).reshape(3, COMPONENTS)
triples = [(a, b, c) for a, b, c in itertools.product(CARRIERS, repeat=3) if not {"diagonal", "block"} <= {a, b, c}]


@pytest.mark.parametrize("steps", [(), (3,)], ids=["single", "over-steps"])
@pytest.mark.parametrize("carriers", triples, ids="-".join)
@laws
@given(data=st.data())
def test_composition_is_associative_and_distributes(carriers, steps, data):
    a, b, c = (data.draw(operators(k, steps)) for k in carriers)
    close((a @ b) @ c, a @ (b @ c), states)
    close(a @ (b + c), a @ b + a @ c, states)
    close((a - b) @ c, a @ c - b @ c, states)
    product = torch.einsum("bij,bjk->bik", dense(a, states), dense(b, states))
    assert torch.allclose(dense(a @ b, states), product, rtol=1e-13, atol=1e-12)


@pytest.mark.parametrize("steps", [(), (3,)], ids=["single", "over-steps"])
@pytest.mark.parametrize("carrier", CARRIERS)
@laws
@given(data=st.data())
def test_inverse_transpose_and_factor(carrier, steps, data):
    a = data.draw(operators(carrier, steps))
    close(a @ a.inverse(), identity, states)
    close(a.inverse() @ a, identity, states)
    x, y = states, states.flip(0).cos()
    left, right = (a.apply(x) * y).sum(1), (x * a.transpose().apply(y)).sum(1)
    assert torch.allclose(left, right, rtol=1e-13, atol=1e-12)
    covariance = a @ a.transpose()
    factor = covariance.factor()
    close(factor @ factor.transpose(), covariance, states)
    if carrier == "block":
        assert (factor.value[..., 0, 1] == 0).all() and (factor.value[..., 1, 1] > 0).all()


@pytest.mark.parametrize("carrier", CARRIERS)
@laws
@given(data=st.data())
def test_identity_is_neutral_and_numbers_scale(carrier, data):
    a = data.draw(operators(carrier))
    assert identity @ a is a and a @ identity is a
    assert identity.apply(states) is states
    close(a + identity - identity, a, states)
    close(2.0 * a, a + a, states)
    close(-a, a * -1.0, states)
    close(a / 4.0, 0.25 * a, states)


def test_identity_alone():
    assert identity @ identity is identity
    assert identity.inverse() is identity.factor() is identity.transpose() is identity[3] is identity
    assert (identity + identity).value == 2 and (3.0 * identity).value == 3.0
    assert pickle.loads(pickle.dumps(identity)) is identity


@pytest.mark.parametrize("steps", [(), (4,)], ids=["single", "over-steps"])
def test_high_precision_in_every_carrier(steps):
    with mpmath.workdps(50):
        rng = np.random.default_rng(1)
        lift = np.frompyfunc(lambda v: mpmath.mpf(str(v)) / 3 + 2, 1, 1)
        scalar = Scalar(lift(rng.random(steps)) if steps else mpmath.mpf(1) / 3)
        diagonal = Diagonal(lift(rng.random((*steps, 3))))
        block = Block(lift(rng.random((*steps, 2, 2))) + np.array([[4, 0], [0, 5]], object))
        for a in (scalar, diagonal, block):
            covariance = a @ a.transpose()
            factor = covariance.factor()
            for residual in (a @ a.inverse() - identity, factor @ factor.transpose() - covariance):
                assert all(abs(v) < mpmath.mpf(10) ** -47 for v in np.ravel(residual.value))
            close_to = (scalar @ a) @ scalar.inverse() - a
            assert all(abs(v) < mpmath.mpf(10) ** -47 for v in np.ravel(close_to.value))
        assert isinstance(np.ravel((scalar @ block).value)[0], mpmath.mpf)
        third = mpmath.mpf(1) / 3 * Scalar(mpmath.mpf(3))
        assert isinstance(third, Scalar) and third.value == 1


def test_steps_are_one_operator_each():
    values = torch.arange(1.0, 5.0, dtype=torch.float64)
    matrix = torch.arange(16.0, dtype=torch.float64).reshape(4, 2, 2)
    x = torch.arange(24.0).reshape(4, 2, 3)
    for over in (Scalar(values), Block(matrix), Diagonal(values[:, None] * torch.arange(6.0, dtype=torch.float64))):
        together = over.apply(x)
        assert together.dtype == torch.float32 and together.shape == x.shape
        for k in range(4):
            assert torch.equal(over[k].apply(x[k : k + 1])[0], together[k])


def test_coefficients_are_cast_last_and_keep_their_graph():
    x = torch.ones(5, 2, 3, dtype=torch.float32)
    s = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    for a in (
        Scalar(s),
        Diagonal(s * torch.ones(6, dtype=torch.float64)),
        Block(s * torch.eye(2, dtype=torch.float64)),
    ):
        y = a.apply(x)
        assert y.dtype == torch.float32 and (y == 2).all()
        (gradient,) = torch.autograd.grad(a.inverse().apply(x).sum(), s)
        assert gradient == pytest.approx(-0.25 * 30)


def test_a_scalar_state_has_one_component():
    assert torch.equal(Diagonal([3.0]).apply(torch.tensor([1.0, 2.0])), torch.tensor([3.0, 6.0]))


def test_singular_covariances_keep_a_factor():
    at_start = Block([[0.0, 0.0], [0.0, 4.0]])  # phase space at t = 0: the position is known, the momentum is not
    assert torch.equal(at_start.factor().value, torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
    v = torch.tensor([[0.1], [0.7]], dtype=torch.float64)
    rank_one = Block(v @ v.T)
    factor = rank_one.factor()
    assert torch.allclose((factor @ factor.transpose()).value, rank_one.value, rtol=1e-14)
    assert Scalar(0.0).factor().value == 0.0


@pytest.mark.parametrize(
    "wrong, says",
    [
        (lambda: Diagonal([1.0, 2.0]) @ Block(torch.eye(2)), "does not mix"),
        (lambda: Diagonal([1.0, 2.0]) + Diagonal([1.0, 2.0, 3.0]), "2 components met one of 3"),
        (lambda: Diagonal([1.0, 2.0]).apply(torch.ones(4, 3)), "applied to states of shape"),
        (lambda: Diagonal(2.0), "use Scalar"),
        (lambda: Block(torch.ones(3, 2)), "expects square matrices"),
        (lambda: Block(torch.eye(2)).apply(torch.ones(4, 3)), r"\(B, 2, \*shape\)"),
        (lambda: Scalar(torch.ones(3)).apply(torch.ones(4, 2)), r"step i to x\[i\]"),
        (lambda: Scalar(0.0).inverse(), "no inverse"),
        (lambda: Scalar(torch.tensor([1.0, 0.0])).inverse(), "no inverse"),
        (lambda: Block(torch.ones(2, 2)).inverse(), "no inverse"),
        (lambda: Scalar(-1.0).factor(), "negative variance"),
        (lambda: Scalar(float("nan")).factor(), "negative variance"),
        (lambda: Diagonal([1.0, -1.0]).factor(), "negative variance"),
        (lambda: Block([[1.0, 2.0], [2.0, 1.0]]).factor(), "negative variance"),
        (lambda: Block([[1.0, 0.5], [0.0, 1.0]]).factor(), "not symmetric"),
        (lambda: Block([[0.0, 0.5], [0.5, 1.0]]).factor(), "variance of zero"),
        (lambda: Scalar(1.0) * Scalar(2.0), "a @ b"),
        (lambda: Scalar(1.0)[0], "single step"),
    ],
)
def test_refusals_name_what_does_not_fit(wrong, says):
    with pytest.raises(OperatorError, match=says):
        wrong()
