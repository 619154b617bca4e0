"""Redaction: replace personal data and secrets in free text by marks. Pure.

Scoring does not need them, but it needs amounts, counts and dates: a number counts as personal only if its form, its
check digits or the words around it say so. `python -m tests.benchmarks.redaction` measures what is found and what is
taken by mistake; docs/adr/021 says which libraries know what. A change of the rules changes what a model is shown, so
it needs a new prompt version.
"""

import re
from typing import Final

from transforms.prompt.named_values import BIRTH_DATE_MARK, SECRET_MARK, without_named_values
from transforms.prompt.personal_numbers import CARD_MARK, IBAN_MARK, ID_MARK, without_personal_numbers
from transforms.prompt.phone_numbers import AFTER_DIGITS, BEFORE_DIGITS, PHONE_MARK, without_phone_numbers

EMAIL_MARK: Final = "[email]"
MARKS: Final = (EMAIL_MARK, PHONE_MARK, CARD_MARK, IBAN_MARK, ID_MARK, SECRET_MARK, BIRTH_DATE_MARK)

_MOST_LABELS: Final = 126
"""A domain has at most 253 characters, so no more labels fit before the top-level one (RFC 1035)."""

LONGEST_MATCH: Final = 10_240
"""No match is longer: 256 characters before an @, and after it labels of 63, each with its dot, spelled out or not."""

_AT: Final = r"(?:[@＠]|\s?[\[({]\s?at\s?[\])}]\s?)"  # noqa: RUF001 - the full-width sign is meant
_DOT: Final = r"(?:[.．。]|\s?[\[({]\s?(?:dot|punkt|point)\s?[\])}]\s?)"  # noqa: RUF001 - as above
_LOCAL: Final = r"[\w.!#$%&*+/=?^`{|}~'-]"
_TOP_LEVEL: Final = r"(?:xn--[\w-]{2,24}|[^\W\d_]{2,24})"
_DOMAIN: Final = re.compile(rf"(?:[\w-]{{1,63}}{_DOT}){{1,{_MOST_LABELS}}}{_TOP_LEVEL}", re.IGNORECASE)
_LOCAL_BACKWARDS: Final = re.compile(rf"{_LOCAL}{{1,256}}")
_AT_SIGN: Final = re.compile("@")
_ANY_AT_SIGN: Final = re.compile(_AT, re.IGNORECASE)
_OTHER_AT_SIGNS: Final = ("＠", "at]", "at)", "at}", "at ]", "at )", "at }")  # noqa: RUF001 - as above

_DIGITS: Final = re.compile(rf"\d(?:\D{{0,3}}\d){{5,}}(?:\D{{0,{BEFORE_DIGITS + AFTER_DIGITS}}}\d)*")
"""A part of a text with six or more digits, as numbers of persons have, and all digits near them.

Between the six are separators: the date and hour above a quoted message, `2 Mar 2026 at 09:30`, is no such part.
"""


def redact(text: str) -> str:
    """Return a text with marks in place of personal data and secrets; amounts, counts and dates stay.

    Only the surroundings of at signs, of many digits and of words that name a value are searched, since most texts
    have none of them.
    """
    lowered = text.lower()
    text = without_named_values(text, lowered)
    has_other_sign = any(sign in lowered for sign in _OTHER_AT_SIGNS)
    if has_other_sign or "@" in text:
        text = _without_addresses(text, _ANY_AT_SIGN if has_other_sign else _AT_SIGN)
    kept, position = [], 0
    for digits in _DIGITS.finditer(text):
        start, end = max(position, digits.start() - BEFORE_DIGITS), digits.end() + AFTER_DIGITS
        kept += [text[position:start], without_phone_numbers(without_personal_numbers(text[start:end]))]
        position = end
    return "".join((*kept, text[position:])) if kept else text


def _without_addresses(text: str, at_sign: re.Pattern[str]) -> str:
    kept, position = [], 0
    for sign in at_sign.finditer(text):
        before = text[max(position, sign.start() - 256) : sign.start()]
        local, domain = _LOCAL_BACKWARDS.match(before[::-1]), _DOMAIN.match(text, sign.end())
        if local and domain:
            kept += [text[position : sign.start() - local.end()], EMAIL_MARK]
            position = domain.end()
    return "".join((*kept, text[position:])) if kept else text
