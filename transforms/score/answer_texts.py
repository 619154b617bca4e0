"""The texts of an answer are plain sentences: what acts on a reader's program is taken out, or refuses them. Pure.

A text of the CRM may have influenced the model, and sellers read its reasons in spreadsheets, mails and web pages. A
score stays valid without a link in its summary, so most of it is cleaned; a formula is no sentence, so it is refused.
"""

import html
import re
from collections.abc import Sequence
from typing import Final

from transforms.prompt.redaction import redact

LINK_MARK: Final = "[link]"

_ELEMENT: Final = re.compile(
    r"<(script|style|iframe|svg|object)\b[^<>]{0,2000}>.{0,4000}?</\1\s{0,8}>|<!--.{0,4000}?-->", re.IGNORECASE
)
_TAG: Final = re.compile(r"</?[A-Za-z!?][^<>]{0,2000}>")
_TAG_START: Final = re.compile(r"<(?=[A-Za-z/!?])")
_MARKDOWN_LINK: Final = re.compile(r"!?\[([^\[\]]{0,400})\]\([^()]{0,2000}\)")
_EMPHASIS: Final = re.compile(r"[*_]{2,}|`+|~{2,}")
_HEADING: Final = re.compile(r"\A(?:#{1,6}|>|[*\u2022])\s+")

_TOP_LEVEL: Final = (
    "com|net|org|io|co|ai|app|dev|info|biz|xyz|site|online|shop|club|link|click|top|zip|me|ly|gg|to|tv|us|uk|eu|de|fr|it|es|nl|be"
    "|ch|at|pl|cz|se|no|dk|fi|ru|cn|in|jp|br|au|ca|example"
)
_SCHEME: Final = re.compile(
    r"[a-z\d+.-]{1,20}://\S*|\b(?:javascript|vbscript)\s{0,8}:\S*|\bdata:[\w/+.-]{0,80}[;,]\S*"
    r"|\b(?:mailto|tel|sms|file|blob|callto):\S+",
    re.IGNORECASE,
)
_PATH: Final = re.compile(r"\bwww\.\S+|(?<!\w)(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?::\d{1,5})?/\S*", re.IGNORECASE)
_DOMAIN: Final = re.compile(rf"(?<!\w)(?:[\w-]{{1,63}}\.){{1,8}}(?:{_TOP_LEVEL})(?!\w)", re.IGNORECASE)
_PERHAPS_SCHEME: Final = re.compile(r":\S|[Pp][Tt]\s{0,8}:")
_DOT: Final = re.compile(r"\.[^\W\d_]")
_PERHAPS_MARKUP: Final = re.compile(r"[<&\[`*_~]")
"""Most texts have none of them, and are not searched further."""

_SIGNS: Final = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b\u2212"
"""What spreadsheets take for the start of a formula, and the look-alikes that they or an import convert."""
_FORMULA: Final = re.compile(
    rf"\s*[\"']?(?:[=\uff1d\ufe66][\w(+\-\"'@$]|[{_SIGNS}][{_SIGNS}\s]*(?:[A-Za-z_.\d]{{2,30}}\(|[^|]{{1,80}}\|[^!]{{0,200}}!))"
)
_LEADING_SIGN: Final = re.compile(rf"\A([{_SIGNS}\s])(?=(\d)?)")
_NAMES_OF_SIGNS: Final = {"+": "plus ", "\uff0b": "plus ", "-": "minus ", "\uff0d": "minus ", "\u2212": "minus "}


_BEGINS_ODDLY: Final = re.compile(rf"[{_SIGNS}\s\"'#>*\u2022]")
_APART: Final = "\n|\n"
"""Between texts: no word before it says what the number behind it is."""

_MOST_PASSES: Final = 8
"""What is taken out can uncover something else, such as a sign behind a tag; an ordinary sentence needs one pass."""


def is_formula(text: str) -> bool:
    """Whether a spreadsheet would calculate a text, or run what it names."""
    return _FORMULA.match(_visible(text)) is not None


def are_plain(texts: Sequence[str]) -> bool:
    """Whether all of an answer's texts are plain sentences already, as nearly all are: one look at all of them."""
    together = _APART.join(texts)
    return (
        all(text.isprintable() and not _BEGINS_ODDLY.match(text) and not text.endswith(" ") for text in texts)
        and not _PERHAPS_MARKUP.search(together)
        and "  " not in together
        and _without_links(together, "") == together
        and redact(together) == together
    )


def plain_sentence(text: str, account_name: str = "") -> str:
    """Return a text on one line without hidden characters, markup, links, personal data, and signs before it.

    A domain that stands in the account's name, as in Booking.com, is no link.
    """
    name = account_name.casefold()
    for _ in range(_MOST_PASSES):
        before, text = text, _without_signs(_without_links(redact(_without_markup(text)), name))
        if text == before:
            break
    return text


def _without_links(text: str, name: str) -> str:
    if _PERHAPS_SCHEME.search(text):
        text = _SCHEME.sub(LINK_MARK, text)
    kept, position = [], 0
    for dot in _DOT.finditer(text):
        if dot.start() >= position:
            start, end = text.rfind(" ", position, dot.start()) + 1 or position, text.find(" ", dot.end())
            word = text[start : end if end >= 0 else len(text)]
            kept += [text[position:start], _without_domain(word, name)]
            position = start + len(word)
    return "".join((*kept, text[position:])) if kept else text


def _without_domain(word: str, name: str) -> str:
    word = _PATH.sub(LINK_MARK, word)
    return _DOMAIN.sub(lambda found: found[0] if found[0].casefold() in name else LINK_MARK, word)


def was_cleaned(before: str, after: str) -> bool:
    """Whether more than white space was changed."""
    return " ".join(before.split()) != after


def _visible(text: str) -> str:
    """Return a text on one line, without control, direction, zero-width, private and unassigned characters."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)
    return " ".join(text.split())


def _without_markup(text: str) -> str:
    """Return a text without tags and Markdown; repeated, since removing one can put another together."""
    text, before = _visible(text), None
    if not _PERHAPS_MARKUP.search(text):
        return text
    while text != before:
        before = text
        text = _visible(html.unescape(text)) if "&" in text else _visible(text)
        text = _TAG.sub("", _ELEMENT.sub("", text))
        text = _EMPHASIS.sub("", _MARKDOWN_LINK.sub(rf"\1 {LINK_MARK}", text))
    return _TAG_START.sub("< ", text)


def _without_signs(text: str) -> str:
    """Return a text that begins with no sign of a formula; before a number, plus and minus become words."""
    text = _HEADING.sub("", text.lstrip())
    while sign := _LEADING_SIGN.match(text):
        word = _NAMES_OF_SIGNS.get(sign[1], "") if sign[2] else ""
        text = word + text[1:]
    return text
