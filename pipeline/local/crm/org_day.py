"""Generate a day of changes in commit order, as flat events of the Pub/Sub API."""

import datetime as dt
import random
import uuid
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pipeline.local.crm import account_changes, record_ids
from pipeline.local.crm.account_changes import Values
from pipeline.local.crm.change_events import Commit, JsonObject, flat_event
from pipeline.local.crm.record_ids import numbered_record_id
from pipeline.local.crm.records import CrmRecords
from schemas.account_context import AccountProfile, Opportunity
from schemas.change_event import ACCOUNT_ENTITY, ChangeType
from schemas.salesforce_ids import OVERFLOW_RECORD_ID

ORIGINS: Final = (
    "com/salesforce/api/soap/62.0;client=SfdcInternalAPI/",
    "com/salesforce/api/rest/62.0;client=DataLoaderBulkUI/",
    "com/salesforce/api/rest/61.0;client=erp-sync/",
    "",
)

_SECONDS_A_DAY: Final = 86_400
_WALK_SHARE: Final = 0.6
_MERGED_SHARE: Final = 0.02
_MAX_MERGED: Final = 5
_MAX_BURST: Final = 8
_WILDCARD: Final = "001*"
_SMALL_DAY: Final = 30
"""Events besides the walk over all accounts, below which chance alone may bring no look-up."""

_LOOK_UPS_OF_SMALL_DAY: Final = 2


class OrgDay:
    """State of a day: the changed and the deleted accounts, and the time. Yields one day's events once."""

    def __init__(self, crm: CrmRecords, *, rng: random.Random, start: dt.datetime) -> None:
        self._rng = rng
        self._start = self._now = start.astimezone(dt.UTC).replace(microsecond=0)
        self._accounts = crm.accounts
        self._to_walk = deque(rng.sample(crm.accounts, len(crm.accounts)))
        self._touched: list[AccountProfile] = []
        self._deleted: list[AccountProfile] = []
        self._deals: defaultdict[str, list[Opportunity]] = defaultdict(list)
        for deal in crm.opportunities:
            if deal.account_id is not None:
                self._deals[deal.account_id].append(deal)
        self._contacts: defaultdict[str, list[str]] = defaultdict(list)
        for contact in crm.contacts:
            if contact.account_id is not None:
                self._contacts[contact.account_id].append(contact.contact_id)
        self._private = [contact.contact_id for contact in crm.contacts if contact.account_id is None]
        self._created: list[tuple[str, str, AccountProfile]] = []
        """Related records that were created today: entity, id, account."""
        self._replay_id = rng.randrange(1_000_000, 20_000_000)
        self._new_records = 0
        self._look_ups_owed = 0
        # The kinds of changes besides the walk over all accounts: weight, and maximum number of events.
        self._kinds: dict[Callable[[], list[JsonObject]], tuple[int, int]] = {
            self._change: (360, 1),
            self._immaterial: (200, 1),
            self._related: (200, 1),
            self._unrelated: (80, 1),
            self._follow_up: (40, 1),
            self._discard: (12, 1),
            self._move: (8, 1),
            self._deal_step: (40, 2),
            self._burst: (40, _MAX_BURST),
            self._create_account: (30, 1),
            self._gap: (20, 1),
            self._delete: (12, 1),
            self._undelete: (10, 1),
            self._reassign_several: (10, 1),
            self._overflow: (2, 1),
        }

    def events(self, count: int) -> Iterator[JsonObject]:
        """Yield `count` events; if there are enough, each account is changed or created once."""
        reaches_all = count >= len(self._to_walk)
        if reaches_all and count - len(self._to_walk) < _SMALL_DAY:
            self._look_ups_owed = min(_LOOK_UPS_OF_SMALL_DAY, count - len(self._to_walk))
        waiting: deque[JsonObject] = deque()
        for position in range(count):
            if not waiting:
                scheduled = self._start + dt.timedelta(seconds=_SECONDS_A_DAY * position // count)
                self._now = max(self._now, scheduled)
                remaining = count - position
                spare = remaining - len(self._to_walk) if reaches_all else remaining
                waiting.extend(self._next(spare))
            yield waiting.popleft()

    def ordinary_event(self) -> JsonObject:
        """Return a material change of any account."""
        return self._material(self._rng.choice(self._accounts))

    def _next(self, spare: int) -> list[JsonObject]:
        """Return the next events; `spare` is how many may be of another kind than the walk over all accounts.

        A small day has look-ups first: updates of opportunities that do not name their account, but the mirror does.
        """
        if self._look_ups_owed and spare > 0:
            deals = self._unnamed_deals()
            if deals:
                self._look_ups_owed -= 1
                return [self._opportunity_update(*self._rng.choice(deals))]
            if self._to_walk:
                spare -= self._look_ups_owed
        if self._to_walk and (spare <= 0 or not self._touched or self._rng.random() < _WALK_SHARE):
            return self._walk()
        if not self._touched:  # all changed accounts are deleted: undelete one
            return self._undelete()
        kinds = {change: weight for change, (weight, events) in self._kinds.items() if events <= spare}
        (change,) = self._rng.choices(list(kinds), list(kinds.values()))
        return change()

    def _walk(self) -> list[JsonObject]:
        """Change the next account, or several in the same way: Salesforce merges identical changes into one event."""
        size = self._rng.randint(2, _MAX_MERGED) if self._rng.random() < _MERGED_SHARE else 1
        accounts = [self._to_walk.popleft() for _ in range(min(size, len(self._to_walk)))]
        self._touched.extend(accounts)
        return self._reassign(accounts) if len(accounts) > 1 else [self._material(accounts[0])]

    def _change(self) -> list[JsonObject]:
        return [self._material(self._account())]

    def _reassign_several(self) -> list[JsonObject]:
        return self._reassign(self._rng.sample(self._touched, min(3, len(self._touched))))

    def _immaterial(self) -> list[JsonObject]:
        return [self._account_update([self._account()], account_changes.immaterial_change(self._rng))]

    def _burst(self) -> list[JsonObject]:
        """Change one account several times within seconds, like an integration that saves field by field."""
        account = self._account()
        events = []
        for _ in range(self._rng.randint(3, _MAX_BURST)):
            self._now += dt.timedelta(seconds=self._rng.randint(0, 2))
            events.append(self._material(account))
        return events

    def _deal_step(self) -> list[JsonObject]:
        """Change an opportunity and its account in one transaction."""
        account = self._account()
        deals = self._deals[account.account_id]
        if not deals:
            return [self._material(account)]
        first, second = self._commits(2)
        deal = self._rng.choice(deals)
        return [self._opportunity_update(account, deal, first), self._material(account, second)]

    def _unnamed_deals(self) -> list[tuple[AccountProfile, Opportunity]]:
        """Return the opportunities of changed accounts whose updates don't name the account."""
        return [
            (account, deal)
            for account in self._touched
            for deal in self._deals[account.account_id]
            if not _enriched(deal.opportunity_id, account)
        ]

    def _related(self) -> list[JsonObject]:
        """Change or create a related record."""
        account = self._account()
        deals = self._deals[account.account_id]
        if deals and self._rng.random() < 0.5:  # noqa: PLR2004 - one in two
            return [self._opportunity_update(account, self._rng.choice(deals))]
        contacts = self._contacts[account.account_id]
        entity = self._rng.choice(("Contact", "ContactCreate", "Task", "Event", "Case"))
        if entity == "Contact" and contacts:
            change = account_changes.contact_change(self._rng)
            return [self._related_update(entity, self._rng.choice(contacts), account, change)]
        if entity in {"Contact", "ContactCreate"}:
            return [self._create_related("Contact", record_ids.CONTACT, account, account_changes.new_person(self._rng))]
        if entity == "Case":
            case = {"ContactId": self._contact_of(account)} | account_changes.new_case(self._rng)
            return [self._create_related(entity, record_ids.CASE, account, case)]
        about = {"WhoId": self._contact_of(account), "WhatId": account.account_id}
        if entity == "Task":
            task = account_changes.new_task(self._rng, self._now)
            return [self._create_related(entity, record_ids.TASK, account, about | task)]
        meeting = account_changes.new_meeting(self._rng, self._now)
        return [self._create_related(entity, record_ids.EVENT, account, about | meeting)]

    def _follow_up(self) -> list[JsonObject]:
        """Change a related record that was created today."""
        created = self._living_created()
        if not created:
            return self._related()
        entity, record_id, account = self._rng.choice(created)
        return [self._related_update(entity, record_id, account, account_changes.follow_up(self._rng, entity))]

    def _discard(self) -> list[JsonObject]:
        """Delete a related record: an opportunity, or one that was created today."""
        account = self._account()
        deals, created = self._deals[account.account_id], self._living_created()
        if deals and self._rng.random() < 0.5:  # noqa: PLR2004 - one in two
            deal = deals.pop(self._rng.randrange(len(deals)))
            entity, record_id = "Opportunity", deal.opportunity_id
        elif created:
            entity, record_id, account = one = self._rng.choice(created)
            self._created.remove(one)
        else:
            return self._related()
        enriched = _enriched(record_id, account)
        return [self._event(entity, [record_id], ChangeType.DELETE, enriched=enriched)]

    def _move(self) -> list[JsonObject]:
        """Move an opportunity to another account."""
        account, other = self._account(), self._account()
        deals = self._deals[account.account_id]
        if not deals or account is other:
            return self._related()
        deal = deals.pop(self._rng.randrange(len(deals)))
        self._deals[other.account_id].append(deal)
        return [self._update("Opportunity", [deal.opportunity_id], {"AccountId": other.account_id})]

    def _living_created(self) -> list[tuple[str, str, AccountProfile]]:
        deleted = {account.account_id for account in self._deleted}
        return [it for it in self._created if it[2].account_id not in deleted]

    def _unrelated(self) -> list[JsonObject]:
        """Change a record that does not belong to an account."""
        entity = self._rng.choice(("Contact", "Lead", "LeadCreate", "User"))
        if entity == "LeadCreate":
            lead = account_changes.new_person(self._rng) | {"Company": "Not yet an account", "Status": "Open"}
            return [self._create("Lead", self._new_record(record_ids.LEAD), lead)]
        if entity == "Lead":
            status: Values = {"Status": self._rng.choice(("Working", "Nurturing", "Unqualified")), "Rating": "Warm"}
            return [self._update(entity, [self._some_record(record_ids.LEAD)], status)]
        if entity == "User":
            values: Values = {"Title": self._rng.choice(("Account Executive", "Sales Engineer", None))}
            return [self._update(entity, [self._rng.choice(account_changes.user_ids())], values)]
        contact = self._rng.choice(self._private) if self._private else self._some_record(record_ids.CONTACT)
        return [self._update(entity, [contact], account_changes.contact_change(self._rng))]

    def _create_account(self) -> list[JsonObject]:
        """Create an account that nothing was heard of yet."""
        if not self._to_walk:
            return self._related()
        account = self._to_walk.pop()
        self._touched.append(account)
        return [self._create(ACCOUNT_ENTITY, account.account_id, account_changes.whole_account(account))]

    def _delete(self) -> list[JsonObject]:
        account = self._taken_away()
        return [self._event(ACCOUNT_ENTITY, [account.account_id], ChangeType.DELETE)]

    def _undelete(self) -> list[JsonObject]:
        if not self._deleted:
            return self._immaterial()
        account = self._deleted.pop(self._rng.randrange(len(self._deleted)))
        self._touched.append(account)
        values = account_changes.whole_account(account)
        return [self._event(ACCOUNT_ENTITY, [account.account_id], ChangeType.UNDELETE, values)]

    def _gap(self) -> list[JsonObject]:
        change_type = self._rng.choice((ChangeType.GAP_UPDATE, ChangeType.GAP_UPDATE, ChangeType.GAP_DELETE))
        account = self._taken_away() if change_type is ChangeType.GAP_DELETE else self._account()
        return [self._event(ACCOUNT_ENTITY, [account.account_id], change_type)]

    def _overflow(self) -> list[JsonObject]:
        """Return an overflow event, or a gap event with a wildcard for record ids."""
        if self._rng.random() < 0.5:  # noqa: PLR2004 - one in two
            return [self._event(ACCOUNT_ENTITY, [OVERFLOW_RECORD_ID], ChangeType.GAP_OVERFLOW)]
        return [self._event(ACCOUNT_ENTITY, [_WILDCARD], ChangeType.GAP_UPDATE)]

    def _account(self) -> AccountProfile:
        return self._rng.choice(self._touched)

    def _taken_away(self) -> AccountProfile:
        account = self._touched.pop(self._rng.randrange(len(self._touched)))
        self._deleted.append(account)
        return account

    def _new_record(self, prefix: str) -> str:
        self._new_records += 1
        return numbered_record_id(prefix, 600_000_000 + self._new_records)

    def _some_record(self, prefix: str) -> str:
        return numbered_record_id(prefix, self._rng.randrange(10_000))

    def _contact_of(self, account: AccountProfile) -> str:
        """Return a contact that the mirror has of an account, or else the id of one that it lacks."""
        contacts = self._contacts[account.account_id]
        return self._rng.choice(contacts) if contacts else self._some_record(record_ids.CONTACT)

    def _material(self, account: AccountProfile, commit: Commit | None = None) -> JsonObject:
        return self._account_update([account], account_changes.material_change(self._rng, account), commit)

    def _reassign(self, accounts: Sequence[AccountProfile]) -> list[JsonObject]:
        return [self._account_update(accounts, account_changes.owner_change(self._rng, *accounts))]

    def _account_update(
        self, accounts: Sequence[AccountProfile], values: Values, commit: Commit | None = None
    ) -> JsonObject:
        return self._update(ACCOUNT_ENTITY, [account.account_id for account in accounts], values, commit=commit)

    def _opportunity_update(
        self, account: AccountProfile, deal: Opportunity, commit: Commit | None = None
    ) -> JsonObject:
        values = account_changes.opportunity_change(self._rng, deal)
        return self._related_update("Opportunity", deal.opportunity_id, account, values, commit)

    def _related_update(
        self, entity: str, record_id: str, account: AccountProfile, values: Values, commit: Commit | None = None
    ) -> JsonObject:
        return self._update(entity, [record_id], values, enriched=_enriched(record_id, account), commit=commit)

    def _create_related(self, entity: str, prefix: str, account: AccountProfile, values: Values) -> JsonObject:
        record_id = self._new_record(prefix)
        self._created.append((entity, record_id, account))
        return self._create(entity, record_id, {"AccountId": account.account_id} | values)

    def _create(self, entity: str, record_id: str, values: Values) -> JsonObject:
        created = {"CreatedDate": self._now, "LastModifiedDate": self._now}
        return self._event(entity, [record_id], ChangeType.CREATE, values | created)

    def _update(
        self,
        entity: str,
        ids: Sequence[str],
        values: Values,
        *,
        enriched: Values | None = None,
        commit: Commit | None = None,
    ) -> JsonObject:
        values = values | {"LastModifiedDate": self._now}
        return self._event(entity, ids, ChangeType.UPDATE, values, enriched=enriched, commit=commit)

    def _event(
        self,
        entity: str,
        ids: Sequence[str],
        change_type: ChangeType,
        values: Values | None = None,
        *,
        enriched: Values | None = None,
        commit: Commit | None = None,
    ) -> JsonObject:
        self._replay_id += self._rng.randint(1, 6)
        return flat_event(
            entity=entity,
            record_ids=ids,
            change_type=change_type,
            commit=commit or self._commits(1)[0],
            replay_id=self._replay_id,
            changes=values,
            enriched=enriched,
        )

    def _commits(self, size: int) -> list[Commit]:
        """Return the commits of one transaction of `size` changes."""
        key = str(uuid.UUID(int=self._rng.getrandbits(128), version=4))
        user_id, origin = self._rng.choice(account_changes.user_ids()), self._rng.choice(ORIGINS)
        return [Commit(self._now, key, user_id, number, origin) for number in range(1, size + 1)]


def _enriched(record_id: str, account: AccountProfile) -> Values:
    """Return what a channel adds to a related record's UPDATE or DELETE; half of the records are of a plain channel."""
    return {"AccountId": account.account_id} if zlib.crc32(record_id.encode()) % 2 else {}
