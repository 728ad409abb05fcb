"""What every certificate has, whatever the method is made of and however its order is found."""

from __future__ import annotations

from typing import Any


class Proof:
    """The frame of a certificate: a name, a family, what is claimed and what holds, as a list and as plain data.

    A kind of certificate sets `name`, `family` and `claimed` (None: nothing is claimed), finds `order` and `failing`,
    the first conditions that do not hold, and adds `details`, the rest of its plain data. `notion` says which order.

    >>> from odekit.algebra.certificates import certificate
    >>> certificate("strang")
    <certificate of strang: order 2>
    """

    name: str
    family: str
    claimed: int | None
    order: int | None
    failing: tuple
    notion: str = "order"

    def findings(self) -> list[str]:
        """Claims that do not hold, with the first condition that fails.

        >>> from odekit.algebra.certificates import certificate
        >>> from odekit.algebra.compositions import get, swapped
        >>> certificate(swapped(get("mclachlan-4"))).findings()[0][:34]
        'order 2, not 4 as claimed: [Y1,Y2]'
        """
        if not self.claimed or self.order == self.claimed:
            return []
        why = f": {self.failing[0]}" if self.order < self.claimed and self.failing else ""
        return [f"{self.notion} {self.order}, not {self.claimed} as claimed{why}"]

    def details(self) -> dict[str, Any]:
        """What this kind of certificate says beyond the order, as plain data."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain data: exact numbers as text, floats as floats."""
        return {
            "name": self.name,
            "family": self.family,
            "claimed_order": self.claimed,
            "order": self.order,
            "failing": [str(f) for f in self.failing],
            **self.details(),
            "findings": self.findings(),
        }

    def __repr__(self) -> str:
        return f"<certificate of {self.name}: {self.notion} {self.order}>"
