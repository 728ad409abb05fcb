"""Measurements, verdicts, figures and the report: the room above odekit.

>>> import analysis
>>> analysis.estimate_order([1/8, 1/16, 1/32, 1/64], [2e-4, 5e-5, 1.25e-5, 3.125e-6], claim=2).verdict
'pass'
"""

from importlib import import_module

_HOMES = {
    "OrderEstimate": "order",
    "estimate_order": "order",
    "convergence": "measure",
    "local_error": "measure",
    "certify_callable": "blackbox",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str):
    """Names arrive when asked for: `odekit --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'analysis' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"analysis.{_HOMES[name]}"), name)
    return found
