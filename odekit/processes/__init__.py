"""What noise does: diffusion processes, given symbolically, with every coefficient derived from alpha and sigma."""

from __future__ import annotations

from typing import Any

from ..exceptions import unknown
from .base import IsotropicProcess
from .blurring import Blurring
from .closed import EDM, VE, VP, Cosine, RectifiedFlow, SubVP
from .discrete import DiscreteVP
from .linear import LinearSDE
from .matrix import MatrixProcess
from .phase_space import CLD, PSLD
from .process import Process

__all__ = [
    "Blurring",
    "CLD",
    "EDM",
    "PSLD",
    "VE",
    "VP",
    "Cosine",
    "DiscreteVP",
    "IsotropicProcess",
    "LinearSDE",
    "MatrixProcess",
    "Process",
    "RectifiedFlow",
    "SubVP",
    "get",
    "names",
]

_KNOWN = {
    process.name: process for process in (VP, SubVP, Cosine, VE, EDM, RectifiedFlow, DiscreteVP, CLD, PSLD, Blurring)
}


def names() -> list[str]:
    """Names of the processes of the catalogue.

    >>> names()
    ['blurring', 'cld', 'cosine', 'discrete-vp', 'edm', 'psld', 'rectified-flow', 'subvp', 've', 'vp']
    """
    return sorted(_KNOWN)


def get(name: str, **parameters: Any) -> Process:
    """The process of this name with these parameters. Raises `UnknownNameError` for an unknown one.

    >>> get("vp", beta_1=10.0)
    VP(beta_0=0.1, beta_1=10.0, t_min=0.001, t_max=1.0)
    """
    if name not in _KNOWN:
        raise unknown("process", name, _KNOWN)
    return _KNOWN[name](**parameters)
