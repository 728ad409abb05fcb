"""Published linear multistep formulas beside the derived ones, coefficient by coefficient."""

from __future__ import annotations

from collections.abc import Sequence

from odekit.algebra.derive.derivation import Difference
from odekit.algebra.derive.rk_forms import expression, tidy

_HNW = "Hairer, Norsett, Wanner I"
_ADAMS = f"{_HNW}, III.5 (5.5)-(5.7)"
_G2 = "(1/2 - w1/(6*(w1 + 1)))*w1*(w1 + 1)*w2/(w2 + 1)"  # g_2 beta_2(n), which multiplies Phi_2(n)
_BDF3 = "(1 + w1/(1 + w1) + w2*w1/(1 + w2*(1 + w1)))"  # the coefficient of the newest value, divided out

PUBLISHED: dict[str, tuple[tuple[str, Sequence[str], Sequence[str]], ...]] = {
    "ab-1": ((f"{_HNW}, III.1 (1.5)", ["1", "-1"], ["0", "1"]),),
    "ab-2": ((_ADAMS, ["1", "-1", "0"], ["0", "1 + w1/2", "-w1/2"]),),
    "ab-3": ((_ADAMS, ["1", "-1", "0", "0"], ["0", f"1 + w1/2 + {_G2}", f"-w1/2 - {_G2}*(1 + w2)", f"{_G2}*w2"]),),
    "ab-4": ((f"{_HNW}, III.1 (1.5)", ["1", "-1", "0", "0", "0"], ["0", "55/24", "-59/24", "37/24", "-9/24"]),),
    "am-1": ((f"{_HNW}, III.1 (1.9)", ["1", "-1"], ["1", "0"]),),
    "am-2": ((f"{_HNW}, III.1 (1.9)", ["1", "-1"], ["1/2", "1/2"]),),
    "am-3": ((f"{_HNW}, III.1 (1.9)", ["1", "-1", "0"], ["5/12", "8/12", "-1/12"]),),
    "am-4": ((f"{_HNW}, III.1 (1.9)", ["1", "-1", "0", "0"], ["9/24", "19/24", "-5/24", "1/24"]),),
    "nystroem-2": ((f"{_HNW}, III.1 (1.13)", ["1", "0", "-1"], ["0", "2", "0"]),),
    "nystroem-3": ((f"{_HNW}, III.1 (1.13)", ["1", "0", "-1", "0"], ["0", "7/3", "-2/3", "1/3"]),),
    "milne-simpson-2": ((f"{_HNW}, III.1 (1.15)", ["1", "0", "-1"], ["1/3", "4/3", "1/3"]),),
    "bdf-1": ((f"{_HNW}, III.1 (1.22')", ["1", "-1"], ["1", "0"]),),
    "bdf-2": (
        (
            f"{_HNW}, III.5",
            ["1", "-(1 + w1)**2/(1 + 2*w1)", "w1**2/(1 + 2*w1)"],
            ["(1 + w1)/(1 + 2*w1)", "0", "0"],
        ),
    ),
    "bdf-3": (
        (
            "Wang, Ruuth 2008, Variable step-size implicit-explicit linear multistep methods",
            [
                "1",
                f"-(1 + w1 + w2*w1*(1 + w1)/(1 + w2))/{_BDF3}",
                f"w1**2*(w2 + 1/(1 + w1))/{_BDF3}",
                f"-w2**3*w1**2*(1 + w1)/((1 + w2)*(1 + w2 + w2*w1))/{_BDF3}",
            ],
            [f"1/{_BDF3}", "0", "0", "0"],
        ),
    ),
    "bdf-4": ((f"{_HNW}, III.1 (1.22')", ["1", "-48/25", "36/25", "-16/25", "3/25"], ["12/25", "0", "0", "0", "0"]),),
}
"""By the name of the method: source, alpha and beta. Plain numbers are those of equal steps."""


def compared(name: str, alpha: Sequence[str], beta: Sequence[str]) -> tuple[Difference, ...]:
    """How a method of these coefficients compares with the published one of a name; () where none is known.

    What is published for equal steps is compared there.
    """
    return tuple(
        Difference(name, source, first_difference((*theirs, *others), (*alpha, *beta)))
        for source, theirs, others in PUBLISHED.get(name, ())
    )


def first_difference(published: Sequence[str], derived: Sequence[str]) -> str:
    """The first coefficient of (alpha, beta) that is not the same function of the ratios; "" where none differs."""
    if len(published) != len(derived):
        return f"{len(published) // 2} points, not {len(derived) // 2}"
    half = len(derived) // 2
    ratios = [f"w{j}" for j in range(1, half)]
    theirs, ours = ([expression(t, *ratios) for t in row] for row in (published, derived))
    if not all(any(v.free_symbols for v in row) for row in (theirs, ours)):  # one of them is for equal steps
        theirs, ours = ([v.subs(dict.fromkeys(ratios, 1)) for v in row] for row in (theirs, ours))
    for j, (a, b) in enumerate(zip(theirs, ours, strict=True)):
        if tidy(a - b) != 0:
            return f"{('alpha', 'beta')[j >= half]}_{j % half}: {a}, derived {tidy(b)}"
    return ""
