"""Measurements, verdicts, figures and the report: the room above odekit.

>>> import analysis
>>> analysis.estimate_order([1/8, 1/16, 1/32, 1/64], [2e-4, 5e-5, 1.25e-5, 3.125e-6], claim=2).verdict
'pass'
"""

from analysis.order import OrderEstimate, estimate_order

__all__ = ["OrderEstimate", "convergence", "estimate_order", "local_error"]

# What runs solvers imports torch; `odekit --help` need not wait for it.
_LATER = {"convergence": "measure", "local_error": "measure"}


def __getattr__(name: str):
    if name in _LATER:
        from importlib import import_module

        function = getattr(import_module(f"analysis.{_LATER[name]}"), name)
        globals()[name] = function
        return function
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
