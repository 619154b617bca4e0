"""Redaction: replace e-mail addresses, phone numbers and card numbers in free text by marks. Pure.

Scoring does not need them, but it needs amounts, counts and dates. So dates and amounts are recognised first, and a
number counts as a phone number only if its form or the word before it says so. docs/adr/021 says why no library does
this. Every repetition is bounded, so that the time grows only with the length of the text.
"""

import re
from typing import Final

EMAIL_MARK: Final = "[email]"
PHONE_MARK: Final = "[phone]"
CARD_MARK: Final = "[card]"

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
_OTHER_AT_SIGN: Final = re.compile(r"＠|[\[({]\s?at\s?[\])}]", re.IGNORECASE)  # noqa: RUF001 - as above

_BEFORE_DIGITS: Final = 40
"""How far before its digits the word may stand that makes a number a phone number; a currency stands closer."""
_AFTER_DIGITS: Final = 8
"""The same for a currency or a per cent sign after the digits."""
_DIGITS: Final = re.compile(rf"\d(?:\D{{0,9}}\d){{5,}}(?:\D{{0,{_BEFORE_DIGITS + _AFTER_DIGITS}}}\d)*")
"""A part of a text with six or more digits, as phone and card numbers have, and all digits near them."""

_DIGIT_RUN: Final = re.compile(r"\d(?<!\d\d)(?:[ -]?\d){12,}(?!\d)")
_DIGIT_GROUP: Final = re.compile(r"\d+")
_CARD_DIGITS: Final = range(13, 20)
_CARD_STARTS: Final = frozenset("23456")
"""First digits of the card schemes; ISO/IEC 7812 reserves the others for airlines, fuel and national use."""

_SPACE: Final = r"[ \u00a0\u2007\u202f]"
_GAP: Final = rf"(?:{_SPACE}?[-\u2010-\u2013/]{_SPACE}?|{_SPACE}|\.|{_SPACE}?\(\d{{1,5}}\){_SPACE}?)"
"""What may stand between two digits of a phone number: one separator, or an area code in parentheses."""

_AMOUNT: Final = r"\d{1,15}(?:[.,'\u00a0\u2007\u202f ]\d{3}(?!\d))*(?:[.,]\d{1,2}(?!\d))?"
_CURRENCY: Final = r"(?:[$€£¥₹]|(?:USD|EUR|GBP|CHF|JPY|SEK|AUD|CAD|INR)(?![A-Za-z]))"
_KEPT: Final = "|".join(
    (
        r"(?<!\d)\d{4}(?P<a>[-./])\d{1,2}(?P=a)\d{1,2}(?:[T ]\d{1,2}(?=:))?(?!\d)",  # 2026-03-02, and its hour
        r"(?<!\d)\d{1,2}(?P<b>[-./])\d{1,2}(?P=b)(?:\d{4}|\d{2})(?: \d{1,2}(?=:))?(?!\d)",  # 02.03.2026 09
        rf"{_CURRENCY}\s?{_AMOUNT}",  # EUR 1 200 000
        rf"(?<![\d+.,-]){_AMOUNT}\s?(?:{_CURRENCY}|%)",  # 1.200.000 €
        rf"(?<![\d+.,-])[1-9]\d{{0,2}}(?P<c>[.,']|{_SPACE})\d{{3}}(?:(?P=c)\d{{3}}){{0,4}}(?!\d|(?P=c)\d)",  # 1 000
    )
)
_PHONE: Final = "|".join(
    (
        rf"\+{_SPACE}?(?:\(\d{{1,4}}\){_SPACE}?)?\d(?:{_GAP}?\d){{6,14}}",  # +49 30 23125 123
        rf"(?<![\d.,-])00[1-9](?:{_GAP}?\d){{9,13}}",  # 0049 30 23125 123
        rf"(?<![\d.,-])\(\d{{2,5}}\){_SPACE}?\d(?:{_GAP}?\d){{4,11}}",  # (415) 555-0123
        rf"(?<![\d.,-])0[1-9]\d{{0,4}}{_GAP}\d(?:{_GAP}?\d){{4,10}}(?!\d)",  # 020 7946 0912
        r"(?<![\d.,-])0[1-9]\d{8,9}(?!\d)",  # 02079460912
        r"(?<![\d.,-])(?:1[ .-])?[2-9]\d{2}(?P<d>[ .-])[2-9]\d{2}(?P=d)\d{4}(?!\d)",  # 415-555-0123
    )
)
_NUMBER: Final = re.compile(rf"(?=[\d+($€£¥₹A-Z])(?:{_KEPT}|(?P<phone>{_PHONE}))")
_CUE: Final = (
    r"(?:tele)?phone|tel(?:efono|éfono|efoon|efon)?|téléphone|fon|mobile?|móvil|handy(?:nummer)?|portable|cell(?:ular|phone)?"
    r"|fax|whats\s?app|sms|direct\sline|durchwahl|(?:call|reach|ring|text)\s(?:me|us)\s(?:at|on|under)|電話|电话"
)
_CUE_BEFORE: Final = re.compile(
    rf"\b(?:{_CUE})(?:\s(?:no|nr|number|nummer|is|at))?\s?[.:=#]{{0,2}}\s{{0,3}}\Z", re.IGNORECASE
)
_PERHAPS_PHONE: Final = re.compile(rf"\d(?<!\d\d)(?:\)?{_GAP}?\d){{5,16}}(?!\d)")
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")


def redact(text: str) -> str:
    """Return a text with marks in place of e-mail addresses, card and phone numbers; amounts, counts and dates stay.

    Only the surroundings of at signs and of many digits are searched, since most texts have neither.
    """
    has_other_sign = _OTHER_AT_SIGN.search(text)
    if has_other_sign or "@" in text:
        text = _without_addresses(text, _ANY_AT_SIGN if has_other_sign else _AT_SIGN)
    kept, position = [], 0
    for digits in _DIGITS.finditer(text):
        start, end = max(position, digits.start() - _BEFORE_DIGITS), digits.end() + _AFTER_DIGITS
        kept += [text[position:start], _without_numbers(text[start:end])]
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


def _without_numbers(text: str) -> str:
    text = _DIGIT_RUN.sub(lambda run: _without_cards(run[0]), text)
    text = _NUMBER.sub(lambda found: PHONE_MARK if found["phone"] else found[0], text)
    return _PERHAPS_PHONE.sub(lambda digits: PHONE_MARK if _follows_cue(digits) else digits[0], text)


def _follows_cue(digits: re.Match[str]) -> bool:
    if _ISO_DATE.match(digits[0]):
        return False
    before = digits.string[max(0, digits.start() - _BEFORE_DIGITS) : digits.start()]
    return _CUE_BEFORE.search(before) is not None


def is_card_number(digits: str) -> bool:
    """Whether digits can be a card number, by length, first digit and check digit (Luhn, ISO/IEC 7812-1)."""
    if len(digits) not in _CARD_DIGITS or not digits.isdecimal() or str(int(digits[0])) not in _CARD_STARTS:
        return False
    values = [int(digit) for digit in reversed(digits)]
    doubled = (sum(divmod(2 * value, 10)) for value in values[1::2])
    return (sum(values[0::2]) + sum(doubled)) % 10 == 0


def _without_cards(run: str) -> str:
    """Return a run of digit groups with marks in place of card numbers; a number starts and ends with a group."""
    groups = list(_DIGIT_GROUP.finditer(run))
    kept, position, first = [], 0, 0
    while first < len(groups):
        last = next(
            (
                last
                for last in range(first, min(first + _CARD_DIGITS.stop, len(groups)))
                if is_card_number("".join(group[0] for group in groups[first : last + 1]))
            ),
            None,
        )
        if last is None:
            first += 1
            continue
        kept += [run[position : groups[first].start()], CARD_MARK]
        position, first = groups[last].end(), last + 1
    return "".join((*kept, run[position:]))
