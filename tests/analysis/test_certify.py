"""Other people's samplers: recognised by their tables, measured as they run, refused in one line when they break."""

import json
from pathlib import Path

import pytest

from analysis.cli import main

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
        (["heun"], ["module:callable"]),
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
