"""Redaction on the labelled texts: what `python -m tests.benchmarks.redaction` prints does not get worse unseen."""

import pytest

from tests.fixtures.text_sets import Snippet, redaction_snippets
from transforms.prompt.redaction import redact

KINDS = tuple(dict.fromkeys(snippet.kind for snippet in redaction_snippets()))
AT_LEAST = {"phone": 0.97, "held_out_personal": 0.85}
"""The share of a kind that is handled as it should be; docs/benchmarks.md has the figures."""
BUSINESS_AT_LEAST = {"order_number": 0.98, "held_out_business": 0.92}


def _snippets(kind: str) -> list[Snippet]:
    return [snippet for snippet in redaction_snippets() if snippet.kind == kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_found_or_left_as_often_as_published(kind: str) -> None:
    """Exactly the personal value becomes a mark, and a text without one stays as it is."""
    snippets = _snippets(kind)
    wrong = [snippet.text for snippet in snippets if not snippet.is_handled_by(redact(snippet.text))]
    expected = (AT_LEAST | BUSINESS_AT_LEAST).get(kind, 1.0)
    assert 1 - len(wrong) / len(snippets) >= expected, wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_redacted_text_is_not_redacted_again(kind: str) -> None:
    """A mark is not taken for a value, also behind a word that names one, such as `password: [secret]`."""
    for snippet in _snippets(kind):
        once = redact(snippet.text)
        assert redact(once) == once


def test_the_sets_are_as_large_as_published() -> None:
    """Five hundred snippets and more, and fifty and more of each kind of business number."""
    snippets = list(redaction_snippets())
    assert len(snippets) >= 500
    for kind in ("order_number", "price", "date", "version", "quantity"):
        assert len({snippet.text for snippet in _snippets(kind)}) >= 50
