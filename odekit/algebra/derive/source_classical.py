"""Python source of Runge-Kutta, linear multistep and splitting methods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from odekit.algebra.derive.source import expression, filled, imports_of, listed, literal, literals, matrix

Written = tuple[str, str, str]
"""Import lines, what the docstring says of the functions, and the body."""

STEP = '''
def <name>(f, x, t, h):
    """x(t + h) from x(t)."""
    k = []
    for c, row in zip(<C>, <A>):
        k.append(f(x + h * sum(a * slope for a, slope in zip(row, k) if a), t + c * h))
    return x + h * sum(b * slope for b, slope in zip(<B>, k) if b)
'''

IMPLICIT = '''
def <name>(f, x, t, h):
    """x(t + h) from x(t)."""

    def residual(k):
        inner = [x + h * sum(a * slope for a, slope in zip(row, k) if a) for row in <A>]
        return k - np.stack([f(y, t + c * h) for y, c in zip(inner, <C>)])

    k = solve(residual, np.stack([f(x, t)] * len(<B>)))
    return x + h * sum(b * slope for b, slope in zip(<B>, k))
'''

NEWTON = '''
def solve(residual, guess):
    """A root of residual(y), by Newton's iteration with a Jacobian from differences."""
    y = np.array(guess, dtype=float)
    for _ in range(50):
        r = np.asarray(residual(y))
        jacobian = np.empty((y.size, y.size))
        for j in range(y.size):
            moved = y.copy()
            moved.flat[j] += 1e-7 * (1 + abs(y.flat[j]))
            jacobian[:, j] = (np.asarray(residual(moved)) - r).ravel() / (moved.flat[j] - y.flat[j])
        change = np.linalg.solve(jacobian, r.ravel()).reshape(y.shape)
        y = y - change
        if np.linalg.norm(change) <= 1e-13 * (1 + np.linalg.norm(y)):
            return y
    raise RuntimeError("Newton's iteration did not converge; take smaller steps")
'''

INTEGRATE = '''
def integrate(f, t, x):
    """x at t[-1] from x at t[0]; f(x, t) is dx/dt."""
    <enter>for now, then in zip(t[:-1], t[1:]):
        x = step(f, x, now, then - now)
    return x
'''

EMBEDDED = '''
def step_with_error(f, x, t, h):
    """x(t + h), and an estimate of its error: its difference from the embedded method of order <order>."""
    k = []
    for c, row in zip(C + C_MORE, A + A_MORE):
        k.append(f(x + h * sum(a * slope for a, slope in zip(row, k) if a), t + c * h))
    moved = x + h * sum(b * slope for b, slope in zip(B, k) if b)
    return moved, moved - x - h * sum(b * slope for b, slope in zip(B_EMBEDDED, k) if b)
'''

ENTER = "x = np.asarray(x, dtype=float)\n    "

CALL = "integrate(f, t, x) runs it, f(x, t) being dx/dt."
_ANY = "x may be a number, a NumPy array or a torch tensor; t holds the times, forwards or backwards."
_NEWTON = (
    "The equations of a step are solved by Newton's iteration with a Jacobian from differences: for numbers and NumPy"
    " arrays of moderate size. t holds the times, forwards or backwards."
)


def runge_kutta(fields: Mapping[str, Any]) -> Written:
    """An explicit tableau as a loop over its stages, an implicit one with Newton's iteration."""
    from odekit.methods.families import method_from

    tableau = method_from(fields)
    if tableau.kind != "explicit":
        body = joined([table(tableau), NEWTON, named(IMPLICIT), filled(INTEGRATE, enter=ENTER)])
        return imports_of(body, "import numpy as np"), f"{CALL} {_NEWTON}", body
    parts = [table(tableau, reaching(tableau)), named(STEP)]
    if tableau.b_embedded is not None:
        parts += [_rest(tableau), filled(EMBEDDED, order=str(tableau.embedded_order))]
    body = joined([*parts, filled(INTEGRATE, enter="")])
    return imports_of(body), f"{CALL} {_ANY}", body


def reaching(tableau: Any) -> int:
    """How many stages x at the end of a step needs: the last ones may serve the error estimate, or the next step."""
    from odekit.methods.tableau import is_zero

    return max(i for i, weight in enumerate(tableau.exact.b, start=1) if not is_zero(weight))


def table(tableau: Any, count: int | None = None, suffix: str = "") -> str:
    """The coefficients of the first stages."""
    c, A, b = (part[:count] for part in (tableau.c, tableau.A, tableau.b))
    return f"C{suffix} = {literals(c)}\nA{suffix} = {matrix(A)}\nB{suffix} = {literals(b)}"


def _rest(tableau: Any) -> str:
    count = reaching(tableau)
    lines = [f"B_EMBEDDED = {literals(tableau.b_embedded)}"]
    if count < tableau.stages:
        c, A = literals(tableau.c[count:]), matrix(tableau.A[count:])
        lines = ["# Stages of the error estimate alone.", f"C_MORE = {c}", f"A_MORE = {A}", *lines]
    else:
        lines = ["C_MORE, A_MORE = [], []", *lines]
    return "\n".join(lines)


def named(template: str, name: str = "step", suffix: str = "") -> str:
    """A step under a name, with the coefficients of that suffix."""
    return filled(template, name=name, **{x: f"{x}{suffix}" for x in "ABC"})


def joined(parts: Sequence[str]) -> str:
    """The parts of a module, two lines between them."""
    return "\n\n\n".join(part.strip("\n") for part in parts if part)


# Multistep methods.

MULTISTEP = '''
def integrate(f, t, x):
    """x at t[-1] from x at t[0]; f(x, t) is dx/dt."""
    <enter><state>  # newest first
    for n in range(len(t) - 1):
        h = t[n + 1] - t[n]
<advance>
        xs = [x, *xs][:STEPS]<remember>
    return x
'''

STARTED = """        if n < STEPS - 1:
            x = start(f, x, t[n], h)
        else:
            ratios = [(t[m + 1] - t[m]) / (t[m] - t[m - 1]) for m in range(n, n - STEPS + 1, -1)]
"""

SOLVED = """alpha, beta = coefficients(<ratios>)
known = <known>
x = <next>"""

REMEMBER = """
        if n + 2 < len(t):
            slopes = [f(x, t[n + 1]), *slopes][:STEPS]"""


def multistep(fields: Mapping[str, Any]) -> Written:
    """A formula from its coefficients, on any steps, and the one-step method that starts it."""
    alpha, beta = (list(map(literal_or, fields[key])) for key in ("alpha", "beta"))
    steps, implicit, old = len(alpha) - 1, beta[0] != "0", any(b != "0" for b in beta[1:])
    names = ", ".join(f"w{j}" for j in range(1, steps))
    formula = filled(COEFFICIENTS, names=names, alpha=listed(alpha, 4), beta=listed(beta, 4))
    starter, start = _starter(fields, implicit) if steps > 1 else ("", [])
    newton = implicit or any("np." in part for part in start)
    solved = "solve(lambda y: alpha[0] * y - h * beta[0] * f(y, t[n + 1]) - known, x)"
    sums = "h * sum(b * slope for b, slope in zip(beta[1:], slopes)) " if old else ""
    main = filled(
        MULTISTEP,
        advance=STARTED + indent(SOLVED, " " * 12) if steps > 1 else indent(SOLVED, " " * 8),
        ratios="*ratios" if steps > 1 else "",
        enter=ENTER if newton else "",
        state="xs, slopes = [x], [f(x, t[0])]" if old else "xs = [x]",
        known=f"{sums}-{' ' if sums else ''}sum(a * y for a, y in zip(alpha[1:], xs))",
        next=solved if implicit else "known / alpha[0]",
        remember=REMEMBER if old else "",
    )
    body = joined([f"STEPS = {steps}", formula, NEWTON if newton else "", *start, main])
    doc = f"{CALL} {_NEWTON if newton else _ANY}" + (f" {starter} takes the first steps." if starter else "")
    return imports_of(body, *(["import numpy as np"] if newton else [])), doc, body


COEFFICIENTS = '''
def coefficients(<names>):
    """alpha and beta, from the newest point back, for the ratios of steps."""
    alpha = <alpha>
    beta = <beta>
    return alpha, beta
'''


def _starter(fields: Mapping[str, Any], implicit: bool) -> tuple[str, list[str]]:
    from odekit.methods import files
    from odekit.methods.adams import STARTERS
    from odekit.methods.multistep import IMPLICIT_STARTERS

    default = (IMPLICIT_STARTERS if implicit else STARTERS).get(max(fields["order"] - 1, 1), "dop853")
    tableau = files.get(fields.get("start") or default)
    return tableau.name, starting(tableau)


def starting(tableau: Any) -> list[str]:
    """The parts of a module in which `start` is one step of a tableau."""
    if tableau.kind == "explicit":
        return [table(tableau, reaching(tableau), "_START"), named(STEP, "start", "_START")]
    return [table(tableau, suffix="_START"), named(IMPLICIT, "start", "_START")]


def literal_or(text: str) -> str:
    """A literal where the text is a number, else the expression."""
    return expression(text) if re.search(r"\bw\d", text) else literal(text)


# Splitting methods.

SPLITTING = '''
def integrate(flows, t, x):
    """x at t[-1] from x at t[0]; flows[letter](x, h) moves x by h along one part."""
    for now, then in zip(t[:-1], t[1:]):
        for letter, share in STEPS:
            x = flows[letter](x, share * (then - now))
    return x
'''

PROCESSED = '''
def integrate(flows, t, x):
    """x at t[-1] from x at t[0], on equal steps; flows[letter](x, h) moves x by h along one part."""
    h = (t[-1] - t[0]) / (len(t) - 1)
    undone = [(letter, -share) for letter, share in reversed(PROCESSOR)]
    for letter, share in [*PROCESSOR, *STEPS * (len(t) - 1), *undone]:
        x = flows[letter](x, share * h)
    return x
'''


def splitting(fields: Mapping[str, Any]) -> Written:
    """The flows in turn; a processor once before them and undone after them."""
    letters = sorted({letter for letter, _ in fields["steps"]})
    parts = [_flows("STEPS", fields["steps"])]
    if "processor" in fields:
        parts[0] += "\n" + _flows("PROCESSOR", fields["processor"])
    body = joined([*parts, PROCESSED if "processor" in fields else SPLITTING])
    keys = " and ".join(f'"{letter}"' for letter in letters)
    kinds = {"M": "a step of some method; M* of its adjoint", "S": "a step of some symmetric method"}
    kind = kinds.get(letters[0], "the exact flow of one part of the field")
    doc = f"integrate(flows, t, x) runs it; flows is a dict with {keys}, each flow(x, h), {kind}."
    return "", doc, body


def _flows(name: str, steps: Sequence) -> str:
    return f"{name} = [\n" + "".join(f'    ("{letter}", {literal(value)}),\n' for letter, value in steps) + "]"
