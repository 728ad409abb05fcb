"""Splitting and conjugate integrators in phase space: their maps, printed digits, proofs, Plans and refusals."""

import functools

import numpy as np
import pytest
import torch
from phase_space_flows import MIXTURE, UNEVEN, flow_of, numbers, states
from phase_space_in_print import (
    Psld,
    cse_joint,
    cse_separate,
    cvv_joint,
    cvv_separate,
    lambda_ddim,
    nse,
    nse_x_first,
    nvv,
    rse,
    rvv,
    verlet_by_midpoint,
)

import odekit as ok
from odekit import algebra, methods
from odekit.exceptions import OdekitError
from odekit.methods.flow_splitting import FlowSplitting
from odekit.processes import PSLD, VP, Blurring

ONES, UNIT = np.ones((2, 2)), np.eye(2)


# ------------------------------------------------------------ the maps, transcribed apart

IN_PRINT = {
    "nse": ("nse", {}, nse),
    "nse, x first": ("nse", {"first": "x"}, nse_x_first),
    "rse": ("rse", {}, rse),
    "nvv": ("nvv", {}, nvv),
    "nvv, corrected": ("nvv", {"corrected": True}, functools.partial(nvv, last=1)),
    "rvv": ("rvv", {}, rvv),
    "rvv, not corrected": ("rvv", {"corrected": False}, functools.partial(rvv, last=0)),
    "verlet by midpoint": ("velocity-verlet", {}, verlet_by_midpoint),
    "lambda-ddim 0": ("lambda-ddim-1", {"rate": 0.0}, functools.partial(lambda_ddim, B=0 * UNIT)),
    "lambda-ddim-1": ("lambda-ddim-1", {"rate": 0.7}, functools.partial(lambda_ddim, B=0.7 * UNIT)),
    "lambda-ddim-2": ("lambda-ddim-2", {"rate": 0.7}, functools.partial(lambda_ddim, B=0.7 * ONES)),
    "lambda-ddim-2, hyperbolic": ("lambda-ddim-2", {"rate": -1.5}, functools.partial(lambda_ddim, B=-1.5 * ONES)),
    "cse": ("cse", {"rate": 0.5}, functools.partial(cse_joint, B=0.5 * ONES)),
    "cvv": ("cvv", {"rate": 2.0}, functools.partial(cvv_joint, B=2 * ONES)),
    "cse, identity": ("cse", {"rate": 2.0, "shape": "identity"}, functools.partial(cse_joint, B=2 * UNIT)),
    "cse, separate": ("cse", {"rate": 0.5, "construction": "separate"}, functools.partial(cse_separate, rate=0.5)),
    "cvv, separate": ("cvv", {"rate": -0.5, "construction": "separate"}, functools.partial(cvv_separate, rate=-0.5)),
}


@pytest.mark.parametrize("case", IN_PRINT)
@pytest.mark.parametrize("constants", [(0.01, 4.01), (0.5, 2.5)], ids=["psld", "damped"])
def test_maps_are_those_written_apart(case, constants):
    name, options, step = IN_PRINT[case]
    plain = Psld(*constants)
    flow = flow_of(PSLD(Gamma=constants[0], nu=constants[1]), prediction="l-noise")
    x = states(3)
    z = x[:, :, 0].numpy().T.copy()
    for t, s in zip(UNEVEN[:-1].tolist(), UNEVEN[1:].tolist(), strict=True):
        z = step(plain, z, t, t - s)
    method = methods.get(name, **options)
    planned, eager = (ok.solve(flow, x, method, UNEVEN, eager=eager) for eager in (False, True))
    expected = torch.from_numpy(z.T)[:, :, None]
    assert (planned - expected).abs().max() < 1e-12 * expected.abs().max()
    assert (planned - eager).abs().max() < 1e-13 * expected.abs().max()


# to 8 digits: the mixture's step at t = 0.3, h = 0.05 from (0.5, -0.2), with the constants of CIFAR-10
GOLDEN = {
    "euler": ("euler", {}, (0.66022772, -0.13347526)),
    "rse": ("rse", {}, (0.60700793, -0.13347526)),
    "nse": ("nse", {}, (0.60700750, -0.13347526)),
    "nvv": ("nvv", {}, (0.63361770, -0.12005100)),
    "rvv": ("rvv", {}, (0.63361782, -0.13009789)),
    "lambda-ddim 0": ("lambda-ddim-1", {"rate": 0.0}, (0.61970938, -0.07774605)),
    "lambda-ddim-1": ("lambda-ddim-1", {"rate": 0.5}, (0.61831723, -0.07496487)),
    "lambda-ddim-2": ("lambda-ddim-2", {"rate": 0.5}, (0.62722444, -0.07968007)),
}


@pytest.mark.parametrize("case", GOLDEN)
@pytest.mark.parametrize("prediction", ["score", "r-noise"])
def test_golden_steps(case, prediction):
    name, options, expected = GOLDEN[case]
    got = ok.solve(flow_of(prediction=prediction), numbers([[0.5], [-0.2]]), name, numbers(0.3, 0.25), **options)
    assert got.flatten().tolist() == pytest.approx(expected, abs=5.1e-9)


# ------------------------------------------------------------ proofs

PROVED = {
    "nse": ("nse", {}, 1),
    "rse": ("rse", {}, 1),
    "nvv": ("nvv", {}, 1),
    "rvv": ("rvv", {}, 1),
    "repair": ("velocity-verlet", {}, 2),
    "Verlet by Euler": ("velocity-verlet", {"inner": "euler"}, 1),
    "Ruth by Kutta": ("strang-linear-score", {"scheme": "ruth-3", "parts": "position-momentum", "inner": "kutta3"}, 3),
    "Ruth by midpoint": (
        "strang-linear-score",
        {"scheme": "ruth-3", "parts": "position-momentum", "inner": "midpoint"},
        2,
    ),
    "Suzuki by rk4": ("strang-linear-score", {"scheme": "suzuki-4", "parts": "position-momentum"}, 4),
    "Strang": ("strang-linear-score", {}, 2),
}


@pytest.mark.parametrize("case", PROVED)
def test_orders_are_proved(case):
    name, options, order = PROVED[case]
    method = methods.get(name, **options)
    proof = algebra.certificate(method)
    assert proof.order == order == method.order.formula
    assert proof.failing and proof.to_dict()["order"] == order


def test_what_keeps_reduced_verlet_at_order_one():
    """The score of x taken at the step's beginning, and the momentum that the score depends on; not what is linear."""
    failing = " ".join(map(str, algebra.certificate("rvv").failing))
    assert "[tau_0]_0: 0, not 1/2" in failing and "[tau_2]_2: 1/4, not 1/2" in failing


# ------------------------------------------------------------ Plans


@pytest.mark.parametrize(
    ("name", "evaluations"),
    [("nse", 2), ("rse", 1), ("nvv", 3), ("rvv", 2), ("velocity-verlet", 6), ("strang-linear-score", 4)]
    + [("lambda-ddim-1", 1), ("lambda-ddim-2", 1), ("cse", 1), ("cvv", 2)],
)
def test_evaluations_a_step(name, evaluations):
    method = methods.get(name)
    plan = ok.plan(method, flow_of(), UNEVEN)
    assert method.evaluations == evaluations and plan.evaluations == 5 * evaluations and plan.registers == 1


@pytest.mark.parametrize("name", ["rvv", "velocity-verlet", "strang-linear-score", "lambda-ddim-2", "cvv"])
def test_plans_have_digits_and_gradients(name):
    flow = flow_of(prediction="l-noise")
    exact = ok.plan(name, flow, UNEVEN[:3], precision=30).dense().output
    plain = ok.plan(name, flow, UNEVEN[:3]).dense().output
    assert np.abs(exact.astype(float) - plain.numpy()).max() < 1e-13
    grid = UNEVEN[:3].clone().requires_grad_()
    slope = torch.autograd.grad(ok.plan(name, flow, grid).dense().output.sum(), grid)[0][1].item()
    moved = [UNEVEN[:3] + numbers(0, step, 0) for step in (1e-5, -1e-5)]
    up, down = (ok.plan(name, flow, nodes).dense().output.sum().item() for nodes in moved)
    assert slope == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_plans_are_compared_and_stored(tmp_path):
    still, other = (ok.plan(name, flow_of(), UNEVEN, rate=0.0) for name in ("lambda-ddim-2", "cse"))
    assert ok.same(still, other)
    plan = ok.plan("rvv", flow_of(), UNEVEN)
    found = ok.same(plan, ok.plan("rvv", flow_of(), UNEVEN, corrected=False))
    assert not found and "evaluation 1 is at time" in found.first_difference
    plan.save(tmp_path / "rvv.json")
    assert ok.same(plan, ok.Plan.load(tmp_path / "rvv.json"))


# ------------------------------------------------------------ refusals

REFUSED = {
    "a scalar process": (lambda: ok.plan("rvv", ok.ProbabilityFlow(VP(), MIXTURE), UNEVEN), "CLD, PSLD"),
    "a diagonal process": (
        lambda: ok.plan("cvv", ok.ProbabilityFlow(Blurring(shape=(1,)), MIXTURE, prediction="r-noise"), UNEVEN),
        "CLD, PSLD",
    ),
    "a plain field": (lambda: ok.plan("nse", ok.VectorField(lambda x, t: -x), UNEVEN), "CLD, PSLD"),
    "a field without a process": (
        lambda: ok.plan("strang-linear-score", ok.VectorField(lambda x, t: -x), UNEVEN),
        "ProbabilityFlow",
    ),
    "momenta of VP": (
        lambda: ok.plan("velocity-verlet", ok.ProbabilityFlow(VP(), MIXTURE), UNEVEN),
        r"states \(B, 2, \*shape\)",
    ),
    "a state without channels": (
        lambda: ok.solve(flow_of(), torch.zeros(3, 1).double(), "rvv", UNEVEN),
        r"\(3, 1\); expected \(B, 2, 1\)",
    ),
    "nu = Gamma": (lambda: PSLD(Gamma=2.0, nu=2.0), "VP"),
    "a mass that is not critical": (lambda: PSLD(M=0.3), "expected M = "),
    "Nystroem": (lambda: FlowSplitting("blanes-moan-srkn-6b"), "position alone"),
    "an implicit sub-flow": (lambda: FlowSplitting("strang", inner="gauss-2"), "explicit"),
    "an unknown half": (lambda: FlowSplitting("strang", "linear"), "linear-score"),
    "a variable": (lambda: methods.get("nse", first="p"), "x"),
    "an unknown shape": (lambda: methods.get("cse", shape="one"), "ones"),
    "a shape of three": (lambda: methods.get("cse", shape=[[1, 2, 3], [1, 2, 3]]), "2x2"),
    "a frame": (lambda: methods.get("lambda-ddim-2", prediction="noise"), "l-noise"),
    "a construction": (lambda: methods.get("cvv", construction="apart"), "separate"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(name):
    call, expected = REFUSED[name]
    with pytest.raises(OdekitError, match=expected) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_what_is_published_and_what_is_ours_is_said():
    assert "2310.07894" in methods.get("rvv").source
    for name in ("cse", "cvv"):
        assert "this toolkit's definition" in methods.get(name).source
    assert "this toolkit" in methods.get("nvv", corrected=True).source


def test_a_certificate_has_all_routes():
    """Proof, local slope and global slope agree on reduced Verlet."""
    import analysis

    page = analysis.certify("rvv")
    assert page.verdict == "pass" and page.order == 1 and page.stiff_order is None
    assert "part 3" in page.to_html() and page.to_dict()["verdict"] == "pass"
    assert {r.verdict for r in page.routes.values()} == {"pass"}
