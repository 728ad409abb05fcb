"""Free Lie algebras: words with coefficients in any ring, products of flows, and coordinates on Lyndon words.

A word x1 x2 ... xn stands for the product of the Lie derivatives of its letters; read from left to right its flows are
applied one after the other, so exp(A) exp(B) is the flow of A followed by that of B. Lyndon words number a basis of
brackets, and they are also what must be checked: the coefficients of a product of flows on Lyndon words decide all
others (Radford 1979), one equation for each, none of them superfluous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache, cached_property
from math import factorial
from typing import Any

import numpy as np

from odekit.algebra.numbers import array, filled, is_zero, numbers, plain
from odekit.algebra.trees import AlgebraError

MAX_WORDS = 100_000
Letters = tuple[str, ...]


def grade_of(letter: str) -> int:
    """The power of h that belongs to a letter: the number at its end, else 1.

    >>> grade_of("A"), grade_of("Y3")
    (1, 3)
    """
    return int(re.fullmatch(r"\D*(\d*)", letter)[1] or 1)


@cache
def dimension(grade: int, letters: Letters = ("A", "B")) -> int:
    """How many independent brackets of a grade there are: the Lyndon words of that grade.

    By Witt's formula for graded letters. Source: Munthe-Kaas, Owren 1999.

    >>> [dimension(n) for n in range(1, 11)]
    [2, 1, 2, 3, 6, 9, 18, 30, 56, 99]
    """
    # log(1 - p(x)) = -sum_k p^k/k has -(1/n) sum_{d | n} d L_d as its n-th coefficient.
    count, weights = [0] * (grade + 1), [0] * (grade + 1)
    for letter in letters:
        if grade_of(letter) <= grade:
            count[grade_of(letter)] += 1
    for n in range(1, grade + 1):  # Newton's identities for the power sums of p
        weights[n] = n * count[n] + sum(count[k] * weights[n - k] for k in range(1, n))
    return (weights[grade] - sum(d * dimension(d, letters) for d in range(1, grade) if grade % d == 0)) // grade


class Words:
    """All words of grade at most `order` in some letters, by id; made by `words`.

    Ids run through the grades 0, 1, 2, ..., in lexicographic order within a grade; 0 is the empty word.
    `first[n]:first[n + 1]` are the ids of grade n; `grades` is an array over ids.
    """

    def __init__(self, order: int, letters: Letters):
        self.order, self.letters = order, letters
        self.weights = tuple(grade_of(x) for x in letters)
        by_grade: list[list[tuple[int, ...]]] = [[()]]
        for n in range(1, order + 1):
            by_grade.append([(x, *w) for x, g in enumerate(self.weights) if g <= n for w in by_grade[n - g]])
        self.words = [w for level in by_grade for w in level]
        self.ids = {w: i for i, w in enumerate(self.words)}
        self.first = tuple(int(k) for k in np.cumsum([0, *map(len, by_grade)]))
        self.grades = np.repeat(np.arange(order + 1), [len(level) for level in by_grade])

    def __len__(self) -> int:
        """The number of ids, that of the empty word included."""
        return len(self.words)

    def __repr__(self) -> str:
        return f"<{len(self) - 1} words to order {self.order} in {', '.join(self.letters)}>"

    def text(self, number: int) -> str:
        """A word as text: its letters, with dots between them where a letter is longer than one character."""
        names = [self.letters[x] for x in self.words[number]]
        return ("" if max(map(len, self.letters)) == 1 else ".").join(names) or "1"

    def find(self, text: str) -> int:
        """The id of the word a text spells; raises AlgebraError for one that is not in the table."""
        names = [] if text in ("", "1") else text.split(".") if max(map(len, self.letters)) > 1 else list(text)
        try:
            return self.ids[tuple(self.letters.index(x) for x in names)]
        except (KeyError, ValueError):
            raise AlgebraError(f"{text!r} is no word of {self!r}") from None

    @cached_property
    def appended(self) -> list[np.ndarray]:
        """For each word v: the ids of u v, for the words u (a beginning of the table) with which it fits."""
        ids, table = self.ids, self.words
        return [
            np.array([ids[u + v] for u in table[: self.first[self.order - int(g) + 1]]])
            for v, g in zip(table, self.grades, strict=True)
        ]

    @cached_property
    def lyndon(self) -> tuple[tuple[int, ...], ...]:
        """The ids of the Lyndon words (smaller than each of their proper endings), by grade."""
        found = [i for i, w in enumerate(self.words) if w and all(w < w[k:] for k in range(1, len(w)))]
        return tuple(tuple(i for i in found if self.grades[i] == n) for n in range(self.order + 1))

    def factors(self, number: int) -> tuple[int, int]:
        """The standard factorisation u v of a Lyndon word: v is its longest proper ending that is one."""
        w = self.words[number]
        k = min(k for k in range(1, len(w)) if all(w[k:] < w[j:] for j in range(k + 1, len(w))))
        return self.ids[w[:k]], self.ids[w[k:]]

    def bracket(self, number: int, latex: bool = False) -> str:
        """The bracket that belongs to a Lyndon word: that of the factors of its standard factorisation.

        >>> w = words(3)
        >>> [w.bracket(i) for i in w.lyndon[3]]
        ['[A,[A,B]]', '[[A,B],B]']
        """
        if len(self.words[number]) == 1:
            letter = self.letters[self.words[number][0]]
            return re.sub(r"(\d+)$", r"_{\1}", letter) if latex else letter
        u, v = self.factors(number)
        return f"[{self.bracket(u, latex)},{self.bracket(v, latex)}]"

    @cached_property
    def _expanded(self) -> dict[int, dict[int, int]]:
        """Each basis bracket as a combination of words: the Lyndon word itself and larger ones."""
        found: dict[int, dict[int, int]] = {}
        for number in (i for level in self.lyndon for i in level):
            w = self.words[number]
            if len(w) == 1:
                found[number] = {number: 1}
                continue
            u, v = (found[i] for i in self.factors(number))
            out: dict[int, int] = {}
            for i, a in u.items():
                for j, b in v.items():
                    for left, right, c in ((i, j, a * b), (j, i, -a * b)):
                        word = self.ids[self.words[left] + self.words[right]]
                        out[word] = out.get(word, 0) + c
            found[number] = {k: c for k, c in out.items() if c}
        return found

    def coordinates(self, values: Sequence, grade: int) -> dict[int, Any]:
        """A Lie element of a grade in the basis of brackets, from its coefficients on words (an array over ids)."""
        level, out = self.lyndon[grade], {}
        rest = {i: values[i] for i in level}
        for i in level:  # a bracket starts with its own word, and only larger words follow
            out[i] = rest[i]
            for j, c in self._expanded[i].items():
                if j in rest:
                    rest[j] = rest[j] - c * out[i]
        return out

    def element(self, coordinates: Mapping[int, Any]) -> WordSeries:
        """The Lie element with these coordinates in the basis of brackets."""
        values: list[Any] = [plain(0)] * len(self)
        for i, a in coordinates.items():
            for j, c in self._expanded[i].items():
                values[j] = values[j] + c * plain(a)
        return WordSeries(self, values)


@cache
def words(order: int, letters: Letters | str = ("A", "B")) -> Words:
    """The table of words to `order`; a letter has the grade of the number at its end, else 1.

    Raises AlgebraError where it would hold more than 100,000 words.

    >>> words(10), words(10, ("Y1", "Y3", "Y5", "Y7", "Y9"))
    (<2046 words to order 10 in A, B>, <143 words to order 10 in Y1, Y3, Y5, Y7, Y9>)
    """
    letters = tuple(letters)
    if order < 1 or len(set(letters)) < len(letters) or not letters:
        raise AlgebraError(f"words to order {order} in {letters}: expected an order from 1 and distinct letters")
    totals = [1]
    for n in range(1, order + 1):
        totals.append(sum(totals[n - grade_of(x)] for x in letters if grade_of(x) <= n))
    if sum(totals) > MAX_WORDS:
        raise AlgebraError(f"{sum(totals)} words to order {order} in {len(letters)} letters: at most {MAX_WORDS}")
    return Words(order, letters)


class WordSeries(Mapping):
    """A truncated series of words: a mapping from words (text) to coefficients of any ring; `constant` is that of 1.

    >>> w = words(3)
    >>> S = exp(letter(w, "A")) * exp(letter(w, "B"))
    >>> S["AB"], S["AAB"], S["BA"], S.log().brackets()["[A,[A,B]]"]
    (Fraction(1, 1), Fraction(1, 2), Fraction(0, 1), Fraction(1, 12))
    """

    def __init__(self, table: Words, coefficients: Sequence):
        if len(coefficients) != len(table):
            raise AlgebraError(f"{len(coefficients)} coefficients for {len(table)} words")
        self.table = table
        self.coefficients = array(coefficients)

    @property
    def constant(self) -> Any:
        """The coefficient of the empty word: 1 for a product of flows, 0 for a field."""
        return self.coefficients[0]

    def __getitem__(self, text: str) -> Any:
        return self.coefficients[self.table.find(text)]

    def __contains__(self, text: object) -> bool:
        try:
            self.table.find(str(text))
        except AlgebraError:
            return False
        return True

    def __iter__(self) -> Iterator[str]:
        return map(self.table.text, range(1, len(self.table)))

    def __len__(self) -> int:
        return len(self.table) - 1

    def __repr__(self) -> str:
        return f"<series of words to order {self.table.order} in {', '.join(self.table.letters)}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WordSeries) or other.table is not self.table:
            return NotImplemented
        return all(is_zero(v) for v in self.coefficients - other.coefficients)

    __hash__ = None

    def _like(self, other: WordSeries) -> WordSeries:
        if not isinstance(other, WordSeries) or other.table is not self.table:
            raise AlgebraError(f"{self!r} and {other!r} do not combine")
        return other

    def __add__(self, other: WordSeries) -> WordSeries:
        return WordSeries(self.table, self.coefficients + self._like(other).coefficients)

    def __sub__(self, other: WordSeries) -> WordSeries:
        return self + (-self._like(other))  # a Fraction less an mpmath number is none of Python's operations

    def __neg__(self) -> WordSeries:
        return WordSeries(self.table, -self.coefficients)

    def __mul__(self, other: Any) -> WordSeries:
        """The product; for two products of flows, the first applied first. Or a multiple."""
        if not isinstance(other, WordSeries):
            return WordSeries(self.table, self.coefficients * plain(other))
        grades = self.table.grades
        (a, b), leave = numbers((self.coefficients, grades), (self._like(other).coefficients, grades))
        return WordSeries(self.table, leave(concatenated(self.table, a, b), grades))

    __rmul__ = __mul__

    def scaled(self, step: Any) -> WordSeries:
        """The same with every letter of grade n multiplied by step^n."""
        powers = array([plain(step) ** n for n in range(self.table.order + 1)])
        return WordSeries(self.table, self.coefficients * powers[self.table.grades])

    def bracket(self, other: WordSeries) -> WordSeries:
        """The commutator self other - other self."""
        return self * other - other * self

    def exp(self) -> WordSeries:
        """The flow of this field (constant 0) at time 1."""
        return self._power_series(0, [Fraction(1, factorial(k)) for k in range(self.table.order + 1)])

    def log(self) -> WordSeries:
        """The field whose flow at time 1 this is (constant 1)."""
        return self._power_series(1, [0, *(Fraction((-1) ** (k - 1), k) for k in range(1, self.table.order + 1))])

    def inverse(self) -> WordSeries:
        """The inverse of a series with constant 1: the flows undone."""
        return self._power_series(1, [(-1) ** k for k in range(self.table.order + 1)])

    def adjoint(self) -> WordSeries:
        """The inverse with the step reversed."""
        return self.inverse().scaled(-1)

    def brackets(self) -> dict[str, Any]:
        """A Lie element in the basis of brackets; raises AlgebraError where it is none.

        >>> letter(words(2), "A").bracket(letter(words(2), "B")).brackets()
        {'A': Fraction(0, 1), 'B': Fraction(0, 1), '[A,B]': Fraction(1, 1)}
        """
        w, out = self.table, {}
        for n in range(1, w.order + 1):
            out |= w.coordinates(self.coefficients, n)
        rest = (w.element(out) - self).coefficients
        rounded = any(isinstance(v, float) or hasattr(v, "_mpf_") for v in rest)
        if not all(is_zero(v, 1e-9 if rounded else 0) for v in rest):
            raise AlgebraError("this series of words is no combination of brackets")
        return {w.bracket(i): a for i, a in out.items()}

    def _power_series(self, constant: int, weights: Sequence) -> WordSeries:
        """sum_k weights[k] x^k, x this series less its constant."""
        if not is_zero(self.constant - constant):
            raise AlgebraError(f"this needs a series with constant {constant}, not {self.constant}")
        x = self.coefficients.copy()
        x[0] = x[0] - x[0]
        present = [int(n) for v, n in zip(x, self.table.grades, strict=True) if v != 0]
        weights = weights[: self.table.order // min(present, default=self.table.order) + 1]
        (x,), leave = numbers((x, self.table.grades))
        total = x * 0  # by Horner's rule, over the integers: the weights' denominators come out at the end
        common = int(np.lcm.reduce([Fraction(c).denominator for c in weights], dtype=object))
        for weight in reversed(weights):
            total = concatenated(self.table, total, x)
            total[0] = total[0] + int(weight * common)
        result = leave(total, self.table.grades)
        return WordSeries(self.table, result if common == 1 else result / common)


def concatenated(table: Words, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = a * b[0]
    for v in range(1, len(b)):
        factor = b[v]
        if factor != 0:  # flows of single letters are sparse
            target = table.appended[v]
            out[target] = out[target] + a[: len(target)] * factor
    return out


def unit(table: Words) -> WordSeries:
    """The series 1: nothing happens."""
    return WordSeries(table, [1] + [0] * (len(table) - 1))


def letter(table: Words, name: str, factor: Any = 1) -> WordSeries:
    """A letter, times a factor."""
    values = filled([Fraction(0)] * len(table))
    values[table.find(name)] = plain(factor)
    return WordSeries(table, values)


def exp(field: WordSeries) -> WordSeries:
    """The flow of a field at time 1."""
    return field.exp()


def bch(order: int) -> dict[str, Any]:
    """log(exp(A) exp(B)) in brackets: the formula of Baker, Campbell and Hausdorff.

    >>> {k: str(v) for k, v in bch(4).items() if v}
    {'A': '1', 'B': '1', '[A,B]': '1/2', '[A,[A,B]]': '1/12', '[[A,B],B]': '1/12', '[A,[[A,B],B]]': '1/24'}
    """
    table = words(order)
    return (exp(letter(table, "A")) * exp(letter(table, "B"))).log().brackets()
