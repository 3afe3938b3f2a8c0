# SPDX-License-Identifier: Apache-2.0
"""Values of XPath, for xpath: conversions, comparisons, arithmetic; with libxml2's results. Pure: no I/O.

The types are b (boolean), n (number), s (string), l (nodes), as in match/program.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict

_NAN = float('nan')
_INFINITY = float('inf')
_BLANKS = ' \t\r\n'
_MAX_DIGITS = 20  # behind the point


def to_number(text: str) -> float:
    """A text as a number, as libxml2 reads it: an exponent is allowed, a plus sign is not.

    It goes digit by digit. What is rounded on the way makes other numbers than Python's float, from 16 digits on.
    """
    text = text.strip(_BLANKS)
    mantissa, e, exponent = text.lower().partition('e')
    whole, _, fraction = (mantissa[1:] if mantissa.startswith('-') else mantissa).partition('.')
    if (whole + fraction).strip('0123456789') or not whole + fraction or text.strip('0123456789eE.+-'):
        return _NAN
    power = exponent[1:] if exponent[:1] in ('+', '-') else exponent
    if power.strip('0123456789'):
        return _NAN
    zeros = len(fraction) - len(fraction.lstrip('0'))
    fraction = fraction[: zeros + _MAX_DIGITS]
    number = _read_digits(whole) + _read_digits(fraction) / _power_of_ten(len(fraction))
    number = -number if mantissa.startswith('-') else number
    return number * _power_of_ten(int(exponent)) if power else number


def _read_digits(digits: str) -> float:
    number = 0.0
    for digit in digits:
        number = number * 10 + int(digit)
    return number


def _power_of_ten(exponent: int) -> float:
    return _INFINITY if exponent > 308 else 0.0 if exponent < -400 else 10.0**exponent


def is_true(value: 'Any') -> bool:
    """Whether a number, a text or nodes count as true."""
    return bool(value) and value == value  # NaN is not itself


def to_text(value: 'Any') -> str:
    """A boolean, number or text as a text; numbers as libxml2 writes them."""
    if value.__class__ is bool:
        return 'true' if value else 'false'
    if value.__class__ is not float:
        return str(value)
    if value != value:
        return 'NaN'
    size = abs(value)
    if size == _INFINITY:
        return 'Infinity' if value > 0 else '-Infinity'
    if size < 2147483647 and value == int(value):
        return '%d' % value
    if not 1e-5 <= size <= 1e9:
        digits, _, exponent = ('%.14e' % value).partition('e')
        return '%se%s' % (digits.rstrip('0').rstrip('.'), exponent)
    from math import log10

    magnitude = int(log10(size))
    places = 15 - magnitude - (magnitude > 0)
    return ('%.*f' % (places, value)).rstrip('0').rstrip('.')


def compare(operator: str, left_type: str, lefts: 'Any', right_type: str, rights: 'Any') -> bool:
    """Whether a comparison of two values of these types holds."""
    types = left_type + right_type
    is_order = operator not in ('=', '!=')
    if 'b' in types and (not is_order or 'l' in types):
        lefts, rights = [is_true(lefts)], [is_true(rights)]
    else:
        lefts = [found.string_value() for found in lefts] if left_type == 'l' else [lefts]
        rights = [found.string_value() for found in rights] if right_type == 'l' else [rights]
    if is_order or ('n' in types and 'b' not in types):
        lefts, rights = list(map(_as_number, lefts)), list(map(_as_number, rights))
    compares = _COMPARISONS[operator]
    if operator in ('=', '!=') and len(lefts) > 1 and len(rights) > 1:
        # Both are nodes, so these are texts; many are not compared with many.
        return not set(lefts).isdisjoint(rights) if operator == '=' else len({*lefts, *rights}) > 1
    if is_order and len(lefts) > 1 and len(rights) > 1:
        lefts = [number for number in lefts if number == number]
        rights = [number for number in rights if number == number]
        if not lefts or not rights:
            return False
        rising = operator[0] == '<'
        return compares(min(lefts) if rising else max(lefts), max(rights) if rising else min(rights))
    return any(compares(a, b) for a in lefts for b in rights)


def _as_number(value: 'Any') -> float:
    return to_number(value) if isinstance(value, str) else float(value)


_COMPARISONS: 'Dict[str, Callable[[Any, Any], bool]]' = {
    '=': lambda a, b: a == b,
    '!=': lambda a, b: a != b,
    '<': lambda a, b: a < b,
    '<=': lambda a, b: a <= b,
    '>': lambda a, b: a > b,
    '>=': lambda a, b: a >= b,
}


def calculate(operator: str, a: float, b: float) -> float:
    """What an arithmetic operator makes of two numbers."""
    if operator in ('+', '-', '*'):
        return a + b if operator == '+' else a - b if operator == '-' else a * b
    if operator == 'div':
        if b:
            return a / b
        return _NAN if not a or a != a else _INFINITY * (1 if (a > 0) == (str(b)[0] != '-') else -1)
    from math import fmod

    return fmod(a, b) if b and b == b and a == a and abs(a) != _INFINITY else _NAN
