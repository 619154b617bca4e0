"""Accounts and requests for the tests of the Gemini stand-in."""

import datetime as dt
import random
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from hypothesis import strategies as st

from pipeline.local.crm.stages import CLOSED_STAGES, OPEN_STAGES
from schemas.score import ScoreAnswers

AS_OF = "2026-11-20"
MODEL = "gemini-3.5-flash-lite"


def account(name: str = "Acme", account_id: str = "a1", **parts: Any) -> dict[str, Any]:
    """Return an account of a prompt with nothing but a name; `parts` replace or add its members."""
    return {"id": account_id, "profile": {"name": name}, "opportunities": [], "emails": [], "calls": [], **parts}


def email(body: str = "", direction: str = "inbound", day: str = "2026-11-10") -> dict[str, Any]:
    """Return an email."""
    return {"direction": direction, "subject": "Hello", "body": body, "sent_at": f"{day}T09:00:00Z"}


def call(outcome: str = "connected", notes: str = "", day: str = "2026-11-11") -> dict[str, Any]:
    """Return a phone call of ten minutes."""
    started_at = f"{day}T10:00:00Z"
    return {
        "direction": "outbound",
        "outcome": outcome,
        "duration_seconds": 600,
        "notes": notes,
        "started_at": started_at,
    }


def opportunity(stage: str = "Negotiation/Review", amount: float | None = 50_000, **fields: Any) -> dict[str, Any]:
    """Return an opportunity, open unless its stage says otherwise."""
    closed = stage.startswith("Closed")
    return {
        "name": "Deal",
        "stage": stage,
        "amount": amount,
        "probability": (OPEN_STAGES | CLOSED_STAGES).get(stage),
        "is_closed": closed,
        "is_won": stage == "Closed Won",
        "engaged_on": "2026-10-01",
        "closed_on": "2026-11-01" if closed else "2026-12-24",
        **fields,
    }


def random_account(seed: int) -> dict[str, Any]:
    """Return an account as a CRM may hold it: nothing of it depends on anything but the seed."""
    rng = random.Random(seed)
    day = dt.date.fromisoformat(AS_OF)
    stages = ("Prospecting", "Value Proposition", "Negotiation/Review", "Closed Won", "Closed Lost")

    def ago(most: int) -> str:
        return (day - dt.timedelta(days=rng.randint(0, most))).isoformat()

    return account(
        f"Account {seed}",
        f"id{seed}",
        as_of=AS_OF,
        profile={
            "name": f"Account {seed}",
            "type": rng.choice(("Customer", "Prospect")),
            "annual_revenue": 10 ** rng.uniform(5, 10),
            "number_of_employees": rng.randint(5, 20_000),
            "rating": rng.choice(("Hot", "Warm", "Cold", None)),
        },
        opportunities=[
            opportunity(rng.choice(stages), rng.randint(1_000, 200_000), engaged_on=ago(200))
            for _ in range(rng.randint(0, 5))
        ],
        emails=[
            email(rng.choice(("We love it.", "I am angry.", "Hi.")), rng.choice(("inbound", "outbound")), ago(150))
            for _ in range(rng.randint(0, 6))
        ],
        calls=[call(rng.choice(("connected", "voicemail")), day=ago(150)) for _ in range(rng.randint(0, 4))],
    )


def user_text(accounts: Sequence[Mapping[str, Any]]) -> str:
    """Return a prompt that holds the accounts in a fenced block."""
    return f"Score these accounts.\n\n```json\n{orjson.dumps(accounts).decode()}\n```\n"


def request_body(accounts: Sequence[Mapping[str, Any]], *, system: str = "", **generation: Any) -> bytes:
    """Return the body of a call with the schema of `ScoreAnswers`; `generation` replaces fields of generationConfig."""
    wanted = {"responseMimeType": "application/json", "responseJsonSchema": ScoreAnswers.model_json_schema()}
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [{"text": user_text(accounts)}]}],
        "generationConfig": {name: value for name, value in {**wanted, **generation}.items() if value is not None},
    }
    if system:
        body["systemInstruction"] = {"parts": [{"text": system}]}
    return orjson.dumps(body)


def _records(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(st.fixed_dictionaries({}, optional=fields), max_size=4)


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_days = st.dates(dt.date(2020, 1, 1), dt.date(2027, 12, 31)).map(str)
_junk = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _texts | st.lists(st.none(), max_size=1)
_numbers = st.floats(-1e20, 1e20) | st.integers(-(10**6), 10**9) | _junk

accounts_of_any_kind: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"id": st.text("abcdef0123456789", min_size=1, max_size=8)},
    optional={
        "profile": st.fixed_dictionaries(
            {"name": _texts},
            optional={
                "type": st.sampled_from(["Customer", "Prospect"]) | _junk,
                "rating": st.sampled_from(["Hot", "Warm", "Cold"]) | _junk,
                "annual_revenue": _numbers,
                "number_of_employees": _numbers,
                "industry": _junk,
                "modified_at": _days | _junk,
            },
        )
        | _junk,
        "opportunities": _records(
            stage=st.sampled_from(["Prospecting", "Closed Won", "Closed Lost", "Negotiation/Review"]) | _junk,
            amount=_numbers,
            probability=_numbers,
            is_closed=st.booleans() | _junk,
            is_won=st.booleans() | _junk,
            engaged_on=_days | _junk,
            closed_on=_days | _junk,
        )
        | _junk,
        "emails": _records(
            direction=st.sampled_from(["inbound", "outbound"]) | _junk, body=_junk, subject=_junk, sent_at=_days | _junk
        )
        | _junk,
        "calls": _records(
            outcome=st.sampled_from(["connected", "voicemail"]) | _junk,
            duration_seconds=_numbers,
            notes=_junk,
            started_at=_days | _junk,
        )
        | _junk,
        "as_of": _days | _junk,
        "changed_fields": st.lists(st.sampled_from(["Rating", "Region__c", "a sentence, no name"])) | _junk,
    },
)
"""Accounts with any member missing or of another type."""
