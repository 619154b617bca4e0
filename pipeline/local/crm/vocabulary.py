"""The words of the generated CRM, from `vocabulary.toml`."""

import random
import tomllib
from functools import cache
from importlib import resources

from pipeline.local.crm.stories import Story
from schemas.record import ValidatedModel


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


class CallNotes(ValidatedModel):
    """Call notes."""

    notes: tuple[str, ...]


class StoryWords(ValidatedModel):
    """The texts of a story."""

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
    prompt_injections: tuple[str, ...]
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
    """Return the pattern with a random digit for each `#`."""
    return "".join(rng.choice("0123456789") if char == "#" else char for char in pattern)
