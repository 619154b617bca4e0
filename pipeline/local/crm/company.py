"""Generate a company: its account profile, contacts and story."""

import datetime as dt
import math
import random
import unicodedata
from dataclasses import dataclass
from typing import Final, TypeVar

from pipeline.local.crm import record_ids
from pipeline.local.crm.record_ids import numbered_record_id
from pipeline.local.crm.vocabulary import Country, Industry, Range, Story, vocabulary, with_digits
from schemas.account_context import AccountProfile

WINDOW: Final = dt.timedelta(days=540)
"""How far back opportunities, emails and calls reach: about 18 months."""

MAX_CONTACTS: Final = 3

_NAME_STRIDE: Final = 8887
_PLAIN_LETTERS: Final = str.maketrans(
    {"ß": "ss", "ø": "o", "æ": "ae", "ä": "ae", "ö": "oe", "ü": "ue", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "ł": "l"}
)


_LEFT_OUT: Final = 0.04
_SUBSIDIARIES: Final = 0.04

Value = TypeVar("Value")


@dataclass(frozen=True)
class Person:
    """A contact of the company, or a sales rep."""

    name: str
    email: str
    phone: str

    @property
    def first_name(self) -> str:
        """The first name."""
        return self.name.split(" ", 1)[0]


@dataclass(frozen=True)
class Company:
    """A generated company: the account profile, and what its other records are generated from."""

    index: int
    seed: int
    as_of: dt.datetime
    short_name: str
    story: Story
    industry: Industry
    country: Country
    contacts: tuple[Person, ...]
    rep: Person
    profile: AccountProfile
    known_since: dt.datetime
    last_contact_at: dt.datetime

    @property
    def active_since(self) -> dt.datetime:
        """The earliest date of its records."""
        return max(self.known_since, self.as_of - WINDOW)

    def record_id(self, prefix: str, number: int, *, of_at_most: int) -> str:
        """Return the id of its record `number`; no company has more than `of_at_most` of this kind."""
        return numbered_record_id(prefix, self.index * of_at_most + number, seed=self.seed)


def generate_company(index: int, *, seed: int, as_of: dt.datetime, rng: random.Random) -> Company:
    """Return company `index`; its name is unique for the seed."""
    words = vocabulary()
    name, industry = company_name_and_industry(index, seed)
    country = rng.choices(words.countries, [country.weight for country in words.countries])[0]
    stories = list(words.stories.values())
    story = rng.choices(stories, [story.weight for story in stories])[0]
    known_since = _days_before(rng, as_of, story.known_for_days)
    last_contact_at = _days_before(rng, as_of, story.silent_for_days)
    domain = f"{_address(name.replace('&', 'and'))}.example"
    contacts = tuple(_contact(rng, country, domain) for _ in range(rng.randint(1, MAX_CONTACTS)))
    rep_number = rng.randrange(len(words.reps))
    profile = _profile(
        rng,
        index=index,
        seed=seed,
        name=f"{name} {rng.choice(country.legal_forms)}",
        website=f"https://www.{domain}",
        industry=industry,
        country=country,
        story=story,
        owner_id=numbered_record_id(record_ids.USER, rep_number),
        created_at=known_since,
        modified_at=between(rng, last_contact_at, as_of),
    )
    return Company(
        index=index,
        seed=seed,
        as_of=as_of,
        short_name=name,
        story=story,
        industry=industry,
        country=country,
        contacts=contacts,
        rep=_rep(words.reps[rep_number], rep_number),
        profile=profile,
        known_since=known_since,
        last_contact_at=last_contact_at,
    )


def between(rng: random.Random, start: dt.datetime, end: dt.datetime) -> dt.datetime:
    """Draw a time in whole seconds; `start` if the end is not after it."""
    return start + dt.timedelta(seconds=int(max((end - start).total_seconds(), 0) * rng.random()))


def plain_letters(text: str) -> str:
    """Return the text in ASCII, for email addresses."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_PLAIN_LETTERS))
    return decomposed.encode("ascii", "ignore").decode()


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform, so that most companies are small."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def two_digits(value: float) -> float:
    """Round to two significant digits, as people quote amounts."""
    return round(value, 1 - math.floor(math.log10(value)))


def company_name_and_industry(index: int, seed: int) -> tuple[str, Industry]:
    """Return name and industry of company `index`: its pair of a word and a descriptor, which depends on the seed."""
    words = vocabulary()
    descriptors = [(text, industry) for industry in words.industries for text in industry.descriptors]
    pairs = len(words.company_words) * len(descriptors)
    rounds, step = divmod(index, pairs)
    word, descriptor = divmod((step * _NAME_STRIDE + seed * 104_729) % pairs, len(descriptors))
    text, industry = descriptors[descriptor]
    name = f"{words.company_words[word]} {text}"
    return (f"{name} {rounds + 1}" if rounds else name), industry


def _profile(
    rng: random.Random,
    *,
    index: int,
    seed: int,
    name: str,
    website: str,
    industry: Industry,
    country: Country,
    story: Story,
    owner_id: str,
    created_at: dt.datetime,
    modified_at: dt.datetime,
) -> AccountProfile:
    employees = round(log_uniform(rng, *industry.employees))
    revenue = two_digits(employees * rng.uniform(*industry.revenue_per_employee))
    city, state, postal_code = rng.choice(country.cities)
    is_subsidiary = index > 0 and rng.random() < _SUBSIDIARIES
    parent = rng.randrange(index) if is_subsidiary else None
    account_id = numbered_record_id(record_ids.ACCOUNT, index, seed=seed)
    return AccountProfile.model_construct(
        account_id=account_id,
        name=name,
        type=story.account_type,
        industry=industry.name,
        annual_revenue=_mostly(rng, revenue),
        number_of_employees=_mostly(rng, employees),
        rating=rng.choice(story.ratings) or None,
        ownership="Subsidiary" if is_subsidiary else rng.choice(("Private", "Private", "Public", None)),
        account_source=rng.choice(vocabulary().sources),
        website=_mostly(rng, website),
        parent_id=None if parent is None else numbered_record_id(record_ids.ACCOUNT, parent, seed=seed),
        owner_id=owner_id,
        billing_city=city,
        billing_state=state,
        billing_postal_code=with_digits(rng, postal_code),
        billing_country=country.name,
        year_started=created_at.year - round(log_uniform(rng, 1, 120)),
        created_at=created_at,
        modified_at=modified_at,
    )


def _mostly(rng: random.Random, value: Value) -> Value | None:
    """Return the value, or None with a small probability."""
    return value if rng.random() >= _LEFT_OUT else None


def _contact(rng: random.Random, country: Country, domain: str) -> Person:
    first, last = rng.choice(country.first_names), rng.choice(country.last_names)
    return Person(
        name=f"{first} {last}",
        email=f"{_address(first)}.{_address(last)}@{domain}",
        phone=with_digits(rng, country.phone),
    )


def _rep(name: str, number: int) -> Person:
    first, last = name.split(" ", 1)
    return Person(
        name=name,
        email=f"{_address(first)}.{_address(last)}@seller.example",
        phone=f"+44 20 7946 09{number:02}",
    )


def _address(name: str) -> str:
    return plain_letters(name.lower()).replace(" ", "").replace("'", "")


def _days_before(rng: random.Random, as_of: dt.datetime, days: Range) -> dt.datetime:
    low, high = days
    return as_of - dt.timedelta(seconds=round(rng.uniform(low, high) * 86400))
