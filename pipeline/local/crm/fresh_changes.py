"""Change events that are made now, about accounts of the mirror."""

import datetime as dt
import random
import uuid
from collections.abc import Iterator, Sequence

import orjson

from pipeline.local.crm.account_changes import material_change
from pipeline.local.crm.change_events import Commit, flat_event
from schemas.account_context import AccountProfile
from schemas.change_event import ACCOUNT_ENTITY, ChangeType


def fresh_changes(
    accounts: Sequence[AccountProfile], *, count: int, rng: random.Random, now: dt.datetime
) -> Iterator[bytes]:
    """Yield material changes that were committed at `now`, of different accounts as long as there are some.

    Raises:
        ValueError: There is no account.
    """
    if not accounts:
        raise ValueError("the mirror has no account: start rescore local with --accounts")
    drawn = rng.sample(accounts, len(accounts))
    replay_id = rng.randrange(20_000_000, 90_000_000)
    for number in range(count):
        account = drawn[number % len(drawn)]
        values = material_change(rng, account) | {"LastModifiedDate": now}
        event = flat_event(
            entity=ACCOUNT_ENTITY,
            record_ids=[account.account_id],
            change_type=ChangeType.UPDATE,
            commit=Commit(
                committed_at=now,
                transaction_key=str(uuid.UUID(int=rng.getrandbits(128))),
                user_id=account.owner_id or account.account_id,
                sequence_number=1 + number // len(drawn),
            ),
            replay_id=replay_id + number,
            changes=values,
            enriched={"Name": account.name},  # so that a reader knows the account
        )
        yield orjson.dumps(event)
