"""Values of options that are one of several."""

import pytest

from pipeline.terminal.choices import did_you_mean, one_of

KNOWN = ("gemini_timeout", "Score accounts", "gemini-3.5-flash")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("gemini_timeout", "gemini_timeout"),
        ("gemini-timeout", "gemini_timeout"),
        ("Gemini_Timeout", "gemini_timeout"),
        ("score accounts", "Score accounts"),
        ("gemini_3.5_flash", "gemini-3.5-flash"),
    ],
)
def test_a_value_may_be_spelled_in_several_ways(value: str, name: str) -> None:
    """Capital letters don't matter, nor does - for _."""
    assert one_of("--value", value, KNOWN) == name


def test_an_unknown_value_is_refused_with_the_known_ones() -> None:
    """The message names the flag, and the value that is most like it."""
    with pytest.raises(ValueError, match="--stage is 'Score acounts': expected one of") as refused:
        one_of("--stage", "Score acounts", KNOWN)
    assert str(refused.value).endswith(
        "gemini_timeout, Score accounts, gemini-3.5-flash; did you mean 'Score accounts'?"
    )


def test_nothing_is_suggested_for_what_is_like_no_value() -> None:
    """A wrong suggestion is worse than none."""
    assert did_you_mean("xyz", KNOWN) == ""
