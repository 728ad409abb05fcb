"""Mixtures under processes with matrix coefficients excite the trees they are said to excite."""

from __future__ import annotations

import pytest
import torch
from test_problems import rank, trees, written

import odekit as ok
from analysis import certificate
from analysis.exact import exact_problem, flow_problem
from analysis.measure import covered
from analysis.problems import matrix_cases
from odekit.fields.mixtures import time_at_logsnr
from odekit.fields.problems import Excitation


def differentials(velocity, x, t, order):
    """F(tree) at states x (B, *shape) and one time t, of (x, t)' = (velocity, 1), by nested forward derivatives."""
    values = {}
    for tree in (tree for n in range(1, order + 1) for tree in trees(n)):
        function = velocity
        for child in tree:

            def function(x, t, inner=function, direction=values[child]):
                return torch.func.jvp(inner, (x, t), direction)[1]

        values[tree] = function(x, t).detach(), torch.full_like(t, float(not tree))
    return {tree: value for tree, (value, _) in values.items()}


def unseen(velocity, groups, order):
    """The trees, order by order, that are linear combinations of others at all states; None where there are none."""
    found = [differentials(velocity, x, t, order) for x, t in groups]
    for n in range(1, order + 1):
        parts = [torch.stack([one[tree].flatten(1) for tree in trees(n)], -1) for one in found]
        columns = torch.cat([part / part.flatten(1).norm(dim=1)[:, None, None] for part in parts]).flatten(0, 1)
        columns = columns / columns.norm(dim=0).clamp_min(1e-300)
        full = rank(columns)
        if full < len(trees(n)):
            others = [torch.cat([columns[:, :j], columns[:, j + 1 :]], 1) for j in range(len(trees(n)))]
            return n - 1, {written(tree) for tree, rest in zip(trees(n), others, strict=True) if rank(rest) == full}
    return None


def flow(process, target):
    """The velocity as a function of (x, t), and starts at three times of the usual range."""
    law = ok.targets.under(process, target)

    def velocity(x, t):
        return process.drift(t).apply(x) - (0.5 * process.diffusion(t)).apply(law.score(x, t))

    start, end = (time_at_logsnr(process, level) for level in (-0.7072, 1.0))
    times = torch.linspace(end, start, 2, dtype=torch.float64)
    return velocity, [(law.sample(12, t=float(t), seed=i, dtype=torch.float64), t) for i, t in enumerate(times)]


@pytest.mark.parametrize("name, parameters", [("psld", {}), ("cld", {}), ("blurring", {"shape": (2,), "blur": 0.5})])
def test_mixtures_excite_every_tree_to_order_five(name, parameters):
    """Order six takes half a minute a process: computed once for all mixtures, and found independent."""
    velocity, groups = flow(ok.processes.get(name, **parameters), ok.targets.get("trio"))
    problem = ok.problems.get("trio", process=ok.processes.get(name, **parameters), prediction="score")
    x, t = groups[0]
    assert torch.allclose(velocity(x, t), problem.field(x, t), rtol=1e-12)
    assert unseen(velocity, groups, 5) is None and problem.excitation.max_order == 6


def test_a_single_gaussian_does_not():
    """Negative control: the flow of one component is linear in the state, whatever its matrices."""
    velocity, groups = flow(ok.PSLD(), ok.GaussianMixture([[0.3, -0.2]], [0.5], [1.0]))
    order, hidden = unseen(velocity, groups, 5)
    assert order == 4 and hidden


@pytest.mark.parametrize("process", [ok.PSLD(), ok.Blurring(shape=(2,)), ok.VP()], ids=["psld", "blurring", "vp"])
def test_forward_derivatives_pass_through_time(process):
    """Tables are kept for times that are numbers; a time that is being differentiated is none of these."""
    field = ok.ProbabilityFlow(process, ok.targets.get("trio"), prediction="velocity")
    x, t, step = ok.problems.get("trio", process=process, prediction="velocity", batch=4).x0, 0.3, 1e-4

    def rate(t):
        return torch.func.jvp(lambda s: field.model(x, s), (t,), (torch.ones_like(t),))[1]

    for function, at in ((lambda t: field.model(x, t), rate), (rate, lambda t: torch.func.jacfwd(rate)(t))):
        ahead, behind = (function(torch.tensor(t + sign * step, dtype=torch.float64)) for sign in (1, -1))
        difference = (ahead - behind) / (2 * step)
        assert torch.allclose(at(torch.tensor(t, dtype=torch.float64)), difference, rtol=1e-4, atol=1e-5)
        assert difference.norm() > 0.1


def test_a_problem_that_was_not_computed_claims_nothing():

    exact = exact_problem(matrix_cases("psld")[0])
    assert "testifies to order 6 at most: all 37 trees" in certificate.testimony_of(exact)
    alone = ok.ProbabilityFlow(ok.PSLD(), ok.Gaussian([0.0], [[0.25]]), prediction="score")
    assert flow_problem(alone, 0.4, 0.1).excitation is None


def test_what_lies_above_is_undetermined():
    """An order that nobody has seen this problem tell apart is no pass, however straight the slope."""

    class Seen:
        def testimony(self, method):
            return ok.problems.get("trio", process="psld", prediction="score").excitation

    row = {"claimed_order": 7, "verdict": "pass", "reason": "observed order 7.01", "problem": "trio"}
    assert covered(row, Seen())["verdict"] == "undetermined"
    assert covered({**row, "claimed_order": 6}, Seen())["verdict"] == "pass"
    assert Excitation(6, "").covers(6) and not Excitation(6, "").covers(7)
