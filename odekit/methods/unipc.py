"""UniPC: an exponential predictor and corrector that share one evaluation a step."""

from __future__ import annotations

from typing import Any

from odekit.algebra.exponential_multistep import ExponentialMultistep, exponential_adams
from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import Coordinates, Instant, dot
from odekit.fields.weights import ratio, weights
from odekit.methods.base import Claim, Method
from odekit.methods.ends import capped
from odekit.methods.exponential import FORMS, LAST
from odekit.methods.exponential_multistep import formula_weights

VARIANTS = {"bh1": "1", "bh2": "phi1(z)", "vary": None}
"""What B(h)/z is where UniPC takes its short cut (the weight 1/2 for a single difference); "vary" takes none."""


SOURCE = "Zhao et al. 2023 (arXiv 2302.04867), Algorithms 1-3"


class UniPC(Method):
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

    family = "exponential-multistep"
    source = SOURCE

    def __init__(
        self, order: int, prediction: str = "data", variant: str = "bh2", last: str = "full", corrector: bool = True
    ):
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        if prediction not in FORMS:
            raise unknown("prediction of UniPC", prediction, FORMS)
        if last not in LAST:
            raise unknown("last", last, LAST)
        if not 1 <= order <= 7:
            raise MethodError(f"order {order} of UniPC: expected 1 to 7")
        self.name = f"{'unipc' if corrector else 'unip'}-{order}"
        self.k, self.prediction, self.variant, self.last, self.corrects = order, prediction, variant, last, corrector
        self.history = order if corrector else order - 1
        reached = order + int(corrector)
        self.order = capped(Claim(reached, min(reached, 3 if corrector else 2)), last)

    @property
    def evaluations(self) -> int:
        return 1

    @property
    def pair(self) -> dict[str, ExponentialMultistep]:
        """The exact formulas, on any steps."""
        ahead = _exact(self.k, False, self.variant)
        return (
            {"predictor": ahead, "corrector": _exact(self.k, True, self.variant)}
            if self.corrects
            else {"formula": ahead}
        )

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
        """The weights of N at ``nodes``, newest first; a corrector's begin with ``to``."""
        if len(nodes) != 2 or VARIANTS[self.variant] is None:
            return weights(f, to, at, nodes, "logsnr")
        return formula_weights(f, to, at, nodes, _short_cut(nodes[0] is to, self.variant))

    def carry_from(self, f: Coordinates, instants: list, states: list) -> dict:
        old = tuple(f.predict(x, at) for x, at in zip(states[1:], instants[1:], strict=True))
        carry = {"x": states[0], "base": states[1]} if self.corrects else {"x": states[0]}
        return {**carry, "N": old[: self.history]} if self.history else carry

    def key(self) -> dict:
        return {
            "family": "unipc",
            "order": self.k,
            "prediction": self.prediction,
            "variant": self.variant,
            "last": self.last,
            "corrector": self.corrects,
        }


def _exact(order: int, corrector: bool, variant: str) -> ExponentialMultistep:
    """UniP-p or UniC-p: exponential Adams formulas, but for the short cut on two nodes."""
    if order + corrector == 2 and VARIANTS[variant]:
        return _short_cut(corrector, variant)
    return exponential_adams(order, implicit=corrector)


def _short_cut(corrector: bool, variant: str) -> ExponentialMultistep:
    B, name = VARIANTS[variant], "unic-1" if corrector else "unip-2"
    if corrector:
        return ExponentialMultistep(name, 2, SOURCE, ("1", "0"), (f"{B}/2", f"phi1(z) - {B}/2"))
    return ExponentialMultistep(name, 2, SOURCE, ("0", "-r1"), (f"phi1(z) + {B}/(2*r1)", f"-{B}/(2*r1)"), ("r1",))
