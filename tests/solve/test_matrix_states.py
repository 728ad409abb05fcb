"""States of processes with operators for coefficients: what is no state is refused, whoever made the model."""

import pytest
import torch

import odekit as ok
from odekit.exceptions import OdekitError
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.operators import Block
from odekit.processes import CLD, PSLD, VP, Blurring

GRID = torch.linspace(1.0, 0.1, 5, dtype=torch.float64)
PROCESSES = {"psld": PSLD(), "cld": CLD(), "blurring": Blurring(shape=(4,))}
EXPECTED = {"psld": r"\(batch, 2, \.\.\.\)", "cld": r"\(batch, 2, \.\.\.\)", "blurring": r"\(batch, 4\)"}
RUNS = {
    "solve": lambda flow, x: ok.solve(flow, x, "rk4", GRID),
    "solve eagerly": lambda flow, x: ok.solve(flow, x, "rk4", GRID, eager=True),
    "solve adaptively": lambda flow, x: ok.solve(flow, x, t_end=0.5),
    "a plan": lambda flow, x: ok.plan("rk4", flow, GRID)(flow.model, x),
    "the reference": lambda flow, x: ok.reference(flow, x, 0.5, tol=1e-6).x,
    "the field": lambda flow, x: flow(x, 0.5),
}


def model(x, t):
    """Somebody's own: it takes any shape."""
    return -x


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("prediction", ["velocity", "score"])
@pytest.mark.parametrize("name", PROCESSES)
def test_what_is_no_state_is_refused(name, prediction, run):
    flow = ok.ProbabilityFlow(PROCESSES[name], model, prediction)
    for shape in ((5, 3), (5,), (5, 3, 2, 2)):
        with pytest.raises(OdekitError, match=EXPECTED[name]) as refusal:
            RUNS[run](flow, torch.ones(shape, dtype=torch.float64))
        assert "\n" not in str(refusal.value)
    shape = (5, 4) if name == "blurring" else (5, 2, 3)
    assert RUNS[run](flow, torch.ones(shape, dtype=torch.float64)).shape == shape


def test_a_plan_of_blocks_that_knows_no_process():
    plan = ok.plan("gddim-1", ok.ProbabilityFlow(CLD(), model, "r-noise"), GRID).replaced(process=None)
    with pytest.raises(OdekitError, match=r"2x2 blocks on \(B, 2, \*shape\); got a tensor \(4, 3\)"):
        plan(model, torch.ones(4, 3, dtype=torch.float64))


def turning(process, t):
    return Block([[0.0, 1.0], [-1.0, 0.0]])


BLOCKS = OperatorPrediction("turned", out=turning)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ok.ProbabilityFlow(VP(), model, BLOCKS),
        lambda: ok.plan("exponential-ab-1", ok.ProbabilityFlow(VP(), model), GRID, prediction=BLOCKS, clock="t"),
        lambda: ok.plan("ddim", ok.ProbabilityFlow(VP(), model), GRID).reexpress(BLOCKS),
    ],
    ids=["a flow", "a method", "a gauge"],
)
def test_a_block_for_a_scalar_process_is_refused_by_name(call):
    with pytest.raises(OdekitError, match=r"'turned' has operators .* VP\(.* are numbers: expected a name") as refusal:
        call()
    assert "\n" not in str(refusal.value)


def test_the_same_prediction_serves_phase_space():
    flow = ok.ProbabilityFlow(PSLD(), model, BLOCKS)
    assert ok.plan("rk4", flow, GRID).form == (2, 2)
