"""Known splitting and composition methods, as data; triple jumps and fractals of any even order, exactly."""

from __future__ import annotations

from functools import cache
from itertools import cycle

from odekit.algebra.splitting import Splitting
from odekit.algebra.trees import AlgebraError
from odekit.exceptions import unknown

Steps = tuple[tuple[str, str], ...]
BLANES_MOAN = "Blanes, Moan 2002 (J. Comput. Appl. Math. 142, 313-330), tables 2 and 3"
HLW = "Hairer, Lubich, Wanner 2006, section V.3.2"


def alternating(first: str, *values: str) -> Steps:
    """Steps of two parts in turn, A and B, beginning with the one named."""
    letters = cycle("AB" if first == "A" else "BA")
    return tuple(zip(letters, values, strict=False))


def palindrome(first: str, *values: str) -> Steps:
    """Steps of two parts in turn, the values given up to the middle one and mirrored there."""
    return alternating(first, *values, *values[-2::-1])


def bases(*values: str) -> Steps:
    """Steps with a symmetric base, the values given up to the middle one and mirrored there."""
    return tuple(("S", v) for v in (*values, *values[-2::-1]))


def pairs(*values: str) -> Steps:
    """Steps with the adjoint of a method and the method in turn."""
    return tuple(zip(cycle(("M*", "M")), values, strict=False))


def triple_jump(order: int) -> Splitting:
    """The composition of three copies of itself at each order, from a symmetric base of order 2 up.

    S_(2k+2) = S_2k(z h) S_2k((1 - 2z) h) S_2k(z h), z = 1/(2 - 2^(1/(2k+1))); 3^(order/2 - 1) steps.
    Source: Yoshida 1990; Suzuki 1990; Creutz, Gocksch 1989.

    >>> triple_jump(4).steps
    (('S', '1/(2-2**(1/3))'), ('S', '1-2/(2-2**(1/3))'), ('S', '1/(2-2**(1/3))'))
    """
    return _fractal(order, 1, "triple-jump", "Yoshida 1990 (Phys. Lett. A 150, 262-268)")


def fractal(order: int) -> Splitting:
    """Suzuki's composition of five copies of itself at each order: smaller steps, all within the step taken.

    z = 1/(4 - 4^(1/(2k+1))), twice on either side of 1 - 4z; 5^(order/2 - 1) steps.
    Source: Suzuki 1990 (Phys. Lett. A 146, 319-323).
    """
    return _fractal(order, 2, "suzuki", "Suzuki 1990 (Phys. Lett. A 146, 319-323)")


def _fractal(order: int, copies: int, name: str, source: str) -> Splitting:
    if order % 2 or not 2 <= order <= 10:
        raise AlgebraError(f"order {order} of {name}: expected an even order from 2 to 10")
    outer = 2 * copies
    values: list[list[str]] = [[]]  # the factors of each step
    for odd in range(3, order, 2):
        z = f"1/({outer}-{outer}**(1/{odd}))"
        level = [z] * copies + [f"1-{outer}/({outer}-{outer}**(1/{odd}))"] + [z] * copies
        values = [[*inner, factor] for factor in level for inner in values]
    texts = ["*".join(f if len(v) == 1 else f"({f})" for f in v) or "1" for v in values]
    return Splitting(f"{name}-{order}", tuple(("S", t) for t in texts), order, source)


_RUTH = alternating("A", "7/24", "2/3", "3/4", "-2/3", "-1/24", "1")
_FOREST = "1/(2-2**(1/3))"
_MCLACHLAN = ("(14-sqrt(19))/108", "(146+5*sqrt(19))/540", "(-23-20*sqrt(19))/270", "(-2+10*sqrt(19))/135", "1/5")

# name: (steps, order, digits, source)
_TABLE: dict[str, tuple[Steps, int, int | None, str]] = {
    "trotter": (alternating("A", "1", "1"), 1, None, "Trotter 1959"),
    "strang": (palindrome("A", "1/2", "1"), 2, None, "Strang 1968"),
    "strang-bab": (palindrome("B", "1/2", "1"), 2, None, "Strang 1968"),
    "mclachlan-atela-2": (
        alternating("B", "1-sqrt(2)/2", "sqrt(2)/2", "sqrt(2)/2", "1-sqrt(2)/2"),
        2,
        None,
        "McLachlan, Atela 1992 (Nonlinearity 5, 541-562)",
    ),
    "ruth-3": (_RUTH, 3, None, "Ruth 1983"),
    "forest-ruth": (
        palindrome("A", f"{_FOREST}/2", _FOREST, f"(1-{_FOREST})/2", f"1-2*{_FOREST}"),
        4,
        None,
        "Forest, Ruth 1990 (Physica D 43, 105-117)",
    ),
    "neri": (
        palindrome("B", f"{_FOREST}/2", _FOREST, f"(1-{_FOREST})/2", f"1-2*{_FOREST}"),
        4,
        None,
        "Neri 1987; Yoshida 1990",
    ),
    "mclachlan-4": (
        pairs(*_MCLACHLAN, *_MCLACHLAN[::-1]),
        4,
        None,
        "McLachlan 1995 (SIAM J. Sci. Comput. 16, 151-168), table 2, type S, m = 5",
    ),
    "pefrl": (
        palindrome(
            "A",
            "0.1786178958448091",
            "0.5+0.2123418310626054",
            "-0.06626458266981849",
            "-0.2123418310626054",
            "1-2*(0.1786178958448091-0.06626458266981849)",
        ),
        4,
        15,
        "Omelyan, Mryglod, Folk 2002 (Comput. Phys. Commun. 146, 188-202)",
    ),
    "blanes-moan-4": (
        palindrome(
            "A",
            "0.0792036964311957",
            "0.209515106613362",
            "0.353172906049774",
            "-0.143851773179818",
            "-0.0420650803577195",
            "0.5-0.209515106613362+0.143851773179818",
            "1-2*(0.0792036964311957+0.353172906049774-0.0420650803577195)",
        ),
        4,
        14,
        f"{BLANES_MOAN}, S6",
    ),
    "blanes-moan-6": (
        palindrome(
            "A",
            "0.0502627644003922",
            "0.148816447901042",
            "0.413514300428344",
            "-0.132385865767784",
            "0.0450798897943977",
            "0.067307604692185",
            "-0.188054853819569",
            "0.432666402578175",
            "0.541960678450780",
            "0.5-0.148816447901042+0.132385865767784-0.067307604692185-0.432666402578175",
            "1-2*(0.0502627644003922+0.413514300428344+0.0450798897943977-0.188054853819569+0.541960678450780)",
        ),
        6,
        14,
        f"{BLANES_MOAN}, S10",
    ),
    "yoshida-6-a": (
        bases("0.784513610477560", "0.235573213359357", "-1.17767998417887", "1.315186320683906"),
        6,
        14,
        "Yoshida 1990, table 1, solution A",
    ),
    "yoshida-6-b": (
        bases("1.43984816797678", "0.00426068187079180", "-2.13228522200144", "2.37635274430774"),
        6,
        13,
        "Yoshida 1990, table 1, solution B",
    ),
    "yoshida-6-c": (
        bases("1.44778256239930", "-2.14403531630539", "0.00152886228424922", "2.38944778324368"),
        6,
        13,
        "Yoshida 1990, table 1, solution C",
    ),
    "kahan-li-6": (
        bases(
            "0.39216144400731413928",
            "0.33259913678935943860",
            "-0.70624617255763935981",
            "0.08221359629355080023",
            "0.79854399093482996340",
        ),
        6,
        19,
        f"Kahan, Li 1997 and McLachlan 1995 (SS, m = 9); {HLW}",
    ),
    "yoshida-8-a": (
        bases(
            "1.04242620869991",
            "1.82020630970714",
            "0.157739928123617",
            "2.44002732616735",
            "-0.00716989419708120",
            "-2.44699182370524",
            "-1.61582374150097",
            "-1.78082862658945",
        ),
        8,
        13,
        "Yoshida 1990, table 2, solution A",
    ),
    "suzuki-umeno-8": (
        bases(
            "0.74167036435061295345",
            "-0.40910082580003159400",
            "0.19075471029623837995",
            "-0.57386247111608226666",
            "0.29906418130365592384",
            "0.33462491824529818378",
            "0.31529309239676659663",
            "-0.79688793935291635402",
        ),
        8,
        19,
        f"Suzuki, Umeno 1993 and McLachlan 1995; {HLW}",
    ),
    "kahan-li-8": (
        bases(
            "0.13020248308889008088",
            "0.56116298177510838456",
            "-0.38947496264484728641",
            "0.15884190655515560090",
            "-0.39590389413323757734",
            "0.18453964097831570709",
            "0.25837438768632204729",
            "0.29501172360931029887",
            "-0.60550853383003451170",
        ),
        8,
        19,
        f"Kahan, Li 1997; {HLW}",
    ),
}

_NYSTROM: dict[str, tuple[Steps, int, int | None, str]] = {
    "mclachlan-atela-4": (
        alternating(
            "B",
            *("0.1344961992774310892", "0.5153528374311229364", "-0.2248198030794208058", "-0.085782019412973646"),
            *("0.7563200005156682911", "0.4415830236164665242", "0.3340036032863214255", "0.1288461583653841854"),
        ),
        4,
        16,
        "McLachlan, Atela 1992 (Nonlinearity 5, 541-562)",
    ),
    "mclachlan-atela-5": (
        alternating(
            "B",
            *("0.1193900292875672758", "0.339839625839110000", "0.6989273703824752308", "-0.088601336903027329"),
            *("-0.1713123582716007754", "0.5858564768259621188", "0.4012695022513534480", "-0.603039356536491888"),
            *("0.0107050818482359840", "0.3235807965546976394", "-0.0589796254980311632", "0.4423637942197494587"),
        ),
        5,
        14,
        "McLachlan, Atela 1992 (Nonlinearity 5, 541-562)",
    ),
    "mclachlan-sb3a-4": (
        palindrome("A", "0.18819521776883821787", "1", "-0.021528551102171551201", "-1/2", "2/3"),
        4,
        19,
        "McLachlan 1995, type SB3A, m = 4",
    ),
    "mclachlan-sb3a-5": (
        palindrome(
            "A",
            *("0.4051886183952522772", "-0.041095890410958904110", "-0.2871440408165240890"),
            *("0.28813559322033898305", "0.3819554224212718118", "0.50592059438123984212"),
        ),
        4,
        18,
        "McLachlan 1995, type SB3A, m = 5",
    ),
    "blanes-moan-srkn-6b": (
        palindrome(
            "B",
            *("0.0829844064174052", "0.245298957184271", "0.396309801498368", "0.604872665711080"),
            *("-0.0390563049223486", "0.5-0.245298957184271-0.604872665711080"),
            "1-2*(0.0829844064174052+0.396309801498368-0.0390563049223486)",
        ),
        4,
        14,
        f"{BLANES_MOAN}, SRKN6b",
    ),
    "blanes-moan-srkn-11b": (
        palindrome(
            "B",
            *("0.0414649985182624", "0.123229775946271", "0.198128671918067", "0.290553797799558"),
            *("-0.0400061921041533", "-0.127049212625417", "0.0752539843015807", "-0.246331761062075"),
            *("-0.0115113874206879", "0.357208872795928", "0.2366699247869311", "0.20477705429147"),
        ),
        6,
        13,
        f"{BLANES_MOAN}, SRKN11b",
    ),
    "blanes-moan-srkn-14a": (
        palindrome(
            "A",
            *("0.0378593198406116", "0.09171915262446165", "0.102635633102435", "0.183983170005006"),
            *("-0.0258678882665587", "-0.05653436583288827", "0.314241403071447", "0.004914688774712854"),
            *("-0.130144459517415", "0.143761127168358", "0.106417700369543", "0.328567693746804"),
            *("-0.00879424312851058", "-0.19641146648645423", "0.2073050690568954"),
        ),
        6,
        13,
        f"{BLANES_MOAN}, SRKN14a",
    ),
    "okunbor-skeel-6": (
        palindrome(
            "A",
            *("-1.0130879789171747298", "0.00016600692650009894", "1.1874295737325427070", "-0.37962421426377360608"),
            *("-0.018335852096460590340", "0.68913741185181063674", "0.34399425728109261313", "0.38064159097092574080"),
        ),
        6,
        15,
        "Okunbor, Skeel 1994, method 13",
    ),
}

_BUILT = {f"triple-jump-{p}": (triple_jump, p) for p in (4, 6, 8)} | {f"suzuki-{p}": (fractal, p) for p in (4, 6, 8)}


def names() -> tuple[str, ...]:
    """The known methods, by name."""
    return tuple(sorted([*_TABLE, *_NYSTROM, *_BUILT]))


@cache
def get(name: str) -> Splitting:
    """A known method; raises UnknownNameError with the names near it.

    >>> get("strang").steps
    (('A', '1/2'), ('B', '1'), ('A', '1/2'))
    """
    if name in _BUILT:
        make, order = _BUILT[name]
        return make(order)
    if name not in _TABLE and name not in _NYSTROM:
        raise unknown("splitting method", name, names())
    steps, order, digits, source = (_TABLE | _NYSTROM)[name]
    return Splitting(name, steps, order, source, digits, name in _NYSTROM)


def swapped(method: Splitting) -> Splitting:
    """A composition with the method and its adjoint in the wrong order within each pair: a control.

    What JuliaGNI/GeometricIntegrators.jl did to McLachlan's method of order 4 until #220.

    >>> [x for x, _ in swapped(get("mclachlan-4")).steps[:4]]
    ['M', 'M*', 'M', 'M*']
    """
    steps = tuple(step for pair in zip(method.steps[1::2], method.steps[::2], strict=True) for step in pair)
    return Splitting(f"{method.name}, swapped", steps, method.order)
