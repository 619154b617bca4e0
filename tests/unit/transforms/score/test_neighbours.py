"""A reason that names another account of its call is found; ordinary words are no names."""

import pytest

from transforms.score.neighbours import names_neighbour

NAMES = {
    "own": "Acme GmbH",
    "b": "Quillon Travel AG",
    "c": "Northwind",
    "d": "Group",
    "e": "Hot",
    "f": "Acme (2)",
    "g": "May",
}


def _named(reason: str, own_text: str = "") -> bool:
    return names_neighbour([reason], "own", NAMES, lambda _: own_text)


@pytest.mark.parametrize(
    "reason",
    [
        "As Quillon Travel signed, so will they.",
        "Quillon Travel AG has a late deal.",
        "QUILLON TRAVEL closes",
        "The deal of Northwind is late.",
    ],
)
def test_a_neighbours_name_is_found(reason: str) -> None:
    """With or without its legal form."""
    assert _named(reason)


@pytest.mark.parametrize(
    "reason",
    [
        "The Group wants 40 seats by May.",
        "Rated Hot by hand.",
        "Acme has an open deal.",
        "They travel, and a quillon is named.",
        "northwind is a wind.",
        "Northwind",
    ],
)
def test_an_ordinary_reason_names_nobody(reason: str) -> None:
    """Words of the instruction, months, the account's own name, lower case, and a word where a sentence begins."""
    assert not _named(reason)


def test_a_name_in_the_accounts_own_texts_may_be_repeated() -> None:
    """A partner that writes to both accounts is a fact of each."""
    assert not _named("Works with Quillon Travel.", own_text='{"emails":[{"body":"Quillon Travel recommends you"}]}')


def test_an_account_alone_has_no_neighbours() -> None:
    """So a wrong suspicion costs one call, and never a score."""
    assert not names_neighbour(["Quillon Travel"], "own", {"own": "Acme"}, lambda _: "")
