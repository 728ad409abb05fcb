"""Diffusion samplers derived from their definitions, each beside the formula in print.

In the log-SNR, x/sigma with the noise and x/alpha with the data are semilinear, u' = A u + g with A = 1 and A = -1: a
sampler is an exponential method, its order a matter of psi_k. In another clock its weights are integrals over the
process; there the integrands are compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from odekit.algebra.derive.ansatz import Demand, ansatz, solve
from odekit.algebra.derive.derivation import Derivation, Difference, recipe
from odekit.algebra.derive.exponential import (
    FAMILIES,
    adams_form,
    data_of,
    in_variable,
    multistep,
    solved,
)
from odekit.algebra.derive.published import FORMULAS, unipc
from odekit.algebra.exponential_multistep import ExponentialMultistep, exponential_adams
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

KINDS = {"midpoint": "weak", "heun": "strong"}
"""The two second-order types of the literature's codes: the difference weighs phi_1/2, or phi_2."""

_EXACT = {
    "noise": "in x/sigma: u' = u - noise, so u(h) = e^h u - int_0^h e^(h-s) noise ds, z = h",
    "data": "in x/alpha: u' = -u + data, so u(h) = e^-h u + int_0^h e^-(h-s) data ds, z = -h",
}

_CORRECTED = "exponential Adams formula in log-SNR: DPM-Solver++(3M) with twice the weight of the second difference"


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise unknown("type of a second-order method", kind, KINDS)
    return KINDS[kind]


@recipe("ddim")
def ddim(prediction: str = "noise") -> Derivation:
    """DDIM without noise: the output constant over the step, in either form of the flow.

    Source: Song, Meng, Ermon, arXiv:2010.02502, (12).

    >>> print(ddim().published[0])
    ddim (Song et al., arXiv:2010.02502, (12) with eta = 0): the same formula
    """
    if prediction not in _EXACT:
        raise unknown("prediction", prediction, _EXACT)
    printed = "ddim" if prediction == "noise" else "ddim in the data"
    derived = _one_step("ddim", 1, "euler", prediction, {}, "Song et al., arXiv:2010.02502", (printed,))
    return replace(derived, route=(*derived.route, "the output is constant over the step: one weight, phi_1"))


@recipe("dpm-solver-2")
def dpm_solver_2(kind: str = "midpoint") -> Derivation:
    """DPM-Solver-2 on its node c2 (r1 in the paper); `kind` "midpoint" is the paper's, "heun" integrates exactly.

    Source: Lu et al., arXiv:2206.00927.

    >>> [bool(d) for d in dpm_solver_2().published], [bool(d) for d in dpm_solver_2("heun").published]
    ([False, True], [True, False])
    """
    return _one_step(
        "dpm-solver-2", 2, _kind(kind), "noise", {"c2": "1/2"}, "DPM-Solver", ("dpm-solver-2", "dpm-solver-2 'taylor'")
    )


@recipe("dpmpp-2s")
def dpmpp_2s(kind: str = "midpoint") -> Derivation:
    """DPM-Solver++(2S) on its node c2; `kind` "midpoint" is the paper's, "heun" is RES-2S.

    Source: Lu et al., arXiv:2211.01095, algorithm 1.

    >>> dpmpp_2s().data["b"]
    ['(2*c2 - 1)*phi1(-h)/(2*c2)', 'phi1(-h)/(2*c2)']
    """
    return _one_step(
        "dpmpp-2s", 2, _kind(kind), "data", {"c2": "1/2"}, "DPM-Solver++", ("dpmpp-2s", "dpmpp-2s 'taylor'")
    )


@recipe("dpm-solver-3")
def dpm_solver_3() -> Derivation:
    """DPM-Solver-3 on its node c2 (r1 in the paper): the formula of order 2 for any c3 (r2), and where it has order 3.

    Source: Lu et al., arXiv:2206.00927; it is the method (5.8) of Hochbruck, Ostermann 2005.

    >>> dpm_solver_3().data["c"]
    ['0', 'c2', '2/3']
    """
    third = _one_step("dpm-solver-3", 3, "one-weight", "noise", {"c2": "1/3"}, "DPM-Solver", ())
    family = FAMILIES[3]["one-weight"]
    two = [Demand("[tau]"), Demand("[[tau]]", weak=True)]
    any_node = solve(ansatz("dpm-solver-3", family.c, family.A, family.b), two, ("c2", "c3")).method
    printed = FORMULAS["dpm-solver-3"].difference(any_node)._replace(published="dpm-solver-3, any r1 and r2")
    told = (
        "without psi_3 the node c3 stays free, and the formula is the one in print: of order 2 for every c2 and c3;",
        "psi_3(0) = 1/6 - c3/4: of order 3 where c3 = 2/3, and nowhere else",
    )
    return replace(third, route=(*third.route, *told), published=(printed,))


def _one_step(
    name: str, stiff: int, family: str, prediction: str, free: Mapping[str, str], paper: str, printed: Sequence[str]
) -> Derivation:
    """A sampler that is a member of a family of exponential Runge-Kutta methods, beside what is in print."""
    _, found, method = solved(FAMILIES[stiff][family])
    source = f"{paper}, {FAMILIES[stiff][family].source}"
    data = data_of(replace(method, name=name), source, free, prediction)
    route = (_EXACT[prediction], *found.route)
    return Derivation(data, route, tuple(FORMULAS[p].difference(method) for p in printed))


# ---------------------------------------------------------------- multistep, in log-SNR


@recipe("dpmpp-2m")
def dpmpp_2m(kind: str = "midpoint", start: str | None = None) -> Derivation:
    """DPM-Solver++(2M) on any step ratio r1; `kind` "midpoint" is the paper's, "heun" integrates exactly.

    Source: Lu et al., arXiv:2211.01095, algorithm 2.

    >>> dpmpp_2m().data["weights"]
    ['(2*r1 + 1)*phi1(-h)/(2*r1)', '-phi1(-h)/(2*r1)']
    """
    weak = _kind(kind) == "weak"
    found = solve(multistep("dpmpp-2m", 2, k=(1,) if weak else None), [Demand("psi_2", weak=weak)], ("r1",))
    told = "lumped: both weights are multiples of phi_1, and psi_2 = phi_2 - phi_1/2 is left; psi_2(0) = 0"
    route = (_EXACT["data"], *((told,) if weak else ()), *found.route)
    printed = [FORMULAS[name].difference(found.method) for name in ("dpmpp-2m", "dpmpp-2m 'heun'")]
    return _formula("dpmpp-2m", 2, found.method, "data", "DPM-Solver++, algorithm 2", start, route, printed)


@recipe("dpmpp-3m")
def dpmpp_3m(start: str = "midpoint") -> Derivation:
    """DPM-Solver++(3M) as its definition has it, of order 3 on any step ratios r1, r2, with a start that keeps it.

    What is in print weighs the second divided difference, f''/2, as if it were f'': its order is 2. `start` is the
    tableau that takes the first two steps; one of order 2 suffices. Raises AlgebraError for one of order 1.

    >>> print(dpmpp_3m().published[0].what.rsplit("; ")[1])
    a factor 2 is missing
    """
    _check_start(start)
    order = {p: _with_start(p) for p in ((1, 2), (2, 2))}
    route = (
        _EXACT["data"],
        "the data are interpolated at three points: N(s) = N0 + s D1 + s^2 D2, with D2 the second divided difference",
        "int_0^1 e^((1-u)z) u^k du = k! phi_(k+1)(z): the weights are phi_1 of N0, phi_2 of D1, 2 phi_3 of D2",
        "in print D2 has the weight phi_3: psi_3 = phi_3/2 is left, and the order is 2",
        f"start: a step of order p errs by h^(p+1), which stays; steps of order 1 and 2 leave order {order[1, 2]}, of "
        f"order 2 and 2 order {order[2, 2]}: the first step must have order 2",
    )
    method = exponential_adams(3)
    printed = [FORMULAS["dpmpp-3m"].difference(method)]
    return _formula("dpmpp-3m-corrected", 3, method, "data", _CORRECTED, start, route, printed)


def _with_start(orders: tuple[int, int]) -> int:
    """The order of a formula of order 3 whose first two steps have these orders; rho is that of Adams methods."""
    from odekit.algebra.multistep import adams_bashforth
    from odekit.algebra.multistep_conditions import order_with_start, starting_errors

    return order_with_start(adams_bashforth(3), starting_errors(orders))


def _check_start(start: str) -> None:
    from odekit.methods import files

    order = files.get(start).order
    if _with_start((order, order)) < 3:
        raise AlgebraError(f"start {start!r} is of order {order}: the first steps of dpmpp-3m need order 2 for order 3")


@recipe("unipc-p")
def unipc_p(
    p: int = 2, prediction: str = "data", corrector: bool = False, variant: str = "bh2", start: str | None = None
) -> Derivation:
    """UniP-p, or with `corrector` UniC-p, as the conditions have it, beside the published ones with B(h).

    The published linear system determines B(h) a, so that every B(h) other than 0 gives the same formula: compared with
    B a symbol. Only where one difference is left (UniP-2, UniC-1) the code takes a = 1/2, and B(h) matters: `variant`
    "bh1" (h) or "bh2" (e^h - 1). The corrector is implicit: its first node is 1. p is 1 to 3.
    Source: Zhao et al., arXiv:2302.04867, theorem 3.1.

    >>> [bool(d) for d in unipc_p(2).published], [bool(d) for d in unipc_p(3).published]
    ([False, True], [False, False])
    """
    if p not in (1, 2, 3):
        raise AlgebraError(f"UniPC is derived for p = 1, 2 and 3, not {p}")
    if prediction not in _EXACT:
        raise unknown("prediction", prediction, _EXACT)
    if variant not in ("bh1", "bh2"):
        raise unknown("B(h)", variant, ("bh1", "bh2"))
    method = exponential_adams(p, implicit=corrector)
    order = p + corrector
    ours = _newest_second(method) if corrector else method
    printed = [
        unipc(p, corrector, prediction, "any", shortcut=False).difference(ours),
        unipc(p, corrector, prediction, variant).difference(ours),
    ]
    route = (
        _EXACT[prediction],
        f"psi_1 = ... = psi_{order} = 0 at the nodes {', '.join(method.nodes)}; with w_m = B a_m/(h r_m) this is",
        "sum_m r_m^(j-1) a_m = j! h phi_(j+1)/B, the system in print: B w cancels, the formula does not depend on B",
        "where a = 1/2 is put for one difference, psi_2 = phi_2 - B/(2h) is left: O(h), which order 2 allows",
    )
    name = f"{'unic' if corrector else 'unip'}-{p}"
    return _formula(name, order, method, prediction, "Zhao et al., arXiv:2302.04867", start, route, printed)


def _newest_second(method: ExponentialMultistep) -> ExponentialMultistep:
    """An implicit formula with the value at the step's start first, as it is printed."""

    def turned(row: tuple[str, ...]) -> tuple[str, ...]:
        return (row[1], row[0], *row[2:])

    return replace(method, nodes=turned(method.nodes), weights=turned(method.weights))


def _formula(
    name: str, order: int, method: ExponentialMultistep, prediction: str, source: str, start: str | None,
    route: Sequence[str], printed: Sequence[Difference],
) -> Derivation:  # fmt: skip
    head = {"name": name, "family": method.family, "order": order, "prediction": prediction, "source": source}
    entries = {"nodes": list(method.nodes), "weights": list(method.weights)}
    data = in_variable(head, entries, prediction) | ({"start": start} if start else {})
    return Derivation(data, tuple(route), tuple(printed))


# ---------------------------------------------------------------- multistep, in time


@recipe("deis-tab-q")
def deis_tab(q: int = 2, start: str | None = None) -> Derivation:
    """DEIS tAB-q: the noise interpolated in time at q + 1 points; its weights are integrals over the process.

    The integrand of the definition is compared with the one in print for every alpha(t) of a VP process.
    Source: Zhang, Chen, arXiv:2204.13902, (15).

    >>> deis_tab(1).data["order"], bool(deis_tab(1).published[0])
    (2, False)
    """
    _check_degree(q)
    route = (*_in_time(q), "VP: sigma^2 = 1 - alpha^2 turns the density into -alpha'/(alpha sigma)")
    same = _integrand("DEIS tAB", "Zhang, Chen, arXiv:2204.13902, (15)", _deis, vp=True)
    return adams_form(f"deis-tab-{q}", q + 1, "noise", "t", "Zhang, Chen, arXiv:2204.13902", start, route, (same,))


@recipe("gddim-q")
def gddim(q: int = 1, start: str | None = None) -> Derivation:
    """gDDIM-q on an isotropic process, where R = sigma: the noise interpolated in time, as in DEIS.

    Matrix-valued R (CLD, blurring) is not derived here. Source: Zhang, Tao, Chen, arXiv:2206.05564.

    >>> gddim(2).published[0].what
    ''
    """
    _check_degree(q)
    route = (
        "isotropic: R' = (F + G G^T Sigma^-1/2) R has the solution R = sigma, checked for every alpha(t), sigma(t)",
        *_in_time(q),
    )
    same = _integrand("gDDIM, isotropic", "Zhang, Tao, Chen, arXiv:2206.05564", _gddim, vp=False)
    return adams_form(f"gddim-{q}", q + 1, "noise", "t", "Zhang, Tao, Chen, arXiv:2206.05564", start, route, (same,))


def _check_degree(q: int) -> None:
    if not 0 <= q <= 5:
        raise AlgebraError(f"degree {q} of interpolation: expected 0 to 5")


def _in_time(q: int) -> tuple[str, ...]:
    return (
        f"the noise is interpolated in t at {q + 1} points, l_j Lagrange's basis, of degree {q}",
        "x' = F x - (G^2/2) score with score = -noise/sigma: A = F = alpha'/alpha and B = G^2/(2 sigma)",
        "w_j = int (alpha_s/alpha_r) B_r l_j(r) dr = alpha_s int l_j d(sigma/alpha)",
    )


def _process() -> tuple[Any, Any, Any, Any, Any]:
    """(t, alpha, sigma, F, G^2) of a general isotropic process: F = alpha'/alpha, G^2 = (sigma^2)' - 2 F sigma^2."""
    import sympy

    t = sympy.Symbol("t")
    alpha, sigma = (sympy.Function(name, positive=True)(t) for name in ("alpha", "sigma"))
    F = alpha.diff(t) / alpha
    return t, alpha, sigma, F, (sigma**2).diff(t) - 2 * F * sigma**2


def _deis(t: Any, alpha: Any, sigma: Any, F: Any, G2: Any) -> Any:
    """Psi (G^2/2)/L of VP, with G^2 = -d log(alpha^2)/dt and L = sqrt(1 - alpha^2)."""
    import sympy

    return -sympy.log(alpha**2).diff(t) / 2 / sympy.sqrt(1 - alpha**2) / alpha


def _gddim(t: Any, alpha: Any, sigma: Any, F: Any, G2: Any) -> Any:
    """Psi G G^T R^-T/2, where R = sigma if it solves its equation."""
    import sympy

    R = sigma if sympy.simplify(sigma.diff(t) - (F + G2 / sigma**2 / 2) * sigma) == 0 else sympy.nan
    return G2 / R / 2 / alpha


def _integrand(name: str, source: str, printed: Any, vp: bool) -> Difference:
    """The published density of the weights beside d(sigma/alpha)/dt, both without the factor alpha_s."""
    import sympy

    process = t, alpha, sigma, _, _ = _process()
    derived, theirs = (sigma / alpha).diff(t), printed(*process)
    if vp:
        derived = derived.subs(sigma, sympy.sqrt(1 - alpha**2)).doit()
    gap = sympy.simplify(derived - theirs)
    return Difference(name, source, "" if gap == 0 else f"density {theirs}, derived {derived}")
