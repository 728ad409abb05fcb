"""Measurements, verdicts, figures and the report: the room above odekit.

>>> import analysis
>>> analysis.estimate_order([1/8, 1/16, 1/32, 1/64], [2e-4, 5e-5, 1.25e-5, 3.125e-6], claim=2).verdict
'pass'
"""

import sys
from importlib import import_module
from types import ModuleType

_HOMES = {
    "OrderEstimate": "order",
    "estimate_order": "order",
    "convergence": "measure",
    "local_error": "measure",
    "certify_callable": "blackbox",
    "certify": "certify",
    "CertificatePage": "certify",
    "stability": "stability",
    "weak_order": "weak",
    "RateChoice": "rates",
    "choose_rate": "rates",
    "conjugate_factors": "rates",
    "step_factors": "rates",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str):
    """Names arrive when asked for: `odekit --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    return found


class _Package(ModuleType):
    """Importing the module analysis.certify must not hide the function of that name: `analysis.certify("rk4")`."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
