"""CRM text on its way into a prompt: made visible, redacted, cut to its bound, and looked through for instructions."""

import functools
import re
from dataclasses import dataclass
from typing import Final

from transforms.prompt.prompt_injection import Suspicion, suspicions
from transforms.prompt.redaction import LONGEST_MATCH, redact

CUT_MARK: Final = "… [cut]"

_SCANNED_BOUNDS: Final = 8
"""How much of a text is redacted, as a multiple of what is shown of it: marks are shorter than what they stand for."""

_REMEMBERED_TEXTS: Final = 16_384
"""An account's texts come again with its next change, with a retry and with each shadow."""

# Control characters (not tab and line feed), direction overrides, zero-width characters, surrogates, and the tags and
# selectors of plane 14, which a model reads and a person does not see. Joiners that scripts and emoji need stay.
_INVISIBLE: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e0fff]"
)


@dataclass(frozen=True, slots=True)
class CrmText:
    """What a prompt shows of a text, and what that seems to try."""

    shown: str
    suspicions: frozenset[Suspicion]


@functools.lru_cache(_REMEMBERED_TEXTS)
def prepare_text(text: str, most_characters: int) -> CrmText:
    """Return a text as a prompt may show it: at most `most_characters` of it, and the mark of a cut.

    Redaction comes before the cut, so that no cut leaves half of an address standing.
    """
    scanned = _INVISIBLE.sub("", text[: most_characters * _SCANNED_BOUNDS + LONGEST_MATCH])
    shown = redact(scanned)
    if len(text) > most_characters * _SCANNED_BOUNDS + LONGEST_MATCH:
        shown = shown[:-LONGEST_MATCH]  # what is redacted there may go on beyond what was scanned
    is_cut = len(shown) > most_characters or len(text) > most_characters * _SCANNED_BOUNDS + LONGEST_MATCH
    shown = shown[:most_characters] + CUT_MARK if is_cut else shown
    return CrmText(shown, suspicions(shown))
