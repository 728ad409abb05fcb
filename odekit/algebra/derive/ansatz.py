"""Exponential methods with unknown constants in their entries, and the conditions solved for them.

An entry is a combination of phi_k(cz), k <= 3, with unknown constants; a condition, an exponential polynomial, vanishes
where each of its coefficients does: polynomial equations in the unknowns. Taken in a good order, condition by
condition, they are linear; nodes stay symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_conditions import classical_conditions, stiff_conditions
from odekit.algebra.exponential_multistep import ExponentialMultistep, MultistepCondition
from odekit.algebra.trees import AlgebraError

if TYPE_CHECKING:
    import sympy

Exact = ExponentialTableau | ExponentialMultistep


def span(name: str, *scales: str, k: Sequence[int] = (1, 2, 3)) -> str:
    """The general combination of phi_k(c z) for k and for the constants c in `scales`, its constants unknown.

    Unknowns listed first are solved for first, so that what stays open, and is set to zero, stands last.

    >>> span("u", "1", "c2", k=(2, 3))
    'u_2*phi2((1)*z) + u_3*phi3((1)*z) + u_2b*phi2((c2)*z) + u_3b*phi3((c2)*z)'
    """
    return " + ".join(f"{name}_{i}{at}*phi{i}(({c})*z)" for at, c in zip(("", "b"), scales, strict=False) for i in k)


def ansatz(name: str, c: Sequence[str], A: Sequence[Sequence[str]], b: Sequence[str]) -> ExponentialTableau:
    """A tableau with unknowns in it; an entry "*" is what the row sum leaves: c phi_1(cz), or phi_1(z), less the rest.

    So psi_1 = 0 and psi_{1,i} = 0 hold from the outset.
    """
    rows = [_completed(row, f"({x})*phi1(({x})*z)") for x, row in zip(c, A, strict=True)]
    weights = _completed(b, "phi1(z)")
    return ExponentialTableau(
        name, 1, "ansatz", tuple(c), tuple(rows), weights, parameters=symbols([c, *rows, weights])
    )


def _completed(row: Sequence[str], total: str) -> tuple[str, ...]:
    rest = "".join(f" - ({entry})" for entry in row if entry != "*")
    return tuple(total + rest if entry == "*" else entry for entry in row)


def symbols(rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The names in entries that are neither phi functions nor z, as they come."""
    names = (n for row in rows for entry in row for n in re.findall(r"[A-Za-z]\w*", entry))
    return tuple(dict.fromkeys(n for n in names if n not in ("z", "sqrt") and not re.fullmatch(r"phi\d+", n)))


@dataclass(frozen=True)
class Demand:
    """A condition to be met by its name (a tree or psi_k): identically, or `weak`: with b_i(0); or `classical`ly."""

    condition: str
    weak: bool = False
    classical: bool = False

    def equations(self, method: Exact) -> list[sympy.Expr]:
        """The polynomials in the method's symbols that must vanish."""
        import sympy

        condition = self._of(method)
        if self.classical:
            return [sympy.fraction(sympy.sympify(condition.residual(method)))[0]]
        if isinstance(method, ExponentialTableau):
            return condition.residual(method, self.weak).equations()
        residual = method.residual(condition.k)
        return (residual.at_origin() if self.weak else residual).equations()

    def equation(self, method: Exact) -> str:
        """The demand with its equation, as Python."""
        return f"{self}: {self._of(method).python()} = 0"

    def _of(self, method: Exact) -> Any:
        """The condition itself, in the family of the method."""
        if isinstance(method, ExponentialMultistep):
            return MultistepCondition(int(self.condition.removeprefix("psi_")), 0)
        known = classical_conditions(4) if self.classical else stiff_conditions(4)
        return next(c for c in known if c.name == self.condition)

    def __str__(self) -> str:
        how = " at z = 0" if self.weak and self.condition.startswith("psi") else " with b_i(0)" if self.weak else ""
        return f"{self.condition}{' for bounded A' if self.classical else how}"


def demands(names: str, **form: bool) -> list[Demand]:
    """Demands from names with spaces between them."""
    return [Demand(name, **form) for name in names.split()]


@dataclass(frozen=True)
class Solved:
    """What came out: the method, the values found, and a line of text for each condition."""

    method: Exact
    values: Mapping[str, Any]
    route: tuple[str, ...]


def solve(method: Exact, wanted: Sequence[Demand], free: Sequence[str] = (), nodes: Sequence[str] = ()) -> Solved:
    """Solve conditions for the symbols of an ansatz, one after the other; `free` ones are kept as symbols.

    Entries are solved for first, linearly; an equation in nodes alone gives one of `nodes`. What no condition
    determines is set to zero. Conditions that are not linear yet wait for the others.
    Raises AlgebraError, naming the condition, where there is no solution.

    >>> two = ansatz("two", ("0", "c2"), ((), ("*",)), ("*", span("u", "1")))
    >>> solve(two, [Demand("[tau]")], free=("c2",)).method.b[1]
    'phi2(z)/c2'
    >>> solve(two, [Demand("[tau]", weak=True)], free=("c2",)).method.b[1]
    'phi1(z)/(2*c2)'
    """
    unknown = [p for p in method.parameters if p not in (*free, *nodes)]
    values: dict[str, Any] = {}
    lines: list[str] = []
    waiting, held = list(wanted), 0
    while waiting:
        for demand in waiting:
            found = _linear(demand, method, unknown, nodes)
            if found is not None:
                break
        else:
            raise AlgebraError(f"{method.name}: {waiting[0]} is not linear in the constants left: {', '.join(unknown)}")
        waiting.remove(demand)
        if found:
            values_found = ", ".join(f"{name} = {value}" for name, value in found.items())
            lines.append(f"{demand.equation(method)} gives {values_found}")
        held += not found
        values, method = _put(values, found), substituted(method, found)
        unknown, nodes = [u for u in unknown if u not in found], [n for n in nodes if n not in found]
    if held:
        lines.append(f"{held} of the conditions then hold without more")
    left = {u: 0 for u in unknown if u in method.parameters}
    if left:
        lines.append(f"left open and set to zero: {', '.join(left)}")
    return Solved(substituted(method, left), _put(values, left), tuple(lines))


def _linear(demand: Demand, method: Exact, unknown: list[str], nodes: Sequence[str]) -> dict[str, Any] | None:
    """What the demand determines; None where it is not linear."""
    import sympy

    equations = [e for e in demand.equations(method) if e != 0]
    letters = [sympy.Symbol(u) for u in unknown]
    inner = [e for e in equations if e.free_symbols & set(letters)]
    if any(sympy.Poly(e, *letters).total_degree() > 1 for e in inner):
        return None
    solution = sympy.linsolve(inner, letters) if inner else [tuple(letters)]
    if solution == sympy.S.EmptySet:
        raise AlgebraError(f"{method.name}: {demand} cannot hold")
    values = next(iter(solution))
    found = {str(s): sympy.factor(v) for s, v in zip(letters, values, strict=True) if v != s}
    outer = [e for e in equations if not e.free_symbols & set(letters)]
    return found | _nodes(demand, method, outer, nodes)


def _nodes(demand: Demand, method: Exact, equations: list, nodes: Sequence[str]) -> dict[str, Any]:
    """The first of `nodes` that a single equation gives rationally."""
    import sympy

    found: dict[str, Any] = {}
    for equation in equations:
        left = sympy.factor(equation.subs(found))
        if left == 0:
            continue
        name = next((n for n in nodes if n not in found and sympy.degree(left, sympy.Symbol(n)) >= 1), None)
        roots = [] if name is None else [r for r in sympy.solve(left, sympy.Symbol(name)) if r.is_rational is not False]
        roots = [r for r in roots if r != 0]
        if len(roots) != 1:
            raise AlgebraError(f"{method.name}: {demand} cannot hold: {left} = 0")
        found[name] = sympy.factor(roots[0])
    return found


def _put(values: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    import sympy

    return {name: sympy.factor(sympy.sympify(value).subs(found)) for name, value in values.items()} | dict(found)


def substituted(method: Exact, found: Mapping[str, Any]) -> Exact:
    """The method with values for some of its symbols, each entry tidy."""
    if not found:
        return method

    def put(row: Sequence[Any]) -> tuple[str, ...]:
        return tuple(str(tidy(entry.subs(dict(found)))) for entry in row)

    kept = tuple(p for p in method.parameters if p not in found)
    if isinstance(method, ExponentialTableau):
        c, A, b, _ = method.expressions
        return replace(method, c=put(c), A=tuple(map(put, A)), b=put(b), parameters=kept)
    nodes, weights = method.expressions
    return replace(method, nodes=put(nodes), weights=put(weights), parameters=kept)


def tidy(expression: Any) -> Any:
    """A combination of phi functions with one factored coefficient for each.

    >>> from odekit.expressions import parse
    >>> tidy(parse("phi1(z)/c - (phi1(z) - phi2(c*z))/(c*(1 - c))", ("z", "c")))
    phi1(z)/(c - 1) - phi2(c*z)/(c*(c - 1))
    """
    import sympy

    functions = sorted(expression.atoms(sympy.core.function.AppliedUndef), key=str)
    names = {f: sympy.Dummy() for f in functions}
    plain = sympy.expand(expression.xreplace(names))
    neat = {f: f.func(sympy.factor(f.args[0])) for f in functions}
    rest = sympy.factor(plain.xreplace(dict.fromkeys(names.values(), sympy.Integer(0))))
    return sympy.Add(rest, *(neat[f] * sympy.factor(plain.coeff(name)) for f, name in names.items()))


def multistep_ansatz(name: str, nodes: Sequence[str], weights: Sequence[str]) -> ExponentialMultistep:
    """A multistep formula with unknowns in it; the weight "*" is what phi_1(z) less the others is."""
    weights = _completed(weights, "phi1(z)")
    return ExponentialMultistep(name, 1, "ansatz", tuple(nodes), weights, symbols([nodes, weights]))
