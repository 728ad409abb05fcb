"""Somebody else's sampler, measured as it runs: its order, the method it is, and the evaluations it wastes."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from analysis.exact import ExactProblem, exact_problem
from analysis.ladder import climb, rungs
from analysis.problems import Case
from odekit.exceptions import MethodError, OdekitError, TraceError, unknown

Sampler = Callable[[Callable, torch.Tensor, torch.Tensor], torch.Tensor]


def load_callable(where: str) -> Sampler:
    """The callable behind `module:callable` or `file.py:callable`; the working folder is searched as well.

    This imports, hence runs, the module. Raises MethodError in one line for whatever does not lead to a callable.
    """
    module_name, _, attribute = where.rpartition(":")
    if not module_name or not attribute:
        raise MethodError(f"{where!r} names no sampler: expected module:callable or file.py:callable")
    module = _module(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise unknown(f"callable in {module_name}", attribute, [n for n in dir(module) if not n.startswith("_")])
        found = getattr(found, part)
    if not callable(found):
        raise MethodError(f"{where!r} is a {type(found).__name__}: expected sampler(model, x, times) -> x")
    return found


def _module(name: str) -> Any:
    try:
        if name.endswith(".py"):
            path = Path(name)
            if not path.is_file():
                raise MethodError(f"{name!r} is no file: expected module:callable or file.py:callable")
            spec = importlib.util.spec_from_file_location(path.stem, path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(name)
    except OdekitError:
        raise
    except (Exception, SystemExit) as error:
        raise MethodError(f"module {name!r} cannot be imported: {type(error).__name__}: {error}") from None


def certify_callable(
    sampler: Sampler,
    problem: Case | ExactProblem,
    claim: float | None = None,
    steps: Sequence[int] | None = None,
    name: str = "",
) -> dict[str, Any]:
    """A row of results.json for sampler(model, x, times) -> x, with `nearest` and findings.

    The sampler is run on grids of n, 1.4 n, 2 n, ... steps from the same starting points and its end points are
    compared with the exact ones. times: (n+1,) float64, in the process's time, from start to end. Without a claim
    the verdict is undetermined. Raises MethodError when the sampler raises or returns something of another shape.
    """
    exact = exact_problem(problem) if isinstance(problem, Case) else problem
    findings: list[str] = []

    def error_at(n: int) -> tuple[float, int]:
        x, calls = _run(sampler, exact, n)
        return exact.error(x), calls

    counts = sorted(set(steps)) if steps else rungs(4)
    ladder = climb(error_at, counts, claim, exact.floor, exact.scale, budget=4000, adapt=steps is None)
    if any(math.isnan(error) for error in ladder.errors):
        blown = [n for n, error in zip(ladder.steps, ladder.errors, strict=True) if math.isnan(error)]
        findings.append(f"not finite on grids of {', '.join(map(str, blown))} steps")
    nearest, traced = _traced(sampler, exact)
    estimate = ladder.estimate
    return {
        "method": name or getattr(sampler, "__name__", "sampler"),
        **exact.about(),
        "kind": "with start",
        "claimed_order": claim,
        "observed_order": estimate.slope,
        "order_low": estimate.low,
        "order_high": estimate.high,
        "verdict": estimate.verdict,
        "reason": estimate.reason,
        "asymptotic_from": ladder.asymptotic_from,
        "steps": list(ladder.steps),
        "errors": list(ladder.errors),
        "nfe": list(ladder.evaluations),
        "nearest": nearest,
        "findings": [*findings, *traced, *estimate.findings],
    }


def _run(sampler: Sampler, exact: ExactProblem, n: int) -> tuple[torch.Tensor, int]:
    calls = 0

    def model(x: torch.Tensor, t: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return exact.field.model(x, t)

    try:
        x = sampler(model, exact.x.clone(), exact.grid(n))
    except OdekitError:
        raise
    except Exception as error:
        raise MethodError(f"the sampler raised on a grid of {n} steps: {type(error).__name__}: {error}") from None
    if not torch.is_tensor(x) or x.shape != exact.x.shape:
        got = f"shape {tuple(x.shape)}" if torch.is_tensor(x) else type(x).__name__
        raise MethodError(
            f"the sampler returned {got}: expected a tensor of shape {tuple(exact.x.shape)}, as it was given"
        )
    return x.detach(), calls


def _traced(sampler: Sampler, exact: ExactProblem, n: int = 6) -> tuple[str | None, list[str]]:
    """The catalogue method with the same table on three uneven grids, and findings; nothing for what is not linear."""
    import odekit as ok

    process = getattr(exact.field, "process", None)
    prediction = getattr(exact.field, "prediction", "noise")
    grids = [_uneven(exact, n, seed) for seed in range(3)]
    try:
        plans = [
            ok.trace(
                lambda model, x, times=times: sampler(model, x, times),
                shape=tuple(exact.x.shape[1:]),
                process=process,
                prediction=prediction,
            )
            for times in grids
        ]
    except TraceError as error:
        return None, [f"not a straight-line program: {error}"]
    except Exception as error:  # the sampler's own code, on inputs it did not expect
        return None, [f"could not be traced: {type(error).__name__}: {' '.join(str(error).split())[:200]}"]
    findings = []
    _, calls = _run(sampler, exact, n)
    used = len(plans[0].dense().times)
    if used < calls:
        findings.append(f"{calls - used} of {calls} evaluations on a grid of {n} steps do not reach the result")
    for name in ok.methods.names():
        method = ok.methods.get(name)
        if not method.is_plannable:
            continue
        try:
            known = [ok.plan(method, exact.field, times) for times in grids]
            if all(ok.same(plan, other) for plan, other in zip(plans, known, strict=True)):
                return name, [f"the same method as {name!r} (equal tables on three uneven grids)", *findings]
        except OdekitError:
            continue
    return None, ["equals no method of the catalogue", *findings]


def _uneven(exact: ExactProblem, n: int, seed: int) -> torch.Tensor:
    """A random strictly monotone grid of n steps with the problem's ends."""
    generator = torch.Generator().manual_seed(seed)
    parts = torch.rand(n, generator=generator, dtype=torch.float64) + 0.3
    places = torch.cat([torch.zeros(1, dtype=torch.float64), parts.cumsum(0) / parts.sum()])
    times = exact.t_start + (exact.t_end - exact.t_start) * places
    times[-1] = exact.t_end
    return times
