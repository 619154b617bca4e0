"""Phone numbers in text: by their form, by the words around them, or by being valid in a country that writes them so.

Amounts, counts and dates are recognised first, since a score needs them. A number of business, such as an order number,
is none. What a national number without a trunk prefix may be is decided by the library phonenumbers (libphonenumber).
docs/adr/021 says why its matcher alone is not used. Every repetition is bounded, so that the time grows only with the
length of the text. Pure.
"""

import re
from typing import Final

import phonenumbers

from transforms.prompt.order_numbers import follows_order_label

PHONE_MARK: Final = "[phone]"

BEFORE_DIGITS: Final = 40
"""How far before its digits the word may stand that makes a number a phone number; a currency stands closer."""
AFTER_DIGITS: Final = 8
"""The same for a currency or a per cent sign after the digits."""

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
_EXTENSION: Final = rf"(?:{_SPACE}?(?:ext|x|extension|durchwahl|poste)\.?{_SPACE}?\d{{1,5}}(?!\d))?"
_PHONE: Final = "|".join(
    (
        rf"(?<!\w)\+{_SPACE}?(?:\(\d{{1,4}}\){_SPACE}?)?\d(?:{_GAP}?\d){{6,14}}",  # +49 30 23125 123
        rf"(?<![\d.,-])00[1-9](?:{_GAP}?\d){{9,13}}(?!\d)",  # 0049 30 23125 123
        rf"(?<![\d.,-])(?:[18]{_SPACE})?\(\d{{2,5}}\){_SPACE}?\d(?:{_GAP}?\d){{4,11}}",  # (415) 555-0123
        rf"(?<![\d.,-])0[1-9]\d{{0,4}}{_GAP}\d(?:{_GAP}?\d){{4,10}}(?!\d)",  # 020 7946 0912
        r"(?<![\d.,-])0[1-9]\d{8,9}(?!\d)",  # 02079460912
        r"(?<![\d.,-])(?:1[ .-])?[2-9]\d{2}(?P<d>[ .-])[2-9]\d{2}(?P=d)\d{4}(?!\d)",  # 415-555-0123
    )
)
_NATIONAL: Final = r"(?<![\w+.,/-])[1-9]\d{1,4}(?:[ \u00a0-]\d{2,5}){1,4}(?![\w.,/-]?\d|[ ]\d)"
_NUMBER: Final = re.compile(
    rf"(?=[\d+($€£¥₹A-Z])(?:{_KEPT}|(?P<phone>(?:{_PHONE}){_EXTENSION})|(?P<national>{_NATIONAL}))"
)

_COUNTRIES: Final = {
    (2, 3, 2, 2): ("ES", "PL"),  # 91 234 56 78
    (3, 2, 2, 2): ("ES",),
    (3, 2, 3): ("NO",),
    (5, 5): ("IN",),
    (3, 4, 4): ("CN",),
    (2, 4, 4): ("MX",),
    (3, 3, 4): ("IT", "GR"),
    (2, 5, 4): ("BR",),
}
"""Countries whose people write national numbers without a 0 in groups that are rare in other numbers."""
_COUNTRIES_OF_LINES: Final = _COUNTRIES | {(2, 2, 2, 2): ("NO", "DK"), (3, 3, 3): ("ES", "PL", "PT", "CZ", "NL")}
"""The same for numbers that have a line of their own, as in a signature; within a sentence these can be counts."""

_CUE: Final = (
    r"(?:tele)?phone|ph|tel(?:efono|éfono|efoon|efon|efonnummer)?|tlf|téléphone|fon|mobile?|móvil|handy(?:nummer)?|portable"
    r"|cell(?:ular|phone)?|komórka|fax|whats\s?app|sms|direct\s(?:line|dial)|durchwahl|rückrufnummer|celular|cellulare"
    r"|my number|mein\w* nummer|mon numéro|mi número|(?:il )?mio numero|mijn nummer|mój numer|mitt nummer"
    r"|電話(?:番号)?|电话|手机|携帯|тел(?:ефон)?|電話"
)
_CALL: Final = (
    r"call|reach|ring|text|dial|anrufen|rufen sie|ruf|erreich\w*|joindre|joignable|appele[rz]|appelle|llám\w+|llamar"
    r"|llame\w*|chiam\w+|bel|bellen|dzwoni\w*|zadzwo\w+|ligue|ligar|get hold of"
)
_WAY: Final = (
    r"me|us|him|her|back|again|directly|now|at|on|under|via|mich|uns|sie|unter|nummer|der|au|nous|me|moi|al|a|en|op|even|mij"
    r"|ons|pod|nr|numer|na|på|mig|oss|ao|para|no|is|è|ist|es|est|é|war"
)
_CUE_BEFORE: Final = re.compile(
    rf"(?:\b(?:{_CUE})(?:\s(?:no|nr|number|nummer|is|at|è|ist|est|es))?|\b(?:{_CALL})(?:\s(?:{_WAY})){{1,4}})\s?[.:：=#]{{0,2}}\s{{0,3}}\Z",  # noqa: RUF001
    re.IGNORECASE,
)
_CUE_AFTER: Final = re.compile(
    r"\sas (?:my|her|his|their|a|the) (?:phone )?number\b|\sis (?:my|her|his) (?:number|mobile|cell|phone)\b"
)
_PERHAPS_PHONE: Final = re.compile(rf"\+?\(?\d(?<!\d\d)(?:\)?{_GAP}?\d){{5,16}}(?!\d){_EXTENSION}")
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)")
_DIGIT_GROUP: Final = re.compile(r"\d+")


def without_phone_numbers(text: str) -> str:
    """Return a text with marks in place of phone numbers."""
    text = _NUMBER.sub(lambda found: PHONE_MARK if _is_phone(found) else found[0], text)
    return _PERHAPS_PHONE.sub(lambda digits: PHONE_MARK if _is_named(digits) else digits[0], text)


def _is_named(digits: re.Match[str]) -> bool:
    """Whether the words around digits say that they are a phone number."""
    if _ISO_DATE.match(digits[0]):
        return False
    before = digits.string[max(0, digits.start() - BEFORE_DIGITS) : digits.start()]
    return bool(_CUE_BEFORE.search(before) or _CUE_AFTER.match(digits.string, digits.end()))


def _is_phone(found: re.Match[str]) -> bool:
    if not (found["phone"] or found["national"]):
        return _is_line(found) and _is_valid(found[0], _COUNTRIES_OF_LINES)
    if found[0].startswith("+"):
        return True
    if follows_order_label(found.string, found.start()):
        return False
    return bool(found["phone"]) or _is_valid(found[0], _COUNTRIES_OF_LINES if _is_line(found) else _COUNTRIES)


def _is_line(found: re.Match[str]) -> bool:
    """Whether a number stands between two line ends."""
    text, start, end = found.string, found.start(), found.end()
    return text[start - 1 : start] == "\n" and text[end : end + 1] in ("\n", "\r")


def _is_valid(number: str, countries: dict[tuple[int, ...], tuple[str, ...]]) -> bool:
    """Whether a number is valid in one of the countries that write its groups."""
    groups = tuple(len(group) for group in _DIGIT_GROUP.findall(number))
    return any(
        phonenumbers.is_valid_number(phonenumbers.parse(number, country)) for country in countries.get(groups, ())
    )
