"""The estimator: the right claim passes, the next one fails, and what decides nothing says so."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.order import FAIL, PASS, UNDETERMINED, estimate_order, local_slopes, rounding_floor
from odekit.exceptions import OdekitError

RATIOS = (math.sqrt(2), 2.0, 3.0)


def ladder(p, ratio, first=8, constant=100.0, d=0.0, e=0.0, noise=0.0, seed=0, points=40):
    """Errors C h^p |1 + D h + E h^2| in units h = first/N, with rounding noise, down to below the floor."""
    counts = np.unique(np.round(first * ratio ** np.arange(points)).astype(int))
    counts = counts[counts < 2**14]
    h = first / counts
    errors = np.abs(constant * 1e-3 * h**p * (1 + d * h + e * h**2))
    floor = rounding_floor(1.0, counts)
    errors = np.abs(errors + noise * floor * np.random.default_rng(seed).uniform(-1, 1, len(counts)))
    under = np.flatnonzero(errors <= floor)
    stop = under[1] + 1 if len(under) > 1 else len(counts)
    return 1 / counts[:stop], errors[:stop], floor[:stop]


@settings(deadline=None, max_examples=150)
@given(
    p=st.integers(1, 8),
    ratio=st.sampled_from(RATIOS[:2]),
    constant=st.floats(1.0, 1e3),
    d=st.floats(-0.35, 0.35),
    e=st.floats(-0.1, 0.1),
    noise=st.floats(0, 0.05),
    seed=st.integers(0, 99),
)
def test_the_right_claim_is_never_refused_and_the_next_one_never_passes(p, ratio, constant, d, e, noise, seed):
    h, errors, floor = ladder(p, ratio, 8, constant, d, e, noise, seed)
    right, above = (estimate_order(h, errors, claim, floor) for claim in (p, p + 1))
    assert right.verdict != FAIL, right
    assert above.verdict != PASS, above


@settings(deadline=None, max_examples=150)
@given(
    p=st.integers(1, 8),
    constant=st.floats(1.0, 1e3),
    d=st.floats(-0.35, 0.35),
    e=st.floats(-0.1, 0.1),
    noise=st.floats(0, 0.03),
    seed=st.integers(0, 99),
)
def test_realistic_ladders_are_decided(p, constant, d, e, noise, seed):
    ratio = math.sqrt(2) if p < 7 else 2**0.25
    h, errors, floor = ladder(p, ratio, 8, constant, d, e, noise, seed, points=60)
    assert estimate_order(h, errors, p, floor).verdict == PASS
    assert estimate_order(h, errors, p + 1, floor).verdict == FAIL


@pytest.mark.parametrize("p", range(1, 9))
def test_undetermined_is_rare(p):
    """At most 2 % over random ladders that begin deep in the pre-asymptotic range, dips included."""
    draw = np.random.default_rng(p)
    ratio = math.sqrt(2) if p < 7 else 2**0.25
    largest = 1.5 if p < 8 else 1.0  # order eight has less than five octaves between the start and rounding
    verdicts = []
    for seed in range(200):
        d, e = draw.uniform(-largest, largest, 2)
        h, errors, floor = ladder(p, ratio, 4, 10 ** draw.uniform(1, 4), d, e, 0.1, seed, points=60)
        verdicts.append(estimate_order(h, errors, p, floor).verdict)
    assert verdicts.count(FAIL) == 0
    assert verdicts.count(UNDETERMINED) <= 4


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("p", [-3, -2, -1, 0, 1, 2, 3, 4])
def test_pure_powers_are_read_exactly_whatever_the_ratio(ratio, p):
    h = ratio ** -np.arange(3.0, 10.0)
    estimate = estimate_order(h, h**p * 1e-3 if p > 0 else h**p, claim=max(p, 1), floor=1e-300)
    assert estimate.slope == pytest.approx(p, abs=1e-9)
    assert estimate.low == pytest.approx(p, abs=1e-9) and estimate.high == pytest.approx(p, abs=1e-9)
    assert estimate.verdict == (PASS if p >= 1 else FAIL)


def test_a_diverging_method_has_a_negative_order_and_fails():
    h = 2.0 ** -np.arange(3, 10)
    estimate = estimate_order(h, h**-2, claim=2)
    assert estimate.slope == pytest.approx(-2)
    assert estimate.verdict == FAIL
    assert "grows" in estimate.reason


def test_an_order_can_be_read_from_steps_in_any_sequence():
    h = 2.0 ** -np.arange(3, 9)
    shuffled = np.random.default_rng(1).permutation(len(h))
    estimate = estimate_order(h[shuffled], (h**3)[shuffled], claim=3)
    assert estimate.verdict == PASS
    assert [h[shuffled][i] for i in estimate.window] == sorted(h, reverse=True)


def test_a_low_order_that_only_shows_on_fine_grids_is_not_hidden_by_the_coarse_ones():
    """A start of order two behind a formula of order four: the coarse points alone would confirm four."""
    h = 2.0 ** -np.arange(2, 16)
    errors = h**4 + 1e-4 * h**2
    assert estimate_order(h[:5], errors[:5], claim=4, floor=1e-15).slope > 3.5
    estimate = estimate_order(h, errors, claim=4, floor=1e-15)
    assert estimate.verdict == FAIL
    assert estimate.slope == pytest.approx(2, abs=0.05)


def test_a_transition_that_has_not_ended_is_undetermined():
    h = 2.0 ** -np.arange(2, 7)
    estimate = estimate_order(h, h**4 + 1e-3 * h, claim=4, floor=1e-15)
    assert estimate.verdict in (UNDETERMINED, FAIL)
    assert estimate_order(h, h**4 + 1e-3 * h, claim=1, floor=1e-15).verdict == UNDETERMINED


@pytest.mark.parametrize("crossing", [6, 12, 30])
def test_a_dip_where_the_error_changes_sign_does_not_decide(crossing):
    counts = np.round(4 * 2 ** (np.arange(24) / 2))
    h = 1 / counts
    estimate = estimate_order(h, np.abs(h**3 * (1 - crossing * h * 1.01)), claim=3, floor=1e-15)
    assert estimate.verdict == PASS
    assert estimate.asymptotic_from < 1 / crossing


def test_a_ladder_that_ends_just_after_a_dip_does_not_fail_the_right_claim():
    counts = 4 * 2.0 ** np.arange(5)
    h = 1 / counts
    assert estimate_order(h, np.abs(h**4 * (1 - 8.5 * h)), claim=4, floor=1e-15).verdict == UNDETERMINED


def test_rounding_is_left_out_and_a_plateau_is_no_order_zero():
    counts = 2.0 ** np.arange(2, 14)
    h, plateau = 1 / counts, 3e-13 * (1 + 0.3 * np.sin(counts))
    estimate = estimate_order(h, h**4 + plateau, claim=4, floor=1e-13)
    assert estimate.verdict == PASS
    assert len(estimate.window) >= 4
    assert estimate.window[-1] < 11


def test_an_inconsistent_method_has_order_zero_not_a_floor():
    h = 2.0 ** -np.arange(2, 12)
    estimate = estimate_order(h, h + 0.1, claim=1)
    assert estimate.verdict == FAIL
    assert estimate.slope == pytest.approx(0, abs=0.3)


def test_an_instability_that_grows_out_of_rounding_fails():
    counts = 2.0 ** np.arange(3, 14)
    errors = np.maximum(counts**-4.0, 1e-16 * 2 ** (counts / 60))
    assert estimate_order(1 / counts, np.minimum(errors, 1e200), claim=4, floor=1e-14).verdict == FAIL


def test_solves_that_blow_up_on_coarse_grids_are_pre_asymptotic():
    h = 2.0 ** -np.arange(1, 10)
    errors = h**2
    errors[:3] = [math.nan, math.inf, math.nan]
    estimate = estimate_order(h, errors, claim=2)
    assert estimate.verdict == PASS
    assert estimate.window[0] == 3


def test_a_solve_that_blows_up_on_the_finest_grid_fails():
    h = 2.0 ** -np.arange(1, 10)
    errors = h**2
    errors[-1] = math.inf
    estimate = estimate_order(h, errors, claim=2)
    assert estimate.verdict == FAIL
    assert "not finite" in estimate.reason and math.isnan(estimate.slope)
    assert estimate_order(h, np.full(9, math.nan), claim=2).verdict == FAIL


def test_a_higher_order_than_claimed_passes_with_a_finding():
    h = 2.0 ** -np.arange(2, 8)
    estimate = estimate_order(h, h**4, claim=3)
    assert estimate.verdict == PASS
    assert "higher" in estimate.findings[0]
    assert estimate_order(h, h**3, claim=3).findings == ()


def test_without_a_claim_the_slope_is_told_and_nothing_is_decided():
    h = 2.0 ** -np.arange(2, 8)
    estimate = estimate_order(h, h**3)
    assert estimate.verdict == UNDETERMINED
    assert estimate.slope == pytest.approx(3)
    assert "3.00" in estimate.reason


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_points_are_undetermined_with_the_reason(count):
    h = 2.0 ** -np.arange(2.0, 2.0 + count)
    estimate = estimate_order(h, h**2, claim=2)
    assert estimate.verdict == UNDETERMINED
    assert estimate.reason and math.isnan(estimate.slope)


def test_a_method_that_is_exact_on_the_problem_is_undetermined_and_says_why():
    h = 2.0 ** -np.arange(2, 9)
    estimate = estimate_order(h, np.zeros(7), claim=2)
    assert estimate.verdict == UNDETERMINED
    assert "exact" in estimate.reason


@pytest.mark.parametrize(
    "h, errors, floor, match",
    [
        ([1, 0.5], [1.0], 0.0, "as many"),
        ([1, 1], [1.0, 1.0], 0.0, "distinct"),
        ([1, -1], [1.0, 1.0], 0.0, "positive"),
        ([1, math.nan], [1.0, 1.0], 0.0, "finite"),
        ([1, 0.5], [1.0, -1.0], 0.0, "negative"),
        ([1, 0.5], [1.0, 1.0], -1.0, "floor"),
    ],
)
def test_what_is_no_ladder_is_refused_in_one_line(h, errors, floor, match):
    with pytest.raises(OdekitError, match=match) as refusal:
        estimate_order(h, errors, 1, floor)
    assert "\n" not in str(refusal.value)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1.0), st.floats(0, 1e300) | st.just(math.nan) | st.just(math.inf)),
        max_size=12,
        unique_by=lambda pair: math.log(pair[0]),
    ),
    st.none() | st.integers(-2, 12),
)
def test_any_ladder_gets_a_verdict_with_a_reason(pairs, claim):
    h, errors = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    estimate = estimate_order(h, errors, claim)
    assert estimate.verdict in (PASS, FAIL, UNDETERMINED)
    assert estimate.reason and "\n" not in estimate.reason
    if not math.isnan(estimate.slope):
        assert estimate.low <= estimate.slope <= estimate.high


def test_local_slopes_know_the_step_sizes():
    """Steps in ratio three: an estimator that assumes halving would say 3.17."""
    h = 3.0 ** -np.arange(4)
    assert local_slopes(h, h**2) == pytest.approx([2, 2, 2])


@pytest.mark.parametrize("step, order", [("euler", 1), ("rk4", 4)])
def test_orders_of_textbook_loops(step, order):
    """x' = -x^2 + cos t from 1 over [0, 2], against itself at 40 times the finest resolution, by the other method."""

    def f(t, x):
        return -x * x + math.cos(t)

    def run(n, step):
        t, x, h = 0.0, 1.0, 2.0 / n
        for _ in range(n):
            k1 = f(t, x)
            if step == "euler":
                x, t = x + h * k1, t + h
                continue
            k2 = f(t + h / 2, x + h / 2 * k1)
            k3 = f(t + h / 2, x + h / 2 * k2)
            k4 = f(t + h, x + h * k3)
            x, t = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), t + h
        return x

    exact = run(10_000, "rk4")
    counts = [8, 11, 16, 23, 32, 45, 64, 90, 128, 181, 256]
    errors = [abs(run(n, step) - exact) for n in counts]
    floor = rounding_floor(1.0, counts)
    assert estimate_order([1 / n for n in counts], errors, order, floor).verdict == PASS
    assert estimate_order([1 / n for n in counts], errors, order + 1, floor).verdict == FAIL
