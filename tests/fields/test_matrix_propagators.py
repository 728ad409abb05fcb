"""Psi_A of predictions with C_skip, which has no closed form given: against the flow of Gaussian data, which has."""

import pytest
import torch

import odekit as ok
from odekit.fields.coordinates import Instant
from odekit.fields.matrix import MatrixCoordinates
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.fields.operator_weights import ratio

VARIANCE = 0.25


@pytest.mark.parametrize("process", [ok.PSLD(), ok.CLD()], ids=["psld", "cld"])
def test_shifted_prediction_follows_gaussian_data(process):
    """C_skip = -S_t^-1, S_t the covariance of u_t for data of this variance: Psi_A(s, t) = R_s R_t^-1 of S."""
    wide = type(process)(**{**process.parameters, "position_variance": VARIANCE})
    shifted = OperatorPrediction(
        "shifted",
        out=lambda process, t: process.factor(t, "L").inverse().transpose() * -1,
        skip=lambda process, t: wide.covariance(t).inverse() * -1,
    )
    mixture = ok.GaussianMixture([[0.0]], [VARIANCE**0.5], [1.0])
    f = MatrixCoordinates(ok.ProbabilityFlow(process, mixture, prediction="l-noise"), shifted)
    to, at = torch.tensor([0.3, 1e-3], dtype=torch.float64), torch.tensor([0.9, 1.0], dtype=torch.float64)
    found = ratio(f, Instant(to), Instant(at)).operator
    exact = wide.factor(to) @ wide.factor(at).inverse()
    assert (found.value - exact.value).abs().max() < 1e-11
    closed = process.transition(to, at)  # without C_skip it would be this one
    assert (found.value - closed.value).abs().max() > 0.1
