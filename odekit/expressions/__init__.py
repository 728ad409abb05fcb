"""Numbers: exact expressions from untrusted text, and the number fields (float64, mpmath) they are converted to.

>>> parse("(2-sqrt(2))/2")
1 - sqrt(2)/2
>>> FLOAT64.number("(2-sqrt(2))/2")
0.2928932188134525
"""

from odekit.expressions.number_fields import FLOAT64, Field, exact_value, field_of, mpfield
from odekit.expressions.parser import FUNCTIONS, parse

__all__ = ["FLOAT64", "FUNCTIONS", "Field", "exact_value", "field_of", "mpfield", "parse"]
