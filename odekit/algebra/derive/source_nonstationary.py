"""Non-stationary methods as Python: the numbers of their one grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SAMPLE = '''
def sample(model, x):
    """The state at the end of GRID, from x at its beginning; model(x, t) returns {what}."""
    outputs = []
    for t, ratio, row in zip(GRID, RATIOS, WEIGHTS):
        outputs.append(model(x, t))
        x = ratio * x + sum(w * output for w, output in zip(row, outputs) if w)
    return x
'''


def non_stationary(fields: Mapping[str, Any]) -> tuple[str, str, str]:
    """(imports, what the docstring says, body) of the Python source."""
    from odekit.methods.families import method_from

    method = method_from(fields)
    rows = [row[: i + 1] for i, row in enumerate(method.weights.tolist())]
    tables = [
        f"GRID = {method.grid.tolist()}",
        f"RATIOS = {method.ratios.tolist()}",
        "WEIGHTS = [\n" + "".join(f"    {row},\n" for row in rows) + "]",
    ]
    process = ", ".join(f"{key}={value!r}" for key, value in method.process.parameters.items())
    doc = (
        f"x(i+1) = RATIOS[i] x(i) + sum of WEIGHTS[i][j] model(x(j), GRID[j]) over j <= i, on this grid of the process "
        f"{method.process.name}({process}) alone."
    )
    if method.exact:
        doc += f" Exact where the model's outputs along the solution lie in the span of {', '.join(method.exact)}."
    body = "\n".join(tables) + "\n\n" + SAMPLE.format(what=f"the {method.prediction}")
    return "", doc, body
