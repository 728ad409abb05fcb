"""UniPC: an exponential predictor and corrector that share one evaluation a step."""

from __future__ import annotations

from typing import Any

from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.weights import ratio
from odekit.methods.adams import Adams
from odekit.methods.base import Claim
from odekit.methods.exponential import FORMS
from odekit.methods.exponential_multistep import formula_weights

VARIANTS = {"bh1": "1", "bh2": "phi1(z)", "vary": None}
"""What B(h)/z is where UniPC takes its short cut (the weight 1/2 for a single difference); "vary" takes none."""


class UniPC(Adams):
    """UniP-p, and with ``corrector`` UniPC-p: what was predicted is corrected once the model has been asked there.

    The next step starts from the corrected state but keeps the model output of the predicted one (PEC): one evaluation
    a step. ``prediction``: "data" or "noise", interpolated in the log-SNR. ``variant``: "bh1", "bh2" or "vary"; they
    differ where a single difference is weighed (predictor of order 2, corrector of order 1) and nowhere else, because
    B(h) cancels from the linear system of the others. ``last``: as for `Adams`; the last step is not corrected.
    Orders rise from 1 to p over the first steps.
    Source: Zhao et al. 2023 (arXiv 2302.04867), Algorithms 1-3, Theorem 3.1, and the authors' short cut in code.

    >>> UniPC(3).order, UniPC(3, corrector=False).order
    (Claim(formula=4, method=3), Claim(formula=3, method=2))
    """

    def __init__(
        self, order: int, prediction: str = "data", variant: str = "bh2", last: str = "full", corrector: bool = True
    ):
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        if prediction not in FORMS:
            raise unknown("prediction of UniPC", prediction, FORMS)
        if not 1 <= order <= 8:
            raise MethodError(f"order {order} of UniPC: expected 1 to 8")
        super().__init__(
            order, prediction, "logsnr", last=last, name=f"{'unipc' if corrector else 'unip'}-{order}",
            source="Zhao et al. 2023 (arXiv 2302.04867), Algorithms 1-3",
        )  # fmt: skip
        self.variant, self.corrects = variant, corrector
        self.history = order if corrector else order - 1
        reached = order + int(corrector)
        self.order = Claim(reached, min(reached, 3 if corrector else 2))

    def phases(self, steps: int, noise_free_end: bool = False) -> list:
        """(order of the correction, order of the prediction) of each step; 0 corrects nothing."""
        orders = [min(i + 1, self.k) for i in range(steps)]
        if noise_free_end or self.last == "lower":
            orders[-1] = 1
        return list(zip([0, *orders[:-1]] if self.corrects else [0] * steps, orders, strict=True))

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = window[:2]
        correcting, predicting = phase
        x, outputs = carry["x"], (f.predict(carry["x"], t), *carry.get("N", ()))
        if correcting:
            before = window[2]
            w = self.weights(f, t, before, window[1 : 2 + correcting])
            x = ratio(f, t, before) * carry["base"] + dot(w, outputs)
        w = self.weights(f, t_next, t, window[1 : 1 + predicting])
        moved = {"x": ratio(f, t_next, t) * x + dot(w, outputs)}
        if self.corrects:
            moved["base"] = x
        return {**moved, "N": outputs[: self.history]} if self.history else moved

    def weights(self, f: Coordinates, to: Instant, at: Instant, nodes: tuple) -> list:
        B = VARIANTS[self.variant]
        if B is None or len(nodes) != 2:
            return super().weights(f, to, at, nodes)
        return formula_weights(f, to, at, nodes, _correction(B) if nodes[0] is to else _prediction(B))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        carry = super().carry_from(f, instants, states)
        return {**carry, "base": states[1]} if self.corrects else carry

    def key(self) -> dict:
        return {**super().key(), "family": "unipc", "variant": self.variant, "corrector": self.corrects}


def _prediction(B: str) -> ExponentialMultistep:
    weights = (f"phi1(z) + {B}/(2*r1)", f"-{B}/(2*r1)")
    return ExponentialMultistep("unip-2", 2, "arXiv 2302.04867", ("0", "-r1"), weights, ("r1",))


def _correction(B: str) -> ExponentialMultistep:
    return ExponentialMultistep("unic-1", 2, "arXiv 2302.04867", ("1", "0"), (f"{B}/2", f"phi1(z) - {B}/2"))
