"""Splitting and composition methods as they run: flows of the parts of a field, or steps of a base method, in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from odekit.algebra.splitting import Splitting
from odekit.algebra.splitting_files import Processed, splitting_data
from odekit.exceptions import MethodError
from odekit.fields.coordinates import Coordinates, Instant
from odekit.methods.base import Claim, Method
from odekit.methods.tableau import Tableau

Steps = tuple[tuple[str, float], ...]
UNCHANGED = 1e-9  # relative: steps that differ by less are of one length, and a kernel goes on


class Composition(Method):
    """A splitting of the parts of a field, or a composition of a base method with itself or its adjoint.

    Splittings need a `SplitField`. Compositions of "S" and of "M", "M*" take the field's own symmetric splitting and
    its parts' flows in turn for a base, or any one-step method given as ``base``, on any field; the adjoint of a
    Runge-Kutta method is one. Runs eagerly; ``evaluations`` counts the flows of the part that is asked most often.
    Source: Hairer, Lubich, Wanner 2006, sections II.4, II.5 and V.3.
    """

    family = "splitting"
    is_plannable = False
    plannable_variant = "flows are no model evaluations; a Runge-Kutta method ('rk4') is a Plan"

    def __init__(self, exact: Splitting | Processed, base: Any = None):
        self.exact, self.name, self.source = exact, exact.name, exact.source
        self.order = Claim(exact.order, exact.order)
        main = exact.kernel if isinstance(exact, Processed) else exact
        self.kind, self.nystrom = main.kind, main.nystrom
        self.kernel, self.processor = _floats(main), ()
        if isinstance(exact, Processed):
            self.processor = _floats(exact.processor)
        self.base, self.adjoint = _bases(exact.name, main, base)

    @property
    def evaluations(self) -> int:
        if self.base is not None:
            return (len(self.kernel) + len(self.processor)) * self.base.evaluations
        letters = [x for x, _ in (*expanded(self.kernel, "AB"), *expanded(self.processor, "AB"))]
        return max(letters.count(x) for x in letters)

    def coordinates(self, field: Any, oracle: Any = None, **options: Any) -> Coordinates:
        """The raw coordinates, which learn what moves a state and in which turn; refuses a field without parts."""
        f = super().coordinates(field, oracle, **options)
        f.moves, parts = (self._steps_of_base(f), "") if self.base is not None else self._flows_of(field)
        f.kernel, f.processor = expanded(self.kernel, parts), expanded(self.processor, parts)
        return f

    def _steps_of_base(self, f: Coordinates) -> dict[str, Callable]:
        def by(method: Method) -> Callable:
            def move(x: Any, t: float, h: float) -> tuple:
                window = tuple(Instant(torch.tensor(time, dtype=torch.float64)) for time in (t + h, t))
                return method.step(f, window, {"x": x}, method.phases(1)[0])["x"], t + h

            return move

        return {"S": by(self.base), "M": by(self.base), "M*": by(self.adjoint)}

    def _flows_of(self, field: Any) -> tuple[dict[str, Callable], str]:
        parts = getattr(field, "parts", None)
        if not parts:
            other = "" if self.kind == "flows" else ", or a base method, base='implicit-midpoint' say"
            raise MethodError(f"{self.name} composes flows; {field!r} has no parts: give an odekit.SplitField{other}")
        letters = {x for x, _ in (*self.kernel, *self.processor)}
        if self.kind == "flows" and letters != set(parts):
            raise MethodError(
                f"{self.name} is made for the parts {'+'.join(sorted(letters))}, {field!r} has {'+'.join(parts)}"
            )

        def by(flow: Callable, clock: bool) -> Callable:
            return lambda x, t, h: (flow(x, t, h), t + h if clock else t)

        return {x: by(part.flow, x == field.clock) for x, part in parts.items()}, "".join(parts)

    def step(self, f: Coordinates, window: tuple, carry: dict, phase: Any) -> dict:
        t_next, t = (float(instant.time) for instant in window[:2])
        h = t_next - t
        if not self.processor:
            return {"x": _composed(f, f.kernel, carry["x"], t, h)}
        # The kernel goes on where it is as long as steps are equal: between two of one length a processor and its
        # inverse cancel. What leaves the kernel for the output costs the processor undone.
        inner, length = carry.get("kernel", (None, 0))
        if inner is None or abs(h / length - 1) > UNCHANGED:
            inner = _composed(f, f.processor, carry["x"], t, h)
        inner = _composed(f, f.kernel, inner, t, h)
        undone = tuple((x, -a) for x, a in reversed(f.processor))
        return {"x": _composed(f, undone, inner, t_next, h), "kernel": (inner, h)}

    def key(self) -> dict:
        return {**splitting_data(self.exact), "base": self.base and self.base.key()}


def expanded(steps: Steps, parts: str) -> Steps:
    """Steps as flows of the parts: M = A B ..., M* in reverse, S symmetric; neighbours of one part joined.

    >>> expanded((("S", 0.5), ("S", 0.5)), "AB")
    (('A', 0.25), ('B', 0.5), ('A', 0.5), ('B', 0.5), ('A', 0.25))
    """
    if not parts:
        return steps
    half, turn = [(x, 0.5) for x in parts[:-1]], [(x, 1.0) for x in parts]
    patterns = {"M": turn, "M*": turn[::-1], "S": [*half, turn[-1], *half[::-1]]}
    found: list[tuple[str, float]] = []
    for x, a in steps:
        for letter, share in patterns.get(x, [(x, 1.0)]):
            before = found.pop()[1] if found and found[-1][0] == letter else 0.0
            found.append((letter, before + share * a))
    return tuple(found)


def _composed(f: Coordinates, steps: Steps, x: Any, t: Any, h: Any) -> Any:
    for letter, share in steps:
        x, t = f.moves[letter](x, t, share * h)
    return x


def _floats(method: Splitting) -> Steps:
    """Steps as floats, the exact ones rounded once, neighbouring flows of one part joined."""
    return tuple((x, float(v)) for x, v in method.flat())


def _bases(name: str, method: Splitting, base: Any) -> tuple[Method | None, Method | None]:
    """The base method and, where its adjoint is composed too, that."""
    if base is None:
        return None, None
    from odekit import methods

    base = methods.get(base)
    tableau = getattr(base, "tableau", None)
    if method.kind == "flows":
        raise MethodError(f"{name} composes flows of parts: it takes no base method ({base.name})")
    if tableau is None:
        raise MethodError(f"base = {base.name!r}: expected a Runge-Kutta method")
    mirrored = adjoint(tableau)
    if method.kind == "symmetric" and mirrored.A != tableau.A:
        raise MethodError(f"{name} composes a symmetric method; {base.name} is none, 'implicit-midpoint' is one")
    return base, methods.get(mirrored)


def adjoint(tableau: Tableau) -> Tableau:
    """The tableau of the adjoint method, which undoes a step back: a*_ij = b_j' - a_i'j', b*_j = b_j', i' = s + 1 - i.

    Source: Hairer, Lubich, Wanner 2006, theorem V.2.3.

    >>> from odekit.methods import files
    >>> adjoint(files.get("euler")).A, adjoint(files.get("trapezoidal")).A == files.get("trapezoidal").A
    ((('1',),), True)
    """
    c, A, b, _ = tableau.exact
    turned = [[w - a for a, w in zip(row[::-1], b[::-1], strict=True)] for row in A[::-1]]
    texts = [[str(a) for a in row] for row in turned]
    nodes = [str(1 - x) for x in c[::-1]]
    name, weights = f"{tableau.name}*", [str(w) for w in b[::-1]]
    return Tableau(name, tableau.order, tableau.source, nodes, texts, weights, digits=tableau.digits)


def composition(exact: Splitting | Processed) -> Callable[..., Method]:
    """The factory of a splitting or composition method; its option is the base method of a composition."""
    return Composition
