"""Certificates on processes whose coefficients are matrices: three routes that agree, and wrong claims refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import analysis
from analysis.certify import _late
from analysis.elementary import coloured, of_sampler
from analysis.exact import exact_problem
from analysis.measure import bend
from analysis.problems import matrix_cases
from odekit.algebra.certificates import certificate
from odekit.exceptions import OdekitError
from odekit.methods import get, operator_moments
from odekit.methods.operator_moments import OperatorMoments

PSLD, CLD = (matrix_cases(name)[0] for name in ("psld", "cld"))


def test_three_routes_to_the_order_of_a_conjugate_method():
    page = analysis.certify("lambda-ddim-2")
    assert page.verdict == "pass" and page.order == 1 and not page.findings
    assert [route.verdict for route in page.routes.values()] == ["pass"] * 3
    assert all(abs(float(route.order) - 1) < 0.1 for route in page.routes.values())
    assert "[B]_B: 0, not 1/2" in page.failing and "1/2 at [B]_L" in str(page)
    plain = page.to_dict()["algebra"]
    assert plain["trees"]["[B]_L"] == ["1", "1/2"] and plain["principal_error"]["[L]_B"] == "-1/2"


def test_a_claim_of_order_two_is_refused():
    page = analysis.certify("lambda-ddim-1", claim=2, steps=(16, 23, 32, 45, 64, 91))
    assert page.verdict == page.routes["algebra"].verdict == "fail"
    assert page.routes["algebra"].reason == "order 1; next: [B]_B: 0, not 1/2"


@pytest.mark.parametrize("q, order", [(0, 1), (2, 3)])
def test_gddim_is_proved_on_matrices(q, order):
    found = certificate(get(f"gddim-{q}"))
    assert found.order == order and "matrices" in found.route and not found.findings()
    pair = certificate(get("gddim-pec-2"))
    assert pair.order == 3 and {part.order for part in pair.parts.values()} == {3}


def test_moments_see_a_wrong_weight(monkeypatch):
    """Negative control: one entry of one weight is off by a thousandth."""
    right = operator_moments.weights

    def wrong(*arguments):
        found = right(*arguments)
        found[0].operator.value[0, 0] *= 1.001
        return found

    assert OperatorMoments(3, False, "l-noise").order == 3
    monkeypatch.setattr(operator_moments, "weights", wrong)
    assert OperatorMoments(3, False, "l-noise").order == 0


def test_a_corrector_that_gains_no_order_ends_its_steps_in_time():
    """PEC whose predictor has the corrector's order: its step is as good as its predictor, and no order late."""
    assert _late(get("gddim-pec-2")) == 0 and _late(get("dpmpp-2m-unic")) == 1 and _late(get("unipc-3")) == 1


# Somebody's sampler on phase space.


def heun(model, x, times):
    for t, s in zip(times[:-1], times[1:], strict=True):
        k = model(x, t)
        x = x + (s - t) / 2 * (k + model(x + (s - t) * k, s))
    return x


def symplectic(model, x, times):
    """The momentum moves first."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        x = torch.stack([x[:, 0], x[:, 1] + (s - t) * model(x, t)[:, 1]], 1)
        x = torch.stack([x[:, 0] + (s - t) * model(x, t)[:, 0], x[:, 1]], 1)
    return x


def halved(model, x, times):
    """Negative control: the position moves by half of what it should."""
    for t, s in zip(times[:-1], times[1:], strict=True):
        x = x + (s - t) * torch.tensor([[0.5], [1.0]], dtype=x.dtype) * model(x, t)
    return x


def exact_of(case):
    return exact_problem(replace(case, prediction="velocity", batch=2)).rough()


def test_samplers_that_treat_variables_alike_have_trees_of_one_colour():
    found = of_sampler(heun, exact_of(CLD), 2)
    assert found.order == 2 and found.failing[0].startswith("[tau,tau]:") and found.off_clock < 1e-12
    assert of_sampler(heun, exact_of(CLD), 3).findings()[0].startswith("order 2, not 3")


def test_samplers_that_move_variables_in_turn_have_trees_of_two():
    found = of_sampler(symplectic, exact_of(PSLD), 1)
    assert found.order == 1 and found.failing[0].startswith("[tau_0]_0:") and found.off_clock < 1e-12
    assert "_0 and _1" in dict(found.rows())["route"]


def test_a_sampler_with_half_a_weight_is_of_order_zero():
    found = of_sampler(halved, exact_of(PSLD), 1)
    assert found.order == 0 and found.failing[0].startswith("tau_0: 0.5")


def test_a_certificate_of_a_sampler_on_phase_space():
    page = analysis.certify(heun, claim=2, process="cld", prediction="velocity")
    assert page.verdict == "pass" and page.order == 2 and " heun2 " in page.findings[0]
    assert "testifies to order 6 at most" in page.testimony


def test_tables_that_mix_variables_are_no_tableau():
    inputs, output = np.ones((1, 2, 2, 2)), np.ones((2, 2, 2))
    with pytest.raises(OdekitError, match="mix the variables"):
        coloured(inputs, output)
    with pytest.raises(OdekitError, match="3 variables"):
        coloured(np.zeros((1, 2, 3)), np.arange(6.0).reshape(2, 3))


# The bend of velocity Verlet.


def test_verification_tells_where_velocity_verlet_bends():
    study = analysis.convergence("rvv", PSLD)
    (told,) = [text for text in study.row["findings"] if "bends" in text]
    assert study.verdict == "pass" and told.startswith("the slope bends: 1.7") and "1.00 at N" in told
    assert bend(study.ladder, 2) == []  # towards an order that it has not, nothing bends
    straight = analysis.convergence("lambda-ddim-1", PSLD)
    assert not any("bends" in text for text in straight.row["findings"])


# Splittings.


@pytest.mark.parametrize("options, order", [({}, 2), ({"inner": "euler"}, 1)])
def test_a_splitting_is_no_better_than_its_sub_flows(options, order):
    method = get("strang-linear-score", **options)
    assert certificate(method).order == order == method.order.formula


def test_sub_flows_of_order_two_in_a_triple_jump_leave_order_three():
    """The cubes of its steps add up to zero, and with them what a midpoint leaves: more than is claimed, and proved."""
    found = certificate(get("strang-linear-score", scheme="triple-jump-4", inner="midpoint"))
    assert found.order == 3 and found.failing[0].tree.order == 4


@pytest.mark.parametrize("name, part", [("rvv", "_0 score of x"), ("velocity-verlet", "_1 momentum")])
def test_colours_have_names(name, part):
    assert part in dict(certificate(get(name)).rows())["parts of the field"]
