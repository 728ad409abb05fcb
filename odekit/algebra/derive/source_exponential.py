"""Python source of exponential methods from their coefficients: on the probability flow, or on u' = L u + g(u, t)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.algebra.derive.source import expression, filled, imports_of, listed, literal, matrix
from odekit.algebra.derive.source_classical import Written, joined, reaching, table
from odekit.exceptions import MethodError

PHI = '''
def phi(k, z):
    """int_0^1 e^((1-u) z) u^(k-1)/(k-1)! du, without cancellation: the series near zero, the recurrence elsewhere."""
    if k == 0:
        return math.exp(z)
    if abs(z) < k:
        term = total = 1 / math.factorial(k)
        n = k
        while abs(term) > 1e-18 * abs(total):
            n += 1
            term *= z / n
            total += term
        return total
    value = math.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / z
    return value
'''

PHI_OF_ARRAYS = '''
def phi(k, z):
    """int_0^1 e^((1-u) z) u^(k-1)/(k-1)! du, without cancellation: the series near zero, the recurrence elsewhere."""
    z = np.asarray(z)
    if k == 0:
        return np.exp(z)
    near = np.abs(z) < k
    inner, outer = np.where(near, z, 0.0), np.where(near, 1.0, z)
    series = term = 1 / math.factorial(k) + 0 * inner
    for n in range(k + 1, k + 41 + 4 * k):
        term = term * inner / n
        series = series + term
    value = np.expm1(outer) / outer
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / outer
    return np.where(near, series, value)
'''

MOVED = {
    "noise": '''
def moved(x, s, t, h, weights, outputs, alpha, sigma):
    """x at t: the exact linear flow from s, and the model outputs weighed."""
    total = sum(w * k for w, k in zip(weights, outputs) if w)
    return alpha(t) / alpha(s) * x - sigma(t) * h * total
''',
    "data": '''
def moved(x, s, t, h, weights, outputs, alpha, sigma):
    """x at t: the exact linear flow from s, and the model outputs weighed."""
    total = sum(w * k for w, k in zip(weights, outputs) if w)
    return sigma(t) / sigma(s) * x + alpha(t) * h * total
''',
}

SAMPLE = '''
def sample(model, x, times, alpha, sigma<inverse>):
    """x at times[-1] from x at times[0]; model(x, t) predicts the <prediction>."""
    times = [float(t) for t in times]
    for s, t in zip(times[:-1], times[1:]):
        start = math.log(alpha(s) / sigma(s))
        h = math.log(alpha(t) / sigma(t)) - start
        C, A, B = coefficients(h)
        k = []
        for c, row in zip(C, A):
            at = <at>
            k.append(model(moved(x, s, at, h, row, k, alpha, sigma), at))
        x = moved(x, s, t, h, B, k, alpha, sigma)
    return x
'''

SEMILINEAR = '''
def integrate(g, t, u, L):
    """u at t[-1] from u at t[0], for u' = L u + g(u, t); L is a number, or an array beside u (a diagonal)."""
    for now, then in zip(t[:-1], t[1:]):
        h = then - now
        C, A, B = coefficients(h * L)
        k = []
        for c, row in zip(C, A):
            inner = phi(0, c * h * L) * u + h * sum(a * slope for a, slope in zip(row, k))
            k.append(g(inner, now + c * h))
        u = phi(0, h * L) * u + h * sum(b * slope for b, slope in zip(B, k))
    return u
'''

COEFFICIENTS = '''
def coefficients(<variable>):
    """c, A and b for a step of size <size>."""
    C = <c>
    A = <A>
    B = <b>
    return C, A, B
'''

FLOW = (
    "sample(model, x, times, alpha, sigma{inverse}) runs it; model(x, t) is the prediction of the {prediction}, alpha"
    " and sigma are functions of time, and times run down to one where sigma is positive.{told}"
    " x may be a NumPy array or a torch tensor."
)
TOLD = " The log-SNR is log(alpha/sigma), time_at_logsnr its inverse."


def runge_kutta(fields: Mapping[str, Any]) -> Written:
    """An explicit exponential tableau, its coefficients evaluated for every step."""
    if any(literal_or(a) != "0" for i, row in enumerate(fields["A"]) for a in row[i:]):
        raise MethodError(f"{fields['name']} is implicit: no source is written for implicit exponential methods")
    A = [row[:i] for i, row in enumerate(fields["A"])]
    prediction, nodes = fields.get("prediction"), [literal(c) for c in fields["c"]]
    inner = any(c not in ("0", "1") for c in nodes)
    table = filled(
        COEFFICIENTS,
        variable="h" if prediction else "z",
        size="h in log-SNR" if prediction else "h, z = h L",
        c=listed(nodes, 4),
        A=matrix(A, literal_or, 4),
        b=listed([*map(literal_or, fields["b"])], 4),
    )
    if not prediction:
        body = joined([PHI_OF_ARRAYS, table, SEMILINEAR])
        doc = "integrate(g, t, u, L) runs it on u' = L u + g(u, t), for numbers and NumPy arrays."
        return imports_of(body, "import numpy as np"), doc, body
    at = "s if c == 0 else t" if "1" in nodes else "s"
    if inner:
        at = f"s if c == 0 else {'t if c == 1 else ' * ('1' in nodes)}time_at_logsnr(start + c * h)"
    inverse = ", time_at_logsnr" if inner else ""
    main = filled(SAMPLE, prediction=prediction, inverse=inverse, at=at)
    body = joined([PHI, table, MOVED[prediction], main])
    doc = FLOW.format(prediction=prediction, inverse=inverse, told=TOLD if inner else "")
    return imports_of(body), doc, body


def literal_or(text: str) -> str:
    """A literal where an entry is a number, else the expression."""
    from odekit.exceptions import OdekitError

    try:
        return literal(text)
    except OdekitError:
        return expression(text)


# Multistep formulas.

STRAIGHT = {
    "noise": {
        "scale": "alpha(t)",
        "tau": "sigma(t) / alpha(t)",
        "rate": "-np.exp(-values)",
        "back": "-math.log(value)",
    },
    "data": {"scale": "sigma(t)", "tau": "alpha(t) / sigma(t)", "rate": "np.exp(values)", "back": "math.log(value)"},
}
"""x = scale y with dy/dtau = N: scale and tau of a time, dtau over the log-SNR, and the log-SNR of a tau."""

START = '''
    def start(x, s, t, slope):
        """One step of <name>, in y = x / scale and tau."""
        y, h, k = x / scale(s), tau(t) - tau(s), [slope]
        for c, row in zip(C_START[1:], A_START[1:]):
            at = <at>
            inner = y + h * sum(a * slope for a, slope in zip(row, k) if a)
            k.append(model(scale(at) * inner, at))
        return scale(t) * (y + h * sum(b * slope for b, slope in zip(B_START, k) if b))
'''

STARTED = """if n < ORDER - 1:
            x = start(<arguments>)
            continue
        """

WEIGHTS = '''
def weights_<count>(<names>):
    """The weights of the <count> newest model outputs, for a step h in log-SNR<ratios>."""
    return <weights>
'''

MULTISTEP = '''
def sample(model, x, times, alpha, sigma<inverse>):
    """x at times[-1] from x at times[0]; model(x, t) predicts the <prediction>."""
<start>
    times = [float(t) for t in times]
    logsnr = [math.log(alpha(t) / sigma(t)) for t in times]
    outputs = []  # newest first
    for n in range(len(times) - 1):
        s, t, h = times[n], times[n + 1], logsnr[n + 1] - logsnr[n]
        outputs = [model(x, s), *outputs][:<count>]
        <started>ratios = [(logsnr[n - j] - logsnr[n - j - 1]) / h for j in range(len(outputs) - 1)]
        x = moved(x, s, t, h, <weights>, outputs, alpha, sigma)
    return x
'''

SCALES = """
    def scale(t):
        return <scale>

    def tau(t):
        return <tau>
"""

SEMILINEAR_MULTISTEP = '''
def integrate(g, t, u, L):
    """u at t[-1] from u at t[0], for u' = L u + g(u, t); L is a number, or an array beside u (a diagonal)."""
    outputs = []  # newest first
    for n in range(len(t) - 1):
        h = t[n + 1] - t[n]
        outputs = [g(u, t[n]), *outputs][:<count>]
        ratios = [(t[n - j] - t[n - j - 1]) / h for j in range(len(outputs) - 1)]
        weights = WEIGHTS[len(outputs)](h * L, *ratios)
        u = phi(0, h * L) * u + h * sum(w * k for w, k in zip(weights, outputs))
    return u
'''


def scales(prediction: str) -> str:
    """The functions `scale` and `tau` of a prediction's straight coordinates, inside `sample`."""
    return filled(SCALES, scale=STRAIGHT[prediction]["scale"], tau=STRAIGHT[prediction]["tau"])


def starting_straight(tableau: Any, prediction: str) -> tuple[str, bool]:
    """`start`, one step of a tableau in straight coordinates, and whether it asks for a time between the nodes."""
    inside = any(c not in ("0", "1") for c in tableau.c[: reaching(tableau)])
    middle = f"time_at_logsnr({STRAIGHT[prediction]['back'].replace('value', 'tau(s) + c * h')})"
    at = f"s if c == 0 else t if c == 1 else {middle}" if inside else "s if c == 0 else t"
    return "\n" + filled(START, name=tableau.name, at=at) + "\n", inside


def multistep(fields: Mapping[str, Any]) -> Written:
    """An exponential multistep formula; a tableau starts it, or exponential Adams formulas of fewer points."""
    from odekit.algebra.exponential_multistep import exponential_adams
    from odekit.methods import files

    name, prediction, count = fields["name"], fields.get("prediction"), len(fields["weights"])
    start = fields.get("start", "rising") if count > 1 else "rising"
    if start != "rising" and (start not in files.names() or not prediction):
        raise MethodError(f"{name}: source is written for start = 'rising' or a tableau's name, not for {start!r} here")
    _check_nodes(name, fields["nodes"])
    variable = {None: "z", "noise": "h", "data": "(-h)"}[prediction]
    shorter = range(1, count) if start == "rising" else ()
    rows = {k: [w.replace("z", variable) for w in exponential_adams(k).weights] for k in shorter}
    rows[count] = fields["weights"]
    parts = [
        filled(
            WEIGHTS,
            count=str(k),
            names=", ".join(["h" if prediction else "z", *(f"r{j}" for j in range(1, k))]),
            ratios=" and the steps before it, in units of it" if k > 1 else "",
            weights=listed([*map(literal_or, row)], 4),
        )
        for k, row in rows.items()
    ]
    if start == "rising":
        parts.append("WEIGHTS = {" + ", ".join(f"{k}: weights_{k}" for k in rows) + "}")
    if not prediction:
        body = joined([PHI_OF_ARRAYS, *parts, filled(SEMILINEAR_MULTISTEP, count=str(count))])
        doc = "integrate(g, t, u, L) runs it on u' = L u + g(u, t), for numbers and NumPy arrays."
        return imports_of(body, "import numpy as np"), doc + _rising(count), body
    step, inside = "", False
    if start != "rising":
        tableau = files.get(start)
        step, inside = starting_straight(tableau, prediction)
        step = f"\n{scales(prediction)}\n{step}"
        parts.append(table(tableau, reaching(tableau), "_START"))
    inverse = ", time_at_logsnr" if inside else ""
    main = filled(
        MULTISTEP,
        prediction=prediction,
        inverse=inverse,
        start=step,
        started=filled(STARTED, arguments="x, s, t, outputs[0]").replace("ORDER - 1", str(count - 1)) if step else "",
        weights=f"weights_{count}(h, *ratios)" if step else "WEIGHTS[len(outputs)](h, *ratios)",
        count=str(count),
    )
    if not step:
        main = main.replace('."""\n\n', '."""\n')
    body = joined([PHI, *parts, MOVED[prediction], main])
    told = _rising(count) if not step else f" {start} takes the first steps."
    return (
        imports_of(body),
        FLOW.format(prediction=prediction, inverse=inverse, told=TOLD if inside else "") + told,
        body,
    )


def _rising(count: int) -> str:
    return " The first steps use exponential Adams formulas of fewer points." if count > 1 else ""


def _check_nodes(name: str, nodes: Any) -> None:
    """Refuse nodes that are not the grid's own."""
    import sympy

    from odekit.expressions import parse

    symbols = sympy.symbols([f"r{j}" for j in range(1, len(nodes) + 1)])
    for j, node in enumerate(nodes):
        if sympy.expand(parse(node, symbols) + sum(symbols[:j])) != 0:
            raise MethodError(f"{name}: source is written for the nodes 0, -r1, -r1-r2, ...; found {node}")
