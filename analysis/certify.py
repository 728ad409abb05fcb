"""Certificates: what a method claims, and three independent routes to whether it holds.

The algebra proves an order from the coefficients (or reads it off a sampler's own table); the local slope measures one
step from exact points, h^(p+1); the global slope measures whole solves, h^p. They share neither code nor assumptions,
so where they disagree that is a finding. A problem testifies to an order only as far as its elementary differentials
excite the trees of it; which it does stands beside the slopes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from analysis.blackbox import certify_callable
from analysis.certificate import ABSENT, ROUTES, CertificatePage, Route, proved, route_of, testimony_of
from analysis.elementary import of_sampler
from analysis.exact import exact_problem
from analysis.foreign import page as foreign_page
from analysis.measure import FORMULA, WITH_START, convergence, covered, has_start_or_last, local_error
from analysis.order import FAIL, PASS, UNDETERMINED
from analysis.problems import Case, cases, own_cases
from analysis.subjects import Subject, subject_of
from analysis.weak import page as weak_page
from odekit.exceptions import OdekitError


def certify(
    what: Any,
    claim: float | None = None,
    process: str | None = None,
    prediction: str | None = None,
    problem: Any = None,
    grid: str | None = None,
    steps: Sequence[int] | None = None,
    config: Mapping[str, Any] | None = None,
) -> CertificatePage:
    """Certify a method: what is proved of its coefficients, and what its local and global errors say.

    `what`: a name of the catalogue or of the algebra's lists, a Method, the exact object of any family, a method file,
    "module:callable", a sampler(model, x, times) -> x, a Butcher tableau as {"A": ..., "b": ...} or (A, b), or a
    function without arguments that makes one of these. `claim`: the order to hold it to (default: its own; a sampler
    has none). The other arguments choose the problem, as for `odekit verify`; `problem` may be a Case as well.
    Solvers of other packages go by "diffusers:UniPCMultistepScheduler", "k_diffusion.sampling:sample_dpmpp_2m",
    "torchdiffeq:rk4", "torchsde:heun", with `config` their settings; `inference_steps` there: of the grid they make.
    Raises OdekitError in one line for what cannot be certified.

    >>> page = certify("heun2")
    >>> page.verdict, page.order, page.failing[0]
    ('pass', 2, '[tau,tau]: 1/2, not 1/3')
    """
    if claim is not None and float(claim).is_integer():
        claim = int(claim)  # an order is told as the whole number it is
    subject = subject_of(what, claim, config)
    if subject.foreign is not None:
        if process or prediction or grid or isinstance(problem, str):
            raise OdekitError(f"{what}: its process and its prediction are its own; leave them, grid and problem out")
        return foreign_page(subject, problem, steps)
    if problem is None and process is None and prediction is None:
        problem = _problem_for(subject)
    case = problem if isinstance(problem, Case) else cases(process, prediction, problem, grid)[0]
    if subject.sampler is not None:
        return _of_sampler(subject, case, steps)
    if subject.family == "non-stationary":
        return _of_one_grid(subject)
    if getattr(subject.method, "draws", 0):
        return weak_page(subject, case if (process or prediction or grid) else None, steps)
    algebra, first = _algebra(subject)
    if algebra and not subject.family:
        subject = replace(subject, family=algebra.family)
    routes = {route.name: route for route in (first, *_slopes(subject, case, steps))}
    return CertificatePage(subject, algebra, routes, testimony_of(exact_problem(case)))


def _of_one_grid(subject: Subject) -> CertificatePage:
    """A method of one grid has no order: the proof and the run say on which functions of time it is exact."""
    from analysis.exactness import rows
    from analysis.verify import verdict_of
    from odekit.algebra.certificates import certificate

    proof, measured = certificate(subject.method), rows(subject.method)
    reasons = "; ".join(proof.failing) or f"exact on {', '.join(proof.defects) or 'nothing'}"
    whole = "; ".join(row["reason"] for row in measured)
    verdict = UNDETERMINED if not proof.defects else FAIL if proof.failing else PASS
    routes = (
        Route(ROUTES[0], None, verdict, reasons),
        Route(ROUTES[1], None, ABSENT, "no order on one grid"),
        Route(ROUTES[2], None, verdict_of(measured), whole, tuple(measured)),
    )
    names = {route.name: route for route in routes}
    return CertificatePage(subject, proof, names, "models that return functions of time alone, on its own grid")


def _problem_for(subject: Subject) -> Case | str | None:
    """Where a method is measured that does not run on the default cases: the first of its own, see `own_cases`."""
    if subject.method is not None and (found := own_cases(subject.method)):
        return found[0] if found[0].process else found[0].problem
    if subject.family != "splitting":
        return None
    main = getattr(subject.exact, "kernel", subject.exact)
    return "pendulums" if main.nystrom else "relativistic-pendulums"


# The routes.


def _algebra(subject: Subject) -> tuple[Any, Route]:
    from odekit.algebra.certificates import certificate

    try:
        found = certificate(subject.exact if subject.exact is not None else subject.method)
        return found, proved(found, subject.claim)
    except OdekitError as error:
        return None, Route(ROUTES[0], None, ABSENT, str(error))


def _slopes(subject: Subject, case: Case, steps: Sequence[int] | None) -> tuple[Route, Route]:
    method, claim = subject.method, subject.claim
    if method is None:
        return tuple(Route(name, None, ABSENT, f"not measured: {subject.cannot_run}") for name in ROUTES[1:])
    own = method.order
    formula = own.formula if claim is None else claim
    started = own.method if claim is None else min(claim, own.method) if own.method < own.formula else claim

    late = _late(method)

    def local(where: Case) -> Any:
        return local_error(method, where, formula + 1 - late, steps)

    def whole(kind: str, order: Any) -> Callable:
        return lambda where: convergence(method, where, order, steps, kind)

    kinds = {FORMULA: formula, WITH_START: started} if has_start_or_last(method) else {WITH_START: formula}
    return (
        _slope(ROUTES[1], {"local": local}, case, claim, late - 1),
        _slope(ROUTES[2], {kind: whole(kind, order) for kind, order in kinds.items()}, case, claim),
    )


def _late(method: Any) -> int:
    """By how many orders a step falls short that ends with its prediction, which the next one corrects."""
    if not getattr(method, "corrects", False):
        return 0
    ahead = getattr(method, "predictor", None)
    return 1 if ahead is None else max(0, method.order.formula - ahead.order.formula)


def _slope(name: str, measures: Mapping[str, Callable], case: Case, claim: Any, shift: int = 0) -> Route:
    rows = []
    try:
        for measure in measures.values():
            study, where = measure(case), case
            if case.sharper and study.ladder.too_short:
                where = replace(case, problem=case.sharper, sharper="")
                study = measure(where)
            row = {**study.row, "claimed_order": study.row["claimed_order"] + shift}
            rows.append({**covered(row, exact_problem(where)), "claimed_order": study.row["claimed_order"]})
    except OdekitError as error:
        return Route(name, None, ABSENT, f"not measured: {error}", tuple(rows))
    return route_of(name, rows, claim, shift)


def _of_sampler(subject: Subject, case: Case, steps: Sequence[int] | None) -> CertificatePage:
    """Three routes for somebody's code: its own table, its first step, its whole solves on smooth and rough grids."""
    exact = exact_problem(case)
    rows = certify_callable(subject.sampler, case, subject.claim, steps, subject.name)
    try:
        algebra = of_sampler(subject.sampler, exact.rough(), subject.claim, subject.name)
        first = proved(algebra, subject.claim)
    except OdekitError as error:
        algebra, first = None, Route(ROUTES[0], None, ABSENT, str(error))
    local = Route(ROUTES[1], None, ABSENT, "a sampler takes no exact history: its first step is its start's")
    found = (first, local, route_of(ROUTES[2], rows, subject.claim))
    told = tuple(rows[0]["findings"])
    testimony, nearest = testimony_of(exact), rows[0].get("nearest")
    return CertificatePage(subject, algebra, {route.name: route for route in found}, testimony, told, nearest)
