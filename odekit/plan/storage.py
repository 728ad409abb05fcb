"""Plans as data: JSON out, JSON in, checked on the way."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from odekit import processes
from odekit.engine import Segment
from odekit.exceptions import ExpressionError, OdekitError, brief
from odekit.expressions import FLOAT64, mpfield
from odekit.fields.operator_predictions import OperatorPrediction
from odekit.fields.preconditioned import Preconditioned
from odekit.fields.predictions import Prediction
from odekit.fields.predictions import prediction as resolve
from odekit.plan.program import Plan

FORMAT = "odekit-plan-1"
LINEAR = processes.LinearSDE.name


def save(plan: Plan, path: str | os.PathLike) -> None:
    """Write a plan; float64 numbers survive to the bit, longer ones as text."""
    if isinstance(plan.prediction, OperatorPrediction):
        raise OdekitError(
            f"{plan.prediction.name!r} is a prediction of your own, which a file cannot hold: reexpress()"
        )
    document = {
        "format": FORMAT,
        "name": plan.name,
        "prediction": plan.prediction if isinstance(plan.prediction, str) else asdict(plan.prediction),
        "process": None if plan.process is None else _described(plan.process),
        "state_scale": list(plan.state_scale),
        "precision": plan.precision,
        "segments": [
            {
                "slots": list(s.slots), "draws": s.draws,
                "times": _plain(s.times), "inputs": _plain(s.inputs), "outputs": _plain(s.outputs),
                **({} if s.intervals is None else {"intervals": _plain(s.intervals)}),
            }
            for s in plan.segments
        ],
    }  # fmt: skip
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(document, default=str))
    os.replace(temporary, path)


def _described(process: Any) -> list:
    """Name and parameters of a process of the catalogue, or of a linear SDE whose matrices are texts."""
    parameters = dict(process.parameters)
    if type(process) is processes.LinearSDE:
        try:
            return [LINEAR, parameters | process.texts()]
        except ExpressionError as error:
            why = f": {error}"
    elif process.name in processes.names():
        return [process.name, parameters]
    else:
        why = ""
    raise OdekitError(
        f"{brief(process)} is a process of your own, which a file cannot hold{why}; save plan.replaced(process=None)"
    )


def load(path: str | os.PathLike) -> Plan:
    """Read a plan; raises OdekitError for a file that is none."""
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        raise OdekitError(f"cannot read the plan {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise OdekitError(f"{path} is no plan: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise OdekitError(f"{path} is no plan: expected a JSON object with format {FORMAT!r}")
    try:
        return _plan(document)
    except KeyError as error:
        raise OdekitError(f"{path} is no plan: the key {error} is missing") from None
    except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError, IndexError) as error:
        raise OdekitError(f"{path} is no plan: {' '.join(str(error).split())}") from None


def _plan(document: dict) -> Plan:
    precision = document["precision"]
    if precision not in ("float64", "float32", "float16", "bfloat16") and type(precision) is not int:
        raise ValueError(f"precision {precision!r}: expected float64, float32 or a number of digits")
    with (mpfield(precision) if isinstance(precision, int) else FLOAT64).context:
        segments = tuple(_segment(s, precision) for s in document["segments"])
    if not segments:
        raise ValueError("it has no segments")
    prediction, process = document["prediction"], document["process"]
    if isinstance(prediction, dict):
        prediction = (Preconditioned if "data_variance" in prediction else Prediction)(**prediction)
    else:
        prediction = resolve(prediction).name
    if process is not None:
        name, parameters = process
        process = processes.LinearSDE(**parameters) if name == LINEAR else processes.get(name, **parameters)
    start, end = (float(v) for v in document["state_scale"])
    return Plan(segments, prediction, process, (start, end), precision, str(document["name"]))


def _segment(data: dict, precision: Any) -> Segment:
    make = _exact if isinstance(precision, int) else lambda v: torch.tensor(v, dtype=torch.float64)
    slots, draws = tuple(map(str, data["slots"])), int(data["draws"])
    times, inputs, outputs = (make(data[k]) for k in ("times", "inputs", "outputs"))
    form = tuple(outputs.shape[3:])
    if times.ndim != 2 or outputs.ndim < 3 or not (len(form) < 2 or form == (form[0],) * 2):
        raise ValueError("tables must have the axes (steps, rows, columns), and (F,) or (n, n) of operators behind")
    width = len(slots) + times.shape[1] + draws
    if times.shape[1] == 0:  # steps that only draw noise: an empty list has no shape of its own
        inputs = inputs.reshape(times.shape[0], 0, width, *form)
    if inputs.shape != (*times.shape, width, *form) or (outputs.shape[0], outputs.shape[2]) != (times.shape[0], width):
        raise ValueError(f"tables {tuple(inputs.shape)}, {tuple(outputs.shape)} do not fit {width} registers")
    intervals = make(data["intervals"]) if "intervals" in data else None
    if intervals is not None and tuple(intervals.shape) != (times.shape[0], draws, 2):
        raise ValueError(f"intervals {tuple(intervals.shape)} do not fit {draws} draws a step")
    return Segment(times, inputs, outputs, slots, draws, intervals=intervals)


def _plain(table: Any) -> list:
    return table.detach().tolist() if torch.is_tensor(table) else np.vectorize(str, otypes=[object])(table).tolist()


def _exact(nested: list) -> np.ndarray:
    import mpmath

    return np.vectorize(mpmath.mpf, otypes=[object])(np.array(nested, dtype=object))
