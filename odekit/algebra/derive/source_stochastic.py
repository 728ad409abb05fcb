"""Python source of stochastic Runge-Kutta methods: SRA, SRI and RI, as `odekit.algebra.stochastic` states them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.algebra.derive.source import filled, imports_of, literals, matrix
from odekit.algebra.derive.source_classical import Written, joined
from odekit.exceptions import MethodError

COMMON = """
def dot(row, values):
    return sum(a * v for a, v in zip(row, values) if a)
"""

STRONG = '''
def integrate(drift, diffusion, t, x, normal):
    """x at t[-1] from x at t[0], t increasing, for dx = drift(x, t) dt + diffusion(<arguments>) dW."""
    for now, then in zip(t[:-1], t[1:]):
        h = then - now
        u, v = normal(), normal()
        I1, I10 = math.sqrt(h) * u, h * math.sqrt(h) / 2 * (u + v / math.sqrt(3))
<step>
    return x
'''

SRA = """
        b = [diffusion(now + c * h) for c in C1]
        a = []
        for A, B in zip(A0, B0):
            a.append(drift(x + h * dot(A, a) + dot(B, b) * I10 / h, now + sum(A) * h))
        x = x + h * dot(ALPHA, a) + dot(BETA1, b) * I1 + dot(BETA2, b) * I10 / h
"""

SRI = """
        I11, I111 = (I1**2 - h) / 2, (I1**3 - 3 * h * I1) / 6
        a, b = [], []
        for A, B, C, D in zip(A0, B0, A1, B1):
            outer = x + h * dot(A, a) + dot(B, b) * I10 / h
            inner = x + h * dot(C, a) + dot(D, b) * math.sqrt(h)
            a.append(drift(outer, now + sum(A) * h))
            b.append(diffusion(inner, now + sum(C) * h))
        x = x + h * dot(ALPHA, a) + dot(BETA1, b) * I1 + dot(BETA2, b) * I11 / math.sqrt(h)
        x = x + dot(BETA3, b) * I10 / h + dot(BETA4, b) * I111 / h
"""

WEAK = '''
def integrate(drift, diffusion, t, x, noises, three_point, two_point):
    """x at t[-1] from x at t[0], t increasing, for dx = drift(x, t) dt + sum_k diffusion(x, t, k) dW_k, k < noises."""
    for now, then in zip(t[:-1], t[1:]):
        h = then - now
        root = math.sqrt(h)
        I = [root * three_point() for _ in range(noises)]
        J = [root * two_point() for _ in range(noises - 1)]

        def double(k, l):
            if k == l:
                return (I[k] ** 2 - h) / 2
            return (I[k] * I[l] - root * J[k]) / 2 if k < l else (I[k] * I[l] + root * J[l]) / 2

        a, b = [], [[] for _ in range(noises)]
        for A, B, C, D in zip(A0, B0, A1, B1):
            outer = x + h * dot(A, a) + sum(dot(B, b[k]) * I[k] for k in range(noises))
            inner = [x + h * dot(C, a) + dot(D, b[k]) * root for k in range(noises)]
            a.append(drift(outer, now + sum(A) * h))
            for k in range(noises):
                b[k].append(diffusion(inner[k], now + sum(C) * h, k))
        moved = x + h * dot(ALPHA, a)
        for k in range(noises):
            crossed = []
            for A, B in zip(A2, B2):
                others = sum(dot(B, b[l]) * double(k, l) for l in range(noises) if l != k)
                crossed.append(diffusion(x + h * dot(A, a) + others / root, now + sum(A) * h, k))
            moved = moved + dot(BETA1, b[k]) * I[k] + dot(BETA2, b[k]) * double(k, k) / root
            moved = moved + dot(BETA3, crossed) * I[k] + dot(BETA4, crossed) * root
        x = moved
    return x
'''

_DOCS = {
    "SRA": "integrate(drift, diffusion, t, x, normal) runs it, for additive noise, diffusion(t).",
    "SRI": "integrate(drift, diffusion, t, x, normal) runs it (Ito), each component of x having a noise of its own, or"
    " all the same one.",
    "RI": "integrate(drift, diffusion, t, x, noises, three_point, two_point) runs it (Ito, weak), for any number of"
    " noises. three_point() draws -sqrt(3), 0, sqrt(3) with probabilities 1/6, 2/3, 1/6, two_point() -1 or 1.",
}
_NORMAL = " normal() draws independent standard normal numbers of the noise's shape."


def stochastic(fields: Mapping[str, Any]) -> Written:
    """The method of its class, explicit."""
    from odekit.methods.families import method_from

    kind, table = fields["kind"], method_from(fields).coefficients
    if kind not in _DOCS:
        raise MethodError(f"{fields['name']}: source is written for the classes {', '.join(_DOCS)}, not for {kind}")
    lines = []
    for name, value in table.items():
        if name[0] in "AB" and name not in ("A2", "B2"):  # these lead to stages that nothing else needs
            if any(v != 0 for i, row in enumerate(value) for v in row[i:]):
                raise MethodError(f"{fields['name']} is implicit ({name}): source is written for explicit methods")
            value = [row[:i] for i, row in enumerate(value)]
        lines.append(f"{name.upper()} = {matrix(value) if name[0] in 'AB' else literals(value)}")
    step = {"SRA": SRA, "SRI": SRI}.get(kind)
    main = filled(STRONG, arguments="t" if kind == "SRA" else "x, t", step=step.strip("\n")) if step else WEAK
    body = joined(["\n".join(lines), COMMON, main])
    return imports_of(body), _DOCS[kind] + (_NORMAL if step else ""), body
