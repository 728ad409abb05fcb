"""Laws at many times, their tables computed together, are those at each."""

import pytest
import sympy
import torch

import odekit as ok
from odekit.exceptions import TargetError
from odekit.targets import aniso3, under

TIMES = torch.tensor([1.0, 0.4, 1e-2], dtype=torch.float64)
THREE = sympy.Matrix([[0, 1, 0], [-1, 0, 2], [0, -2, -3]])
PROCESSES = {
    "psld": ok.PSLD(),
    "cld": ok.CLD(),
    "blurring": ok.Blurring(shape=(2,), blur=2.0),
    "three channels": ok.LinearSDE(THREE, sympy.diag(0, 0, 2), initial=(0, 0.04, 0.04)),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("budget", [2**26, 2**8])
def test_each_is_the_law_at_its_time(process, budget):
    target = aniso3()
    target.budget = budget  # bytes: one time after the other
    seen = under(PROCESSES[process], target)
    u = seen.sample(5, 0.5)
    laws = seen.laws(TIMES)
    assert len(laws) == len(TIMES)
    for law, t in zip(laws, TIMES.tolist(), strict=True):
        for asked in ("score", "denoiser", "log_density"):
            found, expected = getattr(law, asked)(u), getattr(seen.at(t), asked)(u)
            assert torch.allclose(found, expected, rtol=1e-13, atol=1e-13)
    assert not torch.allclose(laws[0].score(u), seen.at(0.9).score(u), rtol=1e-3)


def test_the_time_without_a_density_is_named():
    points = ok.GaussianMixture([[0.0, 1.0]], [0.0], [1.0])
    with pytest.raises(TargetError, match="no density at t = 0:"):
        under(ok.CLD(), points).laws(torch.tensor([1.0, 0.0], dtype=torch.float64))
