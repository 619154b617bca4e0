"""Numbers that identify a person or an account at a bank: cards, IBANs, national ids. Pure.

Check digits, dates and lengths are python-stdnum's. A number counts only if it is valid and written as such a number
is: one order number in ten has a check digit that would fit a card. `named_values.py` has ids that a word names.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stdnum import iban, luhn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ch import ssn as ahv
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.se import personnummer
from stdnum.us import ssn
from stdnum.za import idnr as za_id

from transforms.prompt.order_numbers import follows_order_label

CARD_MARK: Final = "[card]"
IBAN_MARK: Final = "[iban]"
ID_MARK: Final = "[id]"


def without_personal_numbers(text: str) -> str:
    """Return a text with marks in place of IBANs, national ids and card numbers."""
    text = _IBAN.sub(lambda found: _without_iban(found[0]), text)
    text = _ID.sub(_without_id, text)
    return _DIGIT_RUN.sub(lambda run: _without_cards(run[0]), text)


_IBAN: Final = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ \u00a0]?[A-Z0-9]{4}){2,7}(?:[ \u00a0]?[A-Z0-9]{1,4})?(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_SHORTEST_IBAN: Final = 15


def _without_iban(found: str) -> str:
    """Return a mark for the longest beginning of what was found that is an IBAN, and the words behind it."""
    for end in range(len(found), _SHORTEST_IBAN - 1, -1):
        if (end == len(found) or not found[end].isalnum()) and iban.is_valid(
            found[:end].replace("\u00a0", ""), check_country=False
        ):
            return IBAN_MARK + found[end:]
    return found


_DIGIT_RUN: Final = re.compile(r"\d(?<!\d\d)(?:[ \u00a0.-]?\d){12,}(?!\d)")
_DIGIT_GROUP: Final = re.compile(r"\d+")
_CARD_DIGITS: Final = range(13, 20)
_CARD_STARTS: Final = frozenset("23456")
"""First digits of the card schemes; ISO/IEC 7812 reserves the others for airlines, fuel and national use."""


def is_card_number(digits: str) -> bool:
    """Whether digits can be a card number, by length, first digit and check digit (Luhn, ISO/IEC 7812-1)."""
    if len(digits) not in _CARD_DIGITS or not digits.isdecimal() or str(int(digits[0])) not in _CARD_STARTS:
        return False
    return bool(luhn.is_valid("".join(str(int(digit)) for digit in digits)))


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


@dataclass(frozen=True)
class _Id:
    """A national id that its form and its check digits tell from other numbers, without a word before it."""

    form: str
    is_valid: Callable[[str], bool]
    is_rare: bool = False
    """No other number is likely to have the form, so that the words before it don't matter."""


_IDS: Final = {
    "us": _Id(r"\d{3}-\d{2}-\d{4}", ssn.is_valid),
    "gb": _Id(r"[A-CEGHJ-PR-TW-Z][A-NP-Z](?: ?\d{2}){3} ?[A-D]", lambda _: True),
    "fr": _Id(r"[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}", nir.is_valid, is_rare=True),
    "es": _Id(r"\d{2}\.?\d{3}\.?\d{3}-?[A-Z]", lambda number: dni.is_valid(number.replace(".", ""))),
    "es_nie": _Id(r"[XYZ]-?\d{7}-?[A-Z]", nie.is_valid),
    "it": _Id(r"[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]", codicefiscale.is_valid, is_rare=True),
    "be": _Id(r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}", nn.is_valid, is_rare=True),
    "ch": _Id(r"756\.?\d{4}\.?\d{4}\.?\d{2}", ahv.is_valid, is_rare=True),
    "kr": _Id(r"\d{6}-[1-8]\d{6}", rrn.is_valid, is_rare=True),
    "se": _Id(r"\d{6}[-+]\d{4}", lambda number: personnummer.is_valid(number) or cpr.is_valid(number)),
    "fi": _Id(r"\d{6}[-+A]\d{3}[0-9A-Y]", hetu.is_valid, is_rare=True),
    "cz": _Id(r"\d{6}/\d{3,4}", rc.is_valid),
    "br": _Id(r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf.is_valid, is_rare=True),
    "mx": _Id(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", curp.is_valid, is_rare=True),
    "cn": _Id(r"\d{17}[\dX]", ric.is_valid, is_rare=True),
    "za": _Id(r"(?<=ID number )\d{13}|(?<=ID no )\d{13}", za_id.is_valid),
}
_ID: Final = re.compile(
    r"(?<![\w.,/+-])(?=[A-Z\d][-A-Z]{0,5}[ .]?\d[\d .-])(?:"
    + "|".join(f"(?P<{name}>{row.form})" for name, row in _IDS.items())
    + r")(?![\w/-]|[.,]\d)"
)


def _without_id(found: re.Match[str]) -> str:
    kind, number = _IDS[str(found.lastgroup)], found[0]
    is_personal = kind.is_rare or not follows_order_label(found.string, found.start())
    return ID_MARK if is_personal and kind.is_valid(number) else number
