"""Recipes for splitting methods: exact where their conditions have exact solutions, else solved to any digits."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

from odekit.algebra import compositions
from odekit.algebra.derive.derivation import Derivation, Difference, recipe
from odekit.algebra.derive.rk_forms import among, whole
from odekit.algebra.splitting import Splitting, error_norm
from odekit.algebra.splitting_conditions import count
from odekit.algebra.splitting_design import optimised, processed, refined
from odekit.algebra.splitting_files import Processed, splitting_data
from odekit.algebra.trees import AlgebraError

RUTH = {"+": "the branch of Ruth's own solution", "-": "the other branch"}
YOSHIDA = {4: ("triple-jump",), 6: ("a", "b", "c", "triple-jump"), 8: ("a", "triple-jump")}
BLANES_MOAN = {
    "s6": "blanes-moan-4", "s10": "blanes-moan-6", "srkn6b": "blanes-moan-srkn-6b",
    "srkn11b": "blanes-moan-srkn-11b", "srkn14a": "blanes-moan-srkn-14a",
}  # fmt: skip
DIGITS = range(15, 201)


@recipe("strang")
def strang(parts: str = "AB") -> Derivation:
    """The symmetric splitting of order 2 of two or more parts; the last part is the one in the middle.

    >>> strang("ABC").data["steps"]
    [['A', '1/2'], ['B', '1/2'], ['C', '1'], ['B', '1/2'], ['A', '1/2']]
    """
    if not re.fullmatch("[A-Z]{2,}", parts) or len(set(parts)) < len(parts) or set(parts) & set("MS"):
        raise AlgebraError(f"parts = {parts!r}: expected two or more letters, each once, neither M nor S, like 'AB'")
    half = [(x, "1/2") for x in parts[:-1]]
    steps = (*half, (parts[-1], "1"), *half[::-1])
    name = {"AB": "strang", "BA": "strang-bab"}.get(parts, f"strang-{parts.lower()}")
    method = Splitting(name, steps, 2, "Strang 1968")
    route = ("sums of 1 for order 1", "a palindrome is its own adjoint: no condition of even order is left")
    known = [compositions.get(name)] if name in compositions.names() else []
    return Derivation(splitting_data(method), route, tuple(compared(method, one) for one in known))


@recipe("ruth")
def ruth(branch: str = "+") -> Derivation:
    """The splittings of order 3 of three flows each, free in a1: exact, Ruth's own at a1 = 7/24.

    The b_j are the weights of the quadrature of degree 2 with the nodes d_j = a_1 + ... + a_j, d_3 = 1 (conditions B,
    AB, AAB), and condition ABB is a quadratic in d_2 with two `branch`es. Source: Ruth 1983; the family derived here.

    >>> [value for _, value in ruth().method.steps]
    ['7/24', '2/3', '3/4', '-2/3', '-1/24', '1']
    """
    from sympy import Symbol

    among("branch", branch, RUTH)
    d1, root = Symbol("a1"), Symbol("root")
    square = 3 * (4 * d1 - 1) * (12 * d1**3 + 9 * d1**2 - 6 * d1 + 1)
    d2 = (12 * d1**2 + 9 * d1 - 3 + (root if branch == "+" else -root)) / (6 * (4 * d1 - 1))
    weights = (
        (3 * d2 - 1) / (6 * (d1 - 1) * (d1 - d2)),
        -(3 * d1 - 1) / (6 * (d1 - d2) * (d2 - 1)),
        (6 * d1 * d2 - 3 * d1 - 3 * d2 + 2) / (6 * (d1 - 1) * (d2 - 1)),
    )
    texts = [_rationalised(v, root, square) for v in (d1, d2 - d1, 1 - d2, *weights)]
    steps = [[x, v] for pair in zip(texts[:3], texts[3:], strict=True) for x, v in zip("AB", pair, strict=True)]
    name = "ruth-3-family" if branch == "+" else "ruth-3-family-2"
    data = {
        "name": name, "family": "splitting", "order": 3, "source": "Ruth 1983; the family derived here",
        "parameters": {"a1": "7/24"}, "steps": steps,
    }  # fmt: skip
    route = (
        "conditions A, B, AB, AAB, ABB in six steps: one parameter, a1",
        "B, AB, AAB: the b_j are the weights of degree 2 at the nodes d_j = a_1 + ... + a_j",
        f"ABB: (12 a1 - 3) d2^2 - (12 a1^2 + 9 a1 - 3) d2 + 3 a1^2 + 3 a1 - 1 = 0, {RUTH[branch]}",
        "real where (4 a1 - 1)(12 a1^3 + 9 a1^2 - 6 a1 + 1) > 0",
    )
    derived = Derivation(data, route)
    published = (compared(derived.method, compositions.get("ruth-3")),) if branch == "+" else ()
    return Derivation(data, route, published)


@recipe("yoshida")
def yoshida(order: int = 4, solution: str | None = None, digits: int = 40) -> Derivation:
    """Compositions of a symmetric base: the triple jump, exactly; at order 6 and 8 also those of fewer steps.

    `solution`: "triple-jump", or "a", "b", "c" as Yoshida numbers those of 7 steps (order 6) and 15 (order 8, "a").
    Source: Yoshida 1990 (Phys. Lett. A 150, 262-268).
    """
    order = whole("order", order, (4, 6, 8))
    solution = among("solution", solution or YOSHIDA[order][0], YOSHIDA[order])
    if solution == "triple-jump":
        method = compositions.triple_jump(order)
        route = ("each order: z, 1 - 2z, z with 2 z^(2k+1) + (1 - 2z)^(2k+1) = 0, z = 1/(2 - 2^(1/(2k+1)))",)
        return Derivation(splitting_data(method), route)
    return resolved(f"yoshida-{order}-{solution}", digits)


@recipe("kahan-li")
def kahan_li(order: int = 6, digits: int = 40) -> Derivation:
    """Compositions of a symmetric base with small steps: 9 of order 6, 17 of order 8, to any digits.

    Source: Kahan, Li 1997 (Math. Comp. 66, 1089-1099).
    """
    return resolved(f"kahan-li-{whole('order', order, (6, 8))}", digits)


@recipe("suzuki")
def suzuki(order: int = 4) -> Derivation:
    """Suzuki's fractal: five copies of itself at each order, exactly; all times lie within the step.

    Source: Suzuki 1990 (Phys. Lett. A 146, 319-323).

    >>> suzuki(4).data["steps"][2]
    ['S', '1-4/(4-4**(1/3))']
    """
    method = compositions.fractal(whole("order", order, (4, 6, 8)))
    return Derivation(
        splitting_data(method),
        ("each order: z, z, 1 - 4z, z, z with 4 z^(2k+1) + (1 - 4z)^(2k+1) = 0, z = 1/(4 - 4^(1/(2k+1)))",),
    )


@recipe("blanes-moan")
def blanes_moan(method: str = "s6", digits: int = 40) -> Derivation:
    """The splittings S6 (order 4) and S10 (order 6) and the Nystroem ones, to any digits.

    Source: Blanes, Moan 2002 (J. Comput. Appl. Math. 142, 313-330), tables 2 and 3.
    """
    return resolved(BLANES_MOAN[among("method", method.lower(), BLANES_MOAN)], digits)


@recipe("refined-splitting")
def resolved(method: str, digits: int = 40) -> Derivation:
    """A published splitting or composition method to any digits: its conditions solved from its printed decimals.

    Of a family the member nearest to the printed one, in the least norm.
    """
    digits = whole("digits", digits, DIGITS)
    printed = compositions.get(method)
    if printed.digits is None:
        raise AlgebraError(f"{method} is exact: no digits are missing")
    solved = refined(printed, digits)
    route = (
        f"the {conditions(printed)} conditions to order {printed.order} on Lyndon words",
        f"Gauss and Newton's iteration from the printed decimals, to {digits} digits",
    )
    return Derivation(splitting_data(solved), route, (compared(solved, printed),))


@recipe("optimised-splitting")
def optimised_splitting(
    order: int = 4,
    stages: int = 4,
    first: str = "A",
    nystrom: bool = False,
    measure: str = "lyndon",
    digits: int = 30,
    starts: int = 48,
    seed: int = 0,
) -> Derivation:
    """The symmetric splitting of so many stages and the least error constant, of parts A and B, from random starts.

    `nystrom`: for A quadratic in the momenta, where some brackets vanish. `measure`: the basis in which the leading
    error is measured, "lyndon", or "nested" (order 4), [X,[Y,[Z,[A,B]]]] as in Omelyan, Mryglod, Folk 2002.
    """
    order, stages = whole("order", order, (2, 4, 6)), whole("stages", stages, range(1, 13))
    among("first", first, ("A", "B"))
    other = "B" if first == "A" else "A"
    pattern = (first + other) * stages + first
    nystrom = str(nystrom).lower() in ("true", "yes", "1")
    method = optimised(pattern, order, whole("digits", digits, DIGITS), int(starts), int(seed), nystrom, measure)
    name = f"optimised-{pattern.lower()}-{order}" + ("-nystrom" if nystrom else "")
    method = Splitting(name, method.steps, order, "minimised here", method.digits, nystrom)
    rivals = [m for m in map(compositions.get, compositions.names()) if m.kind == "flows" and m.is_symmetric]
    rivals = [
        m for m in rivals if (m.order, m.stages, m.steps[0][0]) == (order, stages, first) and m.nystrom <= nystrom
    ]
    route = (
        f"a palindrome {pattern}: {conditions(method)} conditions to order {order}, those of even order hold",
        f"least 2-norm of the leading error in {measure} brackets: {starts} random starts, then Lagrange and Newton",
    )
    return Derivation(splitting_data(method), route, tuple(compared(method, rival, nystrom) for rival in rivals))


@recipe("processed-splitting")
def processed_splitting(
    order: int = 4, stages: int = 3, first: str = "A", digits: int = 30, starts: int = 12, seed: int = 0
) -> Derivation:
    """A processed splitting of two parts: a symmetric kernel of effective order `order`, and its processor.

    Only the kernel costs, and it meets fewer conditions than a method of its order: 2, 0, 1, 1, 3, 3 of them by order.
    Source: Butcher 1969; Blanes, Casas, Ros 1999; Blanes, Casas, Murua 2006.
    """
    order, stages = whole("order", order, (4, 6)), whole("stages", stages, range(1, 13))
    among("first", first, ("A", "B"))
    pattern = (first + ("B" if first == "A" else "A")) * stages + first
    kernel, processor = processed(pattern, order, whole("digits", digits, DIGITS), int(starts), int(seed))
    name = f"processed-{pattern.lower()}-{order}"
    method = Processed(name, kernel, processor, order, "Butcher 1969; Blanes, Casas, Ros 1999; solved here")
    route = (
        f"kernel: a palindrome {pattern} of effective order {order}, the least error that no conjugation removes",
        f"processor: its field is that of the conjugation below grade {order}, the solution of least 1-norm found",
    )
    return Derivation(splitting_data(method), route)


def _rationalised(value: Any, root: Any, square: Any) -> str:
    """An expression in the square root of `square` as the text of u + w root, with no root in a denominator."""
    from sympy import Poly, cancel, factor, fraction, sqrt, together

    above, below = (Poly(part, root) for part in fraction(together(value)))
    relation, turned = Poly(root**2 - square, root), below.as_expr().subs(root, -root)
    above, below = (Poly(part * turned, root).rem(relation) for part in (above.as_expr(), below.as_expr()))
    u, w = (factor(cancel(above.coeff_monomial(root**k) / below.as_expr())) for k in (0, 1))
    return str(u + w * sqrt(square))


def conditions(method: Splitting) -> int:
    """How many conditions a method of its order meets; a symmetric one only those of odd order."""
    orders = range(1, method.order + 1, 2 if method.is_symmetric else 1)
    return sum(count(n, method.kind, **({"nystrom": True} if method.nystrom else {})) for n in orders)


def compared(derived: Splitting, printed: Splitting, nystrom: bool = False) -> Difference:
    """A published method beside a derived one: the same to the digits printed, or where they part, and by how much.

    >>> print(compared(compositions.get("strang"), compositions.get("strang-bab")))
    strang-bab (Strang 1968): step 1 is B 1/2, derived A 1/2
    """
    return Difference(printed.name, printed.source, _first_difference(derived, printed, nystrom))


def _first_difference(derived: Splitting, printed: Splitting, nystrom: bool) -> str:
    if len(derived.steps) != len(printed.steps):
        return f"{len(printed.steps)} steps, derived {len(derived.steps)}"
    pairs = zip(derived.steps, printed.steps, strict=True)
    values = zip(derived.numbers(60), printed.numbers(60), strict=True)
    for i, (((x, ours), (y, theirs)), (u, v)) in enumerate(zip(pairs, values, strict=True), 1):
        gap = abs(float(u - v))
        if x != y or gap > max(_rounding(theirs), _rounding(ours)):
            lines = f"step {i} is {y} {theirs}, derived {x} {_short(ours)}"
            if gap < 1e-9 or x != y:
                return lines + (f"; off by {gap:.1e}" if x == y else "")
            sizes = [error_norm(replace(m, nystrom=nystrom), m.order) for m in (printed, derived)]
            return f"{lines}; error norms in Lyndon brackets {sizes[0]:.7g}, derived {sizes[1]:.7g}"
    return ""


def _rounding(text: Any) -> float:
    """Half a unit of the last decimal of every number in a text, with some slack: what printing may have cost."""
    places = [len(found) for found in re.findall(r"\d*\.(\d+)", str(text))]
    return 1e-40 if not places else sum(0.51 * 10.0**-p for p in places) * (2 if "*" in str(text) else 1)


def _short(text: Any) -> str:
    return str(text) if len(str(text)) <= 24 else f"{float(Fraction(str(text))):.17g}"
