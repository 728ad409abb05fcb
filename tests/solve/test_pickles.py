"""What a sweep hands to another process is the same there: everything pickles by its constructor's arguments."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import sympy
import torch

import odekit as ok
from odekit import methods
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.operators import Scalar
from odekit.targets import under

T = sympy.Symbol("t")
MODES = ok.GaussianMixture([[-1.0], [1.2]], [0.4, 0.5], [0.4, 0.6])
PROCESSES = {
    "vp": ok.VP(),
    "psld": ok.PSLD(Gamma=0.5, nu=2.5),
    "blurring": ok.Blurring(shape=(1,)),
    "linear-sde": ok.LinearSDE(sympy.Matrix([[-T, 1], [-1, -2]]), sympy.Matrix([1, 2]), initial=(0, 1)),
}
SCALAR = ("noise", "velocity", "edm", ok.Preconditioned("1/3"))
MATRIX = ("r-noise", "l-noise", "score", "velocity", "edm", ok.Preconditioned("1/3"))
CASES = [(name, prediction) for name in PROCESSES for prediction in (SCALAR if name == "vp" else MATRIX)]
every_case = pytest.mark.parametrize("name, prediction", CASES, ids=lambda given: str(given))


def copied(thing):
    return pickle.loads(pickle.dumps(thing))


def states(process, count=2):
    form = (2, 1) if getattr(process, "carrier", "") == "block" else (1,)
    return torch.randn(count, *form, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def flow_of(name, prediction):
    return ok.ProbabilityFlow(PROCESSES[name], MODES, prediction)


@every_case
def test_flows_and_reverse_sdes(name, prediction):
    flow, sde = flow_of(name, prediction), ok.ReverseSDE(PROCESSES[name], MODES, 0.5, prediction)
    x = states(flow.process)
    for one, other in ((flow, copied(flow)), (sde, copied(sde))):
        assert other.process == one.process and other.prediction == one.prediction
        assert torch.equal(other.model(x, 0.3), one.model(x, 0.3))
    assert copied(flow)._prediction == flow._prediction and copied(sde).eta == 0.5
    assert torch.equal(copied(flow)(x, 0.3), flow(x, 0.3)) and torch.equal(copied(sde).drift(x, 0.3), sde.drift(x, 0.3))


@pytest.mark.parametrize("name", PROCESSES)
def test_plans_pickle_after_they_ran_too(name):
    flow = flow_of(name, "noise" if name == "vp" else "r-noise")
    plan = ok.plan("ddim" if name == "vp" else "gddim-1", flow, ok.grid("time-uniform", flow.process, 4))
    x = states(flow.process)
    expected = plan(flow.model, x)
    assert torch.equal(copied(plan)(flow.model, x), expected) and ok.same(plan, copied(plan), tol=0.0)
    assert torch.equal(plan(copied(flow).model, x), expected)


@pytest.mark.parametrize("name", [name for name in PROCESSES if name != "vp"])
def test_laws(name):
    law = under(PROCESSES[name], MODES)
    x = states(law.process)
    expected = law.score(x, 0.3)
    assert torch.equal(copied(law).score(x, 0.3), expected)
    assert torch.equal(copied(law).sample(4, 0.3, seed=1), law.sample(4, 0.3, seed=1))


ROWS = [["1", "t"], ["-t", "1/2"]]
CONJUGATE = {
    "ones": ("lambda-ddim-2", {"rate": 2.0}),
    "texts": ("lambda-ddim-1", {"rate": 2.0, "shape": ROWS}),
    "symbols": ("lambda-ddim-1", {"rate": 1.0, "shape": sympy.exp(T)}),
    "preconditioned": ("cvv", {"rate": 1.0, "prediction": ok.Preconditioned("1/3")}),
}


@pytest.mark.parametrize("case", CONJUGATE)
def test_conjugate_methods(case):
    name, options = CONJUGATE[case]
    method, flow = methods.get(name, **options), flow_of("psld", "score")
    x, grid = states(flow.process), ok.grid("time-uniform", flow.process, 3)
    assert copied(method).key() == method.key()
    assert torch.equal(ok.solve(flow, x, copied(method), grid), ok.solve(flow, x, method, grid))


@pytest.mark.parametrize("name", methods.names())
def test_every_method_of_the_catalogue(name):
    method = methods.get(name)
    assert copied(method).key() == method.key() and copied(method).order == method.order


def half(process, t):
    return Scalar(-0.5)


def test_a_prediction_of_ones_own_pickles_where_its_functions_do():
    mine = OperatorPrediction("half", out=half)
    assert copied(mine) == mine
    with pytest.raises((AttributeError, pickle.PicklingError)):
        copied(OperatorPrediction("half", out=lambda process, t: Scalar(-0.5)))


def test_a_preconditioned_score_is_that_of_its_own_variance():
    one, other = (copied(flow_of("psld", ok.Preconditioned(v))) for v in ("1/3", "1/2"))
    assert one._prediction != other._prediction and one.prediction == ok.Preconditioned("1/3")


def test_another_process_solves_the_same():
    flow = flow_of("psld", "r-noise")
    x, grid = states(flow.process), ok.grid("time-uniform", flow.process, 3)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(ok.solve, flow, x, methods.get("gddim-1"), grid).result()
    torch.testing.assert_close(found, ok.solve(flow, x, "gddim-1", grid), rtol=1e-14, atol=1e-14)
