"""A complete method file of every family."""

from hypothesis import strategies as st

RK3 = """
name = "my-rk3"
family = "runge-kutta"
order = 3
source = "who, where, equation"
c = ["0", "1/2", "1"]
A = [[], ["1/2"], ["-1", "2"]]
b = ["1/6", "2/3", "1/6"]
b_embedded = ["0", "1", "0"]
embedded_order = 2
"""


def write(folder, text):
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


rationals = st.fractions(min_value=-5, max_value=5, max_denominator=50)


HEAD = {"name": "mine", "order": 2, "source": "where"}
FAMILIES = {
    "runge-kutta": {
        **{"family": "runge-kutta", "parameters": {"c2": "2/3"}},
        **{"c": ["0", "c2"], "A": [[], ["c2"]], "b": ["1 - 1/(2*c2)", "1/(2*c2)"]},
    },
    "multistep": {
        "family": "multistep",
        "alpha": ["1", "-1", "0"],
        "beta": ["0", "(w1 + 2)/2", "-w1/2"],
        "start": "midpoint",
    },
    "exponential-runge-kutta": {
        **{"family": "exponential-runge-kutta", "prediction": "data", "stiff_order": 2, "parameters": {"c2": "1/2"}},
        **{"c": ["0", "c2"], "A": [[], ["c2*phi1(-c2*h)"]], "b": ["phi1(-h) - phi2(-h)/c2", "phi2(-h)/c2"]},
    },
    "classical exponential-runge-kutta": {
        **{"family": "exponential-runge-kutta", "c": ["0", "1"], "A": [[], ["phi1(z)"]]},
        **{"b": ["phi1(z)-phi2(z)", "phi2(z)"], "b_embedded": ["phi1(z)", "0"], "embedded_order": 1},
    },
    "exponential-multistep": {
        **{"family": "exponential-multistep", "prediction": "noise", "nodes": ["0", "-r1"]},
        **{"weights": ["phi1(h) + phi2(h)/r1", "-phi2(h)/r1"], "start": "rising"},
    },
    "adams": {"family": "exponential-multistep", "prediction": "noise", "clock": "kappa", "weights": "interpolating"},
    "splitting": {
        **{"family": "splitting", "nystrom": True, "parameters": {"a": "1/2"}},
        **{"steps": [["A", "a"], ["B", "1"], ["A", "1 - a"]]},
    },
    "processed splitting": {
        **{"family": "splitting", "digits": 20, "steps": [["A", "1"], ["B", "1"]], "processor": [["B", "1/2"]]},
    },
    "stochastic-runge-kutta": {
        **{"family": "stochastic-runge-kutta", "kind": "SRA", "order": "3/2", "parameters": {"b": "3/2"}},
        "coefficients": {
            **{"A0": [[], ["b/2"]], "B0": [[], ["b"]], "c1": ["1", "0"], "alpha": ["1/3", "2/3"]},
            **{"beta1": ["1", "0"], "beta2": ["-1", "1"]},
        },
    },
}
FAMILIES = {name: {**HEAD, **data} for name, data in FAMILIES.items()}
