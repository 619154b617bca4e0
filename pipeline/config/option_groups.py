"""Options that have an effect only together: one without the other is refused, with the missing one named."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pipeline.config.settings import Settings


@dataclass(frozen=True)
class Group:
    """Options of which each needs another one.

    Attributes:
        options: The options. One that has its default counts as not given: a form passes defaults, too.
        needed: One of these has to be set.
        to_set: What to add, where the name of the option does not say it.
    """

    options: Sequence[str]
    needed: Sequence[str]
    to_set: str = ""


GROUPS: Final = (
    Group(
        ("salesforce_client_id", "salesforce_secret", "salesforce_username", "salesforce_auth"),
        ("salesforce_login_url",),
    ),
    Group(("salesforce_login_url",), ("salesforce_client_id",)),
    Group(("salesforce_login_url",), ("salesforce_secret",)),
    Group(("salesforce_username",), ("salesforce_auth",), "--salesforce_auth=jwt_bearer"),
    Group(("shadow_percent",), ("shadow_model", "shadow_prompt")),
    Group(("budget_action",), ("daily_token_budget",)),
    Group(("redis_url", "mirror_lag_seconds"), ("context_cache_seconds",), "--context_cache_seconds=600"),
    Group(("unchanged_context_days",), ("skip_unchanged_contexts",), "--skip_unchanged_contexts=true"),
)


def incomplete_groups(
    settings: Settings, label: Callable[[str], str], unreadable: Collection[str] = ()
) -> Iterator[str]:
    """Yield a line for each option that is missing.

    Args:
        settings: The values in force.
        label: Returns what the user calls an option that is given.
        unreadable: Options that are given with an invalid value, which is reported elsewhere.
    """
    for group in GROUPS:
        given = [label(name) for name in group.options if _is_given(settings, name)]
        if given and not any(name in unreadable or _is_set(settings, name) for name in group.needed):
            needed = group.to_set or " or ".join(f"--{name}" for name in group.needed)
            verb, them = ("need", "them") if len(given) > 1 else ("needs", "it")
            yield f"{' and '.join(given)} {verb} {needed}, which is missing: add it, or leave {them} out"


def _is_given(settings: Settings, name: str) -> bool:
    return bool(getattr(settings, name) != Settings.model_fields[name].default)


def _is_set(settings: Settings, name: str) -> bool:
    """Return whether an option is in force: not empty, not 0, and not the default of a choice."""
    value = getattr(settings, name)
    return bool(value) and not (isinstance(value, Enum) and not _is_given(settings, name))
