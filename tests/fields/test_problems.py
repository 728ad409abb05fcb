"""Classical problems: solutions solve, invariants hold, and each excitation is what its field computes to."""

import functools
import math
import pickle

import pytest
import torch

from odekit.exceptions import OdekitError, UnknownNameError
from odekit.fields import problems
from odekit.fields.problems import Excitation

CLASSICAL = [
    "arenstorf", "cos-sin", "dahlquist", "exp-sin", "kepler", "lotka-volterra", "nonlinear-oscillator",
    "prothero-robinson", "riccati", "van-der-pol", "warped-spiral",
]  # fmt: skip
EXACT = [name for name in CLASSICAL if problems.get(name).exact is not None]


def test_the_registry_holds_the_classical_problems():
    assert set(CLASSICAL) <= set(problems.names())
    for name in CLASSICAL:
        problem = problems.get(name)
        assert problem.name == problem.field.name == name and problem.x0.dtype == torch.float64
        assert problem.field(problem.x0, problem.t_start).shape == problem.x0.shape
        assert problem.field.shape == problem.shape == tuple(problem.x0.shape[1:])
        assert problem.field(problem.x0.float(), torch.tensor(0.5, dtype=torch.float64)).dtype == torch.float32


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_solve_their_equation(name):
    """d/dt exact(t) = field(exact(t), t), by forward differentiation: no integrator involved."""
    problem = problems.get(name)
    assert torch.allclose(problem.exact(problem.t_start), problem.x0, rtol=1e-14, atol=1e-15)
    for t in torch.linspace(problem.t_start, problem.t_end, 7, dtype=torch.float64):
        x, rate = torch.func.jvp(problem.exact, (t,), (torch.ones_like(t),))
        assert torch.allclose(rate, problem.field(x, t), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_agree_with_dop853(name):
    problem = problems.get(name)
    t = problem.t_start + (problem.t_end - problem.t_start) / 4
    exact, error = problem.solution(t)
    reference = problem._dop853(t, 1e-13)
    assert error.shape == (len(problem.x0),) and (error < 1e-13).all()
    assert torch.allclose(reference, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("parameters", [{"rate": -3.0}, {"rate": -0.5 + 2j}, {"rate": [-1.0, -2.0, 0.5]}])
def test_dahlquist_takes_real_complex_and_batched_rates(parameters):
    problem = problems.get("dahlquist", **parameters)
    t = torch.tensor(0.7, dtype=torch.float64)
    step = 1e-6
    slope = (problem.exact(t + step) - problem.exact(t - step)) / (2 * step)
    assert torch.allclose(slope, problem.field(problem.exact(t), t), rtol=1e-9)
    assert problem.x0.is_complex() == isinstance(parameters["rate"], complex)


def test_stiff_prothero_robinson_stays_on_its_curve():
    problem = problems.get("prothero-robinson", rate=-1e6)
    assert problem.exact(1.0)[0].item() == pytest.approx(math.cos(1.0), rel=1e-15)
    assert problem.field(problem.x0, 0.0)[1].item() == pytest.approx(-0.5e6)


@pytest.mark.parametrize("eccentricity", [0.0, 0.3, 0.9, 0.99])
def test_kepler_conserves_energy_and_angular_momentum(eccentricity):
    problem = problems.get("kepler", eccentricity=eccentricity)
    for t in (0.0, 0.01, 1.0, 3.0, 6.0):
        (q, p) = problem.exact(t).unbind(1)
        energy = (p * p).sum(-1) / 2 - 1 / q.norm(dim=-1)
        momentum = q[:, 0] * p[:, 1] - q[:, 1] * p[:, 0]
        scale = 1e-14 / (1 - eccentricity)
        assert torch.allclose(energy, torch.full((3,), -0.5, dtype=torch.float64), rtol=0, atol=10 * scale)
        assert torch.allclose(momentum, math.sqrt(1 - eccentricity**2) + 0 * momentum, rtol=0, atol=10 * scale)
    assert torch.allclose(problem.exact(problem.t_end), problem.x0, rtol=1e-11, atol=1e-12)  # one period


def test_kepler_energy_drifts_under_euler():
    """Negative control: the invariant test can fail."""
    problem = problems.get("kepler")
    x = problem.x0
    for k in range(100):
        x = x + 0.01 * problem.field(x, 0.01 * k)
    q, p = x.unbind(1)
    assert ((p * p).sum(-1) / 2 - 1 / q.norm(dim=-1) + 0.5).abs().max() > 1e-3


def test_lotka_volterra_conserves_its_invariant():
    problem = problems.get("lotka-volterra")

    def invariant(x):
        u, v = x.unbind(-1)
        return u.log() - u + 2 * v.log() - v

    for t in (1.0, 3.0, 5.0):
        x, error = problem.solution(t)
        assert torch.allclose(invariant(x), invariant(problem.x0), rtol=0, atol=1e-11) and (error < 1e-11).all()


@pytest.mark.parametrize("loops", [3, 4])
def test_arenstorf_orbits_close(loops):
    problem = problems.get("arenstorf", loops=loops)
    x, error = problem.solution(problem.t_end)
    assert (x - problem.x0).abs().max() < 5e-9 and error.max() < 5e-8
    half = problem.solution(problem.t_end / 2)[0]  # by symmetry it crosses the axis at a right angle there
    assert half[0, 0, 1].abs() < 1e-8 and half[0, 1, 0].abs() < 1e-8
    q, p = half.unbind(1)  # and keeps Jacobi's constant on the way

    def jacobi(q, p, mu=0.012277471):
        earth = torch.stack([q[:, 0] + mu, q[:, 1]]).norm(dim=0)
        moon = torch.stack([q[:, 0] - 1 + mu, q[:, 1]]).norm(dim=0)
        return (q * q).sum(-1) + 2 * (1 - mu) / earth + 2 * mu / moon - (p * p).sum(-1)

    assert torch.allclose(jacobi(q, p), jacobi(*problem.x0.unbind(1)), rtol=1e-11)


def test_references_are_cached_and_honest():
    problem = problems.get("van-der-pol")
    x, error = problem.solution(4.0)
    assert problem.solution(4.0)[0] is x and problem.solution(problem.t_start)[1].max() == 0
    crude = problem._dop853(4.0, 1e-6)
    assert (crude - x).abs().max() > 100 * error.max() > 0


def test_problems_pickle_by_name_and_parameters():
    problem = problems.get("kepler", eccentricity=0.2)
    again = pickle.loads(pickle.dumps(problem))
    assert again.parameters == {"eccentricity": 0.2} and torch.equal(again.x0, problem.x0)


def test_refusals():
    with pytest.raises(UnknownNameError, match="did you mean 'kepler'"):
        problems.get("keplr")
    with pytest.raises(UnknownNameError, match="did you mean 'eccentricity'"):
        problems.get("kepler", excentricity=0.1)
    for name, parameters in [("kepler", {"eccentricity": 1.0}), ("arenstorf", {"loops": 5})]:
        with pytest.raises(OdekitError, match="expected"):
            problems.get(name, **parameters)
    with pytest.raises(OdekitError, match="one a sample"):
        problems.get("dahlquist", rate=torch.ones(2, 2))


# Excitation: elementary differentials, computed here from nothing but the field.


@functools.cache
def trees(order):
    """All rooted trees of an order, as nested sorted tuples of children; () is the single vertex."""

    def forests(total, largest):
        if total == 0:
            yield ()
        for size in range(1, total + 1):
            for tree in trees(size):
                if (size, tree) <= largest:
                    for rest in forests(total - size, (size, tree)):
                        yield (tree, *rest)

    return [()] if order == 1 else sorted(tuple(sorted(f)) for f in forests(order - 1, (order, ())))


def written(tree):
    return "[" + ",".join(map(written, tree)) + "]" if tree else "t"


def differentials(field, states, times, order):
    """F(tree) at each state and time, of the autonomous field (x, t)' = (f, 1), by nested forward derivatives."""

    def autonomous(z):
        return torch.cat([field(z[:-1].reshape(1, *states.shape[1:]), z[-1]).reshape(-1), 1 + 0 * z[-1:]])

    values = {}
    for tree in (tree for n in range(1, order + 1) for tree in trees(n)):
        function = torch.func.vmap(autonomous)
        for child in tree:

            def function(z, inner=function, direction=values[child]):
                return torch.func.jvp(inner, (z,), (direction,))[1]

        values[tree] = function(torch.cat([states.reshape(len(states), -1), times[:, None]], 1))
    return values


def rank(columns):
    singular = torch.linalg.svdvals(columns)
    return int((singular > 1e-10 * singular[0]).sum())


def excitation(field, states, times, order):
    """(largest order whose F are all independent, or None; the trees that are seen by none or not alone)."""
    values = differentials(field, states, times, order)
    for n in range(1, order + 1):
        columns = torch.stack([values[tree][:, :-1].reshape(-1) for tree in trees(n)], 1)
        columns = columns / columns.norm(dim=1, keepdim=True).clamp_min(1e-300)  # each state speaks as loud as another
        size = columns.norm(dim=0)
        columns = torch.where(size > 1e-13, columns / size, 0 * columns)
        full = rank(columns)
        if full < len(trees(n)):
            others = [torch.cat([columns[:, :j], columns[:, j + 1 :]], 1) for j in range(len(trees(n)))]
            return n - 1, {written(tree) for tree, rest in zip(trees(n), others, strict=True) if rank(rest) == full}
    return None, set()


def test_the_enumerator_counts_trees():
    assert [len(trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


@pytest.mark.parametrize("name", CLASSICAL)
def test_declared_excitation_is_what_the_field_computes_to(name):
    problem = problems.get(name)
    declared = problem.excitation
    count = 12  # 36 states: more numbers than there are trees
    times = [problem.t_start + (problem.t_end - problem.t_start) * (k + 0.5) / count for k in range(count)]
    states = torch.cat([problem.solution(t)[0] for t in times])
    times = torch.tensor(times, dtype=torch.float64).repeat_interleave(len(problem.x0))
    found = excitation(problem.field, states, times, 5 if declared.max_order else 7)
    assert found == (declared.max_order, set(declared.unseen))
    assert declared.reason and declared.covers(4) == (declared.max_order is None or declared.max_order >= 4)


def test_a_scalar_autonomous_field_hides_trees_of_order_four():
    """Negative control: the computation finds the limit of a wild field that is in no registry."""
    states = torch.linspace(0.2, 1.5, 24, dtype=torch.float64)
    found = excitation(lambda x, t: torch.exp(torch.sin(x)), states, 0 * states, 5)
    assert found == (3, {"[t,[t]]", "[[t,t]]"})


def test_why_excitation_matters():
    """b.c = 1/2 and b.A.c = 1/6 but b.c^2 = 1/4: third order to Dahlquist's eye, second order in truth."""

    def step(field, x, t, h):
        k1 = field(x, t)
        k2 = field(x + h / 2 * k1, t + h / 2)
        return x + h * field(x + h * (k1 / 6 + k2 / 3), t + h / 2)

    def slope(name):
        problem, errors = problems.get(name), []
        for steps in (40, 80):
            x, h = problem.x0, (problem.t_end - problem.t_start) / steps
            for k in range(steps):
                x = step(problem.field, x, problem.t_start + k * h, h)
            errors.append((x - problem.exact(problem.t_end)).norm())
        return math.log2(errors[0] / errors[1])

    assert slope("dahlquist") > 2.9 and not problems.get("dahlquist").excitation.covers(3)
    assert slope("cos-sin") < 2.2 and problems.get("cos-sin").excitation.covers(3)


def test_excitation_without_a_limit_covers_everything():
    assert Excitation(None, "generic").covers(8) and not Excitation(4, "cubic").covers(5)
