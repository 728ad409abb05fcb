"""gDDIM's orders as verification reads them, where errors come close to their slope late."""

from dataclasses import replace

import pytest

from analysis.measure import convergence
from analysis.problems import matrix_cases


@pytest.fixture(scope="module")
def case():
    """Steps uneven in t, on which the slopes of degree three are within 0.1 of four from 256 steps on only."""
    return replace(matrix_cases("blurring")[0], grid="time-power")


def test_degree_three_on_blurring_is_decided(case):
    study = convergence("gddim-3", case, kind="formula")
    assert study.verdict == "pass" and study.row["steps"][-1] > 256


def test_a_short_ladder_is_not(case):
    """Negative control: with a third of the evaluations the interval still straddles the claim."""
    study = convergence("gddim-3", case, kind="formula", budget=1200)
    assert study.verdict == "undetermined" and "straddles" in study.reason


def test_a_degree_too_high_is_refuted(case):
    assert convergence("gddim-2", case, kind="formula", claim=4).verdict == "fail"
