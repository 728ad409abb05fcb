"""What the literature says of the tableaus of the catalogue, against their certificates; and what it got wrong.

Orders and embedded orders are certified for every file by tests/algebra/test_properties.py. Here are the properties
that a file does not claim, each set complete over the catalogue: a method that has one is listed, no other is.
"""

import re
from fractions import Fraction
from math import factorial, inf, sqrt
from pathlib import Path

import pytest

from odekit.algebra.conditions import residuals
from odekit.algebra.properties import certificate
from odekit.algebra.runge_kutta import series
from odekit.algebra.structure import energy_preserving
from odekit.methods.files import DATA, get, names

PAGE = Path(__file__).parents[2] / "docs" / "catalogue.md"
IMPLICIT = {name for name in names() if get(name).kind != "explicit"}


def having(answer, among=None):
    return {name for name in among or names() if answer(certificate(name))}


def test_a_hundred_methods_by_name_order_and_source():
    found = [get(name) for name in names()]
    assert len(found) >= 100 and all(t.name == file for t, file in zip(found, names(), strict=True))
    assert all(re.search(r"\b(1[789]|20)\d\d\b|Hairer|Butcher", t.source) for t in found)  # an author and a year
    assert {t.order for t in found} == set(range(1, 9))


def test_no_method_is_there_twice():
    """Equal coefficients have one name; a pair whose first stages are another method's has stages of its own."""
    seen = {}
    for name in names():
        _, A, b, _ = get(name).exact
        key = tuple(round(float(x), 12) for row in (*A, b) for x in row)
        assert seen.setdefault(key, name) == name


# Printed decimals.

DIGITS = {  # to which the conditions hold; the other files are exact
    **dict.fromkeys(("gauss-4", "radau-iia-4", "ssp53", "ssp54", "ssp63"), 58),
    **dict.fromkeys(("kvaerno-3", "kvaerno-4", "crouzeix-4"), 58),
    **dict.fromkeys(
        ("ark324-explicit", "ark324-implicit", "ark436-explicit", "ark548-explicit", "ark548-implicit"), 26
    ),
    **dict.fromkeys(("esdirk436-2", "esdirk437", "esdirk547", "carpenter-kennedy-4", "kcl435", "kcl549"), 26),
    **{"kcl324": 27, "kcl548": 27, "tsit5": 82, "sdirk3": 60, "prince-8": 30, "dormand-prince-87": 18},
    **{
        "tselios-simos-4": 18,
        "kvaerno-5": 17,
        "parsani-ketcheson-deconinck-3": 17,
    },
    **{"parsani-ketcheson-deconinck-5": 17, "calvo-franco-randez-4": 16, "calvo-montijano-randez-6": 16},
    "ssp75-downwind": 16,
}


def test_digits():
    assert {name: get(name).digits for name in names() if get(name).digits} == DIGITS


@pytest.mark.parametrize("name", sorted(DIGITS))
def test_rounding_cannot_pass_for_an_order(name):
    """What is left of the conditions that hold is at least a thousand times smaller than what breaks the next order."""
    found = certificate(name)
    for embedded, order in ((False, found.order), (True, found.embedded_order)):
        if order is not None:
            gap = residuals(name, order + 1, embedded=embedded)
            stray = max(abs(r) for n in range(1, order + 1) for r in gap.of_order(n).values())
            assert 1000 * stray < max(abs(r) for r in gap.of_order(order + 1).values())


# Properties.

ESDIRK = {"esdirk325", "esdirk436", "esdirk436-2", "esdirk437", "esdirk547", "kvaerno-3", "kvaerno-4", "kvaerno-5"}
ARK = {"ark324-implicit", "ark436-implicit", "ark548-implicit"}
RADAU = {"radau-ia-2", "radau-ia-3", "radau-iia-2", "radau-iia-3", "radau-iia-4"}
IIIC = {"lobatto-iiic-2", "lobatto-iiic-3", "lobatto-iiic-4"}
SDIRK = {"sdirk2", "sdirk3", "sdirk4", "pareschi-russo-2", "ars443-implicit", "iserles-norsett-4"}
L_STABLE = {"implicit-euler", "tr-bdf2", "bank-2", *ESDIRK, *ARK, *RADAU, *IIIC, *SDIRK}
NOT_A_STABLE = {"hammer-hollingsworth-3", "lobatto-iii-3", "lobatto-iii-4", "ssp-sdirk-23", "ssp-sdirk-33"}
GAUSS = {"implicit-midpoint", "gauss-2", "gauss-3", "gauss-4"}
SYMPLECTIC = {*GAUSS, "qin-zhang-2", "lobatto-iiid-2", "lobatto-iiid-3", "lobatto-iiie-3"}
IIIA, IIIB = {"trapezoidal", "lobatto-iiia-3", "lobatto-iiia-4"}, {"lobatto-iiib-3", "lobatto-iiib-4"}
SYMMETRIC = {*SYMPLECTIC, *IIIA, *IIIB, "tr-x2"}


def test_stability_of_implicit_methods():
    """Hairer, Wanner II, IV.3 and IV.5; Kennedy, Carpenter 2016 for those of one explicit stage."""
    assert having(lambda c: c.stability.is_l_stable, IMPLICIT) == L_STABLE
    assert having(lambda c: c.stability.is_a_stable, IMPLICIT) == IMPLICIT - NOT_A_STABLE


def test_symplectic_and_symmetric_methods():
    """Hairer, Lubich, Wanner, V.2 and VI.4 (no explicit method is either); Jay 2015; Qin, Zhang 1992."""
    few = {name for name in names() if get(name).order <= 4}
    assert having(lambda c: c.symplectic, IMPLICIT | few) == SYMPLECTIC
    assert having(lambda c: c.symmetric, IMPLICIT | few) == SYMMETRIC


STAGE_ORDERS = {  # Hairer, Wanner II, table IV.5.13; the rest have stage order one
    **{"gauss-2": 2, "gauss-3": 3, "gauss-4": 4, "radau-ia-3": 2, "hammer-hollingsworth-3": 2},
    **{"radau-iia-2": 2, "radau-iia-3": 3, "radau-iia-4": 4, "trapezoidal": 2, "lobatto-iiia-3": 3},
    **{"lobatto-iiia-4": 4, "lobatto-iiib-4": 2, "lobatto-iiic-3": 2, "lobatto-iiic-4": 3, "lobatto-iiid-3": 2},
    **{"lobatto-iii-3": 2, "lobatto-iii-4": 3, "tr-bdf2": 2, "tr-x2": 2, "bank-2": 2},
    **dict.fromkeys((*ESDIRK, *ARK), 2),
}


def test_stage_orders():
    found = {name: certificate(name).stage_order for name in IMPLICIT}
    assert {name: order for name, order in found.items() if order > 1} == STAGE_ORDERS
    assert all(certificate(name).stage_order == 1 for name in set(names()) - IMPLICIT)


def test_orders_of_families():
    """Gauss 2s, Radau 2s - 1, Lobatto 2s - 2; explicit methods of order p need 6, 7, 9, 11 stages for p = 5 ... 8."""
    for family, lost in (("gauss", 0), ("radau", 1), ("lobatto", 2)):
        members = [get(name) for name in names() if name.startswith(family)]
        assert len(members) >= 3 and all(t.order == 2 * t.stages - lost for t in members)
    least = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 7, 7: 9, 8: 11}
    for order, stages in least.items():
        assert min(get(name).stages for name in set(names()) - IMPLICIT if get(name).order == order) == stages


SSP = {  # Gottlieb, Ketcheson, Shu 2011; Ferracina, Spijker 2008; zero for the rest but for those below
    **{"euler": 1, "heun2": 1, "ssp32": 2, "ssp42": 3, "ssp33": 1, "ssp43": 2, "ssp93": 6, "ssp104": 6},
    **{"ssp53": 2.650629191, "ssp54": 1.508180049, "ssp63": 3.518392309, "implicit-euler": inf, "implicit-midpoint": 2},
    **{"trapezoidal": 2, "qin-zhang-2": 4, "tr-x2": 4, "ssp-sdirk-23": 1 + sqrt(3), "ssp-sdirk-33": 2 + 2 * sqrt(2)},
    **dict.fromkeys(("sdirk2", "tr-bdf2", "pareschi-russo-2"), 1 + sqrt(2)),
}
BY_CHANCE = {  # methods made for other ends
    **{"ralston": Fraction(1, 2), "bank-2": Fraction(12, 5), "hammer-hollingsworth-3": Fraction(3, 2)},
    **{"fehlberg12": 0.00392154, "rkc1-5": 1.23195813, "parsani-ketcheson-deconinck-3": 0.12138077},
}


def test_strong_stability_preserving_coefficients():
    found = {name: certificate(name).ssp for name in names()}
    assert {name for name, radius in found.items() if radius} == {*SSP, *BY_CHANCE}
    for name, radius in {**SSP, **BY_CHANCE}.items():
        assert found[name] == pytest.approx(float(radius), rel=1e-6), name


FSAL = {
    *("bs3", "bs5", "dp5", "tsit5", "higham-hall-5", "higham-hall-5s", "calvo-montijano-randez-6", "sharp-verner-6"),
    *("owren-zennaro-3", "owren-zennaro-4", "owren-zennaro-5", "verner6-1991", "verner6-robust"),
    *("papakostas-papageorgiou-5a", "papakostas-papageorgiou-5b", "ars443-explicit", "tr-bdf2", "tr-x2", "bank-2"),
    *IIIA, *ESDIRK, *ARK,
}  # fmt: skip


def test_no_explicit_method_passes_the_barriers_of_strong_stability():
    """Order at most four, coefficient at most s - p + 1: Kraaijevanger 1991; Gottlieb, Ketcheson, Shu 2011, 5.1."""
    stable = [name for name in {**SSP, **BY_CHANCE} if name not in IMPLICIT]
    assert len(stable) > 8
    for name in stable:
        method = get(name)
        assert method.order <= 4 and certificate(name).ssp <= method.stages - method.order + 1, name


def test_first_same_as_last():
    # A stiffly accurate Radau method also ends with row b, but its first stage is not f at the start of the step.
    assert {name for name in names() if get(name).fsal} == FSAL


def test_what_single_papers_claim():
    reach = {name: certificate(name).stability.real_interval for name in ("rkc1-5", "rkc2-5", "rkl2-5")}
    assert 2 / 3 * (5**2 - 1) * (1 - 2 / 15 * 2 / 13) < reach["rkc2-5"] < 2 / 3 * 5**2
    assert (2 - 4 / 3 / 20) * 5**2 < reach["rkc1-5"] < 2 * 5**2
    assert 14 < reach["rkl2-5"] < 15  # (s^2 + s - 2)/2, where the Legendre polynomial is -1, and a little beyond
    assert certificate("lawson5").stability.real_interval > 5 > certificate("nystrom5").stability.real_interval
    assert energy_preserving(series("pep425", 6)).order == 5
    found = certificate("nssp32")
    assert found.failing[0].tree.order == 3 and found.stability.numerator[3] == Fraction(1, 6)
    # The second weights of Merson are of order five on linear problems with constant coefficients only.
    weights = series("merson4", 5, embedded=True)
    assert all(weights["[" * n + "tau" + "]" * n] == Fraction(1, factorial(n + 1)) for n in range(5))
    assert weights["[tau,tau,tau]"] != Fraction(1, 4)


# Wrong in the literature, or in programs that transcribe it: what fails, next to the file that is right.


def entry(name, part, *place):
    values = getattr(get(name).exact, part)
    for index in place:
        values = values[index]
    return values


def altered(name, part, value, *place):
    """(A, b) of a method with one entry, or one row, replaced."""
    _, A, b, embedded = get(name).exact
    A, b = [list(row) for row in A], list(embedded if part == "b_embedded" else b)
    if part == "A":
        A[place[0]][place[1]] = value
    else:
        b[place[0]] = value
    return A, b


WRONG = [  # method, part, place, wrong entry, order that is left, first condition that fails
    ("cash-karp", "b_embedded", (2,), Fraction(18574, 48384), 0, "tau"),
    ("cash-karp", "b_embedded", (3,), Fraction(13525, 554296), 0, "tau"),
    ("fehlberg45", "A", (5, 2), Fraction(-3554, 2565), 1, "[tau]"),
    ("tsit5", "b_embedded", (6,), Fraction(1, 40), 0, "tau"),
    ("ark548-implicit", "A", (6, 5), Fraction(-4269925059573, 7827059040719), 1, "[tau]"),
]


@pytest.mark.parametrize(
    ("name", "part", "place", "value", "order", "tree"), WRONG, ids=[f"{row[0]}-{row[1]}-{row[2][-1]}" for row in WRONG]
)
def test_wrong_entries_are_refused(name, part, place, value, order, tree):
    assert entry(name, part, *place) != value
    tolerance = certificate(name).scheme.tolerance
    gap = residuals(altered(name, part, value, *place), 2)
    broken = [str(t) for t, r in gap.items() if abs(r) > tolerance]
    assert broken[0] == tree and order == {"tau": 0, "[tau]": 1}[tree]


def test_lambert65_is_lawson_with_a_row_of_butcher():
    """NodePy's "Lambert65" has row 3 (1/8, 1/8): of order two; with Lawson's (3/16, 1/16) it is lawson5."""
    _, A, b, _ = get("lawson5").exact
    A = [list(row) for row in A]
    assert certificate((A, list(b))).order == 5
    A[2][:2] = [Fraction(1, 8)] * 2
    assert certificate((A, list(b))).order == 2


def test_the_weights_of_sharp_smart_are_not_swapped():
    """NodePy advances with the weights of order two, its embedded ones are those of order three."""
    found = certificate("sharp-smart3")
    assert (found.order, found.embedded_order) == (3, 2)


def test_two_midpoint_rules_are_not_l_stable():
    """As DIRK2 they are called L-stable by PathSim: |R(infinity)| = 1, as for every symplectic method."""
    stability = certificate("qin-zhang-2").stability
    assert stability.is_a_stable and not stability.is_l_stable
    assert abs(stability.numerator[-1]) == abs(stability.denominator[-1])


# The page.


def test_the_page_lists_every_method_as_it_is():
    rows = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `") and line.count("|") == 6:
            name, order, stages, embedded, source = (cell.strip() for cell in line.strip("|").split("|"))
            rows[name.strip("`")] = (order, stages, embedded, source)
    told = {t.name: (str(t.order), str(t.stages), str(t.embedded_order or ""), t.source) for t in map(get, names())}
    assert rows == told
    assert {file.stem for file in DATA.glob("*.toml")} >= set(rows)
