"""The allow-list: who may use the API."""

import os
from pathlib import Path

import pytest

from pipeline.api.auth.allow_list import load_allow_list
from pipeline.api.auth.authenticator import KeptAllowList
from pipeline.api.auth.principals import Role

TEXT = """
principals:
  - {email: Ann@Example.com, roles: [reader]}
  - {email: ann@example.com, roles: [operator]}
webhooks:
  - {name: flow, secrets: [FLOW_SECRET, projects/p/secrets/flow/versions/latest]}
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "allow-list.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_email_has_all_of_its_roles(tmp_path: Path) -> None:
    """In whatever case it is written; a webhook has names of secrets."""
    allow_list = load_allow_list(_file(tmp_path, TEXT))
    assert allow_list.roles == {"ann@example.com": {Role.READER, Role.OPERATOR}}
    assert allow_list.webhooks == {"flow": ("FLOW_SECRET", "projects/p/secrets/flow/versions/latest")}
    assert not load_allow_list(_file(tmp_path, "")).roles


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("principals: [{email: ann, roles: [reader]}]", r"principals\.0\.email: expected an address"),
        ("principals: [{email: a@example.com, roles: [admin]}]", r"principals\.0\.roles\.0"),
        ("principals: [{email: a@example.com, roles: []}]", r"principals\.0\.roles"),
        ("principals: [{email: a@example.com, role: reader}]", r"principals\.0"),
        ("webhooks: [{name: flow, secrets: [hunter2]}]", "expected the name of an environment variable"),
        ("webhooks: [{name: Flow!, secrets: [FLOW_SECRET]}]", "lower-case letters"),
        ("webhooks: [{name: f, secrets: [A_B]}, {name: f, secrets: [C_D]}]", "two webhooks have one name"),
        ("- ann@example.com", "Input should be"),
        ("{", "is not YAML"),
        ("\x00", "is not YAML"),
        ("# " + "x" * 1_000_001, "more than"),
    ],
)
def test_a_fault_is_named_and_no_secret_repeated(tmp_path: Path, text: str, reason: str) -> None:
    """As a secret in place of its name would be."""
    with pytest.raises(ValueError, match=reason) as refused:
        load_allow_list(_file(tmp_path, text))
    assert "hunter2" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(ValueError, match="can't be read: No such file"):
        load_allow_list(tmp_path / "nowhere.yaml")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """One that became none leaves the list as it was, until it is one again."""
    path = _file(tmp_path, TEXT)
    kept = KeptAllowList(path)
    before = kept.current
    for number, (text, is_list) in enumerate([("principals: []", True), ("{", False), (TEXT, True)], 1):
        _file(tmp_path, text)
        os.utime(path, ns=(number, number))
        kept.read_again()
        assert (kept.current == before) is (text == TEXT)
        assert is_list or not kept.current.roles
    path.unlink()
    kept.read_again()
    assert kept.current == before
