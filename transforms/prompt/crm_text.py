"""Prepare CRM text for a prompt: drop invisible characters, redact, cut, and look for prompt injections."""

import functools
import re
from dataclasses import dataclass
from typing import Final

from transforms.prompt.prompt_injection import InjectionKind, find_injections
from transforms.prompt.redaction import LONGEST_MATCH, redact

CUT_MARK: Final = "… [cut]"

_SCANNED_BOUNDS: Final = 8
"""How much of a text is redacted, as a multiple of what is shown: marks are shorter than the text they replace."""

_REMEMBERED_TEXTS: Final = 16_384
"""An account's texts are prepared again for its next change, for a retry and for each shadow score."""

# Control characters (not tab and line feed), direction overrides, zero-width characters, surrogates, and the tags and
# selectors of plane 14: a model reads them, a person does not see them. Joiners that scripts and emoji need stay.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True)
class CrmText:
    """A text as a prompt shows it, and the kinds of prompt injection that are suspected in it."""

    shown: str
    injections: frozenset[InjectionKind]


@functools.lru_cache(_REMEMBERED_TEXTS)
def prepare_text(text: str, most_characters: int) -> CrmText:
    """Return a text as a prompt may show it: at most `most_characters` of it, with a mark where it was cut.

    It is redacted before it is cut, so that no half of an e-mail address stays.
    """
    scanned = _INVISIBLE.sub("", text[: most_characters * _SCANNED_BOUNDS + LONGEST_MATCH])
    shown = redact(scanned)
    if len(text) > most_characters * _SCANNED_BOUNDS + LONGEST_MATCH:
        shown = shown[:-LONGEST_MATCH]  # an address there may continue beyond the scanned part
    is_cut = len(shown) > most_characters or len(text) > most_characters * _SCANNED_BOUNDS + LONGEST_MATCH
    shown = shown[:most_characters] + CUT_MARK if is_cut else shown
    return CrmText(shown, find_injections(shown))
