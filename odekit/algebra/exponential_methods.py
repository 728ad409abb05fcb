"""Exponential methods of the literature, exact, with the orders claimed: those that the theory must judge."""

from __future__ import annotations

from odekit.algebra.exponential import ExponentialTableau
from odekit.algebra.exponential_multistep import ExponentialMultistep
from odekit.exceptions import unknown

_HO = "Hochbruck, Ostermann, SIAM J. Numer. Anal. 43 (2005)"
_CM = "Cox, Matthews, J. Comput. Phys. 176 (2002)"
_DPM = "Lu et al., DPM-Solver, arXiv:2206.00927"
_RES = "Zhang et al., arXiv:2308.02157"
_PP = "Lu et al., DPM-Solver++, arXiv:2211.01095"


def _method(name: str, order: int, stiff: int, source: str, c: str, A: str, b: str, **more) -> ExponentialTableau:
    """A method from rows of entries separated by semicolons, rows of A (from the second on) by new lines.

    A first entry "*" is what the row sum leaves: c_i phi_1(c_i z), or phi_1(z) for b, minus the others.
    """
    nodes = tuple(entry.strip() for entry in c.split(";"))

    def row(line: str, total: str) -> tuple[str, ...]:
        entries = [entry.strip() for entry in line.split(";") if entry.strip()]
        if entries and entries[0] == "*":
            entries[0] = "-".join([total, *(f"({entry})" for entry in entries[1:])])
        return tuple(entries)

    lines = [line for line in A.splitlines() if line.strip()]
    rows = [row(line, f"{x}*phi1({x}*z)") for x, line in zip(nodes[1:], lines, strict=True)]
    return ExponentialTableau(name, order, source, nodes, ((), *rows), row(b, "phi1(z)"), stiff_order=stiff, **more)


# Entries that recur in the eight-stage method, by their names in its source.
_A64 = "(8/25*phi2(z/5)-32/125*phi3(z/5))"
_PHI = (
    f"(5/32*{_A64} - phi2(z/5)/28 + 36/175*phi2(2*z/3) - 48/25*phi3(2*z/3) + 6/175*phi4(z/5) + 192/35*phi4(2*z/3)"
    " + 6*phi4(z))"
)

# DPM-Solver-3: its stages, its last weights where they interpolate all three model outputs, and gamma of RES-3S.
_THIRD = """r1*phi1(r1*h)
        r2*phi1(r2*h)-r2**2/r1*phi2(r2*h); r2**2/r1*phi2(r2*h)"""
_TAYLOR = (
    "phi1(h)-(r1+r2)/(r1*r2)*phi2(h)+2/(r1*r2)*phi3(h); (r2*phi2(h)-2*phi3(h))/(r1*(r2-r1));"
    "(2*phi3(h)-r1*phi2(h))/(r2*(r2-r1))"
)
_GAMMA = "((3*c3**2-2*c3)/(c2*(2-3*c2)))"


def _data(entries: str) -> str:
    """Entries stated for the noise, for the data."""
    return entries.replace("*h)", "*(-h))").replace("(h)", "(-h)")


# The lower formulas of the adaptive DPM-Solver-12 and -23 (arXiv:2206.00927, appendix C), in code for the data, too.
_PAIR_12 = {"b_embedded": ("phi1(h)", "0"), "embedded_order": 1}
_PAIR_23 = {"b_embedded": ("(1-1/(2*r1))*phi1(h)", "phi1(h)/(2*r1)", "0"), "embedded_order": 2}


def _data_pair(pair: dict) -> dict:
    return {**pair, "b_embedded": tuple(map(_data, pair["b_embedded"]))}


_METHODS = [
    _method("etd1", 1, 1, "Certaine 1960: exponential Euler; DDIM in x/sigma and in x/alpha", "0", "", "phi1(z)"),
    _method("ho2", 2, 2, f"{_HO}, section 5.1", "0; c2", "*", "*; phi2(z)/c2", parameters=("c2",)),
    _method("ho2-weak", 2, 2, f"{_HO}, section 5.1, weak form", "0; c2", "*", "*; phi1(z)/(2*c2)", parameters=("c2",)),
    _method("etd2rk", 2, 2, f"{_CM}, (22)", "0; 1", "phi1(z)", "phi1(z)-phi2(z); phi2(z)"),
    _method(
        "ho3", 3, 3, f"{_HO}, section 5.2, weak form", "0; c2; 2/3",
        """*
        *; 4/(9*c2)*phi2(2/3*z)""",
        "*; 0; 3/2*phi2(z)", parameters=("c2",),
    ),
    _method(
        "ho3-gamma", 3, 3, f"{_HO}, section 5.2, weak form, where 2*(gamma*c2+c3) = 3*(gamma*c2**2+c3**2)", "0; c2; c3",
        """*
        *; gamma*c2*phi2(c2*z) + c3**2/c2*phi2(c3*z)""",
        "*; gamma/(gamma*c2+c3)*phi2(z); phi2(z)/(gamma*c2+c3)", parameters=("c2", "c3", "gamma"),
    ),
    _method(
        "etd3rk", 3, 2, f"{_CM}, (23)-(25)", "0; 1/2; 1",
        """1/2*phi1(z/2)
        -phi1(z); 2*phi1(z)""",
        "phi1(z)-3*phi2(z)+4*phi3(z); 4*phi2(z)-8*phi3(z); -phi2(z)+4*phi3(z)",
    ),
    _method(
        "etdrk4", 4, 2, f"{_CM}, (26)-(29)", "0; 1/2; 1/2; 1",
        """1/2*phi1(z/2)
        0; 1/2*phi1(z/2)
        1/2*phi1(z/2)*(phi0(z/2)-1); 0; phi1(z/2)""",
        "phi1(z)-3*phi2(z)+4*phi3(z); 2*phi2(z)-4*phi3(z); 2*phi2(z)-4*phi3(z); -phi2(z)+4*phi3(z)",
    ),
    _method(
        "krogstad4", 4, 3, "Krogstad, J. Comput. Phys. 203 (2005), ETDRK4-B", "0; 1/2; 1/2; 1",
        """1/2*phi1(z/2)
        1/2*phi1(z/2)-phi2(z/2); phi2(z/2)
        phi1(z)-2*phi2(z); 0; 2*phi2(z)""",
        "phi1(z)-3*phi2(z)+4*phi3(z); 2*phi2(z)-4*phi3(z); 2*phi2(z)-4*phi3(z); -phi2(z)+4*phi3(z)",
    ),
    _method(
        "strehmel-weiner4", 4, 3, f"Strehmel, Weiner 1992, example 4.5.5; {_HO}, section 5.3", "0; 1/2; 1/2; 1",
        """1/2*phi1(z/2)
        1/2*phi1(z/2)-1/2*phi2(z/2); 1/2*phi2(z/2)
        phi1(z)-2*phi2(z); -2*phi2(z); 4*phi2(z)""",
        "phi1(z)-3*phi2(z)+4*phi3(z); 0; 4*phi2(z)-8*phi3(z); -phi2(z)+4*phi3(z)",
    ),
    _method(
        "ho4", 4, 4, f"{_HO}, section 5.3, weak form", "0; 1/2; 1/2; 1; 1/2",
        """1/2*phi1(z/2)
        *; phi2(z/2)
        *; phi2(z); phi2(z)
        *; A52; A52; 1/4*phi2(z/2)-(A52)""".replace("A52", "1/2*phi2(z/2)-phi3(z)+1/4*phi2(z)-1/2*phi3(z/2)"),
        "*; 0; 0; -phi2(z)+4*phi3(z); 4*phi2(z)-8*phi3(z)",
    ),
    _method(
        "exprk5s8", 5, 5, "Luan, Ostermann, J. Comput. Appl. Math. 256 (2014), expRK5s8; weak form",
        "0; 1/2; 1/2; 1/4; 1/2; 1/5; 2/3; 1",
        f"""*
        *; 1/2*phi2(z/2)
        *; 0; 1/8*phi2(z/4)
        *; 0; -1/2*phi2(z/2)+2*phi3(z/2); 2*phi2(z/2)-4*phi3(z/2)
        *; 0; 0; {_A64}; -2/25*phi2(z/5)+16/125*phi3(z/5)
        *; 0; 0; -125/162*{_A64}; 125/1944*{_A64}-16/27*phi2(2*z/3)+320/81*phi3(2*z/3); A76
        *; 0; 0; 0; -16/3*phi2(z)+208/3*phi3(z)-40*{_PHI}; A86; 27/14*phi2(z)-27*phi3(z)+135/7*{_PHI}""".replace(
            "A76", f"3125/3888*{_A64}+100/27*phi2(2*z/3)-800/81*phi3(2*z/3)"
        ).replace("A86", f"250/21*phi2(z)-250/3*phi3(z)+250/7*{_PHI}"),
        "*; 0; 0; 0; 0; 125/14*phi2(z)-625/14*phi3(z)+1125/14*phi4(z);"
        "-27/14*phi2(z)+162/7*phi3(z)-405/7*phi4(z); 1/2*phi2(z)-13/2*phi3(z)+45/2*phi4(z)",
    ),
    _method(
        "lawson4", 4, 0, "Lawson, SIAM J. Numer. Anal. 4 (1967), with the Runge-Kutta method of order 4",
        "0; 1/2; 1/2; 1",
        """1/2*phi0(z/2)
        0; 1/2
        0; 0; phi0(z/2)""",
        "phi0(z)/6; phi0(z/2)/3; phi0(z/2)/3; 1/6",
    ),
    # Diffusion: x/sigma with g = -noise (z = h), and x/alpha with g = data (z = -h); h is the step in log-SNR.
    _method(
        "dpm-solver-2", 2, 2, f"{_DPM}, DPM-Solver-2; weak form", "0; r1", "r1*phi1(r1*h)",
        "(1-1/(2*r1))*phi1(h); phi1(h)/(2*r1)", parameters=("r1",), prediction="noise", **_PAIR_12,
    ),
    _method(
        "dpm-solver-3", 3, 3, f"{_DPM}, DPM-Solver-3; of order 3 for r2 = 2/3 only, weak form", "0; r1; r2",
        _THIRD, "phi1(h)-phi2(h)/r2; 0; phi2(h)/r2", parameters=("r1", "r2"), prediction="noise", **_PAIR_23,
    ),
    _method(
        "dpm-solver-2-taylor", 2, 2, f"{_DPM}, in code, solver_type 'taylor'", "0; r1", "r1*phi1(r1*h)",
        "phi1(h)-phi2(h)/r1; phi2(h)/r1", parameters=("r1",), prediction="noise",
    ),
    _method(
        "dpm-solver-3-taylor", 3, 3, f"{_DPM}, in code, solver_type 'taylor'; of order 3 for r2 = 2/3 only",
        "0; r1; r2", _THIRD, _TAYLOR, parameters=("r1", "r2"), prediction="noise",
    ),
    _method(
        "dpmpp-2s", 2, 2, f"{_PP}, algorithm 1; weak form", "0; r1", "r1*phi1(-r1*h)",
        "(1-1/(2*r1))*phi1(-h); phi1(-h)/(2*r1)", parameters=("r1",), prediction="data",
        **_data_pair(_PAIR_12),
    ),
    _method(
        "dpmpp-3s", 3, 3, f"{_PP}, in code (singlestep); of order 3 for r2 = 2/3 only, weak form", "0; r1; r2",
        _data(_THIRD), _data("phi1(h)-phi2(h)/r2; 0; phi2(h)/r2"), parameters=("r1", "r2"), prediction="data",
        **_data_pair(_PAIR_23),
    ),
    _method(
        "dpmpp-3s-taylor", 3, 3, f"{_PP}, in code, solver_type 'taylor'; of order 3 for r2 = 2/3 only", "0; r1; r2",
        _data(_THIRD), _data(_TAYLOR), parameters=("r1", "r2"), prediction="data",
    ),
    _method(
        "res-2s", 2, 2, _RES, "0; c2", "c2*phi1(-c2*h)",
        "phi1(-h)-phi2(-h)/c2; phi2(-h)/c2", parameters=("c2",), prediction="data",
    ),
    _method(
        "res-3s", 3, 3, f"{_RES}, with gamma of {_HO}, section 5.2; weak form", "0; c2; c3",
        """c2*phi1(-c2*h)
        c3*phi1(-c3*h)-GAMMA*c2*phi2(-c2*h)-c3**2/c2*phi2(-c3*h); GAMMA*c2*phi2(-c2*h)+c3**2/c2*phi2(-c3*h)""".replace(
            "GAMMA", _GAMMA
        ),
        "phi1(-h)-(GAMMA+1)/(GAMMA*c2+c3)*phi2(-h); GAMMA/(GAMMA*c2+c3)*phi2(-h); phi2(-h)/(GAMMA*c2+c3)".replace(
            "GAMMA", _GAMMA
        ),
        parameters=("c2", "c3"), prediction="data",
    ),
]  # fmt: skip

# Data at the last three times, as first and second divided differences in units of the step.
_FIRST = ("(1/r1 + 1/(r1+r2))", "-(1/r1 + r1/(r1+r2)*(1/r1+1/r2))", "r1/(r2*(r1+r2))")
_SECOND = ("1/(r1*(r1+r2))", "-1/(r1*r2)", "1/(r2*(r1+r2))")


def _third_order(name: str, source: str, factor: int) -> ExponentialMultistep:
    weights = [f"phi2(-h)*{d1} + {factor}*phi3(-h)*{d2}" for d1, d2 in zip(_FIRST, _SECOND, strict=True)]
    weights[0] = f"phi1(-h) + {weights[0]}"
    return ExponentialMultistep(name, 3, source, ("0", "-r1", "-r1-r2"), tuple(weights), ("r1", "r2"), "data")


_MULTISTEP = [
    ExponentialMultistep(
        "dpmpp-2m", 2, f"{_PP}, algorithm 2", ("0", "-r1"),
        ("(1+1/(2*r1))*phi1(-h)", "-1/(2*r1)*phi1(-h)"), ("r1",), "data",
    ),
    ExponentialMultistep(
        "dpmpp-2m-heun", 2, "dpm-solver, solver_type 'heun'", ("0", "-r1"),
        ("phi1(-h)+phi2(-h)/r1", "-phi2(-h)/r1"), ("r1",), "data",
    ),
    _third_order("dpmpp-3m", f"{_PP}, in code; of order 2: the second difference wants twice its weight", 1),
    _third_order("dpmpp-3m-corrected", "exponential Adams formula of order 3 in log-SNR", 2),
]  # fmt: skip
_BY_NAME = {method.name: method for method in (*_METHODS, *_MULTISTEP)}


def names() -> list[str]:
    """The names that `get` knows."""
    return sorted(_BY_NAME)


def get(name: str) -> ExponentialTableau | ExponentialMultistep:
    """A method of the literature by name, its free parameters still symbols; raises UnknownNameError.

    >>> get("krogstad4").b[3]
    '-phi2(z)+4*phi3(z)'
    """
    if name not in _BY_NAME:
        raise unknown("exponential method", name, _BY_NAME)
    return _BY_NAME[name]
