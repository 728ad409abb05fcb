"""What every process promises: number kinds, ends without NaN, gradients, refusals, identity, LaTeX, the user's own."""

import copy
import math
import pickle
import subprocess
import sys

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mp

import odekit.processes as processes
from odekit.exceptions import OdekitError, TimeRangeError, UnknownNameError
from odekit.processes import EDM, VE, VP, Cosine, DiscreteVP, IsotropicProcess, RectifiedFlow, SubVP

PROCESSES = [VP(), SubVP(), Cosine(), VE(), EDM(), RectifiedFlow(), DiscreteVP([0.1, 0.2, 0.3, 0.4])]
QUANTITIES = (
    *("alpha", "sigma", "log_alpha", "log_sigma", "kappa", "alpha_over_sigma", "alpha_rate", "sigma_rate"),
    *("logsnr", "logsnr_rate", "drift", "diffusion_squared"),
)
each_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: p.name)
each_quantity = pytest.mark.parametrize("quantity", QUANTITIES)


@each_process
@each_quantity
def test_same_kind_in_same_kind_out(process, quantity):
    function, t = getattr(process, quantity), 0.4
    value = function(t)
    assert type(value) is float
    with mp.workdps(30):
        assert isinstance(function(mpmath.mpf(t)), mpmath.mpf)
        array = function(np.array([[mpmath.mpf(t), mpmath.mpf("0.6")]], dtype=object))
        assert array.dtype == object and array.shape == (1, 2) and isinstance(array[0, 1], mpmath.mpf)
    for shape in ((), (3,), (2, 3)):
        tensor = function(torch.full(shape, t, dtype=torch.float64))
        assert tensor.dtype == torch.float64 and tensor.shape == shape
        assert tensor.flatten()[0].item() == pytest.approx(value, rel=1e-15, abs=0)
    assert function(np.array([t, 0.6]))[0] == pytest.approx(value, rel=1e-15, abs=0)
    assert function(torch.tensor(0.5)).dtype == torch.float64


@each_process
@each_quantity
def test_ends_are_finite_or_infinite_but_never_nan(process, quantity):
    function = getattr(process, quantity)
    low, high = process.domain
    ends = [end for end in (low, high, process.t_min, process.t_max) if math.isfinite(end)]
    middle = (process.t_min + process.t_max) / 2
    batch = function(torch.tensor(ends, dtype=torch.float64)).tolist()
    for t, vectorised in zip(ends, batch, strict=True):
        value = function(t)
        assert not math.isnan(value)
        assert vectorised == pytest.approx(value, rel=3e-15)
        assert float(function(mpmath.mpf(t))) == pytest.approx(value, rel=1e-13)
        if math.isinf(value):  # on the side where the process lives
            assert value * function(t + (middle - t) * 1e-9) > 0


def test_rectified_flow_ends():
    flow = RectifiedFlow()
    at = {name: (getattr(flow, name)(0.0), getattr(flow, name)(1.0)) for name in QUANTITIES}
    assert at["alpha_rate"] == (-1.0, -1.0) and at["sigma_rate"] == (1.0, 1.0)
    assert at["kappa"] == (0.0, math.inf) and at["logsnr"] == (math.inf, -math.inf)
    assert at["drift"] == (-1.0, -math.inf) and at["diffusion_squared"] == (0.0, math.inf)


@each_process
@pytest.mark.parametrize(
    ("quantity", "rate"),
    [("alpha", "alpha_rate"), ("sigma", "sigma_rate"), ("logsnr", "logsnr_rate"), ("log_alpha", "drift")],
)
def test_autograd_is_the_rate(process, quantity, rate):
    low = max(process.t_min, 1e-6)
    t = torch.tensor([low * 1.01, 0.3, 0.67 * process.t_max, process.t_max * 0.999], dtype=torch.float64)
    t.requires_grad_()
    (slope,) = torch.autograd.grad(getattr(process, quantity)(t).sum(), t)
    assert slope.tolist() == pytest.approx(getattr(process, rate)(t.detach()).tolist(), rel=1e-12)


@each_process
@each_quantity
def test_gradcheck(process, quantity):
    t = torch.tensor([0.11, 0.4, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(process, quantity), t, eps=1e-7, rtol=1e-5, atol=1e-6)


@each_process
def test_times_outside_the_domain_are_refused_by_value(process):
    for t in (-0.25, -1e-300, math.nan, mpmath.mpf(-3), torch.tensor([0.5, -0.25], dtype=torch.float64), math.inf):
        for function in (process.alpha, process.check_times, process.compile(process.expressions["kappa"])):
            with pytest.raises(TimeRangeError, match="outside the range of"):
                function(t)
    with pytest.raises(TimeRangeError, match=r"t = -0.25 is outside the range of .*\[0, "):
        process.sigma(torch.tensor([0.5, -0.25], dtype=torch.float64))
    process.check_times(process.t_min)
    process.check_times(torch.tensor([process.t_min, process.t_max], dtype=torch.float64))


@pytest.mark.parametrize("bad", ["0.5", None, 1j, torch.tensor([True]), torch.tensor(1j), [0.5]])
def test_other_kinds_are_refused(bad):
    with pytest.raises(OdekitError, match="expected a"):
        VP().alpha(bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VP(beta_0=0.0), "beta_0 = 0.0 must be positive"),
        (lambda: SubVP(beta_1=-3), "beta_1 = -3 must be positive"),
        (lambda: VP(beta_1=math.nan), "beta_1 = nan is not finite"),
        (lambda: VP(beta_1="twenty"), "unknown symbol 'twenty'"),
        (lambda: VP(beta_1=[20.0]), "beta_1 must be a number, not list"),
        (lambda: Cosine(c=0.0), "c = 0.0 must be positive"),
        (lambda: VP(t_min=1.0, t_max=0.5), "t_min = 1.0 and t_max = 0.5 must satisfy"),
        (lambda: VP(t_min=0.5, t_max=0.5), "t_min = 0.5 and t_max = 0.5 must satisfy"),
        (lambda: Cosine(t_max=1.5), "t_max = 1.5 must satisfy 0.0 <= t_min < t_max <= 1.0"),
        (lambda: EDM(t_max=math.inf), "t_max = inf is not finite"),
        (lambda: VP(beta_0=20.0, beta_1=0.1, t_max=1.1), "t_max <= 1.005"),
        (lambda: VP(beta_2=1.0), "unknown parameter of VP 'beta_2'; did you mean"),
        (lambda: processes.get("vpp"), "unknown process 'vpp'; did you mean 'vp'"),
    ],
)
def test_bad_parameters_are_refused_in_one_line(make, message):
    with pytest.raises(OdekitError, match=message.replace("(", r"\(")) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_names_and_get():
    isotropic = ["vp", "subvp", "cosine", "ve", "edm", "rectified-flow", "discrete-vp"]
    assert processes.names() == sorted([*isotropic, "blurring", "cld", "psld"])
    for process in PROCESSES:
        assert processes.get(process.name, **process.parameters) == process
    with pytest.raises(UnknownNameError):
        processes.get("VP ")


@each_process
def test_identity_pickling_and_immutability(process):
    process.alpha(0.5)  # caches must not matter
    for twin in (pickle.loads(pickle.dumps(process)), copy.deepcopy(process)):
        assert twin == process and hash(twin) == hash(process) and twin is not process
        assert twin.kappa(0.3) == process.kappa(0.3)
    assert process != type(process)(**{**process.parameters, "t_min": 0.03})
    with pytest.raises(AttributeError, match="immutable"):
        process.t_min = 0.5
    assert eval(repr(VP(beta_1=10.0))) == VP(beta_1=10.0)
    assert VE() != EDM(t_min=0.02, t_max=100.0)


def test_a_float_parameter_means_its_decimal():
    with mp.workdps(40):
        t = mpmath.mpf("0.25")
        exact = -(mpmath.mpf("19.9") * t**2 / 4 + mpmath.mpf("0.1") * t / 2)
        assert abs(VP().log_alpha(t) - exact) < mpmath.mpf(10) ** -39
        assert abs(VP().log_alpha(t) + mpmath.mpf(0.1) * t / 2 + mpmath.mpf(19.9) * t**2 / 4) > mpmath.mpf(10) ** -20


def test_other_parameters_reuse_the_code():
    VP().kappa(0.5)
    assert VP(beta_1=7.0)._code("kappa") is VP()._code("kappa")
    assert VP(beta_1=7.0).kappa(0.5) == pytest.approx(math.sqrt(math.expm1(6.9 * 0.125 + 0.05)), rel=1e-14)


def test_operators():
    vp, t, s = VP(), 0.7, 0.2
    assert vp.transition(t, s).value == vp.alpha(t) / vp.alpha(s)
    assert vp.covariance(t).value == vp.sigma(t) ** 2
    assert vp.factor(t).value == vp.sigma(t)
    steps = torch.tensor([0.1, 0.5], dtype=torch.float64)
    there_and_back = vp.transition(s, steps) @ vp.transition(steps, s)
    assert there_and_back.value.tolist() == pytest.approx([1.0, 1.0], rel=1e-15)
    with pytest.raises(TimeRangeError, match="no transition starts at t = 1.0"):
        RectifiedFlow().transition(0.5, 1.0)
    with pytest.raises(TimeRangeError, match="no transition starts"):
        RectifiedFlow().transition(0.5, torch.tensor([0.5, 1.0], dtype=torch.float64))


@each_process
def test_latex_is_a_short_align_block(process):
    text = process.latex()
    assert text.startswith("\\begin{align}\n") and text.endswith("\n\\end{align}")
    lines = text.splitlines()[1:-1]
    assert [line.split(" &= ")[0] for line in lines] == [r"\alpha(t)", r"\sigma(t)", "f(t)", "g(t)^2"]
    assert all(line.endswith(r"\\") for line in lines[:-1])
    assert text.count("{") == text.count("}") and "log1p" not in text and "ratio" not in text


def test_latex_prints_the_paper_not_the_rewriting():
    assert r"\sqrt{1 - \alpha(t)^2}" in VP().latex()
    assert r"\beta_{0}" in VP().latex()
    assert r"\cos" in Cosine().latex().splitlines()[1]
    assert r"\frac{2 t}{1 - t}" in RectifiedFlow().latex()


class Geometric(IsotropicProcess):
    """Noise levels in geometric progression (Song et al. 2021, equation 30)."""

    name, t_min, t_max = "geometric", 1e-5, 1.0

    @staticmethod
    def define(t, low=0.01, high=50):
        return {"alpha": 1, "sigma": low * (high / low) ** t}


class Tempered(IsotropicProcess):
    """Variance preserving, alpha^2 = 1/(1 + t^2): what is left out of a definition is sigma^2 = 1 - alpha^2."""

    name, t_min, t_max = "tempered", 0.01, 50.0

    def define(t):  # staticmethod or not, all the same
        from sympy import log

        return {"log_alpha": -log(1 + t**2) / 2}


def test_the_users_own_process():
    process = Geometric(high=10.0)
    assert process.sigma(0.5) == pytest.approx(math.sqrt(0.1), rel=1e-15)
    assert process.diffusion_squared(0.5) == pytest.approx(2 * math.log(1000) * 0.1, rel=1e-14)
    assert process.expressions["time_at_kappa"] is not None
    assert process.time_at_kappa(1.0) == pytest.approx(math.log(100) / math.log(1000), rel=1e-15)
    with pytest.raises(TimeRangeError, match="never has kappa = 0.001"):
        process.time_at_kappa(0.001)  # sigma(0) = 0.01
    assert repr(process) == "Geometric(low=0.01, high=10.0, t_min=1e-05, t_max=1.0)"

    process = Tempered()
    assert process.kappa(3.0) == pytest.approx(3.0, rel=1e-15)
    assert process.time_at_kappa(7.0) == pytest.approx(7.0, rel=1e-14)
    assert process.diffusion_squared(2.0) == pytest.approx(0.8, rel=1e-14)


def test_definitions_that_are_none_are_refused():
    class Nothing(IsotropicProcess):
        def define(t):
            return {"sigma": t}

    class Typo(IsotropicProcess):
        def define(t):
            return {"alpha": 1, "sgima": t}

    class Reserved(IsotropicProcess):
        def define(t, exp=2):
            return {"alpha": 1, "sigma": exp * t}

    for process, message in ((Nothing, "must return"), (Typo, "sgima"), (Reserved, "cannot be called 'exp'")):
        with pytest.raises(OdekitError, match=message):
            process().alpha(0.5)

    class Backwards(IsotropicProcess):
        domain = (0.0, 1.0)

        def define(t):
            return {"alpha": t, "sigma": 1 - t}

    class Text(IsotropicProcess):
        def define(t):
            return {"alpha": "1", "sigma": t}

    for level in ("logsnr", "kappa", "alpha_over_sigma"):
        with pytest.raises(OdekitError, match="log-SNR must decrease in t"):
            getattr(Backwards(), "time_at_" + level)(0.5)
    for refused in (lambda: Text().alpha(0.5), lambda: VP().compile("t"), lambda: VP().compile("__import__('os')")):
        with pytest.raises(OdekitError, match="expected a SymPy expression, not str"):
            refused()
    with pytest.raises(OdekitError, match="a parameter cannot be called 'sigma'"):

        class Clash(IsotropicProcess):
            def define(t, sigma=1.0):
                return {"alpha": 1, "sigma": sigma * t}

    class Needy(IsotropicProcess):
        def define(t, scale):
            return {"alpha": 1, "sigma": scale * t}

    with pytest.raises(OdekitError, match="needs a value for scale"):
        Needy()
    assert Needy(scale="1/4").sigma(2.0) == 0.5


@each_process
def test_standard_processes_have_closed_inverses(process):
    for level in ("logsnr", "kappa", "alpha_over_sigma"):
        assert process.expressions["time_at_" + level] is not None


@each_process
def test_compile(process):
    e = process.expressions
    odd = process.compile(e["alpha"] ** 2 + e["sigma"] ** 2)
    expected = process.alpha(0.5) ** 2 + process.sigma(0.5) ** 2
    assert odd(0.5) == pytest.approx(expected, rel=1e-14)
    t = torch.tensor([0.5, 0.5], dtype=torch.float64, requires_grad=True)
    assert odd(t).tolist() == pytest.approx([expected] * 2, rel=1e-14)
    with mp.workdps(40):
        assert float(odd(mpmath.mpf("0.5"))) == pytest.approx(expected, rel=1e-14)
    assert process.compile(3)(t).tolist() == [3.0, 3.0] and process.compile(3)(0.5) == 3.0


def test_sympy_waits_for_the_first_use():
    script = (
        "import sys, odekit.processes as p; vp = p.VP(); hash(vp); vp.t_max\n"
        "assert 'sympy' not in sys.modules\n"
        "vp.alpha(0.5); assert 'sympy' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
