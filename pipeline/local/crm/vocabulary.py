"""The words and stories of the generated CRM, from `vocabulary.toml`."""

import random
import tomllib
from functools import cache
from importlib import resources

from pipeline.local.crm.stages import OPEN_STAGES
from schemas.record import ValidatedModel

Range = tuple[int, int]
"""Minimum and maximum, both inclusive."""


class Industry(ValidatedModel):
    """An industry: the size of its companies, and the products sold to them."""

    name: str
    descriptors: tuple[str, ...]
    employees: tuple[int, int]
    revenue_per_employee: tuple[int, int]
    products: tuple[str, ...]


class Country(ValidatedModel):
    """A country: cities as (city, state, postal code), names, and forms of greeting."""

    name: str
    weight: int
    legal_forms: tuple[str, ...]
    phone: str
    greeting: str
    farewell: str
    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    cities: tuple[tuple[str, str, str], ...]


class Letters(ValidatedModel):
    """Email subjects, and sentences to build bodies from."""

    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


class Story(ValidatedModel):
    """A kind of relationship with an account: parameters and texts. Days are counted back from today."""

    weight: int
    account_type: str
    ratings: tuple[str, ...]
    """An empty one: not rated."""
    known_for_days: Range
    silent_for_days: Range
    won: Range
    lost: Range
    open: Range
    open_stages: Range
    engaged_days_ago: Range
    due_in_days: Range
    emails: Range
    calls: Range
    inbound_share: float
    connected_share: float
    emoji: tuple[str, ...]
    call_notes: tuple[str, ...]
    inbound: Letters
    outbound: Letters

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of its open opportunities."""
        first, last = self.open_stages
        return tuple(OPEN_STAGES)[first : last + 1]


class Vocabulary(ValidatedModel):
    """The whole data file."""

    company_words: tuple[str, ...]
    competitors: tuple[str, ...]
    next_steps: tuple[str, ...]
    sources: tuple[str, ...]
    reps: tuple[str, ...]
    prompt_injections: tuple[str, ...]
    quote_headers: tuple[str, ...]
    industries: tuple[Industry, ...]
    countries: tuple[Country, ...]
    stories: dict[str, Story]


@cache
def vocabulary() -> Vocabulary:
    """Return the words."""
    text = resources.files("pipeline.local.crm").joinpath("vocabulary.toml").read_text("utf-8")
    values = tomllib.loads(text)
    return Vocabulary.model_validate({**values, "company_words": values["company_words"].split()})


def with_digits(rng: random.Random, pattern: str) -> str:
    """Return the pattern with a random digit for each `#`."""
    return "".join(rng.choice("0123456789") if char == "#" else char for char in pattern)
