"""Certificates: three routes that agree, on right and wrong methods, and on samplers that other people wrote."""

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

import analysis
from analysis.certificate_page import coefficients
from analysis.cli import main
from analysis.elementary import of_sampler
from analysis.exact import exact_problem
from analysis.problems import Case
from odekit.exceptions import MethodError, TraceError

CONTROLS = Path(__file__).parent.parent / "methods" / "data"
SAMPLERS = Path(__file__).parent / "samplers.py"


@pytest.fixture
def certify(tmp_path, capsys, monkeypatch):
    """Run `odekit certify` in the folder of the samplers; exit status, rows, stdout, stderr."""
    monkeypatch.syspath_prepend(str(SAMPLERS.parent))

    def run(*arguments):
        path = tmp_path / "rows.json"
        status = main(["certify", *map(str, arguments), "--json", str(path)])
        out, err = capsys.readouterr()
        return status, json.loads(path.read_text())["results"] if path.exists() else [], out, err

    return run


def test_textbook_heun_is_recognised_and_confirmed(certify):
    status, (smooth, rough), out, err = certify("samplers:heun", "--order", 2)
    assert status == 0 and err == ""
    assert "heun2" in smooth["findings"][0] and "the same method as" in out
    assert smooth["verdict"] == rough["verdict"] == "pass"
    assert smooth["nfe"] == [2 * n for n in smooth["steps"]]


def test_textbook_dpmpp_2m_is_recognised_from_a_file(certify):
    status, (smooth, rough), _, _ = certify(f"{SAMPLERS}:dpmpp_2m", "--order", 2)
    assert status == 0 and smooth["nearest"] == "dpmpp-2m"
    assert rough["observed_order"] == pytest.approx(2, abs=0.1)


def test_a_claim_too_high_fails(certify):
    status, (smooth, _), out, _ = certify("samplers:dpmpp_2m", "--order", 3)
    assert status == 1 and smooth["verdict"] == "fail" and "lies below the claimed 3" in out


def test_without_a_claim_the_order_is_told_and_nothing_is_decided(certify):
    status, (smooth, _), out, _ = certify("samplers:heun")
    assert status == 1 and smooth["verdict"] == "undetermined" and "observed order 2.00" in out


@pytest.mark.parametrize("name", ["equal_steps", "last_step"])
def test_weights_for_equal_steps_pass_on_smooth_grids_and_are_caught_on_rough_ones(certify, name):
    """`last_step` is the change proposed in k-diffusion issue 56: consistent only where all steps are equal."""
    status, (smooth, rough), _, _ = certify(f"samplers:{name}", "--order", 2)
    assert status == 1
    assert smooth["verdict"] == "pass" and rough["verdict"] == "fail"
    assert rough["observed_order"] == pytest.approx(1, abs=0.1)
    assert smooth["nearest"] == "dpmpp-2m" and "on equal steps in log-SNR" in smooth["findings"][0]


def test_a_method_unlike_any_is_told_where_it_parts_from_the_nearest(certify):
    _, (smooth, _), _, _ = certify("samplers:nearly_ddim")
    assert smooth["nearest"] and "equals no method" in smooth["findings"][0]
    assert smooth["findings"][0].count("against") == 1


def test_wasted_evaluations_are_counted(certify):
    status, (smooth, _), out, _ = certify("samplers:wasteful", "--order", 1)
    assert status == 0 and smooth["nearest"] == "ddim"
    assert "6 of 12 evaluations on a grid of 6 steps do not reach the result" in out


def test_clipping_is_named_and_the_order_measured_all_the_same(certify):
    status, (smooth, _), out, _ = certify("samplers:clipped", "--order", 1)
    assert status == 1 and smooth["nearest"] is None and "clipping or thresholding" in out


def test_a_sampler_whose_error_grows_has_a_negative_order(certify):
    status, (smooth, _), out, _ = certify("samplers:growing", "--order", 2)
    assert status == 1 and smooth["observed_order"] == pytest.approx(-2, abs=0.1)
    assert "the error grows as the step shrinks" in out


def test_a_sampler_that_returns_nan_ends_and_says_so(certify):
    status, (smooth, _), out, _ = certify("samplers:not_a_number", "--order", 2)
    assert status == 1 and smooth["verdict"] == "fail" and "not finite on grids of 4, 6, 8" in out


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["samplers:raises"], ["on a grid of 4 steps", "RuntimeError: no good"]),
        (["samplers:too_narrow"], ["shape (256, 1)", "expected a tensor of shape (256, 2)"]),
        (["samplers:nothing"], ["returned NoneType"]),
        (["samplers:without_times"], ["2 positional arguments"]),
        (["samplers:number"], ["cannot be called (int)", "sampler(model, x, times)"]),
        (["samplers:huen"], ["unknown callable", "did you mean 'heun'"]),
        (["no_such_module:f"], ["'no_such_module' cannot be imported"]),
        (["no_such_file.py:f"], ["'no_such_file.py' is no file"]),
        (["heun"], ["unknown method 'heun'", "did you mean", "heun2"]),
        (["samplers.py"], ["module:callable"]),
        (["no-such-file.toml"], ["no-such-file.toml", "does not exist"]),
        (["rk4", "--html", "no/such/folder/page.html"], ["--html no/such/folder/page.html"]),
        (["samplers:not_a_table"], ["'Q' is none of its parts"]),
        (["samplers:"], ["module:callable"]),
        (["samplers:heun", "--order", "two"], ["'two' is not a valid float"]),
        (["samplers:heun", "--order", "nan"], ["--order nan"]),
        (["samplers:heun", "--process", "vpp"], ["unknown process 'vpp'", "did you mean 'vp'"]),
        (["samplers:heun", "--prediction", "nois"], ["did you mean 'noise'"]),
        (["samplers:heun", "--problem", "ring7"], ["did you mean 'ring6'"]),
        (["samplers:heun", "--grid", "lognsr"], ["did you mean 'logsnr'"]),
    ],
)
def test_what_cannot_be_certified_is_refused_in_one_line(certify, arguments, named):
    status, rows, out, err = certify(*arguments)
    assert (status, rows, out) == (2, [], ""), (status, out, err)
    assert err.startswith("odekit: ") and err.count("\n") == 1 and "Traceback" not in err
    for text in named:
        assert text in err, err


# Methods: three routes on one page.


def test_three_routes_agree_on_a_right_method():
    page = analysis.certify("rk4")
    assert page.verdict == "pass" and page.findings == []
    assert page.order == 4 and page.failing[0] == "[tau,tau,tau,tau]: 5/24, not 1/5"
    assert [route.verdict for route in page.routes.values()] == ["pass"] * 3
    assert [float(route.order) for route in page.routes.values()] == pytest.approx([4, 4, 4], abs=0.1)
    slope, low, high = page.observed
    assert low <= slope <= high and page.principal_error.norm == pytest.approx(0.0145045823)


def test_three_routes_agree_on_what_a_mutant_is():
    """b, c, row sums and tall trees of Dormand-Prince are kept, hence all that is easy to check; the order is three."""
    page = analysis.certify(CONTROLS / "dp5-mutant.toml")
    assert page.verdict == "fail" and page.claim == 5 and page.order == 3
    assert page.failing[0] == "[[tau,tau]]: 320251/3864000, not 1/12"
    assert [route.verdict for route in page.routes.values()] == ["fail"] * 3
    assert [float(route.order) for route in page.routes.values()] == pytest.approx([3, 3, 3], abs=0.1)
    assert not any("disagree" in finding for finding in page.findings)


def test_a_problem_that_cannot_testify_is_contradicted_by_the_algebra():
    """On a linear autonomous field the control with RK4's stability polynomial is of order four, and says nothing."""
    page = analysis.certify(CONTROLS / "four-stage.toml", problem="dahlquist")
    assert page.verdict == "fail" and page.order == 2
    assert page.routes["global slope"].order == pytest.approx(4, abs=0.1)
    assert page.routes["global slope"].verdict == page.routes["local slope"].verdict == "undetermined"
    assert "testifies to order 2 at most" in page.testimony and "unseen: [t,t]" in page.testimony
    assert any("the routes disagree: algebra says 2, global slope 4" in finding for finding in page.findings)


def test_a_mislabelled_file_exits_with_one(certify):
    status, rows, out, _ = certify(CONTROLS / "four-stage.toml")
    assert status == 1 and {row["verdict"] for row in rows} == {"fail"}
    assert "order 2, not 4 as claimed: [tau,tau]: 1/4, not 1/3" in out


def test_a_right_name_exits_with_zero_and_writes_its_page(certify, tmp_path):
    path = tmp_path / "page.html"
    status, rows, out, _ = certify("dpmpp-2m", "--html", path)
    assert status == 0 and [row["kind"] for row in rows] == ["local", "formula", "with start"]
    assert out.startswith("dpmpp-2m (exponential-multistep") and "stiff order, weak form: 2" in out
    page = path.read_text()
    assert page.count("<svg") >= 3 and "http://" not in page.replace("http://www.w3.org", "") and "<script" not in page


def test_a_claim_is_the_users(certify):
    assert certify("heun2", "--order", 3)[0] == 1
    assert certify("heun2", "--order", 2)[0] == 0
    page = analysis.certify("rk4", claim=3)
    assert page.verdict == "pass" and page.order == 4


def test_an_embedded_claim_is_held_to_account():
    table = {"c": ["0", "1"], "A": [[], ["1"]], "b": ["1/2", "1/2"], "b_embedded": ["1", "0"]}
    page = analysis.certify({**table, "name": "pair", "order": 2, "embedded_order": 2})
    assert page.verdict == "fail" and "embedded order 1, not 2" in page.routes["algebra"].reason
    assert analysis.certify({**table, "order": 2, "embedded_order": 1}).verdict == "pass"


@pytest.mark.parametrize(
    "what",
    [
        {"A": [[], ["1"]], "b": ["1/2", "1/2"]},
        ([[0, 0], [1, 0]], [Fraction(1, 2)] * 2),
        ([0.0, 1.0], [[], [1.0]], [0.5, 0.5]),
        lambda: {"A": [[], [1]], "b": ["1/2", "1/2"]},
    ],
    ids=["mapping", "pair", "floats", "factory"],
)
def test_butcher_tableaus_in_any_form(what):
    page = analysis.certify(what, claim=2)
    assert page.verdict == "pass" and page.order == 2
    assert analysis.certify(what).verdict == "undetermined"  # nothing is claimed


def test_a_table_of_something_else_is_refused():
    with pytest.raises(MethodError, match="needs A and b; b missing"):
        analysis.certify({"A": [[0]]})


def test_names_of_the_algebra_that_do_not_run_are_proved_all_the_same():
    page = analysis.certify("sra1")
    assert page.verdict == "pass" and page.routes["global slope"].verdict == "absent"
    assert "does not run" in page.routes["global slope"].reason and page.subject.family == "stochastic-runge-kutta"
    assert "<td>3/2</td>" in page.to_html() and json.loads(page.to_json())["certificate"]["order"] == "3/2"


def test_a_formula_that_does_not_converge_is_refuted_whatever_its_order():
    """A few steps of BDF-7 still fall like h^7: the root outside the unit circle has no time to grow."""
    page = analysis.certify("bdf-7", steps=[10, 14, 20])
    assert page.verdict == "fail" and page.order == 7
    assert "not zero-stable" in page.routes["algebra"].reason
    assert any("rho has the root 0.0768046+1.01933j" in finding for finding in page.findings)


@pytest.mark.parametrize("name", ["strang", "unipc-3", "mclachlan-4"])
def test_families_with_habits_of_their_own_pass(name):
    """Splittings need a field in parts; a step of UniPC ends with its prediction, corrected by the next."""
    page = analysis.certify(name)
    assert page.verdict == "pass" and not any("disagree" in finding for finding in page.findings)
    assert [route.verdict for route in page.routes.values()] == ["pass"] * 3


def test_the_page_as_data_text_and_markdown():
    page = analysis.certify("heun2")
    data = json.loads(page.to_json())
    assert data["certificate"]["routes"]["algebra"]["order"] == 2 and len(data["results"]) == 2
    assert data["certificate"]["algebra"]["real_interval"] == 2.0
    text = page.to_markdown()
    assert text.startswith("# heun2\n") and "| real interval | 2 |" in text and "| algebra | pass |" in text
    lines = str(page).splitlines()
    assert (
        lines[0].endswith("claims order 2: pass") and "  symmetric: to order 3; next: [[tau],tau]: -1/4, not 0" in lines
    )


def test_the_page_draws_every_tree_of_the_principal_error():
    html = analysis.certify("rk4").to_html()
    bars = re.findall(r'class="(plus|minus)" style="width: ([\d.]+)%"', html)
    assert len(bars) == 9 and bars[0][1] == "100.0" and bars[-1] == ("plus", "4.2")  # 1/2880 of 1/120
    assert "order star" in html and html.count("<svg") == 2 + 2 + 9


def test_coefficients_of_every_family_make_a_table():
    from odekit.algebra.certificates import exact_object

    for name, first in (("krogstad4", "0"), ("dpmpp-2m-heun", "0"), ("strang", "A"), ("sra1", "0"), ("bdf-2", "1")):
        assert coefficients(exact_object(name))[0][1][0][0] == first


# Somebody's code: its own table is a proof without a test problem.


@pytest.fixture(scope="module")
def rough():
    return exact_problem(Case()).rough()


@pytest.mark.parametrize(
    "name, order, tree, gauge",
    [
        ("ddim", 1, "[tau]", "noise"),
        ("heun", 2, "[tau,tau]", "velocity"),
        ("dpmpp_2m", 2, "[tau]", "noise"),
        ("equal_steps", 1, "[tau]", "noise"),  # the weights of equal steps, on unequal ones
        ("last_step", 1, "tau", "data"),  # k-diffusion issue 56: its weights do not even sum to the step
        ("nearly_ddim", 0, "tau", "noise"),
        ("wasteful", 1, "[tau]", "noise"),
    ],
)
def test_elementary_weights_of_a_traced_sampler(rough, name, order, tree, gauge):
    import samplers

    found = of_sampler(getattr(samplers, name), rough)
    assert (found.order, found.gauge) == (order, gauge)
    assert found.failing[0].startswith(f"{tree}: ") and found.failing[0].endswith(f"off like h^{max(order, 0)}")
    claimed = of_sampler(getattr(samplers, name), rough, order + 1)
    assert claimed.findings()[0].startswith(f"order {order}, not {order + 1} as claimed: {tree}: ")


def test_a_sampler_that_is_no_table_has_no_proof(rough):
    import samplers

    with pytest.raises(TraceError):
        of_sampler(samplers.clipped, rough)
    page = analysis.certify(samplers.clipped, claim=1)
    assert page.routes["algebra"].verdict == "absent" and "clipping" in page.routes["algebra"].reason


def test_code_that_differs_from_its_table_is_refuted_by_its_own_table():
    """A copy of DPM-Solver++ 2M with the weights of equal steps: right on smooth grids, wrong by its own table."""
    import samplers

    page = analysis.certify(samplers.equal_steps, claim=2)
    assert page.verdict == "fail" and page.nearest == "dpmpp-2m"
    assert page.routes["algebra"].verdict == "fail" and page.order == 1
    assert any("order 1, not 2 as claimed: [tau]: " in finding for finding in page.findings)
