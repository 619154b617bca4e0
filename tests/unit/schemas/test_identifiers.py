"""Names and ids from users: exactly what the platforms allow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identifiers import CheckedAccountId, DatasetId, EmailAddress, ProjectId, checked
from tests.fixtures.changes import account_id

GOOD: list[tuple[Any, str]] = [
    (ProjectId, "my-project"),
    (ProjectId, "a23456"),
    (ProjectId, "a" + "b" * 29),
    (ProjectId, "example.com:my-project"),
    (DatasetId, "account_scoring"),
    (DatasetId, "_hidden"),
    (DatasetId, "9"),
    (DatasetId, "x" * 1024),
    (EmailAddress, "jane.doe+sales@mail.example.co"),
    (EmailAddress, "a..a@test.jp"),
    (EmailAddress, "a.@test.jp"),
    (EmailAddress, "o'brien@example.com"),
]
BAD: list[tuple[Any, object]] = [
    (ProjectId, "short"),
    (ProjectId, "a" * 31),
    (ProjectId, "1project"),
    (ProjectId, "my-project-"),
    (ProjectId, "My-Project"),
    (ProjectId, "my_project"),
    (ProjectId, "my-project\n"),
    (ProjectId, "my-project`"),
    (ProjectId, ":my-project"),
    (ProjectId, "example.com:"),
    (ProjectId, 123456),
    (DatasetId, ""),
    (DatasetId, "a-b"),
    (DatasetId, "a.b"),
    (DatasetId, "a b"),
    (DatasetId, "größe"),
    (DatasetId, "x" * 1025),
    (DatasetId, "crm\n"),
    (DatasetId, None),
    (CheckedAccountId, account_id()[:17]),
    (CheckedAccountId, "003" + account_id()[3:]),
    (CheckedAccountId, account_id()[:17] + "B"),
    (EmailAddress, ".a@test.jp"),
    (EmailAddress, "a@localhost"),
    (EmailAddress, "a@-example.com"),
    (EmailAddress, "a b@example.com"),
    (EmailAddress, "a@example.com\n"),
    (EmailAddress, "a@b@example.com"),
    (EmailAddress, f"{'a' * 64}@{'b' * 12}.example"),
]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_what_the_platform_allows_is_accepted(kind: Any, text: str) -> None:
    """The platform's own examples, and the longest and shortest names, are returned unchanged."""
    assert checked(kind, text, "x") == text


@pytest.mark.parametrize(("kind", "value"), BAD)
def test_what_the_platform_refuses_is_refused_in_one_line(kind: Any, value: object) -> None:
    """The message names the value's origin and is short, however long the value is."""
    with pytest.raises(ValueError, match="--thing is ") as refused:
        checked(kind, value, "--thing")
    assert len(str(refused.value)) < 300
    assert "\n" not in str(refused.value)


def test_ids_and_addresses_become_one_form() -> None:
    """The 15-character id is converted to 18 characters, the address to lower case."""
    assert checked(CheckedAccountId, account_id()[:15], "x") == account_id()
    assert checked(EmailAddress, "Jane@Example.COM", "x") == "jane@example.com"


@given(st.text(max_size=40) | st.text(alphabet="ab-:. `'\"\\;@/*\n\x00é", max_size=12))
def test_no_accepted_name_can_end_a_quoted_name(text: str) -> None:
    """Accepted names have no quote, backslash, dot or control character."""
    for kind in (ProjectId, DatasetId):
        try:
            name = checked(kind, text, "x")
        except ValueError:
            continue
        assert name == text
        assert not set(name.rpartition(":")[2]) & set("`'\"\\.;\n\x00")


@given(st.from_regex(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", fullmatch=True))
def test_every_documented_project_id_is_accepted(text: str) -> None:
    """Project ids have 6 to 30 characters, start with a letter and do not end with a hyphen."""
    assert checked(ProjectId, text, "x") == text
