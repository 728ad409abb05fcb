"""Linear multistep methods derived from the moment conditions: the classical families on any steps, formulas with some
coefficients given, and explicit methods with the roots of rho left free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from odekit.algebra import multistep as families
from odekit.algebra.derive.derivation import Derivation, recipe
from odekit.algebra.derive.multistep_published import compared
from odekit.algebra.derive.rk_forms import expression, tidy, whole
from odekit.algebra.multistep import Multistep, from_text, nodes
from odekit.algebra.multistep_conditions import residual
from odekit.algebra.multistep_stability import violating_root, zero_stable
from odekit.algebra.numbers import is_zero
from odekit.algebra.trees import AlgebraError

MAX_STEPS = 5
"""With more, closed forms on symbolic ratios are longer than an entry of a method file may be."""

CONDITIONS = "Hairer, Norsett, Wanner I, theorem III.2.4"


# The classical families.


@recipe("adams-bashforth")
def adams_bashforth(order: int, equal_steps: bool = False) -> Derivation:
    """The explicit Adams method of an order, in the ratios of steps unless equal ones are asked for.

    >>> derived = adams_bashforth(2)
    >>> derived.data["beta"], [str(d) for d in derived.published]
    (['0', '(w1 + 2)/2', '-w1/2'], ['ab-2 (Hairer, Norsett, Wanner I, III.5 (5.5)-(5.7)): the same formula'])
    """
    return _classical("ab", order, equal_steps, "y(t + h) - y(t) = int f, f interpolated at the points known")


@recipe("adams-moulton")
def adams_moulton(order: int, equal_steps: bool = False) -> Derivation:
    """The implicit Adams method of an order: 1 is the implicit Euler method, 2 the trapezoidal rule."""
    return _classical("am", order, equal_steps, "y(t + h) - y(t) = int f, f interpolated at the new point too")


@recipe("bdf")
def bdf(order: int, equal_steps: bool = False) -> Derivation:
    """Backward differentiation of an order; AlgebraError beyond 6, where none is zero-stable."""
    return _classical("bdf", order, equal_steps, "f at the new point = slope of the polynomial through all values")


@recipe("nystroem")
def nystroem(order: int, equal_steps: bool = False) -> Derivation:
    """Nystroem's explicit method of an order, over two steps; 2 is the explicit midpoint rule on equal steps."""
    return _classical("nystroem", order, equal_steps, "y(t + h) - y(t - h/w1) = int f, f at the points known")


@recipe("milne-simpson")
def milne_simpson(steps: int, equal_steps: bool = False) -> Derivation:
    """The implicit method over two steps with f at all points of so many steps; 2 is Simpson's rule on equal ones."""
    return _classical("milne-simpson", steps, equal_steps, "y(t + h) - y(t - h/w1) = int f, f at all points")


def _classical(family: str, number: int, equal_steps: bool, what: str) -> Derivation:
    what_counts, lowest = ("steps", 2) if family == "milne-simpson" else ("order", 1)
    number = whole(what_counts, number, range(lowest, 13))
    method = families.FAMILIES[family](number)
    _check_stable(method, method.order)
    if not equal_steps:
        _check_symbolic(method.name, len(method.nodes) - 1)
        method = families.FAMILIES[family](number, symbolic=True)
    alpha, beta = ([str(v) for v in part] for part in method.expressions())
    name = method.name + ("-equal-steps" if equal_steps and len(alpha) > 2 else "")
    route = (what, "on equal steps" if equal_steps else "on any steps, in closed form in the ratios w1, w2, ...")
    data = _data(name, method.order, method.source, alpha, beta)
    return Derivation(data, route, compared(method.name, alpha, beta))


# Formulas with some coefficients given.


@recipe("multistep")
def multistep(
    alpha: Sequence[str] | str,
    beta: Sequence[str] | str,
    order: int | None = None,
    equal_steps: bool = False,
    name: str = "derived",
) -> Derivation:
    """The formula of the highest order with these coefficients, from the newest point back; "?" is to be solved for.

    Others are exact text: numbers, the ratios w1, w2, ..., or names of free parameters. Lists may be one text with
    commas. With `order`, conditions to it only are imposed, and what they leave open is a free parameter as well.
    Raises AlgebraError where no consistent formula exists, or none that is zero-stable.

    >>> multistep("1, ?, ?", "?, 0, 0").data["alpha"]  # two values, one derivative: BDF2
    ['1', '-(w1 + 1)**2/(2*w1 + 1)', 'w1**2/(2*w1 + 1)']
    >>> multistep("1, 0, -1", "?, ?, ?", equal_steps=True).data["order"]  # Simpson's rule
    4
    """
    rows = [_listed(row) for row in (alpha, beta)]
    count = max(map(len, rows))
    rows = [[*row, *["0"] * (count - len(row))] for row in rows]
    _check_symbolic(name, count - 1)
    order = None if order is None else whole("order", order, range(1, 2 * count))
    reached, texts, free = _solved(name, rows, order, equal_steps)
    parameters = dict.fromkeys(free, "0")
    _check_stable(from_text(name, reached, *texts, parameters=parameters), reached, parameters)
    route = [f"C_0 = ... = C_{reached} = 0 ({CONDITIONS}), {'on equal steps' if equal_steps else 'on any steps'}"]
    if free:
        route.append(f"free: {', '.join(free)}; zero where nothing is said")
    constant = _error_constant(texts, reached, free)
    route.append(f"error constant on equal steps: {constant}" if constant != "0" else "of higher order on equal steps")
    return Derivation(_data(name, reached, CONDITIONS, *texts, parameters), tuple(route))


@recipe("explicit-multistep")
def explicit_multistep(steps: int, order: int | None = None, equal_steps: bool = False) -> Derivation:
    """Explicit methods of so many steps and of that order, with a2, a3, ..., the alpha beyond the second, left free.

    A zero-stable one has no higher order (Dahlquist's first barrier): AlgebraError, with the root that is too large.

    >>> derived = explicit_multistep(2)
    >>> derived.data["alpha"], derived.data["beta"][1:]
    (['1', '-a2 - 1', 'a2'], ['(-a2 + w1**2 + 2*w1)/(2*w1)', '-(a2 + w1**2)/(2*w1)'])
    >>> derived.route[-1]
    'zero-stable on equal steps for -1 <= a2 < 1, where rho = (z - 1)(z - a2)'
    """
    steps = whole("steps", steps, range(1, MAX_STEPS))  # free parameters are symbols as the ratios are
    order = steps if order is None else whole("order", order, range(1, 2 * steps))
    solved = max(order - steps, 0)
    alpha = ["1", *["?"] * (1 + solved), *[f"a{j}" for j in range(2 + solved, steps + 1)]]
    derived = multistep(alpha, ["0", *["?"] * steps], order, equal_steps, f"explicit-{steps}-step-{order}")
    known = compared(f"ab-{steps}", *_at_zero(derived)) if order == steps else ()
    route = derived.route
    if steps == order == 2:
        route = (*route, "zero-stable on equal steps for -1 <= a2 < 1, where rho = (z - 1)(z - a2)")
    return Derivation(derived.data, route, known)


def _at_zero(derived: Derivation) -> list[list[str]]:
    rows = (derived.data["alpha"], derived.data["beta"])
    return [
        [str(tidy(expression(t, *RATIOS, *derived.free).subs(dict.fromkeys(derived.free, 0)))) for t in r] for r in rows
    ]


# Solving.

RATIOS = tuple(f"w{j}" for j in range(1, MAX_STEPS))


def _solved(name: str, rows: list[list[str]], order: int | None, equal_steps: bool) -> tuple:
    """(order reached, texts of alpha and beta, names left free): conditions join one by one while they can be met."""
    import sympy

    steps = len(rows[0]) - 1
    ratios = () if equal_steps else RATIOS[: steps - 1]
    given = [t for t in dict.fromkeys(sum(rows, [])) if t.isidentifier() and t not in RATIOS]
    opened = [
        [sympy.Symbol(f"{'ab'[p]}{j}") if t == "?" else None for j, t in enumerate(r)] for p, r in enumerate(rows)
    ]
    unknowns = [u for row in opened for u in row if u is not None]
    parts = [
        tuple(u or expression(t, *ratios, *given) for u, t in zip(us, row, strict=True))
        for us, row in zip(opened, rows, strict=True)
    ]
    points = nodes(steps, symbolic=not equal_steps and steps > 1)
    ansatz = Multistep(name, tuple(sympy.sympify(getattr(c, "as_expr", lambda c=c: c)()) for c in points), *parts)
    found: dict[Any, Any] = {}
    equations: list[Any] = []
    for q in range(2 * steps + 2 if order is None else order + 1):
        equations.append(residual(ansatz, q))
        solution = _linear(equations, unknowns)
        if solution is None:
            break
        found = solution
    else:
        q += 1
    if q < 2 or (order is not None and q <= order):
        raise AlgebraError(f"{name}: no formula with these coefficients is of order {1 if order is None else order}")
    texts = [[str(tidy(found.get(v, v))) for v in part] for part in parts]
    left = {str(x) for v in found.values() for x in sympy.sympify(v).free_symbols} & {str(u) for u in unknowns}
    return q - 1, texts, [*given, *(str(u) for u in unknowns if str(u) in left)]


def _linear(equations: list, unknowns: list) -> dict | None:
    """The solution, those to the right left free where it is not one; None for equations that contradict each other."""
    import sympy

    if not unknowns:
        return {} if all(is_zero(sympy.cancel(e)) for e in equations) else None
    for solution in sympy.linsolve(equations, unknowns):
        return dict(zip(unknowns, solution, strict=True))
    return None


def _error_constant(texts: Sequence[Sequence[str]], order: int, free: Sequence[str]) -> str:
    """C_(p+1)/sigma(1) on equal steps, in the free parameters."""
    import sympy

    parts = [
        tuple(sympy.sympify(expression(t, *RATIOS, *free)).subs(dict.fromkeys(RATIOS, 1)) for t in row) for row in texts
    ]
    points = tuple(sympy.Integer(1 - j) for j in range(len(parts[0])))
    found = residual(Multistep("", points, *parts), order + 1) / sum(parts[1]) / sympy.factorial(order + 1)
    return str(sympy.factor(found))


# What is refused, and what comes out.


def _check_symbolic(name: str, steps: int) -> None:
    if steps > MAX_STEPS:
        raise AlgebraError(
            f"{name}: {steps} steps; closed forms in the ratios are given to {MAX_STEPS}: equal_steps=True"
        )


def _check_stable(method: Multistep, order: int, parameters: Mapping[str, str] | None = None) -> None:
    """Refuse a formula that is not zero-stable on equal steps, naming the root and whether any other could be."""
    if zero_stable(method.on_equal_steps):
        return
    (root, times), k = violating_root(method), len(method.nodes) - 1
    shown = f"{root.real:.6g}" if abs(root.imag) < 1e-12 else f"{root:.6g}"
    where = (
        f"outside the unit circle (|{shown}| = {abs(root):.6g})" if times == 1 else f"{times}-fold on the unit circle"
    )
    barrier = k if method.is_explicit else k + 1 + (k % 2 == 0)
    why = ""
    if order > barrier:
        kind = "explicit" if method.is_explicit else "implicit"
        why = f"; zero-stable {kind} methods of {k} steps have order {barrier} at most (Dahlquist 1956)"
    at = f" where {', '.join(f'{k} = {v}' for k, v in parameters.items())}" if parameters else ""
    raise AlgebraError(f"{method.name} of order {order} is not zero-stable{at}: rho has the root {shown}, {where}{why}")


def _listed(row: Sequence[str] | str) -> list[str]:
    return [str(t).strip() for t in (row.split(",") if isinstance(row, str) else row)]


def _data(
    name: str, order: int, source: str, alpha: list[str], beta: list[str], parameters: Mapping[str, str] | None = None
) -> dict[str, Any]:
    data = {"name": name, "family": "multistep", "order": order, "source": source, "alpha": alpha, "beta": beta}
    return {**data, "parameters": dict(parameters)} if parameters else data
