"""Generate the emails and calls of a company, in the words of its story.

Some texts are long (quoted threads), some have addresses, phone numbers, umlauts and emoji, and about one in 200
contains a prompt injection.
"""

import datetime as dt
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.local.crm import record_ids
from pipeline.local.crm.company import Company, Person, between
from pipeline.local.crm.vocabulary import Letters, vocabulary
from schemas.account_context import Call, Email, Opportunity

MAX_EMAILS: Final = 16
MAX_CALLS: Final = 8

_INJECTED: Final = 1 / 200
_SIGNED_IN_FULL: Final = 0.35
_WITH_EMOJI: Final = 0.06
_WITH_THREAD: Final = 0.15
_WITH_POSTSCRIPT: Final = 0.12
_OFFICE_HOURS: Final = (7, 19)


@dataclass(frozen=True)
class _Topic:
    """The subject of an email or call: values for its text, contact and time."""

    values: dict[str, str]
    contact: Person
    at: dt.datetime


def generate_emails(company: Company, deals: Sequence[Opportunity], rng: random.Random) -> tuple[Email, ...]:
    """Return the emails, oldest first."""
    topics = _topics(company, deals, rng, rng.randint(*company.story.emails))
    return tuple(_email(company, rng, number, topic) for number, topic in enumerate(topics))


def generate_calls(company: Company, deals: Sequence[Opportunity], rng: random.Random) -> tuple[Call, ...]:
    """Return the calls, oldest first."""
    topics = _topics(company, deals, rng, rng.randint(*company.story.calls))
    return tuple(_call(company, rng, number, topic) for number, topic in enumerate(topics))


def _topics(company: Company, deals: Sequence[Opportunity], rng: random.Random, count: int) -> list[_Topic]:
    topics = list(_unsorted_topics(company, deals, rng, count))
    topics.sort(key=lambda topic: topic.at)
    return topics


def _unsorted_topics(
    company: Company, deals: Sequence[Opportunity], rng: random.Random, count: int
) -> Iterator[_Topic]:
    competitor = rng.choice(vocabulary().competitors)
    current = [deal for deal in deals if deal.is_won or not deal.is_closed]
    for _ in range(count):
        deal = rng.choice(current) if current else None
        contact = rng.choice(company.contacts)
        at = _moment(company, deal, rng)
        employees = company.profile.number_of_employees or company.industry.employees[0]
        product = deal.product if deal and deal.product else company.industry.products[0]
        amount = deal.amount if deal and deal.amount else employees * 50.0
        values = {
            "account": company.short_name,
            "amount": f"${amount:,.0f}",
            "city": company.profile.billing_city or company.country.name,
            "competitor": competitor,
            "contact": contact.name,
            "employees": f"{employees:,}",
            "month": f"{at + dt.timedelta(days=30):%B}",
            "product": product,
        }
        yield _Topic(values, contact, at)


def _moment(company: Company, deal: Opportunity | None, rng: random.Random) -> dt.datetime:
    """Draw a time between the start of the deal and the last contact."""
    start, end = company.active_since, company.last_contact_at
    if deal is not None and deal.engaged_on is not None:
        start = max(start, dt.datetime.combine(deal.engaged_on, dt.time(), dt.UTC))
    at = between(rng, min(start, end), end)
    in_hours = at.replace(hour=_OFFICE_HOURS[0] + at.hour * (_OFFICE_HOURS[1] - _OFFICE_HOURS[0]) // 24)
    return in_hours if start <= in_hours <= end else at


def _email(company: Company, rng: random.Random, number: int, topic: _Topic) -> Email:
    story = company.story
    is_inbound = rng.random() < company.story.inbound_share
    letters = story.inbound if is_inbound else story.outbound
    people = (topic.contact, company.rep) if is_inbound else (company.rep, topic.contact)
    body = _body(company, rng, letters, topic, people)
    if rng.random() < _WITH_THREAD:
        answered = story.outbound if is_inbound else story.inbound
        body += _thread(company, rng, (answered, letters), topic, people[::-1])
    return Email.model_construct(
        email_id=company.record_id(record_ids.EMAIL_MESSAGE, number, of_at_most=MAX_EMAILS),
        account_id=company.profile.account_id,
        direction="inbound" if is_inbound else "outbound",
        subject=rng.choice(letters.subjects).format_map(topic.values),
        body=_maybe_with_injection(rng, body),
        sent_at=topic.at,
    )


def _body(company: Company, rng: random.Random, letters: Letters, topic: _Topic, people: tuple[Person, Person]) -> str:
    """Return an email body from the first person to the second."""
    sender, receiver = people
    sentences = rng.sample(letters.sentences, rng.randint(3, 5))
    if rng.random() < _WITH_EMOJI:
        sentences[-1] += f" {rng.choice(company.story.emoji)}"
    cut = rng.randint(1, len(sentences) - 1)
    paragraphs = [
        company.country.greeting.format(to=receiver.first_name),
        " ".join(sentences[:cut]),
        " ".join(sentences[cut:]),
        f"{company.country.farewell}\n{_signature(rng, sender)}",
    ]
    if rng.random() < _WITH_POSTSCRIPT:
        paragraphs.append(f"PS: You reach me at {sender.phone} or {sender.email}.")
    return "\n\n".join(paragraphs).format_map(topic.values)


def _signature(rng: random.Random, sender: Person) -> str:
    if rng.random() >= _SIGNED_IN_FULL:
        return sender.first_name
    return f"{sender.name}\n{sender.email} | {sender.phone}"


def _thread(
    company: Company,
    rng: random.Random,
    letters: tuple[Letters, Letters],
    topic: _Topic,
    people: tuple[Person, Person],
) -> str:
    """Return the earlier emails of the thread, each quoted one level deeper."""
    quoted = ""
    at = topic.at
    for depth in range(rng.randint(2, 7)):
        pair = people[::-1] if depth % 2 else people
        at -= dt.timedelta(hours=rng.randint(3, 90))
        header = rng.choice(vocabulary().quote_headers).format(
            date=f"{at:%a, %d %b %Y at %H:%M}", who=pair[0].name, address=pair[0].email
        )
        letter = _body(company, rng, letters[depth % 2], topic, pair)
        outer, inner = "> " * depth, "> " * (depth + 1)
        lines = [outer + line for line in header.split("\n")] + [inner + line for line in letter.split("\n")]
        quoted += "\n\n" + "\n".join(lines)
    return quoted


def _call(company: Company, rng: random.Random, number: int, topic: _Topic) -> Call:
    is_inbound = rng.random() < company.story.inbound_share
    is_connected = is_inbound or rng.random() < company.story.connected_share
    outcome = "connected" if is_connected else rng.choice(("voicemail", "no_answer"))
    if is_connected:
        note = rng.choice(company.story.call_notes)
        notes = _maybe_with_injection(rng, note.format_map(topic.values))
    else:
        notes = "Left a message." if outcome == "voicemail" else ""
    return Call.model_construct(
        call_id=company.record_id(record_ids.TASK, number, of_at_most=MAX_CALLS),
        account_id=company.profile.account_id,
        direction="inbound" if is_inbound else "outbound",
        outcome=outcome,
        duration_seconds=rng.randint(90, 2700) if is_connected else rng.randint(0, 40),
        notes=notes,
        started_at=topic.at,
    )


def _maybe_with_injection(rng: random.Random, text: str) -> str:
    if rng.random() >= _INJECTED:
        return text
    return f"{text}\n\n{rng.choice(vocabulary().prompt_injections)}"
