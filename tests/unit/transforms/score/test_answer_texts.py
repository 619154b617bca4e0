"""Reasons are plain sentences, whatever the model wrote."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.score.answer_texts import LINK_MARK, are_plain, is_formula, plain_sentence, was_cleaned

HOSTILE = (
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<scr<b>ipt>",
        "&lt;script&gt;",
        "&amp;lt;b&amp;gt;",
        "<!--",
    ),
    *(
        "https://evil.example/x",
        "javascript:alert(1)",
        "www.evil.example",
        "evil.com/login",
        "evil.com",
        "[a](http://e.vil)",
    ),
    *("=HYPERLINK(", "+cmd|' /C calc'!A0", "@SUM(1)", "-2", "+15", "=", "@", "-", "\uff1d1", "\u2212"),
    *("\u202e", "\u200b", "\x00", "\x1b[31m", "\r\n", "\u2028", "\ue000", "**", "`", "# ", "> "),
    *("jo@example.com", "+49 30 23125 123", "DE89370400440532013000", "password: hunter22"),
)
hostile = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=12), max_size=8).map(" ".join)
glued = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=6), max_size=8).map("".join)


@given(hostile | glued)
@example("\xbf@evil.com/login")
@example(".evil.com/login evil.com- evil.com-x é@evil.com " + 64 * "a" + ".evil.com")
@example("DE89370400440532013000https://evil.example/x")
def test_a_sentence_has_nothing_that_acts(text: str) -> None:
    """No hidden character, no tag, no link with a scheme, no sign of a formula at its start, and no address."""
    plain = plain_sentence(text)
    assert plain.isprintable()
    assert not re.search(r"<[A-Za-z/!?]", plain)
    assert not re.search(r"\b[a-z][a-z0-9+.-]+://", plain, re.IGNORECASE)
    assert not re.search(r"\bjavascript:|\bwww\.\w|\bevil\.com\b|\bpassword: hunter22\b", plain, re.IGNORECASE)
    assert not re.match(r"[\s=+\-@\uff1d\uff0b\uff0d\uff20\u2212]", plain)
    assert "jo@example.com" not in plain


@given(hostile | glued)
def test_a_plain_sentence_stays(text: str) -> None:
    """Cleaning twice is cleaning once."""
    once = plain_sentence(text)
    assert plain_sentence(once) == once


@given(
    st.lists(hostile | glued | st.sampled_from(["Call.", "An order", "the password is", "030 23125 123"]), max_size=4)
)
@example(["0 "])
def test_one_look_at_all_texts_misses_nothing(texts: list[str]) -> None:
    """If it finds nothing to clean, cleaning each text changes none."""
    if are_plain(texts):
        assert [plain_sentence(text) for text in texts] == texts


@pytest.mark.parametrize(
    "text",
    [
        "Negotiation/Review, 48,000, closes 2026-04-15",
        "The deal is 90% likely to close; three won deals before.",
        "Call the decision maker this week, e.g. on Monday.",
        "Revenue < 5 million, R&D team of 12, AT&T is named.",
        "Wants v2.1 of the API and/or SSO by 2 March 2026.",
        "Asked for 25 seats at 1.200.000 EUR: budget is approved.",
        "Meeting at 14:30, ratio 3:1, data: complete.",
        "Renewal of Q1; -3 points since.",
    ],
)
def test_an_ordinary_reason_stays(text: str) -> None:
    """Numbers, dates, per cents, slashes and abbreviations are no markup."""
    assert plain_sentence(text) == text
    assert not is_formula(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://evil.example/x now", f"See {LINK_MARK} now"),
        ("Log in at evil.com/login", f"Log in at {LINK_MARK}"),
        ("[Offer](https://evil.example) is open", f"Offer {LINK_MARK} is open"),
        ("<b>Hot</b> lead", "Hot lead"),
        ("**Hot** lead", "Hot lead"),
        ("&lt;img src=x&gt;Hot", "Hot"),
        ("+15 % seats", "plus 15 % seats"),
        ("- 3 seats", "3 seats"),
        ("-3 seats", "minus 3 seats"),
        ("- Call Jo", "Call Jo"),
        ("@owner: call", "owner: call"),
        ("Write to jo@example.com", "Write to [email]"),
        ("Line one\nline two", "Line one line two"),
        ("Hot\u202elead\u200b", "Hotlead"),
    ],
)
def test_what_is_taken_out(text: str, expected: str) -> None:
    """The words around it stay."""
    assert plain_sentence(text) == expected


def test_a_domain_in_the_accounts_name_is_no_link() -> None:
    """Booking.com is a company."""
    assert plain_sentence("Booking.com asks for terms", "Booking.com BV") == "Booking.com asks for terms"
    assert plain_sentence("Booking.com asks for terms", "Acme") == f"{LINK_MARK} asks for terms"


@pytest.mark.parametrize(
    "text",
    [
        '=HYPERLINK("https://evil.example","x")',
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "@SUM(1+1)*cmd|x!A1",
        "\t=SUM(A1)",
        "\uff1dSUM(A1)",
        "\u200b=SUM(A1)",
        '"=SUM(A1)',
    ],
)
def test_a_formula_is_known(text: str) -> None:
    """Also behind white space, hidden characters and a quotation mark, and with a look-alike sign."""
    assert is_formula(text)


@pytest.mark.parametrize(
    "text", ["+15 % seats", "-3 to +5 points", "- Call Jo (owner) today", "= 3 deals", "@Jo: call", "a=b"]
)
def test_a_sentence_is_no_formula(text: str) -> None:
    """A sign before a number or a word is only replaced."""
    assert not is_formula(text)


def test_white_space_alone_is_no_cleaning() -> None:
    """A line feed between two sentences needs no flag on the row."""
    assert not was_cleaned("One.\nTwo. ", plain_sentence("One.\nTwo. "))
    assert was_cleaned("<b>One</b>", plain_sentence("<b>One</b>"))


@pytest.mark.parametrize(
    "unit", ["<", "<a ", "<!--", "[", "[a](", "a.", "www.", "+", "&amp;", "=+", "http://", "<script>"]
)
def test_text_made_to_be_slow_ends(unit: str) -> None:
    """An answer's texts have some thousand characters at most; the suite's own time limit is what fails it."""
    assert isinstance(plain_sentence(unit * (4_000 // len(unit))), str)
