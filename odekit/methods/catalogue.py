"""The catalogue: the literature's names, what each is made of, and what it claims."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from odekit.algebra import compositions
from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.algebra.multistep import Multistep
from odekit.algebra.splitting import Splitting
from odekit.algebra.splitting_files import Processed
from odekit.methods import (
    conjugate,
    corrected,
    dpm_v3,
    edm,
    extrapolation,
    files,
    flow_splitting,
    gddim,
    multistep,
    phase_splitting,
    pndm,
    stochastic_splitting,
)
from odekit.methods.adams import Adams, start_of
from odekit.methods.base import Method
from odekit.methods.exponential_catalogue import METHODS, from_exponential, from_formula, one_step
from odekit.methods.implicit import implicit_runge_kutta
from odekit.methods.nonstationary import NonStationary
from odekit.methods.runge_kutta import RungeKutta
from odekit.methods.splitting import Composition, composition
from odekit.methods.tableau import Tableau


def adams(order: int, start: str | None = None, **options: Any) -> Adams:
    """An Adams method with its starter resolved: "rising", the name of a one-step method, or (None) of enough order."""
    start = start_of(order, start, options.get("corrector", False))
    starter = None if start == "rising" else one_step(start, options.get("prediction", "velocity"))
    return Adams(order, start=start, starter=starter, **options)


def _bashforth(k: int) -> Callable[..., Method]:
    def make(start: str | None = None, prediction: Any = "velocity", clock: str = "t", last: str = "full") -> Method:
        return adams(
            k, start, prediction=prediction, clock=clock, last=last, name=f"ab-{k}",
            source="Hairer, Norsett & Wanner 1993, III.1, eq. (1.5)",
        )  # fmt: skip

    return make


def _moulton_pair(k: int) -> Callable[..., Method]:
    def make(start: str | None = None, prediction: Any = "velocity", clock: str = "t") -> Method:
        return adams(
            k, start, prediction=prediction, clock=clock, corrector=True, name=f"abm-{k}",
            source="Hairer, Norsett & Wanner 1993, III.1, eq. (1.9); PECE",
        )  # fmt: skip

    return make


def _exponential(k: int) -> Callable[..., Method]:
    def make(
        prediction: Any = "noise", clock: str = "logsnr", start: str = "rising", last: str = "full",
        rule: str = "interpolating",
    ) -> Method:  # fmt: skip
        return adams(
            k, start, prediction=prediction, clock=clock, last=last, rule=rule, name=f"exponential-ab-{k}",
            source="Hochbruck & Ostermann 2010, section 2.5",
        )  # fmt: skip

    return make


def _ddim() -> Method:
    return Adams(1, "noise", "kappa", name="ddim", source="Song, Meng & Ermon 2020 (arXiv 2010.02502), eq. 12, eta = 0")


def _deis(clock: str, prefix: str, q: int) -> Callable[..., Method]:
    def make(start: str = "rising", last: str = "full") -> Method:
        return adams(
            q + 1, start, prediction="noise", clock=clock, last=last, name=f"{prefix}-{q}",
            source="Zhang & Chen 2023 (arXiv 2204.13902), eq. 15",
        )  # fmt: skip

    return make


def _dpmpp_2m(start: str = "rising", last: str = "full", rule: str = "lumped") -> Method:
    return adams(
        2, start, prediction="data", clock="logsnr", rule=rule, last=last, name="dpmpp-2m",
        source="Lu et al. 2022 (arXiv 2211.01095), Algorithm 2",
    )  # fmt: skip


def _splitting(name: str) -> Callable[..., Method]:
    def make(base: Any = None) -> Method:
        return Composition(compositions.get(name), base)

    return make


def _heun_edm(final: str = "euler") -> Method:
    return RungeKutta(files.get("heun2"), "noise", final, name="heun-edm")


NUMBERED: dict[str, Callable[[int], Callable[..., Method]]] = {
    "ab": _bashforth,
    "abm": _moulton_pair,
    "exponential-ab": _exponential,
    "deis-tab": partial(_deis, "t", "deis-tab"),
    "deis-rhoab": partial(_deis, "kappa", "deis-rhoab"),
    **gddim.NUMBERED,
}
"""Families of any order: the name and the number behind it, of which `FACTORIES` lists the usual ones."""


def _listed(stem: str, numbers: range) -> dict[str, Callable[..., Method]]:
    return {f"{stem}-{k}": NUMBERED[stem](k) for k in numbers}


FACTORIES: dict[str, Callable[..., Method]] = {
    "ddim": _ddim,
    "dpmpp-2m": _dpmpp_2m,
    "heun-edm": _heun_edm,
    **_listed("ab", range(1, 9)),
    **_listed("abm", range(2, 9)),
    **{name: multistep.named(name) for name in multistep.NAMES},
    **_listed("exponential-ab", range(1, 7)),
    **_listed("deis-tab", range(4)),
    **{name: _splitting(name) for name in compositions.names()},
    **_listed("deis-rhoab", range(4)),
    **METHODS,
    **pndm.METHODS,
    **edm.METHODS,
    **corrected.METHODS,
    **extrapolation.METHODS,
    **phase_splitting.METHODS,
    **flow_splitting.METHODS,
    **stochastic_splitting.METHODS,
    **conjugate.METHODS,
    **dpm_v3.METHODS,
    **_listed("gddim", range(4)),
    **_listed("gddim-pec", range(1, 4)),
    **_listed("gddim-pece", range(1, 4)),
}


def numbered(name: str) -> Callable[..., Method] | None:
    """The factory of a member of a family of any order that is not listed, None for other names.

    >>> numbered("ab-9")().order, numbered("gddim-5")().order
    (Claim(formula=9, method=9), Claim(formula=6, method=2))
    """
    stem, _, number = name.rpartition("-")
    known = stem in NUMBERED and re.fullmatch(r"0|[1-9][0-9]?", number)
    return NUMBERED[stem](int(number)) if known else None


def from_tableau(tableau: Tableau) -> Callable[..., Method]:
    """The factory that makes a method of a tableau, explicit or implicit."""
    return runge_kutta if tableau.kind == "explicit" else implicit_runge_kutta


def runge_kutta(
    tableau: Tableau, prediction: Any = "velocity", final: str = "full", coordinates: str = "straight"
) -> Method:
    """A tableau as a method, in raw coordinates unless told otherwise."""
    return RungeKutta(tableau, prediction, final, coordinates=coordinates)


MAKERS: dict[type, Callable[[Any], Callable[..., Method]]] = {
    Tableau: from_tableau,
    Splitting: composition,
    Processed: composition,
    ExponentialTableau: from_exponential,
    ExponentialMultistep: from_formula,
    Multistep: multistep.from_formula,
    NonStationary: lambda method: lambda: method,
}
"""For each kind of exact data, what gives the factory of a method that runs; a factory's parameters are its options."""


def from_data(data: dict, start: str | None = None, last: str | None = None) -> Method:
    """A method from the checked fields of a file of a multistep family."""
    return adams(
        data["order"],
        start or data["start"],
        prediction=data["prediction"] or "velocity",
        clock=data["clock"] or "t",
        rule=data["weights"] or "interpolating",
        last=last or data["last"] or "full",
        name=data["name"],
        source=data["source"] or "",
    )
