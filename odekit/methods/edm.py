"""Runge-Kutta samplers in sigma, in time, and flow matching: one tableau in the straight coordinates that each chose.

EDM's generalised sampler steps dx/dt of x = s(t) (x_0 + sigma(t) n) in t. That is the tableau in raw coordinates
(prediction velocity) of the process with alpha = s and sigma/alpha = sigma(t): (sigma(t), s(t)) are the process, and
nothing is left to choose. Where s = 1 and sigma(t) = t, velocity is noise and time is sigma/alpha, and the method is
the one in straight coordinates of the noise; on no other process are the two the same.
"""

from __future__ import annotations

from collections.abc import Callable

from odekit.methods import files
from odekit.methods.adams import Adams
from odekit.methods.pndm import DEIS, PseudoRungeKutta
from odekit.methods.runge_kutta import RungeKutta
from odekit.methods.tableau import Tableau

EDM = "Karras et al. 2022 (arXiv 2206.00364)"
FLOW = "Lipman et al. 2023 (arXiv 2210.02747), Liu et al. 2023 (arXiv 2209.03003)"
K_DIFFUSION = "Crowson 2022, k-diffusion"

RHO_RK = {
    "1euler": "euler",
    "2heun": "heun2",
    "3kutta": "kutta3",
    "3ral": "ralston3",
    "3heun": "heun3",
    "3vdh": "wray3",
    "3ssprk": "ssp33",
    "4rk": "rk4",
}
"""The tableaus of rhoRK-DEIS by its own names for them, and ours."""


def straight(tableau: str, name: str, source: str, prediction: str) -> Callable[..., RungeKutta]:
    """The factory of a tableau in straight coordinates of a prediction."""

    def make(final: str = "full") -> RungeKutta:
        found = RungeKutta(files.get(tableau), prediction, final, name)
        found.source = source
        return found

    return make


def edm_euler(final: str = "euler") -> RungeKutta:
    """Euler's method on dx/dt, for the process's own sigma(t) and s(t)."""
    return straight("euler", "edm-euler", f"{EDM}, Algorithm 3 without its correction: dx/dt in t", "velocity")(final)


def edm_heun(alpha: str = "1", final: str = "euler") -> RungeKutta:
    """Second-order steps on dx/dt with the second slope at a fraction ``alpha`` of the step; 1 is Heun's method."""
    c = f"({alpha})"
    tableau = Tableau("edm-heun", 2, EDM, c=("0", c), A=((), (c,)), b=(f"1-1/(2*{c})", f"1/(2*{c})"))
    found = RungeKutta(tableau, "velocity", final, "edm-heun")
    found.source = f"{EDM}, Algorithm 3: dx/dt in t for any sigma(t), s(t)"
    return found


def dpm2() -> PseudoRungeKutta:
    """The midpoint rule in sigma/alpha, its midpoint the geometric mean: of order two as steps shrink only."""
    source = f"{K_DIFFUSION}, DPM-2: the midpoint rule in sigma/alpha, midpoint in log-SNR"
    return PseudoRungeKutta(files.get("midpoint"), "logsnr", name="dpm2", source=source)


def lms(order: int) -> Callable[..., Adams]:
    """The factory of k-diffusion's linear multistep method of an order."""

    def make(last: str = "full") -> Adams:
        source = f"{K_DIFFUSION}, LMS: Adams-Bashforth in sigma/alpha"
        return Adams(order, "noise", "kappa", last=last, name=f"lms-{order}", source=source)

    return make


def log_rho(q: int) -> Callable[..., Adams]:
    """The factory of DEIS with polynomials in log(sigma/alpha), of q + 1 points."""

    def make(last: str = "full") -> Adams:
        source = f"{DEIS}, polynomials in log rho as in diffusers: exponential Adams in log-SNR"
        return Adams(q + 1, "noise", "logsnr", last=last, name=f"deis-logrho-{q}", source=source)

    return make


METHODS: dict[str, Callable] = {
    **{
        f"deis-rhork-{own}": straight(ours, f"deis-rhork-{own}", f"{DEIS}, section 3.3, rhoRK: {ours}", "noise")
        for own, ours in RHO_RK.items()
    },
    **{f"deis-logrho-{q}": log_rho(q) for q in range(1, 4)},
    **{f"lms-{k}": lms(k) for k in range(1, 5)},
    "dpm2": dpm2,
    "edm-euler": edm_euler,
    "edm-heun": edm_heun,
    **{
        f"flow-matching-{own}": straight(ours, f"flow-matching-{own}", f"{FLOW}: dx/dt = v in t, {ours}", "velocity")
        for own, ours in (("euler", "euler"), ("midpoint", "midpoint"), ("heun", "heun2"), ("rk4", "rk4"))
    },
}
