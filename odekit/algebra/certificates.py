"""One question whatever a method is made of: its certificate, by the family of its exact coefficients.

Every certificate has `.name`, `.family`, `.order` (classical), `.claimed`, `.failing` (the first conditions that do not
hold, each named when printed), `.findings()` (claims that do not hold), `.rows()` ((label, text) pairs for a page) and
`.to_dict()` (plain data).
"""

from __future__ import annotations

import os
from fractions import Fraction
from functools import cached_property
from importlib import import_module
from typing import Any

from odekit.algebra.proof import Proof
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

MAKERS = {
    "Tableau": "properties:certificate",
    "Scheme": "properties:certificate",
    "tuple": "properties:certificate",  # a pair (A, b)
    "list": "properties:certificate",  # of parts: an additive method
    "ExponentialTableau": "exponential_properties:exponential_certificate",
    "ExponentialMultistep": "exponential_properties:exponential_certificate",
    "Multistep": "multistep_properties:multistep_certificate",
    "Splitting": "splitting_properties:splitting_certificate",
    "Processed": "splitting_properties:splitting_certificate",
    "StochasticTable": "certificates:stochastic_certificate",
    "Adams": "odekit.methods.adams_properties:AdamsCertificate",
    "UniPC": "odekit.methods.adams_properties:AdamsCertificate",
    "Corrected": "odekit.methods.adams_properties:CorrectedCertificate",
    "DPMSolverV3": "odekit.methods.adams_properties:ChangedCertificate",
    "Ended": "odekit.methods.adams_properties:EndedCertificate",
    "Conjugate": "odekit.plan.operator_properties:OperatorCertificate",
    "PseudoRungeKutta": "odekit.plan.straight_properties:StraightCertificate",
    "Richardson": "odekit.plan.straight_properties:StraightCertificate",
    "NonStationary": "odekit.methods.nonstationary:Exactness",
}
"""For the type of an exact object, by name, what makes its certificate: loaded when it is asked for.

What is known by its coefficients is certified in this room; methods that are not are, in their own rooms."""

LISTS = ("exponential_methods", "compositions", "stochastic_tables", "multistep")
"""Where a name is looked up that the catalogue of running methods does not know."""


def certificate(method: Any) -> Any:
    """The certificate of a method: a name, a method file, a running Method, or the exact object of any family.

    Raises UnknownNameError for a name that nothing knows, AlgebraError for what is no method with coefficients.

    >>> [certificate(name).order for name in ("rk4", "krogstad4", "strang", "sra1", "deis-tab-2")]
    [4, 4, 2, Fraction(3, 2), 3]
    """
    given = exact_object(method)
    module, _, name = MAKERS[_kind(given)].partition(":")
    return getattr(import_module(module if "." in module else f"odekit.algebra.{module}"), name)(given)


def exact_object(method: Any) -> Any:
    """The exact object behind a method: its coefficients, of the type that tells its family.

    >>> exact_object("rk4").b, type(exact_object("bdf-3")).__name__, exact_object("dpmpp-2m").k
    (('1/6', '1/3', '1/3', '1/6'), 'Multistep', 2)
    """
    if isinstance(method, dict):
        from odekit.methods.files import method_from

        return exact_object(_made(method_from(method)))
    if isinstance(method, str | os.PathLike):
        return exact_object(_named(method))
    if formulas := getattr(method, "formulas", None):  # by their points; those with fewer only start the method
        return formulas[max(formulas)]
    if _kind(method):
        return method
    for part in ("tableau", "exact", "formula"):
        found = getattr(method, part, None)
        if _kind(found) not in ("", "tuple", "list"):
            return found
    family = getattr(method, "family", type(method).__name__)
    raise AlgebraError(
        f"{getattr(method, 'name', method)!r} ({family}) has no exact coefficients that a proof could use"
    )


def _kind(given: Any) -> str:
    """The name of the known type an object is of; "" for others."""
    return next((kind.__name__ for kind in type(given).__mro__ if kind.__name__ in MAKERS), "")


def _made(found: Any) -> Any:
    """What a method file gives: the exact object, or the method that the fields of an Adams formula make."""
    from odekit.methods import catalogue

    return catalogue.from_data(found) if isinstance(found, dict) else found


def _named(name: str | os.PathLike) -> Any:
    from odekit import methods

    if not isinstance(name, str) or name.endswith(".toml"):  # also of a family that does not run
        return _made(methods.files.read_method_file(name))
    if name in methods.names():
        return methods.get(name)
    known = set(methods.names())
    for place in LISTS:
        module = import_module(f"odekit.algebra.{place}")
        if name in module.names():
            return module.get(name)
        known.update(module.names())
    raise unknown("method", name, sorted(known))


class StochasticCertificate(Proof):
    """Which published conditions a stochastic Runge-Kutta method meets: strong ones for SRA and SRI, else weak.

    >>> from odekit.algebra.stochastic_tables import get
    >>> certificate(get("sra1").changed("alpha", "1/2", 0)).findings()
    ['strong order 0, not 3/2 as claimed: SRA 1, tau_0: alpha = 1: off by 1/6']
    """

    def __init__(self, method: Any):
        self.method, self.name, self.family = method, method.name, "stochastic-runge-kutta"
        self.claimed: Fraction = method.order
        self.kind = "strong" if method.family.startswith("SR") else "weak"
        self.notion = f"{self.kind} order"

    @cached_property
    def order(self) -> Fraction:
        """The highest order whose conditions all hold; 0 for none."""
        from odekit.algebra.stochastic import order_of

        return order_of(self.method)

    @cached_property
    def failing(self) -> tuple[str, ...]:
        """The conditions of the next order that do not hold, each with what is left."""
        from odekit.algebra.numbers import is_zero
        from odekit.algebra.stochastic import residuals

        left = residuals(self.method, self.top)
        return tuple(f"{c}: off by {value}" for c, value in left.items() if not is_zero(value))

    @property
    def top(self) -> Fraction:
        """The highest order for which conditions are known in this class."""
        from odekit.algebra.stochastic import stochastic_conditions

        return max(c.order for c in stochastic_conditions(self.method.family, 2 if self.kind == "weak" else "3/2"))

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        beyond = f"; next: {self.failing[0]}" if self.failing else f", the highest known for {self.method.family}"
        return [
            ("class", self.method.family),
            (self.notion, f"{self.order}{beyond}"),
            ("conditions that fail", str(len(self.failing))),
        ]

    def details(self) -> dict[str, Any]:
        """Its class and kind, and orders as text: there are halves among them."""
        return {
            "class": self.method.family,
            "kind": self.kind,
            "claimed_order": str(self.claimed),
            "order": str(self.order),
        }


def stochastic_certificate(method: Any) -> StochasticCertificate:
    """The certificate of a StochasticTable, from Roessler's conditions."""
    return StochasticCertificate(method)
