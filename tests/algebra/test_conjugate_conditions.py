"""Conjugate integrators: their order out of the step that runs, and wrong steps refused."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest

from odekit.algebra.certificates import certificate
from odekit.fields.matrix import Acting
from odekit.fields.preconditioned import Preconditioned
from odekit.methods import get
from odekit.methods.conjugate import Conjugate
from odekit.methods.conjugate_frames import frame_of
from odekit.methods.damping import Damping

HALF = Fraction(1, 2)


def weights(method):
    """Phi of every tree, over all equations."""
    return {name: phi for w in certificate(method).weights for name, (phi, _) in w.trees.items()}


def test_the_weights_of_a_step_are_those_of_its_formula():
    """P (1 + h B) z + W N with P = e^(h L), W = int e^(u L) C du: expanded by hand."""
    found = weights(get("lambda-ddim-2", rate=0.7))
    by_hand = {"[L]_L": HALF, "[B]_L": 1, "[L]_B": 0, "[B]_B": 0, "[N]_L": HALF, "[N]_B": 0, "[t]_C": HALF}
    frozen = dict.fromkeys(("[t]_N", "[L]_N", "[B]_N", "[N]_N"), 0)
    assert found == {"L": 1, "B": 1, "N": 1, **by_hand, **frozen}


def test_what_commutes_is_told_together():
    """B = rate I: L B and B L are one matrix, whose weight is right; only B on B's own node is left of the damping."""
    found = certificate(get("lambda-ddim-1"))
    assert "[B]_L + [L]_B" in {name for w in found.weights for name in w.trees}
    assert found.failing[0] == "[B]_B: 0, not 1/2" and not any("[L]_B" in text for text in found.failing)


@pytest.mark.parametrize("name", ["lambda-ddim-1", "lambda-ddim-2", "cse"])
def test_without_damping_exponential_euler_is_left(name):
    found = certificate(get(name, rate=0.0))
    assert found.order == 1 and found.failing == ("[t]_N: 0, not 1/2", "[L]_N: 0, not 1/2", "[N]_N: 0, not 1/2")


def test_variables_in_turn_see_each_other_once():
    """z = P (x moved by what m has become): [Bm]_Bx has the weight 1, [Bx]_Bm none; a B that tells them apart."""
    found = weights(get("cse", shape=[["1", "2"], ["-1/2", "3"]]))
    assert {(r, q): found[f"[B{r}]_B{q}"] for r, q in product("xm", repeat=2)} == {
        ("x", "x"): 0, ("x", "m"): 0, ("m", "x"): 1, ("m", "m"): 0,
    }  # fmt: skip
    assert found["[Nm]_Bx"] == 1 and found["[Nx]_Bm"] == 0


def test_verlet_asks_the_momentum_twice():
    """Half a step of m at the beginning, half at the end, where what has happened is seen; x sees nothing of it."""
    found = weights(get("cvv"))
    assert found["[t]_Nm"] == HALF and found["[t]_Nx"] == 0
    assert found["[Nx]_Nm"] == HALF and found["[Nm]_Nm"] == Fraction(1, 4) and found["[Nm]_Nx"] == 0


@pytest.mark.parametrize(
    "name, options",
    [
        ("lambda-ddim-2", {"prediction": "r-noise"}),
        ("lambda-ddim-1", {"prediction": Preconditioned(1)}),
        ("lambda-ddim-1", {"shape": [["1", "t"], ["-t", "1/2"]]}),
        ("lambda-ddim-1", {"prediction": "data"}),
        ("cse", {"construction": "separate"}),
        ("cvv", {"construction": "separate", "shape": "identity"}),
    ],
)
def test_every_variant_is_of_order_one(name, options):
    found = certificate(get(name, **options))
    assert found.order == 1 and not found.findings() and found.failing
    assert max(w.left for w in found.weights) < 1e-7  # the step is a series of these trees and of nothing else
    weights = [phi for w in found.weights for phi, _ in w.trees.values()]
    assert all(isinstance(phi, Fraction) for phi in weights)


class Backwards(Conjugate):
    """e^(-h B) where e^(h B) belongs."""

    def step(self, f, window, carry, phase):
        to, at, x = *window[:2], carry["x"]
        P, W = frame_of(Damping(self.name, -self.rate, self.shape), f).factors(to, at)
        moved = x - (at.time - to.time) * (frame_of(self.damping, f).damping(at) * x)
        return {"x": P * moved + W * f.predict(x, at)}


class HalfForced(Conjugate):
    """W of half weight."""

    def step(self, f, window, carry, phase):
        to, at, x = *window[:2], carry["x"]
        frame = frame_of(self.damping, f)
        P, W = frame.factors(to, at)
        moved = x - (at.time - to.time) * (frame.damping(at) * x)
        return {"x": P * moved + W * (0.5 * f.predict(x, at))}


@pytest.mark.parametrize("wrong, said", [(Backwards, "B: 3, not 1"), (HalfForced, "N: 1/2, not 1")])
def test_a_wrong_step_is_of_order_zero(wrong, said):
    found = certificate(wrong("mine", "nowhere", rate=0.5, shape="ones"))
    assert found.order == 0 and found.failing[0] == said
    assert found.findings() == [f"order 0, not 1 as claimed: {said}"]
    assert "no: " in dict(found.rows())["consistency"]


def test_what_is_no_series_of_trees_is_said():
    """A propagator of another process is no product of this one's L and B."""

    class Strange(Conjugate):
        def step(self, f, window, carry, phase):
            moved = super().step(f, window, carry, phase)
            other = Acting(f.process.drift(0.5).transpose()) * carry["x"]
            return {"x": moved["x"] + (window[1].time - window[0].time) ** 2 * other}

    found = certificate(Strange("mine", "nowhere", rate=0.5, shape="ones"))
    assert found.order == 1 and any("no tree of order 2" in text for text in found.failing)
