"""Python source of Adams formulas in any clock: their weights come from quadrature, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from odekit.algebra.derive.source import filled, imports_of
from odekit.algebra.derive.source_classical import CALL, STEP, Written, joined, named, reaching, table
from odekit.algebra.derive.source_exponential import FLOW, STARTED, STRAIGHT, TOLD, scales, starting_straight
from odekit.exceptions import MethodError

CLOCKS = {
    "logsnr": "{0}",
    "kappa": "np.exp(-{0})",
    "alpha_over_sigma": "np.exp({0})",
    "t": "np.vectorize(time_at_logsnr)({0})",
}

WEIGHTS = '''
# Gauss and Legendre's rule on [0, 1]; with so many points what it leaves out is below rounding.
POINTS, MASSES = np.polynomial.legendre.leggauss(<points>)
POINTS, MASSES = (POINTS + 1) / 2, MASSES / 2


def weights(masses, values, stations, total):
    """Integrals of the Lagrange polynomials of the stations, from their values under a rule; they sum to the total."""
    older = []
    for j in range(1, len(stations)):
        others = [node for i, node in enumerate(stations) if i != j]
        basis = np.prod([(values - node) / (stations[j] - node) for node in others], axis=0)
        older.append(float(masses @ basis))
    return [total - sum(older), *older]
'''

INTEGRATE = '''
def integrate(f, t, x):
    """x at t[-1] from x at t[0]; f(x, t) is dx/dt."""
    times = [float(one) for one in t]
    outputs = []  # newest first
    for n in range(len(times) - 1):
        t, h = times[n], times[n + 1] - times[n]
        outputs = [f(x, t), *outputs][:ORDER]
        <start>nodes = times[n::-1][:<count>]
        w = weights(MASSES * h, t + POINTS * h, nodes, h)
        x = x + sum(v * k for v, k in zip(w, outputs))
    return x
'''

SAMPLE = '''
def sample(model, x, times, alpha, sigma<inverse>):
    """x at times[-1] from x at times[0]; model(x, t) predicts the <prediction>."""

<scales>

    def logsnr(t):
        return math.log(alpha(t) / sigma(t))
<start>
    times = [float(t) for t in times]
    outputs = []  # newest first
    for n in range(len(times) - 1):
        s, t = times[n], times[n + 1]
        outputs = [model(x, s), *outputs][:ORDER]
        <started>nodes = times[n::-1][:<count>]
        total = tau(t) - tau(s)
<weigh>
        x = scale(t) * (x / scale(s) + sum(v * k for v, k in zip(w, outputs)))
    return x
'''

INTERPOLATING = """
        h = logsnr(t) - logsnr(s)
        values = logsnr(s) + POINTS * h
        masses = MASSES * h * <rate>
        w = weights(masses, <values>, [<station> for node in nodes], total)
"""

LUMPED = """
        stations = [<stations>]
        values = stations[0] + POINTS * (<end> - stations[0])
        w = weights(MASSES * total, values, stations, total)
"""


def adams(fields: Mapping[str, Any]) -> Written:
    """The formula in its prediction, clock and rule; rising orders or a tableau start it, as the running method."""
    prediction, clock = fields.get("prediction") or "velocity", fields.get("clock") or "t"
    lumped = fields.get("weights") == "lumped"
    if prediction == "velocity" and clock == "t":
        return _in_time(fields)
    if prediction not in STRAIGHT or clock not in (*CLOCKS, *(["index"] if lumped else [])):
        raise MethodError(
            f"{fields['name']}: source is written for the noise or the data in a clock, and for the velocity in time;"
            f" not for {prediction} in {clock}"
        )
    return _on_the_flow(fields, prediction, clock, lumped)


def _starter(fields: Mapping[str, Any]) -> Any:
    """The tableau that takes the first steps, None for rising orders: as `odekit.methods.catalogue.adams` decides."""
    from odekit.methods import files
    from odekit.methods.adams import STARTERS

    order, start = fields["order"], fields.get("start")
    start = start or ("rising" if order == 1 else STARTERS[order - 1])
    return None if start == "rising" or order == 1 else files.get(start)


def _in_time(fields: Mapping[str, Any]) -> Written:
    starter = _starter(fields)
    parts = [f"ORDER = {fields['order']}", filled(WEIGHTS, points=str((fields["order"] + 1) // 2))]
    if starter:
        parts += [table(starter, reaching(starter), "_START"), named(STEP, "start", "_START")]
    started = filled(STARTED, arguments="f, x, t, h") if starter else ""
    body = joined([*parts, filled(INTEGRATE, start=started, count=_count(fields))])
    return imports_of(body, "import numpy as np"), CALL + _told(starter), body


def _on_the_flow(fields: Mapping[str, Any], prediction: str, clock: str, lumped: bool) -> Written:
    starter = _starter(fields)
    start, inside = starting_straight(starter, prediction) if starter else ("", False)
    inverse = ", time_at_logsnr" if inside or (clock == "t" and not lumped) else ""
    if lumped:
        index = clock == "index"
        stations = "n - j for j in range(len(nodes))" if index else f"{_of_time(clock, 'node')} for node in nodes"
        weigh = filled(LUMPED, stations=stations, end="n + 1" if index else _of_time(clock, "t"))
    else:
        values = CLOCKS[clock].format("values")
        weigh = filled(INTERPOLATING, rate=STRAIGHT[prediction]["rate"], values=values, station=_of_time(clock, "node"))
    main = filled(
        SAMPLE,
        inverse=inverse,
        prediction=prediction,
        scales=scales(prediction),
        start=start,
        started=filled(STARTED, arguments="x, s, t, outputs[0]") if starter else "",
        count=_count(fields),
        weigh=weigh,
    )
    points = (fields["order"] + 1) // 2 if lumped else 64
    parts = [f"ORDER = {fields['order']}", filled(WEIGHTS, points=str(points))]
    parts += [table(starter, reaching(starter), "_START")] if starter else []
    body = joined([*parts, main])
    doc = FLOW.format(prediction=prediction, inverse=inverse, told=TOLD if inverse else "") + _told(starter)
    return imports_of(body, "import numpy as np"), doc, body


def _of_time(clock: str, name: str) -> str:
    """A clock at a time, as Python."""
    known = {"t": "{0}", "logsnr": "logsnr({0})", "kappa": "sigma({0}) / alpha({0})"}
    return {**known, "alpha_over_sigma": "alpha({0}) / sigma({0})"}[clock].format(name)


def _count(fields: Mapping[str, Any]) -> str:
    """How many outputs a step uses, as Python."""
    return "1 if n == len(times) - 2 else ORDER" if fields.get("last") == "lower" else "ORDER"


def _told(starter: Any) -> str:
    return f" {starter.name} takes the first steps." if starter else " The first steps are of rising order."
