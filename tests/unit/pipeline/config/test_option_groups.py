"""Options that need another one."""

import pytest

from pipeline.config.option_groups import GROUPS, incomplete_groups
from pipeline.config.settings import Settings, read_settings

SALESFORCE = {
    "salesforce_login_url": "https://acme.my.salesforce.com",
    "salesforce_client_id": "3MVG9",
    "salesforce_secret": "SALESFORCE_SECRET",
}


def _told(**given: object) -> list[str]:
    settings, problems = read_settings({"project": "my-project", **given}, str)
    assert not problems
    return list(incomplete_groups(settings, lambda name: f"--{name}"))


@pytest.mark.parametrize("alone", SALESFORCE)
def test_one_option_of_salesforce_alone_is_refused(alone: str) -> None:
    """With the missing ones named, whichever is given."""
    told = "\n".join(_told(**{alone: SALESFORCE[alone]}))
    assert f"--{alone} needs" in told
    for name in SALESFORCE.keys() - {alone} if alone == "salesforce_login_url" else {"salesforce_login_url"}:
        assert f"--{name}, which is missing" in told


def test_options_of_one_group_are_told_in_one_line() -> None:
    """The line names those that are given, and what they need."""
    (line,) = _told(salesforce_client_id="3MVG9", salesforce_secret="SALESFORCE_SECRET")
    assert line == (
        "--salesforce_client_id and --salesforce_secret need --salesforce_login_url, which is missing: "
        "add it, or leave them out"
    )


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"shadow_percent": 7.0}, "--shadow_model or --shadow_prompt"),
        ({"budget_action": "dead_letter"}, "--daily_token_budget"),
        ({"redis_url": "CACHE_URL", "context_cache_seconds": 0}, "--context_cache_seconds=600"),
        ({"unchanged_context_days": 3.0, "skip_unchanged_contexts": False}, "--skip_unchanged_contexts=true"),
        (SALESFORCE | {"salesforce_username": "me@acme.com"}, "--salesforce_auth=jwt_bearer"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, object], needed: str) -> None:
    """An option that has no effect without another one does not start alone."""
    (line,) = _told(**given)
    assert f" {needed}, which is missing" in line


@pytest.mark.parametrize(
    "given",
    [
        {},
        SALESFORCE,
        SALESFORCE | {"salesforce_auth": "jwt_bearer", "salesforce_username": "me@acme.com"},
        {"shadow_percent": 7.0, "shadow_prompt": "v1"},
        {"budget_action": "dead_letter", "daily_token_budget": 5},
        {"redis_url": "CACHE_URL"},
    ],
)
def test_complete_groups_are_accepted(given: dict[str, object]) -> None:
    """Also where an option has its default."""
    assert _told(**given) == []


def test_defaults_count_as_not_given() -> None:
    """The Dataflow console passes every parameter's default."""
    defaults = {name: Settings.model_fields[name].default for group in GROUPS for name in group.options}
    assert _told(**{name: value for name, value in defaults.items() if value is not None}) == []


def test_an_option_with_an_invalid_value_is_not_missing() -> None:
    """It is reported once: as invalid."""
    settings, _ = read_settings({"project": "my-project", "salesforce_login_url": "https://host"}, str)
    assert list(incomplete_groups(settings, str, {"salesforce_client_id", "salesforce_secret"})) == []
