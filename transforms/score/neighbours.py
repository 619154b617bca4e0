"""Whether a reason names another account of its call. Pure.

Accounts of one call must not get each other's reasons. A name can be an ordinary word, so a wrong suspicion must be
cheap: the account is asked for again alone, where it has no neighbours.
"""

import calendar
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from transforms.prompt.prompt import DEFAULT_PROMPT_VERSION, load_instruction

_SHORTEST_WORD: Final = 4
"""A name of one word must have as many letters: shorter ones are abbreviations of other things, too."""

_LEGAL_FORMS: Final = frozenset(
    (
        *("ag", "ab", "as", "asa", "aps", "bv", "nv", "co", "corp", "corporation", "company", "gmbh", "inc"),
        *("incorporated", "kg", "kgaa", "limited", "llc", "llp", "lp", "ltd", "oy", "oyj", "plc", "pty", "sa"),
        *("sarl", "sas", "se", "sl", "spa", "srl", "sro", "zoo"),
    )
)
_ORDINARY_NAMES: Final = frozenset(
    (
        *("business", "capital", "company", "customer", "digital", "europe", "global", "group", "holding"),
        *("international", "partner", "services", "solutions", "systems", "team"),
    )
)
_JOINING: Final = frozenset({"and", "of", "the", "de", "la", "und", "et", "y", "for", "in"})
_WORD: Final = re.compile(r"\w[\w'&.-]*\w|\w")
_NUMBER_OF_NAMESAKE: Final = re.compile(r" \(\d+\)\Z")
_SENTENCE_END: Final = re.compile(r"(?:\A|[.!?:;(\"'\u201c]\s*)\Z")


def names_neighbour(
    texts: Iterable[str], own_id: str, names: Mapping[str, str], own_text: Callable[[str], str]
) -> bool:
    """Whether one of an account's texts names another account of its call.

    Args:
        texts: The account's reasons.
        own_id: Its opaque id.
        names: The names of all accounts of the call, by opaque id.
        own_text: What the prompt showed of an account: a name that stands there may be repeated.
    """
    together = "\n".join(texts)
    folded = together.casefold()
    for neighbour, name in names.items():
        words = _distinctive_words(name) if neighbour != own_id else ()
        if words and words[0] in folded and _is_named(words, together) and not _stands_in(words, own_text(own_id)):
            return True
    return False


def _distinctive_words(name: str) -> tuple[str, ...]:
    """Return the words of a name without its legal form; none if they would not identify an account."""
    words = [word.casefold() for word in _WORD.findall(_NUMBER_OF_NAMESAKE.sub("", name))]
    while words and words[-1].replace(".", "") in _LEGAL_FORMS:
        words.pop()
    if not words or (len(words) == 1 and (len(words[0]) < _SHORTEST_WORD or words[0] in _ordinary_words())):
        return ()
    return tuple(words)


def _occurrences(words: tuple[str, ...], text: str) -> Iterator[re.Match[str]]:
    phrase = r"[\W_]+".join(map(re.escape, words))
    return re.finditer(rf"(?<!\w){phrase}(?!\w)", text, re.IGNORECASE)


def _is_named(words: tuple[str, ...], text: str) -> bool:
    """Whether the words stand in a text as a name does: with capitals, and a single one not where a sentence begins."""
    return any(
        all(not word[0].islower() or word in _JOINING for word in _WORD.findall(found[0]))
        and (len(words) > 1 or not _SENTENCE_END.search(text[: found.start()].rsplit("\n", 1)[-1]))
        for found in _occurrences(words, text)
    )


def _stands_in(words: tuple[str, ...], text: str) -> bool:
    return next(_occurrences(words, text), None) is not None


@functools.cache
def _ordinary_words() -> frozenset[str]:
    """Return words that reasons are made of: those of the instruction, months and weekdays."""
    instruction = {word.casefold() for word in _WORD.findall(load_instruction(DEFAULT_PROMPT_VERSION))}
    dates = {name.casefold() for name in (*calendar.month_name, *calendar.day_name) if name}
    return frozenset(instruction | dates | _ORDINARY_NAMES)
