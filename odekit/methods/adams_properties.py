"""Certificates of running Adams methods: by the formula they are in their clock, or by the moments of their weights.

An Adams method is x_s = Psi_A(s, t) x_t + sum_j w_j N_j with N interpolated in a clock. In the straight clock of its
prediction (time for the velocity, sigma/alpha for the noise, alpha/sigma for the data) it is the classical formula; in
the log-SNR it is an exponential multistep formula, the linear part constant; in any other clock c the weights are held
against the moments they should have,

    sum_j w_j (c_j - c_t)^m = int_t^s Psi_A(s, r) B_r (c(r) - c_t)^m dr,

and a rule that leaves O(h^(p+1)) in all of them is of order p.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from math import factorial
from typing import Any

from odekit.algebra.proof import Proof
from odekit.algebra.trees import AlgebraError
from odekit.expressions import mpfield
from odekit.fields.coordinates import Coordinates, Instant
from odekit.fields.weights import weights
from odekit.processes import VP

CLOCKS = {"velocity": "t", "noise": "kappa", "data": "alpha_over_sigma"}
SPELT = {"t": "t", "logsnr": "the log-SNR", "kappa": "sigma/alpha", "alpha_over_sigma": "alpha/sigma"}
STEPS = ("1", "0.7", "1.3", "0.9", "1.2", "0.8", "1.1", "0.6", "1", "1.4", "0.7", "1.3")  # uneven, the last one first
RATIOS = ("10/7", "7/13", "13/9", "3/4", "3/2", "8/11", "11/6")  # of each of these steps to the one before it
FRAMES = ("r-noise", "l-noise")
SYMBOLIC = 4  # points beyond which step ratios are numbers: symbols take minutes
_IN_LOG_SNR, _UNEVEN = "the exponential multistep formula in the log-SNR", ", on uneven steps"
DIGITS = 40
EXACT = float("inf")


class AdamsCertificate(Proof):
    """What is proved of an Adams method: of its formula, or of its predictor and its corrector.

    A predictor-corrector pair (PECE, or PEC as UniPC) has the order of its corrector, where the predictor is at most
    one order short.
    """

    def __init__(self, method: Any):
        self.method, self.name, self.family = method, method.name, method.family
        self.claimed: int | None = method.order.formula
        if hasattr(type(method), "pair"):
            from odekit.algebra.certificates import certificate

            self.route = _IN_LOG_SNR + (_UNEVEN if method.k > SYMBOLIC else "")
            given = method.pair if method.k <= SYMBOLIC else _pair(method)  # they differ from Adams where k is small
            self.parts = {role: certificate(formula) for role, formula in given.items()}
            return
        prediction, k = _named(method.prediction), method.k
        one = method.k == 1 and prediction in ("noise", "data")  # a single point is the same in every clock
        make, self.route = _maker(prediction, "logsnr" if one else method.clock, method.rule, k)
        if getattr(method, "pece", False):
            self.parts = {"predictor": make(k, False), "corrector": make(k, True)}
        elif method.corrector and k > 1:
            self.parts = {"predictor": make(k - 1, False), "corrector": make(k, True)}
        else:
            self.parts = {"formula": make(k, False)}

    @property
    def main(self) -> Any:
        """The certificate of the formula that decides: the corrector's in a pair."""
        return self.parts.get("corrector") or self.parts["formula"]

    @property
    def order(self) -> int:
        """The order of the formula, from exact history."""
        ahead = self.parts.get("predictor")
        return self.main.order if ahead is None else min(self.main.order, ahead.order + 1)

    @property
    def stiff_order(self) -> int | None:
        """The stiff order in the log-SNR; None by the other routes."""
        orders = [getattr(part, "stiff_order", None) for part in self.parts.values()]
        if None in orders:
            return None
        return orders[-1] if len(orders) == 1 else min(orders[1], orders[0] + 1)

    @property
    def failing(self) -> tuple:
        """The first condition that fails."""
        ahead = self.parts.get("predictor")
        return self.main.failing if ahead is None or self.main.order <= ahead.order + 1 else ahead.failing

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        from odekit.methods.ends import effects

        rows = [("route", self.route)]
        for role, part in self.parts.items():
            prefix = "" if role == "formula" else f"{role}: "
            rows += [(f"{prefix}{label}", text) for label, text in part.rows()]
        if len(self.parts) > 1:
            rows.insert(1, ("order of the pair", str(self.order)))
        return [*rows, *effects(self.method)]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        return {
            "stiff_order": self.stiff_order,
            "route": self.route,
            **{role: part.to_dict() for role, part in self.parts.items()},
        }

    def __repr__(self) -> str:
        return f"<certificate of {self.name}: order {self.order}, by {self.route}>"


class CorrectedCertificate(AdamsCertificate):
    """What is proved of a predictor with UniC behind it: the two formulas, each by its own route."""

    def __init__(self, method: Any):
        from odekit.algebra.certificates import certificate

        self.method, self.name, self.family = method, method.name, method.family
        self.claimed = method.order.formula
        make, self.route = _maker(_named(method.prediction), method.clock, "interpolating", method.points)
        self.parts = {"predictor": certificate(method.predictor), "corrector": make(method.points, True)}


class ChangedCertificate(AdamsCertificate):
    """What is proved of DPM-Solver-v3, whatever its statistics: the formulas that interpolate the changed output.

    The change is exact and smooth, so the order is that of the formulas, which the statistics (1, 0, 0) leave as they
    are.
    """

    def __init__(self, method: Any):
        from odekit.algebra.certificates import certificate

        self.method, self.name, self.family = method, method.name, method.family
        self.claimed, self.route = method.order.formula, f"{_IN_LOG_SNR}, on the output after a linear change"
        ahead = certificate(in_log_snr(method.k))
        self.parts = {"formula": ahead}
        if method.points:
            self.parts = {"predictor": ahead, "corrector": certificate(in_log_snr(method.points, implicit=True))}


class EndedCertificate:
    """The certificate of a method's formula, and what its last step, of another kind, does to the order."""

    def __init__(self, method: Any):
        from odekit.algebra.certificates import certificate

        self.method, self.formula = method, certificate(method.base)

    def __getattr__(self, name: str) -> Any:
        if name == "formula":  # a copy under way has none yet
            raise AttributeError(name)
        return getattr(self.formula, name)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        from odekit.methods.ends import effects

        return [*self.formula.rows(), *effects(self.method)[-1:]]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {**self.formula.to_dict(), "last": self.method.last, "order_with_last": self.method.order.method}


def _pair(method: Any) -> dict[str, Any]:
    """The exponential Adams formulas of a pair with so many points that ratios are numbers."""
    pair = {"predictor": in_log_snr(method.k), "corrector": in_log_snr(method.k + 1, implicit=True)}
    return pair if method.corrects else {"formula": pair["predictor"]}


def _named(prediction: Any) -> str:
    return str(getattr(prediction, "name", prediction))


def _maker(prediction: str, clock: str, rule: str, points: int) -> tuple[Callable[[int, bool], Any], str]:
    """(points, implicit) -> certificate of that formula, and the route in words."""
    from odekit.algebra.certificates import certificate

    if prediction in FRAMES and (clock, rule) == ("t", "interpolating"):
        from odekit.methods.operator_moments import OperatorMoments

        route = f"the moments of the weights in t, matrices, of the {prediction} in phase space"
        return lambda points, implicit: OperatorMoments(points, implicit, prediction), route
    prediction = "noise" if prediction in FRAMES else prediction  # in other clocks they run where they are the noise
    if CLOCKS.get(prediction) == clock or (prediction == "velocity" and clock == "index"):
        from odekit.algebra.multistep import adams_bashforth, adams_moulton

        route = f"the linear multistep formula in {SPELT.get(clock, 't')}"
        return lambda points, implicit: certificate((adams_moulton if implicit else adams_bashforth)(points)), route
    if prediction in ("noise", "data") and clock in ("logsnr", "index"):
        route = _IN_LOG_SNR
        if clock == "index":
            route += ", on the equal steps that the index means"
        elif points > SYMBOLIC:
            route += _UNEVEN

        def exponential(points: int, implicit: bool) -> Any:
            return certificate(in_log_snr(points, implicit, rule == "lumped", clock == "index"))

        return exponential, route
    if prediction not in CLOCKS or clock not in SPELT:
        raise AlgebraError(
            f"{prediction} in the clock {clock}: expected one of {', '.join(CLOCKS)} in {', '.join(SPELT)}"
        )
    route = f"the moments of the {rule} weights in {SPELT[clock]}"
    return lambda points, implicit: MomentsCertificate(points, implicit, prediction, clock, rule), route


def in_log_snr(points: int, implicit: bool = False, lumped: bool = False, equal: bool = False) -> Any:
    """The exponential multistep formula of so many points, on any steps or on equal ones.

    Lumped weights share phi_1 out as the integrals of the polynomials alone do.

    >>> in_log_snr(2, lumped=True).weights, in_log_snr(2, equal=True).weights
    (('phi1(z) + phi1(z)/2/r1', '-phi1(z)/2/r1'), ('phi1(z) + phi2(z)/1', '-phi2(z)/1'))
    """
    from odekit.algebra.exponential_multistep import exponential_adams

    steps = points - 1 if implicit else points
    formula = exponential_adams(steps, implicit, RATIOS[: steps - 1] if steps > SYMBOLIC and not equal else None)
    if lumped:
        weights = tuple(re.sub(r"phi(\d+)\(z\)", _share, text) for text in formula.weights)
        formula = replace(formula, name=f"{formula.name}-lumped", weights=weights)
    if equal:
        parts = ((re.sub(r"\br\d+\b", "1", text) for text in part) for part in (formula.nodes, formula.weights))
        nodes, weights = map(tuple, parts)
        formula = replace(formula, nodes=nodes, weights=weights, parameters=())
    return formula


def _share(phi: re.Match) -> str:
    n = factorial(int(phi[1]))
    return "phi1(z)" if n == 1 else f"phi1(z)/{n}"


class MomentsCertificate(Proof):
    """The order of Adams weights in a clock, from what their moments leave on uneven steps of VP.

    Moments are compared in 40 digits with quadrature in the straight clock, at two step sizes; what falls like h^(p+1)
    is of order p. The order is the integer nearest to a rate: computed, not proved.
    """

    family = "exponential-multistep"
    claimed: int | None = None
    finest = 1024

    def __init__(self, points: int, implicit: bool, prediction: str, clock: str, rule: str):
        self.points, self.implicit, self.clock, self.rule = points, implicit, clock, rule
        self.prediction, self.name = prediction, f"{points} points in {SPELT[clock]}"

    @cached_property
    def moments(self) -> list[tuple[float, float]]:
        """For m = 0, ..., points: what is left at h = 1/1024 in t, and its rate, infinite where nothing is."""
        import mpmath

        with mpmath.workdps(DIGITS):
            coarse, fine = (self._left(mpmath.mpf(1) / n) for n in (self.finest // 2, self.finest))
            zero = mpmath.mpf(10) ** (8 - DIGITS)
            rates = (
                EXACT if abs(a) <= zero and abs(b) <= zero else float(mpmath.log(abs(a / b), 2))
                for a, b in zip(coarse, fine, strict=True)
            )
            return [(float(b), rate) for b, rate in zip(fine, rates, strict=True)]

    def _left(self, h: Any) -> list[Any]:
        """sum_j w_j (c_j - c_t)^m less what it should be, on steps of these lengths in t."""
        import mpmath

        process, own = VP(), CLOCKS[self.prediction]
        flow = type("Flow", (), {"process": process, "prediction": self.prediction, "model": None})
        f = Coordinates(flow, self.prediction, numbers=mpfield(DIGITS))
        lengths = [mpmath.mpf(text) * h for text in STEPS[: self.points]]  # time runs down, as samplers do
        instants = [Instant(mpmath.mpf("0.4") - lengths[0] + sum(lengths[:j])) for j in range(self.points + 1)]
        to, at = instants[:2]
        nodes = instants[: self.points] if self.implicit else instants[1:]
        w = weights(f, to, at, tuple(nodes), self.clock, self.rule)
        here, ends = f.clock(at, self.clock), [f.clock(at), f.clock(to)]

        def away(tau: Any) -> Any:
            """The clock's distance from its value at t, at a value of the straight clock."""
            return f.clock(Instant(tau if own == "t" else getattr(process, f"time_at_{own}")(tau)), self.clock) - here

        found = []
        for m in range(self.points + 1):
            wanted = f.scale(to) * mpmath.quad(lambda tau, m=m: away(tau) ** m, ends)
            found.append(sum(x * (f.clock(n, self.clock) - here) ** m for x, n in zip(w, nodes, strict=True)) - wanted)
        return found

    @property
    def order(self) -> int:
        """The smallest rate of what the moments leave, less one."""
        return min(round(rate) for _, rate in self.moments if rate != EXACT) - 1

    @property
    def failing(self) -> tuple[str, ...]:
        """The first moment that leaves something of the leading order."""
        falls = self.order + 1
        m, left = next(
            (m, left) for m, (left, rate) in enumerate(self.moments) if rate != EXACT and round(rate) == falls
        )
        return (f"moment {m} in {SPELT[self.clock]}: {left:.2e} at h = 1/{self.finest}, falling like h^{falls}, not 0",)

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        exact = sum(rate == EXACT for _, rate in self.moments)
        return [
            ("consistency", "yes" if self.order >= 1 else f"no: {self.failing[0]}"),
            ("order", f"{self.order}; {exact} of {len(self.moments)} moments exact; next: {self.failing[0]}"),
            ("zero-stability", "yes: the only root is 1"),
        ]

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        moments = [[left, None if rate == EXACT else rate] for left, rate in self.moments]
        return {"moments": moments, "zero_stable": True}
