"""The parser: exact values, exact refusals, and the law that any text does one or the other, soon."""

import time

import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from odekit.exceptions import ExpressionError
from odekit.expressions import FLOAT64, FUNCTIONS, parse
from odekit.expressions.parser import MAX_BITS

a, b = sympy.symbols("a b")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/2", sympy.Rational(1, 2)),
        ("0.1", sympy.Rational(1, 10)),
        ("-.5e-3", sympy.Rational(-1, 2000)),
        ("1.", sympy.Integer(1)),
        ("007", None),  # Python refuses leading zeros, and so do we
        ("2**-3", sympy.Rational(1, 8)),
        ("-2**2", sympy.Integer(-4)),
        ("2**3**2", sympy.Integer(512)),
        ("8**(1/3)", sympy.Integer(2)),
        ("(2-sqrt(2))/2", 1 - sympy.sqrt(2) / 2),
        ("sqrt(1/4)", sympy.Rational(1, 2)),
        (" pi / 4\n", sympy.pi / 4),
        ("+a - (b*a)/3", a - a * b / 3),
        ("phi1(-b*a)", sympy.Function("phi1")(-a * b)),
        ("phi12(a)", sympy.Function("phi12")(a)),
        ("a**(1/2)", sympy.sqrt(a)),
        ("1+" * 900 + "1", sympy.Integer(901)),
    ],
)
def test_values(text, value):
    if value is None:
        with pytest.raises(ExpressionError):
            parse(text, ("a", "b"))
    else:
        assert parse(text, ("a", "b")) == value


def test_decimals_are_exact_where_floats_are_not():
    assert parse("0.1") + parse("0.2") == parse("0.3")
    assert parse("0.1") != sympy.Rational(0.1)


def test_symbols_may_be_sympy_symbols():
    h = sympy.Symbol("h", positive=True)
    assert parse("sqrt(h**2)", [h]) == h


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("1 +", "breaks off at position 4"),
        ("(1", "breaks off at position 1"),
        ("  1 $ 2", r"unexpected '\$' at position 5"),
        ("2^3", r"powers are written \*\*"),
        ("½", "unexpected '½' at position 1"),
        ("1/(2-c)", r"unknown symbol 'c' \(declared: a, b\) at position 6"),
        ("a + exp(1)", r"unknown function 'exp' .* at position 5"),
        ("phi1(a, b)", "found something else at position 1"),
        ("phi100(a)", "unknown function 'phi100'"),
        ("phi1", "unknown symbol 'phi1'"),
        ("phi(1)", "unknown function 'phi'"),
        ("sqrt(a)(b)", "found something else"),
        ("a.b", "found something else"),
        ("a if b else 1", "found something else"),
        ("a or b", "found something else"),
        ("lambda", "not an expression"),
        ("1, 2", "found something else"),
        ("*a", "not an expression"),
        ("a // b", "another operator"),
        ("None", "is not a decimal number"),
        ("1_000", "is not a decimal number"),
        ("0x10", "is not a decimal number"),
        ("1j", "is not a decimal number"),
        ("1/0", "division by zero at position 1"),
        ("a + 1/(1-1)", "division by zero at position 5"),
        ("0**-1", "division by zero"),
        ("1/(sqrt(8)-2*sqrt(2))", "division by zero"),
        ("sqrt(-2)", "root of a negative number"),
        ("(1-sqrt(2))**0.5", "root of a negative number"),
        ("2**a", "exponent must be a rational number, not a"),
        ("2**pi", "exponent must be a rational number"),
        ("a**65", "exponent 65 is beyond 64"),
        ("(a**40)**40", "exponent 1600 is beyond 64"),
        ("2**(1/65)", "exponent 1/65 is beyond 64"),
        ("9**9**9**9", "beyond 64"),
        ("((9**64)**64)**64", "power too large"),
        ("(12345678901234567890)**(-63/61)", "root of too large a number"),
        ("((1/7)**(1/64))**(1/64)", "root of too large a number, or of too high a degree"),
        ("1e401", "decimal exponent beyond 400"),
        ("9" * 900 + "*" + "9" * 900, f"number of more than {MAX_BITS} bits"),
        ("1" * 2001, "2001 characters; at most 2000"),
        ("(" * 500 + "1" + ")" * 500, "not an expression"),
        ("-" * 1500 + "1", "nested"),
        ("sqrt(" * 160 + "a" + ")" * 160, "nested deeper than 150 levels"),
        ("__import__('os')", 'unexpected "\'"'),
        ("__import__(a)", "unknown function '__import__'"),
        ("a\x00b", "unexpected"),
    ],
)
def test_refusals_name_the_position(text, message):
    with pytest.raises(ExpressionError, match=message) as caught:
        parse(text, ("a", "b"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("exp(-a/2)*cos(3*a)", sympy.exp(-a / 2) * sympy.cos(3 * a)),
        ("log(1+a)", sympy.log(1 + a)),
        ("tanh(sqrt(a)*pi)/sinh(1)", sympy.tanh(sympy.sqrt(a) * sympy.pi) / sympy.sinh(1)),
        ("tanh(sinh(1)*a)", "tanh of a function at position 1"),
        ("cos(64/(7/3+a)**64)", "cos of a power beyond 8"),
        ("sqrt(exp(60))", sympy.exp(30)),
        ("exp(exp(exp(9)))", "exp of a function at position 5"),
        ("exp(2**60*log(1.0000001))", "exp of a function"),
        ("log(0)", "not a finite real number"),
        ("log(-1)", "not a finite real number"),
        ("tan(pi/2)", "not a finite real number"),
        ("1/(exp(2)-exp(1)**2)", "division by zero"),
        ("exp(65)", "exp of a number beyond 64 at position 1"),
        ("exp(a)**65", "exponent 65 is beyond 64"),
        ("exp(1, 2)", "only numbers"),
        ("gamma(a)", r"unknown function 'gamma' \(known: sqrt, exp, log,"),
    ],
)
def test_functions_are_read_where_they_are_asked_for(text, value):
    if isinstance(value, sympy.Expr):
        assert parse(text, "a", functions=FUNCTIONS) == value
        with pytest.raises(ExpressionError, match="unknown function"):
            parse(text, "a")
        return
    with pytest.raises(ExpressionError, match=value):
        parse(text, "a", functions=FUNCTIONS)


def test_functions_are_no_symbols():
    with pytest.raises(ExpressionError, match="cannot be declared"):
        parse("exp", ("exp",), functions=("exp",))


def nested(inner):
    calls = st.tuples(st.sampled_from([*FUNCTIONS, "sqrt"]), inner).map(lambda call: f"{call[0]}({call[1]})")
    joined = st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({''.join(parts)})")
    powers = st.tuples(inner, st.sampled_from(["2", "64", "-1", "1/2", "63/61"])).map(lambda p: f"({p[0]})**({p[1]})")
    return calls | joined | powers


@given(st.recursive(st.sampled_from(["0", "1", "7/3", "64", "10**60", "1e-300", "pi", "a"]), nested, max_leaves=12))
@settings(max_examples=200, deadline=2000)
def test_any_text_of_functions_is_read_or_refused_soon(text):
    try:
        found = parse(text, "a", functions=FUNCTIONS)
    except ExpressionError as error:
        assert "\n" not in str(error)
    else:
        assert not found.free_symbols - {a}


def test_what_is_no_text_or_no_symbol_is_refused():
    for bad in (1, None, b"1", ["1"], 0.5):
        with pytest.raises(ExpressionError, match="an expression is text"):
            parse(bad)
    for name in ("pi", "sqrt", "phi1"):
        with pytest.raises(ExpressionError, match="cannot be declared"):
            parse("1", (name,))


def parses_or_refuses(text):
    started = time.process_time()  # of this process: other work on the machine does not count
    try:
        value = parse(text, ("a", "b"))
    except ExpressionError as refusal:
        assert "\n" not in str(refusal)
    else:
        assert isinstance(value, sympy.Expr)
        assert value.free_symbols <= {a, b}
        assert not value.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I)
    assert time.process_time() - started < 2.0


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60))
def test_any_text_parses_or_is_refused(text):
    parses_or_refuses(text)


TOKENS = "1 2 0 64 0.1 1e9 3e-400 a b pi sqrt( phi1( ( ) + - * / ** , . _ e 1j c lambda if 99999999999999999999".split()


@settings(deadline=None, max_examples=500)
@given(st.lists(st.sampled_from(TOKENS), max_size=30), st.sampled_from(["", " "]))
@example(["(", "(", "2", ")", "**", "64", ")", "**", "64"], "")
@example(["sqrt("] * 90 + ["2"] + [")"] * 90, "")
@example(["sqrt(", "99999999999999999999"] * 1 + [")"] + ["*", "sqrt(", "3", "+", "pi", ")"] * 40, "")
def test_any_tokens_parse_or_are_refused(tokens, glue):
    parses_or_refuses(glue.join(tokens))


def expressions():
    numbers = st.sampled_from(["1", "2", "3", "7", "10", "0.1", "1/3", "64", "a", "b", "pi", "12345678901234567890"])
    exponents = st.sampled_from(["2", "3", "-1", "-2", "(1/2)", "(1/3)", "(-5/7)", "64", "(63/64)", "(-63/61)"])

    def grow(inner):
        return st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})"),
            st.tuples(inner, exponents).map(lambda t: f"({t[0]})**{t[1]}"),
            inner.map(lambda t: f"sqrt({t})"),
            inner.map(lambda t: f"-{t}"),
        )

    return st.recursive(numbers, grow, max_leaves=25)


@settings(deadline=None, max_examples=300)
@given(expressions())
def test_well_formed_texts_parse_or_are_refused_in_bounded_time(text):
    parses_or_refuses(text)


@settings(deadline=None, max_examples=200)
@given(st.fractions(max_denominator=10**6), st.fractions(max_denominator=10**6))
def test_arithmetic_is_exact(p, q):
    text = f"({p}) * ({q}) - ({p}) / 7 + ({q})**2"
    assert parse(text) == sympy.Rational(p * q - p / 7 + q**2)


@settings(deadline=None, max_examples=200)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_survive_their_text(x):
    assert FLOAT64.number(repr(x)) == x
