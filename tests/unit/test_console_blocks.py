"""What a document says that a command prints, compared with what it prints."""

import pytest

from tests.fixtures.console_blocks import Step, filled, steps_of, values_printed

DOCUMENT = """\
# Title

```console
$ rescore one --project <PROJECT>
scored 12 of 20, 3 minutes ago
…
   paste --to <TIME>
$ echo $?
0
```

```console
$ rescore two --to <TIME>
```
"""
ONE, CODE, TWO = steps_of(DOCUMENT)


def test_commands_and_their_lines_are_read() -> None:
    """In the order of the document; a command may be said to print nothing."""
    assert (
        Step("rescore one --project <PROJECT>", ("scored 12 of 20, 3 minutes ago", "…", "   paste --to <TIME>")) == ONE
    )
    assert (CODE.command, CODE.expected) == ("echo $?", ("0",))
    assert Step("rescore two --to <TIME>", ()) == TWO
    assert filled(TWO.command, {"TIME": "now"}) == "rescore two --to now"


@pytest.mark.parametrize(
    "output",
    [
        "scored 3 of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\n",
        "scored  1,200  of 4, just now\nanything\nat all\n  paste --to 2026-01-01T00:00Z\n",
    ],
)
def test_figures_and_spaces_may_differ(output: str) -> None:
    """The names get their values."""
    assert values_printed(ONE, output, {}) == {"TIME": "2026-01-01T00:00Z"}


@pytest.mark.parametrize(
    "output",
    [
        "",
        "scored 3 of 4, 1 minute ago\n",
        "scored 3 of 4, 1 minute ago\npaste --to \n",
        "skipped 3 of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\n",
        "scored none of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\n",
        "first\nscored 3 of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\n",
        "scored 3 of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\nmore\n",
    ],
)
def test_other_words_and_lines_are_noticed(output: str) -> None:
    """A line that is missing, too many, or says something else."""
    assert values_printed(ONE, output, {}) is None


def test_a_value_that_is_known_must_be_printed() -> None:
    """A name stands for one value."""
    output = "scored 3 of 4, 1 minute ago\npaste --to 2026-01-01T00:00Z\n"
    assert values_printed(ONE, output, {"TIME": "2026-01-01T00:00Z"}) == {}
    assert values_printed(ONE, output, {"TIME": "2027-01-01T00:00Z"}) is None
