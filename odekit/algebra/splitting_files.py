"""Splitting methods as plain data, as a method file holds them, and processed methods: a kernel and its processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from odekit.algebra.splitting import Splitting
from odekit.algebra.splitting_design import inverse, joined
from odekit.algebra.trees import AlgebraError


@dataclass(frozen=True)
class Processed:
    """A processed method: the processor, then the kernel as often as there are steps, then the processor undone.

    `order` is the claim for the whole; the kernel alone is of that order up to conjugation only.
    Source: Butcher 1969; Blanes, Casas, Murua 2006.

    >>> kernel = Splitting("lie", (("A", "1"), ("B", "1")))
    >>> verlet = Processed("conjugate", kernel, Splitting("half", (("B", "1/2"),)), 2)
    >>> verlet.whole.flat()
    (('B', Fraction(1, 2)), ('A', Fraction(1, 1)), ('B', Fraction(1, 2)))
    """

    name: str
    kernel: Splitting
    processor: Splitting
    order: int = 0
    source: str = ""

    def __post_init__(self) -> None:
        if self.kernel.kind != self.processor.kind:
            kinds = f"{self.kernel.kind} and {self.processor.kind}"
            raise AlgebraError(f"{self.name}: kernel and processor compose {kinds}; expected steps of one kind")

    @property
    def whole(self) -> Splitting:
        """One step as a method of its own: the processor, the kernel, the processor undone."""
        whole = joined(self.name, self.processor, self.kernel, inverse(self.processor), order=self.order)
        return replace(whole, source=self.source, nystrom=self.kernel.nystrom)


def splitting_from(data: Mapping[str, Any]) -> Splitting | Processed:
    """The method of a method file, its parameters put in: from `steps`, and `digits`, `nystrom`, `processor` if any.

    Raises AlgebraError for steps that do not mix and for a `nystrom` that is neither true nor false.

    >>> splitting_from({"name": "lie", "order": 1, "steps": [["A", "1"], ["B", "1"]]}).steps
    (('A', '1'), ('B', '1'))
    """
    name, order, source = data["name"], data["order"], data.get("source") or ""
    digits, nystrom = data.get("digits"), data.get("nystrom", False)
    if not isinstance(nystrom, bool):
        raise AlgebraError(f"{name}: nystrom must be true or false, got {nystrom!r:.40}")
    main = Splitting(name, tuple(map(tuple, data["steps"])), order, source, digits, nystrom)
    if data.get("processor") is None:
        return main
    processor = replace(main, name=f"{name}, processor", steps=tuple(map(tuple, data["processor"])))
    return Processed(name, replace(main, name=f"{name}, kernel"), processor, order, source)


def splitting_data(method: Splitting | Processed) -> dict[str, Any]:
    """The mapping of a method file; `splitting_from` reads it. Floats and mpmath numbers become decimals.

    >>> splitting_data(Splitting("lie", (("A", 1), ("B", 1)), 1))["steps"]
    [['A', '1'], ['B', '1']]
    """
    main, processor = (method.kernel, method.processor) if isinstance(method, Processed) else (method, None)
    data: dict[str, Any] = {"name": method.name, "family": "splitting", "order": method.order, "source": method.source}
    digits = main.decimals if any(map(_is_decimal, main.exact)) else main.digits
    if digits is not None:
        data["digits"] = digits
    if main.nystrom:
        data["nystrom"] = True
    data["steps"] = [[x, _text(value, digits)] for x, value in main.steps]
    if processor is not None:
        data["processor"] = [[x, _text(value, digits)] for x, value in processor.steps]
    return data


def _is_decimal(value: Any) -> bool:
    return isinstance(value, float) or hasattr(value, "_mpf_") and not hasattr(value, "free_symbols")


def _text(value: Any, digits: int | None) -> str:
    if not hasattr(value, "_mpf_") or hasattr(value, "free_symbols"):
        return repr(value) if isinstance(value, float) else str(value)
    import mpmath

    return mpmath.nstr(value, (digits or 60) + 2, min_fixed=-1000, max_fixed=1000)
