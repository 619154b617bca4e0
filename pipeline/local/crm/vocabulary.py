"""The words of the generated CRM, read once from the package's own data file."""

import random
import tomllib
from functools import cache
from importlib import resources

from pipeline.local.crm.stories import Story
from schemas.record import ValidatedModel


class Industry(ValidatedModel):
    """An industry: how large its companies are, and what we sell to them."""

    name: str
    descriptors: tuple[str, ...]
    employees: tuple[int, int]
    revenue_per_employee: tuple[int, int]
    products: tuple[str, ...]


class Country(ValidatedModel):
    """A country: its cities as (city, state, postal code), the people there, and how they write."""

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
    """What one side writes: subjects, and sentences to make a body from."""

    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


class CallNotes(ValidatedModel):
    """What is noted of calls."""

    notes: tuple[str, ...]


class StoryWords(ValidatedModel):
    """What is said in a story."""

    emoji: tuple[str, ...]
    inbound: Letters
    outbound: Letters
    calls: CallNotes


class Vocabulary(ValidatedModel):
    """The whole data file."""

    company_words: tuple[str, ...]
    competitors: tuple[str, ...]
    next_steps: tuple[str, ...]
    sources: tuple[str, ...]
    reps: tuple[str, ...]
    planted_instructions: tuple[str, ...]
    quote_headers: tuple[str, ...]
    industries: tuple[Industry, ...]
    countries: tuple[Country, ...]
    stories: dict[Story, StoryWords]


@cache
def vocabulary() -> Vocabulary:
    """Return the words."""
    text = resources.files("pipeline.local.crm").joinpath("vocabulary.toml").read_text("utf-8")
    values = tomllib.loads(text)
    return Vocabulary.model_validate({**values, "company_words": values["company_words"].split()})


def with_digits(rng: random.Random, pattern: str) -> str:
    """Return the pattern with a drawn digit for each `#`."""
    return "".join(rng.choice("0123456789") if char == "#" else char for char in pattern)
