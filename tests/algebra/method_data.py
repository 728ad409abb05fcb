"""Methods of every family as the data that source, LaTeX and files are made of."""

from odekit.algebra import compositions, exponential_methods, multistep
from odekit.algebra.exponential_multistep import exponential_adams
from odekit.methods.files import data_of, get


def exponential(name, prediction=None, **values):
    method = exponential_methods.get(name)
    return data_of(method.substitute(**values) if values else method) | (
        {"prediction": prediction} if prediction else {}
    )


def adams(order, **keys):
    family = "exponential-multistep" if "clock" in keys else "multistep"
    return {"name": "adams", "family": family, "order": order, **keys}


ABOUT = {"order": 2, "source": "here"}
PARAMETRIC = {
    **{"name": "two-stage", "family": "runge-kutta", **ABOUT, "parameters": {"c2": "2/3"}},
    **{"c": ["0", "c2"], "A": [[], ["c2"]], "b": ["1-1/(2*c2)", "1/(2*c2)"]},
}
NOISE = ["phi1(h) + phi2(h)/r1", "-phi2(h)/r1"]
CLASSICAL = {
    "rk4": data_of(get("rk4")),
    "pair": data_of(get("dp5")),
    "roots": data_of(get("gauss-2")),
    "diagonal": data_of(get("sdirk2")),
    "parametric": PARAMETRIC,
    "ab-3": data_of(multistep.adams_bashforth(3, symbolic=True)),
    "bdf-2": data_of(multistep.bdf(2, symbolic=True)),
    "am-1": data_of(multistep.adams_moulton(1)),
    "started": data_of(multistep.adams_bashforth(3, symbolic=True)) | {"start": "heun2"},
    "adams": adams(4),
    "adams, rising": adams(3, start="rising", last="lower"),
}
SAMPLERS = {
    "noise, three stages": exponential("dpm-solver-3", r1="1/3", r2="2/3"),
    "noise, two stages": exponential("dpm-solver-2", r1="1/2"),
    "data, two stages": exponential("dpmpp-2s", r1="2/5"),
    "data, two steps": exponential("dpmpp-2m"),
    "data, three steps": exponential("dpmpp-3m-corrected"),
    "data, started": exponential("dpmpp-3m-corrected") | {"start": "midpoint"},
    "noise, started": data_of(exponential_adams(2)) | {"prediction": "noise", "start": "heun2", "weights": NOISE},
    "noise in logsnr": adams(3, prediction="noise", clock="logsnr"),
    "noise in t": adams(3, prediction="noise", clock="t", start="rising", last="lower"),
    "noise in kappa": adams(3, prediction="noise", clock="kappa", start="heun2"),
    "noise, index": adams(4, prediction="noise", clock="index", weights="lumped"),
    "data, lumped": adams(2, prediction="data", clock="logsnr", weights="lumped", start="rising"),
    "data in rho": adams(2, prediction="data", clock="alpha_over_sigma"),
}
SPLITTINGS = {
    "strang": data_of(compositions.get("strang")),
    "processed": {
        **{"name": "processed", "family": "splitting", **ABOUT, "steps": [["A", "1"], ["B", "1"]]},
        "processor": [["B", "1/2"], ["A", "-1/10"]],
    },
}
SEMILINEAR = {
    "krogstad4": exponential("krogstad4"),
    "exponential-ab-3": data_of(exponential_adams(3)),
}
