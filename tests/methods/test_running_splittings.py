"""Splitting methods as they run: flows, orders on problems that can testify, bases, processed kernels, refusals."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from analysis.cli import main
from analysis.measure import convergence
from analysis.problems import Case, default_cases
from analysis.tasks import order_tasks
from odekit.algebra import compositions
from odekit.algebra.splitting import Splitting, first_failure
from odekit.algebra.splitting_files import Processed
from odekit.exceptions import MethodError, OdekitError
from odekit.fields.parts import Part, SplitField, approximated, linear, shear
from odekit.methods.files import as_toml

PROBLEMS = ("forced-spiral", "noncommuting-matrices", "pendulums", "relativistic-pendulums")


def grid(problem, steps):
    return ok.grid("time-uniform", (problem.t_start, problem.t_end), steps)


def errors(method, name, counts, **options):
    problem = ok.problems.get(name)
    end = problem.solution(problem.t_end)[0]
    return [
        (ok.solve(problem.field, problem.x0, method, grid(problem, n), **options) - end).norm().item() for n in counts
    ]


def slope(method, name, counts=(16, 32), **options):
    coarse, fine = errors(method, name, counts, **options)
    return math.log(coarse / fine) / math.log(counts[1] / counts[0])


# Flows.


@pytest.mark.parametrize("name", PROBLEMS)
def test_flows_solve_their_parts(name):
    """d/dh flow(x, t, h) is the velocity there, at the time that the clock's part has reached; flows are groups."""
    problem = ok.problems.get(name)
    field, x, t, h = problem.field, problem.x0, 0.7, torch.tensor(0.3, dtype=torch.float64)
    for letter, part in field.parts.items():

        def later(s, flow=part.flow): return flow(x, t, s)  # fmt: skip # noqa: E704

        if letter in "BC" or name != "noncommuting-matrices":  # SciPy's exponential has no derivative
            moved = part.flow(x, t, h)
            rate = (later(h + 1e-5) - later(h - 1e-5)) / 2e-5
            now = t + h if letter == field.clock else t
            assert torch.allclose(rate, part.velocity(moved, now), atol=1e-8), letter
        now = t + 0.3 if letter == field.clock else t
        assert torch.allclose(part.flow(part.flow(x, t, 0.3), now, -0.8), part.flow(x, t, -0.5), atol=1e-13)
    total = sum(part.velocity(x, t) for part in field.parts.values())
    assert torch.allclose(field(x, t), total) and field.model(x.float(), t).dtype == torch.float32


def test_a_flow_that_ignores_its_clock_is_no_flow_of_order_two():
    """Negative control: the same parts with the wrong clock are of order one."""
    good = ok.problems.get("forced-spiral").field
    wrong = SplitField(good.parts, (2,), "wrong", clock="A")
    problem = ok.problems.get("forced-spiral")
    end = problem.solution(problem.t_end)[0]
    method = ok.methods.get(Splitting("strang", tuple(zip("ABCBA", ["1/2", "1/2", "1", "1/2", "1/2"], strict=True)), 2))
    assert abs(slope(method, "forced-spiral") - 2) < 0.05
    gaps = [(ok.solve(wrong, problem.x0, method, grid(problem, n)) - end).norm().item() for n in (32, 64)]
    assert abs(math.log2(gaps[0] / gaps[1]) - 1) < 0.2


def test_approximate_flows_cost_the_order():
    """Strang with sub-flows of order q is of order min(q, 2): the sub-maps decide, however symmetric the word."""
    problem = ok.problems.get("relativistic-pendulums")
    field = problem.field

    def bent(x, t):  # a part whose flow is not known: the kick, slowed down by the momentum
        return field.parts["B"].velocity(x, t) / (1 + x[..., 1:, :] ** 2).sqrt()

    end = None
    for name, order in (("rk4", 2), ("midpoint", 2), ("euler", 1)):
        split = SplitField({"A": field.parts["A"], "B": approximated(bent, name)}, (2, 2))
        if end is None:
            end = ok.reference(split, problem.x0, 1.0, t_start=0.0).x
        gaps = [
            (ok.solve(split, problem.x0, "strang", ok.grid("time-uniform", (0.0, 1.0), n)) - end).norm().item()
            for n in (32, 64)
        ]
        assert abs(math.log2(gaps[0] / gaps[1]) - order) < 0.1, name


# Orders.

MEASURED = [
    "strang", "ruth-3", "forest-ruth", "pefrl", "blanes-moan-4", "mclachlan-4", "blanes-moan-6",
    "yoshida-6-a", "suzuki-umeno-8", "mclachlan-atela-5", "blanes-moan-srkn-6b", "okunbor-skeel-6",
]  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_verified(name):
    """Both default cases, the second on a rough grid, confirm the claim of formula and method at once."""
    rows = [row for task in order_tasks([name], default_cases()) for row in task.run()]
    assert [row["kind"] for row in rows] == ["formula", "with start"] * 2
    for row in rows:
        assert (row["verdict"], row["claimed_order"]) == ("pass", compositions.get(name).order), row["reason"]
    assert "3 : 1 : 2" in rows[-1]["grid"]


def test_every_splitting_is_in_the_catalogue():
    for name in compositions.names():
        method = ok.methods.get(name)
        assert (method.name, method.family, method.is_plannable) == (name, "splitting", False)
        assert method.order.formula == compositions.get(name).order and method.source
    assert set(compositions.names()) <= set(ok.methods.names())


def mutated(name, step, by="1/1000"):
    method = compositions.get(name)
    steps = list(method.steps)
    for k in (step, len(steps) - 1 - step):  # a palindrome stays one
        steps[k] = (steps[k][0], f"{steps[k][1]}+{by}")
    for k in (step + 2, len(steps) - 3 - step):  # and consistent
        steps[k] = (steps[k][0], f"{steps[k][1]}-{by}")
    return Splitting("mutated", tuple(steps), method.order, "", method.digits, method.nystrom)


def test_a_changed_coefficient_is_refused_twice():
    """Blanes and Moan's S6, still symmetric and consistent: of order 2 by its conditions, and as it runs."""
    wrong = mutated("blanes-moan-4", 0)
    assert first_failure(wrong, 4)[0] == 2
    study = convergence(ok.methods.get(wrong), Case("", "", "relativistic-pendulums", "time-uniform"))
    assert study.verdict == "fail" and study.high < 3


def test_swapped_pairs_run_at_order_two():
    """JuliaGNI/GeometricIntegrators.jl #220, as it runs."""
    good = compositions.get("mclachlan-4")
    assert slope(good, "relativistic-pendulums") > 3.9
    assert abs(slope(compositions.swapped(good), "relativistic-pendulums") - 2) < 0.1


@pytest.mark.parametrize("name, drops_to", [("mclachlan-atela-5", 3), ("okunbor-skeel-6", 4)])
def test_nystroem_methods_drop_on_other_fields(name, drops_to):
    study = convergence(ok.methods.get(name), Case("", "", "relativistic-pendulums", "time-uniform"))
    assert study.verdict == "fail" and study.slope < drops_to + 0.5
    assert study.row["claimed_order"] > drops_to


def test_a_problem_that_hides_brackets_cannot_confirm():
    """A wrong method passes on the pendulums: so nothing above order three passes there but Nystroem's."""
    case = Case("", "", "pendulums", "time-uniform")
    posing = compositions.get("mclachlan-atela-4")
    posing = Splitting("posing", posing.steps, 4, "", posing.digits, nystrom=False)
    study = convergence(ok.methods.get(posing), case)
    assert study.row["verdict"] == "undetermined" and "[B,[B,[B,A]]] = 0" in study.row["reason"]
    assert convergence(ok.methods.get("mclachlan-atela-4"), case).row["verdict"] == "pass"
    assert convergence(ok.methods.get("rk4"), case).row["verdict"] == "pass"  # trees see more


# Laws.

values = st.lists(st.fractions(-1, 1, max_denominator=9), min_size=5, max_size=5)


@settings(max_examples=20, deadline=None)
@given(values=values, pattern=st.sampled_from(["ABABA", "BABAB", "AABBA"]))
def test_the_adjoint_undoes_a_step_back(values, pattern):
    """Phi*(h) Phi(-h) = 1 for any steps, whatever they sum to."""
    problem = ok.problems.get("pendulums")
    method = Splitting("any", tuple(zip(pattern, values, strict=True)), 1)
    if {x for x, _ in method.flat()} != {"A", "B"}:
        return
    there = ok.solve(problem.field, problem.x0, method, torch.tensor([0.0, 0.3]).double())
    back = ok.solve(problem.field, there, method.adjoint(), torch.tensor([0.3, 0.0]).double())
    assert torch.allclose(back, problem.x0, atol=1e-12)


@pytest.mark.parametrize("name", compositions.names())
def test_symmetric_methods_step_back_where_they_came_from(name):
    """A step and the step back cancel just where the steps of a method are a palindrome."""
    exact = compositions.get(name)
    problem = ok.problems.get("relativistic-pendulums")
    nodes = torch.tensor([0.0, 0.7]).double()
    there = ok.solve(problem.field, problem.x0, name, nodes)
    gap = (ok.solve(problem.field, there, name, nodes.flip(0)) - problem.x0).abs().max()
    assert (gap < 1e-12) == exact.is_symmetric, gap


def test_splittings_of_hamiltonians_are_symplectic():
    field = ok.problems.get("relativistic-pendulums").field
    J = torch.kron(torch.tensor([[0.0, 1.0], [-1.0, 0.0]]), torch.eye(2)).double()
    nodes = torch.tensor([0.0, 0.8]).double()

    def step(method, x):
        return ok.solve(field, x.reshape(1, 2, 2), method, nodes, eager=True).reshape(4)

    start = torch.tensor([0.4, -0.3, 0.2, 0.9]).double()
    for method, holds in (("pefrl", True), ("mclachlan-4", True), ("rk4", False)):
        D = torch.autograd.functional.jacobian(lambda x, m=method: step(m, x), start)
        assert ((D.T @ J @ D - J).abs().max() < 1e-13) == holds, method


# Processed methods, bases.


def test_trotter_between_half_steps_is_strang():
    kernel = Splitting("trotter", (("A", "1"), ("B", "1")), 2)
    processed = Processed("verlet", kernel, Splitting("half", (("B", "1/2"),)), 2)
    problem = ok.problems.get("relativistic-pendulums")
    nodes = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.9, 1.0, 1.1]).double()
    run = [ok.solve(problem.field, problem.x0, m, nodes, full=True).trajectory for m in (processed, "strang-bab")]
    assert torch.allclose(*run, rtol=0, atol=1e-14)


def test_a_kernel_alone_is_of_lower_order():
    kernel = Splitting("trotter", (("A", "1"), ("B", "1")), 2)
    processed = Processed("verlet", kernel, Splitting("half", (("B", "1/2"),)), 2)
    assert abs(slope(kernel, "relativistic-pendulums") - 1) < 0.1
    rows = [convergence(ok.methods.get(processed), case).row for case in _cases(processed)]
    assert [row["verdict"] for row in rows] == ["pass", "pass"]
    wrong = Processed("wrong", kernel, Splitting("third", (("B", "1/3"),)), 2)
    assert [convergence(ok.methods.get(wrong), case).row["verdict"] for case in _cases(wrong)] == ["fail", "fail"]


def _cases(method):
    from analysis.problems import own_cases

    return own_cases(ok.methods.get(method))


def test_compositions_of_runge_kutta_methods_run_on_any_field():
    """Order 6 from the implicit midpoint rule, order 4 from Euler and its adjoint, which is implicit Euler."""
    assert abs(slope("yoshida-6-a", "cos-sin", (16, 32), base="implicit-midpoint") - 6) < 0.3
    assert abs(slope("mclachlan-4", "cos-sin", (16, 32), base="euler") - 4) < 0.2


def test_compositions_take_fields_of_three_parts():
    """S = A/2 B/2 C B/2 A/2 and M = A B C with their adjoints, time moving along with C."""
    assert abs(slope("suzuki-4", "forced-spiral") - 4) < 0.1
    assert abs(slope("mclachlan-4", "forced-spiral") - 4) < 0.1


def test_evaluations_are_flows_of_the_part_asked_most_often():
    problem = ok.problems.get("pendulums")
    for name, most in (("strang", 2), ("blanes-moan-4", 7), ("yoshida-6-a", 8), ("mclachlan-4", 6)):
        used = ok.solve(problem.field, problem.x0, name, grid(problem, 5), full=True).statistics.evaluations
        assert used == 5 * most == 5 * ok.methods.get(name).evaluations, name


# Files and refusals.


def test_a_file_is_verified(tmp_path, monkeypatch):
    monkeypatch.setenv("ODEKIT_CACHE", str(tmp_path / "cache"))
    good, wrong = tmp_path / "mine.toml", tmp_path / "wrong.toml"
    good.write_text(as_toml(compositions.get("pefrl")))
    wrong.write_text(as_toml(mutated("pefrl", 0)))
    assert main(["verify", str(good), "--steps", "8,11,16,23,32,45"]) == 0
    assert main(["verify", str(wrong), "--steps", "8,11,16,23,32,45"]) == 1


def test_refusals():
    plain = ok.problems.get("kepler")
    split = ok.problems.get("pendulums")
    three = ok.problems.get("forced-spiral")
    for field, method, options, text in (
        (plain, "strang", {}, "no parts: give an odekit.SplitField$"),
        (plain, "suzuki-4", {}, "or a base method, base='implicit-midpoint' say"),
        (three, "strang", {}, r"made for the parts A\+B, .* has A\+B\+C"),
        (split, "strang", {"base": "euler"}, "takes no base method"),
        (split, "suzuki-4", {"base": "euler"}, "euler is none, 'implicit-midpoint' is one"),
        (split, "suzuki-4", {"base": "ab-2"}, "expected a Runge-Kutta method"),
    ):
        with pytest.raises(MethodError, match=text):
            ok.solve(field.field, field.x0, method, grid(field, 4), **options)
    with pytest.raises(MethodError, match="strang runs eagerly"):
        ok.plan("strang", split.field, grid(split, 4))
    part = shear(lambda x, t: x)
    for parts, options, text in (
        ({"A": part}, {}, "two parts or more"),
        ({"A": part, "M": part}, {}, "not M or S"),
        ({"A": part, "B": print}, {}, "a part is a Part"),
        ({"A": part, "B": part}, {"clock": "C"}, "expected one of the parts A, B"),
    ):
        with pytest.raises(OdekitError, match=text):
            SplitField(parts, **options)
    with pytest.raises(OdekitError, match="square matrix"):
        linear([[1.0, 2.0]])
    with pytest.raises(MethodError, match="multistep"):
        approximated(lambda x, t: x, "ab-3")


def test_flows_are_watched():
    whole = shear(lambda x, t: 0 * x)
    wide = SplitField({"A": whole, "B": Part(whole.velocity, lambda x, t, h: x[..., None])}, name="wide")
    hot = SplitField({"A": whole, "B": Part(whole.velocity, lambda x, t, h: x * math.inf)}, name="hot")
    x, nodes = torch.ones(2, 1).double(), torch.tensor([0.0, 1.0]).double()
    with pytest.raises(OdekitError, match=r"flow 0 of part B .* returned .*expected .*like its start"):
        ok.solve(wide, x, "strang", nodes)
    with pytest.raises(OdekitError, match="flow 0 of part B .* overflows"):
        ok.solve(hot, x, "strang", nodes)
