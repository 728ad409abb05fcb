"""Pseudo numerical methods: classical combinations of model outputs, moved by the exact transfer of the linear part.

PNDM writes every step as x_s = phi(x_t, E, t, s): phi is DDIM's update, and E, the gradient part, combines noises as a
classical method combines slopes. In straight coordinates phi is y_s = y_t + (kappa_s - kappa_t) E, so a pseudo method
is the classical one in kappa = sigma/alpha, but with the weights of steps that are equal in the index, and with stages
at fractions of the step in time. It has the classical order where kappa is affine in these, and order two elsewhere.
"""

from __future__ import annotations

from typing import Any

from odekit.exceptions import MethodError, unknown
from odekit.fields.coordinates import ZERO, Coordinates, dot
from odekit.fields.weights import CLOCKS
from odekit.methods import files
from odekit.methods.adams import Adams
from odekit.methods.base import Claim
from odekit.methods.runge_kutta import RungeKutta
from odekit.methods.tableau import Tableau

PNDM = "Liu et al. 2022 (arXiv 2202.09778)"
DEIS = "Zhang & Chen 2023 (arXiv 2204.13902)"
TWO = "of order two unless sigma/alpha is affine in the index"


class PseudoRungeKutta(RungeKutta):
    """A tableau whose stages lie at fractions of the step in ``clock``, each moved there by the exact transfer.

    y_i = y + (tau_i - tau) sum_j (a_ij / c_i) N_j, where tau_i is the straight clock at the fraction c_i of the step in
    ``clock``: what is written in terms of the step's own times is then sum_i b_i tau_i = 1/2 + O(h), and the order two
    at most. In the straight clock itself it is `RungeKutta`.
    Source: Liu et al. 2022 (arXiv 2202.09778), eq. 12 and 13. Raises MethodError for an inner stage with c = 0.

    >>> PseudoRungeKutta(files.get("rk4"), "t").order
    Claim(formula=2, method=2)
    """

    family = "exponential-runge-kutta"

    def __init__(self, tableau: Tableau, clock: str, prediction: str = "noise", name: str = "", source: str = ""):
        super().__init__(tableau, prediction, name=name)
        if clock not in CLOCKS[:-1]:
            raise unknown("clock of the stages", clock, CLOCKS[:-1])
        if any(float(c) == 0 for c in tableau.exact.c[1:]):
            raise MethodError(f"{tableau.name} has a stage at the step's beginning: nothing is transferred to there")
        self.clock, self.source = clock, source or tableau.source
        self.order = Claim(*(min(2, tableau.order),) * 2)

    def slopes(self, f: Coordinates, window: tuple, carry: dict, stages: range | frozenset) -> tuple:
        t_next, t = window[:2]
        c, A, _, _ = self.tableau.coefficients(f.numbers)
        y, tau = f.enter(carry["x"], t), f.clock(t)
        k = [carry["slope"] if "slope" in carry else f(y, t)]
        for i in range(1, len(c)):
            at = f.between(t, t_next, c[i], self.clock)
            gradient = dot([a and a / c[i] for a in A[i]], k)
            k.append(f(y + (f.clock(at) - tau) * gradient, at) if i in stages else ZERO)
        return y, f.clock(t_next) - tau, k, (k[0], k[-1])

    def key(self) -> dict:
        return {**super().key(), "stages in": self.clock}


class PLMS(Adams):
    """Adams-Bashforth on noises with the weights of equal steps; one step of the starter, then rising orders.

    Source: Liu et al. 2022 (arXiv 2202.09778), eq. 11; the start as in latent diffusion (arXiv 2112.10752), in code.
    """

    def _opening(self, i: int) -> Any:
        return "start" if i == 0 else i + 1

    def key(self) -> dict:
        return {**super().key(), "rises": True}


def improved_euler() -> RungeKutta:
    """Heun's method in sigma/alpha, on any grid: its stages are nodes."""
    found = RungeKutta(files.get("heun2"), "noise", name="pie")
    found.source = f"{PNDM}, eq. 13 (improved Euler); Heun in sigma/alpha"
    return found


def pseudo_rk4(clock: str = "t") -> PseudoRungeKutta:
    """PRK: the classical method of order four on noises, its middle stages at the middle of the step in time."""
    source = f"{PNDM}, eq. 12; order four only where the middle of the step in time is that in sigma/alpha"
    return PseudoRungeKutta(files.get("rk4"), clock, name="prk", source=source)


def lumped(order: int, name: str, source: str, starter: Any = None, last: str = "full", kind: type = Adams) -> Adams:
    """Adams-Bashforth on noises with the weights of equal steps, whatever the steps are."""
    reached = min(order, 2)
    start = "rising" if starter is None else starter.name
    if order == 1:
        kind, starter = Adams, None
    return kind(
        order, "noise", "index", "lumped", start, last, formula=reached, name=name, source=source, starter=starter
    )


def s_pndm(last: str = "full") -> Adams:
    """S-PNDM: a step of improved Euler, then two points."""
    return lumped(2, "s-pndm", f"{PNDM}, Algorithm 2 (S-PNDM)", improved_euler(), last)


def f_pndm(last: str = "full", clock: str = "t") -> Adams:
    """F-PNDM: three steps of PRK, then four points; ``clock``: where PRK's middle is."""
    return lumped(4, "f-pndm", f"{PNDM}, Algorithm 2 (F-PNDM); {TWO}", pseudo_rk4(clock), last)


def plms(order: int) -> Any:
    """The factory of PLMS over so many points."""

    def make(last: str = "full") -> Adams:
        about = f"{PNDM}, eq. 11, started as in latent diffusion" + (f"; {TWO}" if order > 2 else "")
        return lumped(order, f"plms-{order}", about, improved_euler(), last, PLMS)

    return make


def ipndm(order: int) -> Any:
    """The factory of iPNDM over so many points, which starts with rising orders."""

    def make(last: str = "full") -> Adams:
        about = f"{DEIS}, section 3.3 (improved PNDM)" + (f"; {TWO}" if order > 2 else "")
        return lumped(order, f"ipndm-{order}", about, None, last)

    return make


def ipndm_variable(order: int = 4, last: str = "full") -> Adams:
    """iPNDM whose weights are those of the steps it takes: Adams-Bashforth in sigma/alpha, rhoAB-DEIS."""
    source = f"{DEIS}, section 3.3, with the weights of variable steps"
    return Adams(order, "noise", "kappa", last=last, name="ipndm-v", source=source)


def fon(order: int, name: str, start: str) -> Any:
    """The factory of the classical counterpart: Adams-Bashforth on dx/dt, with a classical start."""

    def make(last: str = "full") -> Adams:
        source = f"{PNDM}, section 3.2 (classical methods on dx/dt)"
        return Adams(
            order, "velocity", "t", start=start, last=last, name=name, source=source,
            starter=RungeKutta(files.get(start)),
        )  # fmt: skip

    return make


METHODS = {
    "pie": improved_euler,
    "prk": pseudo_rk4,
    "s-pndm": s_pndm,
    "f-pndm": f_pndm,
    **{f"plms-{k}": plms(k) for k in range(1, 5)},
    **{f"ipndm-{k}": ipndm(k) for k in range(1, 5)},
    "ipndm-v": ipndm_variable,
    "s-fon": fon(2, "s-fon", "heun2"),
    "fon": fon(4, "fon", "rk4"),
}
