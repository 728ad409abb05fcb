"""What can be said of an exponential method for certain: its orders, classical and stiff, each with what fails next."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from odekit.algebra.exponential import (
    ExponentialTableau,
    OrderFound,
    classical_order,
    stage_order,
    stiff_order,
)
from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.algebra.proof import Proof

LIMIT = 6
"""Orders beyond which no condition is asked: stiff trees have a variable for each inner vertex."""

STAGES = 20
"""What is exact to this stage order is exact to any: a single stage, at the start of the step."""


class ExponentialCertificate(Proof):
    """The numbers of one exponential method, each computed when it is asked for.

    Free parameters stay symbols: what is said then holds for all their values. Made by `exponential_certificate`.
    """

    def __init__(self, method: ExponentialTableau | ExponentialMultistep):
        self.method, self.name, self.family = method, method.name, method.family
        self.claimed: int | None = method.order
        self.claimed_stiff: int | None = getattr(method, "stiff_order", None)
        embedded = getattr(method, "embedded", None)
        self.embedded = None if embedded is None else ExponentialCertificate(embedded)

    @cached_property
    def classical(self) -> OrderFound:
        """The order for a bounded linear part as h -> 0, and the first condition that fails above it."""
        return classical_order(self.method, max(LIMIT, min((self.claimed or 0) + 1, 8)))

    @cached_property
    def strong(self) -> OrderFound:
        """The order uniformly in the linear part, all conditions holding identically in z."""
        return stiff_order(self.method, LIMIT)

    @cached_property
    def weak(self) -> OrderFound:
        """The same with the conditions of the last order at z = 0 only, which parabolic problems ask for."""
        return stiff_order(self.method, LIMIT, weak=True)

    @property
    def order(self) -> int:
        """The classical order."""
        return self.classical.order

    @property
    def stiff_order(self) -> int:
        """The stiff order: of the strong form, or of the weak one where that reaches further."""
        return max(self.strong.order, self.weak.order)

    @property
    def embedded_order(self) -> int | None:
        """The classical order of the embedded weights; None for a method without them."""
        return self.embedded and self.embedded.order

    @cached_property
    def stage_order(self) -> int | None:
        """To which order every stage is exact; None for multistep formulas, which have none.

        >>> from odekit.algebra.exponential_methods import get
        >>> [exponential_certificate(get(name)).stage_order for name in ("etd2rk", "krogstad4", "lawson4")]
        [1, 1, 0]
        """
        return stage_order(self.method, STAGES) if isinstance(self.method, ExponentialTableau) else None

    @property
    def failing(self) -> tuple[str, ...]:
        """The first classical condition that fails, named; none if all hold to the limit.

        >>> from odekit.algebra.exponential_methods import get
        >>> exponential_certificate(get("etd2rk")).failing
        ('[tau_0,tau_0]_0: 1/2, not 1/3',)
        """
        return (self.classical.reason,) if self.classical.failing else ()

    @cached_property
    def at_zero(self) -> Any:
        """The certificate of the Runge-Kutta method that is left at z = 0; None with free parameters, or no stages."""
        if not isinstance(self.method, ExponentialTableau) or self.method.parameters:
            return None
        from odekit.algebra.properties import certificate

        ring, _, A, b = self.method.parts
        origin = [[ring.domain.to_sympy(entry.coefficient((0,))) for entry in row] for row in (*A, b)]
        return certificate(([*origin[:-1]], origin[-1]))

    def findings(self) -> list[str]:
        """Claims that do not hold, each with the first condition that fails.

        >>> from odekit.algebra.exponential_methods import get
        >>> exponential_certificate(get("dpmpp-3m")).findings()
        ['order 2, not 3 as claimed: psi_3: 1/12, not 0']
        """
        rows = [("order", self.claimed, self.classical)]
        if self.claimed_stiff is not None:
            rows.append(("stiff order", self.claimed_stiff, max(self.weak, self.strong, key=int)))
        if self.embedded:
            rows.append(("embedded order", self.embedded.claimed, self.embedded.classical))
        return [
            f"{what} {found.order}, not {claimed} as claimed" + (f": {found.reason}" if found.order < claimed else "")
            for what, claimed, found in rows
            if claimed and found.order != claimed and (found.failing or found.order > claimed)
        ]

    def rows(self) -> list[tuple[str, str]]:
        """(label, text) of everything, as a page shows it."""
        rows = [
            ("consistency", "yes" if self.order >= 1 else f"no: {self.failing[0]}"),
            ("classical order", _told(self.classical)),
            ("stiff order, strong form", _told(self.strong)),
            ("stiff order, weak form", _told(self.weak)),
        ]
        if self.stage_order is not None:
            rows.append(("stage order", str(self.stage_order) if self.stage_order < STAGES else "any"))
        if self.embedded:
            rows.append(("embedded order", _told(self.embedded.classical)))
        rows.append(("zero-stability", "yes: the only root is 1"))
        if self.at_zero is not None:
            R = self.at_zero.stability
            rows.append(("stability polynomial at z = 0", str(R)))
            rows.append(("real interval at z = 0", f"{R.real_interval:.10g}"))
            rows.append(("imaginary interval at z = 0", f"{R.imaginary_interval:.10g}"))
        if self.method.parameters:
            rows.append(("free parameters", f"{', '.join(self.method.parameters)}: what is said holds for all values"))
        return rows

    def details(self) -> dict[str, Any]:
        """The rest of it as plain data."""
        return {
            "claimed_stiff_order": self.claimed_stiff,
            "stiff_order_strong": self.strong.order,
            "failing_stiff_strong": self.strong.reason,
            "stiff_order_weak": self.weak.order,
            "failing_stiff_weak": self.weak.reason,
            "stage_order": self.stage_order,
            "claimed_embedded_order": self.embedded and self.embedded.claimed,
            "embedded_order": self.embedded_order,
            "zero_stable": True,
            "parameters": list(self.method.parameters),
        }

    def __repr__(self) -> str:
        return f"<certificate of {self.name}: order {self.order}, stiff order {self.stiff_order}>"


def _told(found: OrderFound) -> str:
    return f"{found.order}; next: {found.reason}" if found.failing else f"at least {found.order}"


def exponential_certificate(method: ExponentialTableau | ExponentialMultistep) -> ExponentialCertificate:
    """The certificate of an exponential Runge-Kutta or exponential multistep method.

    Source: Hochbruck, Ostermann 2005, 2010 for the conditions; they are in `exponential_conditions`.

    >>> from odekit.algebra.exponential_methods import get
    >>> found = exponential_certificate(get("krogstad4"))
    >>> found.order, found.strong.order, found.weak.order, found.findings()
    (4, 3, 3, [])
    """
    return ExponentialCertificate(method)
