"""Materiality rules, and the errors that name the place of a wrong rule."""

import fnmatch
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.local.crm.account_changes import immaterial_change, material_change
from schemas.change_event import AccountChange, ChangeType, SourceMessage, UnnamedChange
from schemas.outcome import SkipReason
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, change, context, payload
from transforms.filter.materiality import (
    EntityFields,
    Materiality,
    load_materiality,
)
from transforms.parse.account_changes import ParsedRecord
from transforms.parse.message_parsing import parse_message
from transforms.yaml_files import YamlFileError

DEFAULTS = load_materiality()
IMMATERIAL = SkipReason.IMMATERIAL
OWN_WRITE = SkipReason.OWN_WRITE
OWN = Materiality(DEFAULTS.entities, ("ScoreWriter", "3MVG9.id_1"))
ORIGIN = "com/salesforce/api/rest/66.0;client=ScoreWriter"
CONTACT = "003ak00000IiFInAAN"


def _update(*changed: str, entity: str = "Account", origin: str = "") -> AccountChange:
    return change(entity_name=entity, changed_fields=changed, values={}, change_origin=origin)


def _decided(rules: Materiality, item: AccountChange) -> SkipReason | tuple[str, ...]:
    """Return why a change is skipped; of one that is not, the material fields."""
    return rules.skip_reason(item) or rules.material_fields(item)


def _load(tmp_path: Path, text: str) -> Materiality:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_materiality(path)


def _matter(name: str, include: list[str], exclude: list[str] | None = None) -> bool:
    return EntityFields("Account", tuple(include), tuple(exclude or [])).judge(name) is True


@pytest.mark.parametrize(
    "name",
    [
        "Name",
        "AnnualRevenue",
        "Rating",
        "OwnerId",
        "Segment__c",
        "acme__Tier__c",
        "Score__pc",
        "BillingAddress.City",
        "BillingAddress",
        "Name.LastName",
        "Main_Address__c.City",
        "Main_Address__c",
        "Main_Address__City__s",
        "Main_Address__StateCode__s",
        "Main_Address__CountryCode__s",
        "acme__Site__PostalCode__s",
        "Signed_At__c",
        "Signed_Timestamp__c",
        "Last_Sync__c",
        "acme__Attendance__c",
        "acme__Last_Gift_Date__c",
        "PersonTitle",
        "PersonDepartment",
        "PersonEmail",
        "PersonEmailBouncedDate",
        "PersonEmailBouncedReason",
        "PersonHasOptedOutOfEmail",
        "PersonDoNotCall",
        "PersonLeadSource",
        "PersonMailingAddress",
        "PersonMailingAddress.City",
        "PersonMailingAddress.CountryCode",
        "PersonMailingCountry",
        "PersonMailingStateCode",
        "FirstName",
        "LastName",
    ],
)
def test_what_tells_of_an_account_is_material(name: str) -> None:
    """By default firmographics, ownership, place and custom fields are material, even with an unknown new value."""
    assert _decided(DEFAULTS, _update("LastModifiedDate", name)) == (name,)


@pytest.mark.parametrize(
    "name",
    [
        "LastModifiedDate",
        "LastModifiedById",
        "CreatedDate",
        "Jigsaw",
        "JigsawCompanyId",
        "CleanStatus",
        "Phone",
        "Fax",
        "BillingAddress.Street",
        "BillingAddress.Latitude",
        "BillingAddress.GeocodeAccuracy",
        "ShippingAddress",
        "ShippingAddress.City",
        "SLA__",
        "Location__c.Latitude",
        "Location__c.Longitude",
        "Location__pc.Latitude",
        "Location__Latitude__s",
        "acme__Location__Longitude__s",
        "Main_Address__c.Street",
        "Main_Address__c.GeocodeAccuracy",
        "Main_Address__Street__s",
        "dlrs__Calc_At__c",
        "DLRS__calc_at__C",
        "acme__Scored_At__pc",
        "acme__Timestamp__c",
        "acme__Calc_Timestamp__c",
        "acme__Last_Sync__c",
        "acme__LastSyncDate__c",
        "PersonMailingAddress.Street",
        "PersonMailingAddress.Latitude",
        "PersonMailingStreet",
        "PersonOtherAddress.City",
        "PersonMobilePhone",
        "PersonBirthdate",
    ],
)
def test_noise_is_immaterial(name: str) -> None:
    """By default an update of audit fields, phone numbers and coordinates alone is immaterial."""
    assert _decided(DEFAULTS, _update(name, "LastModifiedDate")) == IMMATERIAL


@pytest.mark.parametrize(
    ("entity", "material", "noise"),
    [
        ("Contact", "Title", "MobilePhone"),
        ("Contact", "HasOptedOutOfEmail", "HasOptedOutOfFax"),
        ("Contact", "DoNotCall", "Location__c.Latitude"),
        ("Opportunity", "Site__City__s", "dlrs__Calc_At__c"),
        ("Task", "Site__CountryCode__s", "Site__Latitude__s"),
        ("Event", "Site__c.City", "acme__Sync_Timestamp__c"),
        ("Opportunity", "StageName", "LastStageChangeDate"),
        ("Task", "CallDisposition", "ReminderDateTime"),
        ("Event", "StartDateTime", "ShowAs"),
        ("Case", "Priority", "OwnerId"),
    ],
)
def test_each_related_entity_has_fields_of_its_own(entity: str, material: str, noise: str) -> None:
    """Each entity has its own list of material fields."""
    assert _decided(DEFAULTS, _update(noise, material, entity=entity)) == (material,)
    assert _decided(DEFAULTS, _update(noise, "LastModifiedDate", entity=entity)) == IMMATERIAL


def test_the_default_entities_are_those_of_sales_and_cases() -> None:
    """All name their account in AccountId; of a task or meeting WhatId can name it, too. An account needs no field."""
    assert DEFAULTS.account_fields == {
        "Account": (),
        "Contact": ("AccountId",),
        "Opportunity": ("AccountId",),
        "Task": ("AccountId", "WhatId"),
        "Event": ("AccountId", "WhatId"),
        "Case": ("AccountId",),
    }


@pytest.mark.parametrize("change_type", sorted(set(ChangeType) - {ChangeType.UPDATE}))
@pytest.mark.parametrize("entity", ["Account", "Contact"])
def test_only_an_update_can_be_immaterial(change_type: ChangeType, entity: str) -> None:
    """Creations, deletions, undeletions and gaps are material whatever the event carries."""
    decision = _decided(DEFAULTS, change(change_type=change_type, entity_name=entity, changed_fields=("Phone",)))
    assert decision == ()


def test_enriched_values_do_not_count() -> None:
    """Enriched values make no change material."""
    item = change(changed_fields=("Phone",), values={"Phone": "1"}, enriched={"Rating": "Hot", "Segment__c": "A"})
    assert _decided(DEFAULTS, item) == IMMATERIAL


@pytest.mark.parametrize("change_type", [kind for kind in ChangeType if not kind.is_gap])
@pytest.mark.parametrize("part", ["values", "enriched"])
@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", "TRUE", "1", " true "])
def test_the_contact_of_a_person_account_is_its_twin(change_type: ChangeType, part: str, value: object) -> None:
    """The account's own event says the same, so the twin is skipped before an account is looked up for it.

    Bridges without booleans write true as text or as a number.
    """
    said: dict[str, Any] = {"values": {}, part: {"IsPersonAccount": value}}
    twin = change(entity_name="Contact", changed_fields=("Title",), change_type=change_type, **said)
    assert _decided(DEFAULTS, twin) == IMMATERIAL


@pytest.mark.parametrize(
    "item",
    [
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": False}),
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": "false"}),
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": "0"}),
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": 0}),
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": 2}),
        change(entity_name="Contact", changed_fields=("Title",), values={"IsPersonAccount": [True]}),
        change(entity_name="Contact", changed_fields=("Title",), values={}),
        change(entity_name="Account", changed_fields=("Rating",), values={"IsPersonAccount": True}),
    ],
)
def test_other_contacts_and_accounts_are_no_twins(item: AccountChange) -> None:
    """Only a contact whose event says true is one."""
    assert DEFAULTS.skip_reason(item) is None


def test_a_cleared_field_counts() -> None:
    """A cleared field has changed, even if changedFields does not list it."""
    item = change(changed_fields=("Phone", "Type"), nulled_fields=("Type", "Rating"), values={})
    assert _decided(DEFAULTS, item) == ("Type", "Rating")


def test_material_fields_keep_the_order_of_the_event() -> None:
    """Material fields are listed in the event's order, also for a CREATE."""
    names = ("Website", "Phone", "Industry", "BillingAddress.City", "Name")
    assert DEFAULTS.material_fields(_update(*names)) == ("Website", "Industry", "BillingAddress.City", "Name")
    created = change(change_type=ChangeType.CREATE, changed_fields=names)
    assert _decided(DEFAULTS, created) == ("Website", "Industry", "BillingAddress.City", "Name")


@pytest.mark.parametrize(
    ("name", "include", "exclude", "matters"),
    [
        ("BillingAddress", ["BillingAddress.City"], [], True),
        ("BillingAddress.Street", ["BillingAddress.City"], [], False),
        ("BillingAddress.Street", ["BillingAddress"], [], True),
        ("BillingAddress.Street", ["BillingAddress.*"], [], True),
        ("BillingAddress.Street", ["Billing*"], [], True),
        ("BillingAddress.Street", ["BillingAddress"], ["BillingAddress.Street"], False),
        ("BillingAddress", ["BillingAddress"], ["BillingAddress.Street"], True),
        ("BillingAddress", ["*"], ["BillingAddress.*"], False),
        ("BillingAddress.City", ["*"], ["BillingAddress"], False),
        ("Place__c.Latitude", ["*__c"], ["*__c.Latitude"], False),
        ("Place__c.City", ["*__c"], ["*__c.Latitude"], True),
        ("Place__c", ["*__c"], ["*__c.Latitude"], True),
        ("Name", ["Name.LastName"], [], True),
        ("Name.Suffix", ["Name.LastName"], [], False),
        ("rating", ["Rating"], [], True),
        ("Segment__c", ["*__c"], ["Seg*"], False),
        ("Name.A\nB", ["Name"], [], True),
        ("A.B__c", ["*__c"], [], False),
        ("Rating", [], [], False),
    ],
)
def test_globs_know_compound_fields(name: str, include: list[str], exclude: list[str], matters: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """A compound field includes its parts, and a part its compound field; an exclude covers it with all parts only."""
    assert _matter(name, include, exclude) is matters


_word = st.text("aA_*", min_size=1, max_size=4)
_plain = st.text("aAb_", min_size=1, max_size=4)
_globs = st.lists(st.one_of(_word, st.builds("{}.{}".format, _plain, _word)), max_size=4)
_excludes = st.lists(st.one_of(_word, st.builds("{}.{}".format, _word, _word)), max_size=4)


def _like(text: str, glob: str) -> bool:
    return fnmatch.fnmatchcase(text.lower(), glob.lower())


@given(_globs, _excludes, st.one_of(_plain, st.builds("{}.{}".format, _plain, _plain)))
def test_globs_match_as_a_shell_matches_them(include: list[str], exclude: list[str], name: str) -> None:
    """Field and part are matched separately, as fnmatch does, without regard to case."""
    field, _, part = name.partition(".")

    def covers(glob: str, *, whole_by_part: bool) -> bool:
        glob_field, _, glob_part = glob.partition(".")
        if not _like(field, glob_field):
            return False
        return not glob_part or (_like(part, glob_part) if part else whole_by_part or not glob_part.strip("*"))

    included = any(covers(glob, whole_by_part=True) for glob in include)
    excluded = any(covers(glob, whole_by_part=False) for glob in exclude)
    assert _matter(name, include, exclude) is (included and not excluded)


@pytest.mark.parametrize(
    "origin",
    [
        ORIGIN,
        "com/salesforce/api/rest/66.0;client=scorewriter/",
        "com/salesforce/api/soap/66.0;client=3MVG9.id_1;other=1",
        "client=ScoreWriter",
    ],
)
def test_our_own_write_is_skipped_as_such(origin: str) -> None:
    """An update by an own client is skipped whatever it changed, since scoring it would loop."""
    assert _decided(OWN, _update("Rating", origin=origin)) == OWN_WRITE
    assert _decided(OWN, change(entity_name="Task", change_type=ChangeType.CREATE, change_origin=origin)) == OWN_WRITE


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "com/salesforce/api/rest/66.0;client=",
        "com/salesforce/api/rest/66.0;client=ScoreWriter2",
        "com/salesforce/api/ScoreWriter/66.0;client=SfdcInternalAPI/",
        "com/salesforce/api/rest/66.0;notclient=ScoreWriter",
    ],
)
def test_others_writes_are_not_ours(origin: str) -> None:
    """The whole name after client= must match; without configured clients no write is an own one."""
    assert _decided(OWN, _update("Rating", origin=origin)) == ("Rating",)
    assert _decided(DEFAULTS, _update("Rating", origin=ORIGIN)) == ("Rating",)


@pytest.mark.parametrize("change_type", sorted(set(ChangeType) - {ChangeType.UPDATE}))
def test_an_accounts_coming_and_going_counts_whoever_caused_it(change_type: ChangeType) -> None:
    """Writing scores back never creates or deletes an account, so such an event counts even from an own client."""
    item = change(change_type=change_type, change_origin=ORIGIN, changed_fields=(), values={})
    assert _decided(OWN, item) == ()


def test_a_file_replaces_what_it_names(tmp_path: Path) -> None:
    """A file replaces an entity's rules as a whole; entities and clients that it does not name keep the defaults."""
    account = '{include: [Phone, "*__c"], exclude: ["Old*"]}'
    rules = _load(tmp_path, f"entities:\n  Account: {account}\n  Task: never\nown_clients: [Us]\n")
    assert _decided(rules, _update("Phone")) == ("Phone",)
    assert _decided(rules, _update("Rating", "Old__c")) == IMMATERIAL
    assert _decided(rules, _update("Subject", entity="Task")) == IMMATERIAL
    assert _decided(rules, _update("StageName", entity="Opportunity")) == ("StageName",)
    assert _decided(rules, _update("Phone", origin="x;client=Us")) == OWN_WRITE
    assert _load(tmp_path, "own_clients: []") == DEFAULTS


ADDED = """
entities:
  Asset: {include: [Status]}
  OpportunityContactRole: {account: OpportunityId, include: [Role]}
  acme__Project__c:
    account: [Account__c, Sponsor__c, Account__c]
    include: ["*__c"]
    exclude: [Notes__c]
  Task: {include: [Subject]}
  Event: {account: WhoId, include: [Subject]}
ignore: [Case]
"""


def test_an_entity_is_added_in_a_few_lines(tmp_path: Path) -> None:
    """With the fields that name its account, AccountId if it has none; an ignored entity no longer counts."""
    rules = _load(tmp_path, ADDED)
    assert rules.account_fields == {
        "Account": (),
        "Contact": ("AccountId",),
        "Opportunity": ("AccountId",),
        "Task": ("AccountId", "WhatId"),
        "Event": ("WhoId",),
        "Asset": ("AccountId",),
        "OpportunityContactRole": ("OpportunityId",),
        "acme__Project__c": ("Account__c", "Sponsor__c"),
    }
    assert _decided(rules, _update("Phase__c", "Notes__c", entity="acme__Project__c")) == ("Phase__c",)
    assert _decided(rules, _update("Notes__c", entity="acme__Project__c")) == IMMATERIAL


def test_events_of_an_added_entity_change_the_account_that_they_name(tmp_path: Path) -> None:
    """By the field that the rules name; a field that refers to another kind of record names no account."""
    fields = _load(tmp_path, ADDED).account_fields
    record = {"entityName": "acme__Project__c", "recordIds": ["a0Bak00000IiFIn"]}

    def said(body: dict[str, str | None]) -> ParsedRecord:
        (found,) = parse_message(SourceMessage(payload=payload(body, **record)), account_fields=fields)
        return found

    named = said({"AccountId": account_id(1), "Account__c": account_id(2), "Sponsor__c": account_id(3)})
    other = said({"Account__c": CONTACT, "Sponsor__c": account_id(3)})
    assert isinstance(named, AccountChange)
    assert isinstance(other, AccountChange)
    assert (named.account_id, named.entity_name) == (account_id(2), "acme__Project__c")
    assert other.account_id == account_id(3)
    assert isinstance(said({"AccountId": account_id(1), "Account__c": None}), UnnamedChange)


ANY_CASE = (
    "entities:\n  PROJECT__c: {account: [account__c, aCCount2__c], include: [phase__C, '*_x__c'], exclude: [NO_x__c]}\n"
)


def test_custom_names_of_a_file_are_found_in_any_case(tmp_path: Path) -> None:
    """People take them to be the same, as Salesforce does: the entity, the fields that name the account, the others."""
    rules = _load(tmp_path, ANY_CASE)
    record = {"entityName": "Project__c", "recordIds": ["a0Bak00000IiFIn", "a0Bak00000IiFIo"]}

    def said(**body: str | None) -> list[ParsedRecord]:
        source = SourceMessage(payload=payload(body, **record))
        return parse_message(source, account_fields=rules.account_fields)

    for field in ("Account__c", "Account2__c"):
        named = said(**{field: account_id(2)})
        assert [it.account_id for it in named if isinstance(it, AccountChange)] == [account_id(2)] * 2
        (again, _) = parse_message(named[0].source, account_fields=rules.account_fields) * 2  # type: ignore[union-attr]
        assert isinstance(again, AccountChange)
    assert all(isinstance(it, UnnamedChange) for it in said(Name="x"))
    changed = ("Phase__c", "A_X__c", "No_X__c")
    assert _decided(rules, _update(*changed, entity="Project__c")) == ("Phase__c", "A_X__c")
    assert "Case" not in _load(tmp_path, "ignore: [case]").account_fields


def test_rules_travel_to_workers() -> None:
    """Rules are hashable, and decide the same after pickling."""
    assert _decided(OWN, _update("Rating")) == ("Rating",)
    again = pickle.loads(pickle.dumps(OWN))  # noqa: S301 - our own bytes
    assert (again, hash(again)) == (OWN, hash(OWN))
    assert _decided(again, _update("Phone")) == IMMATERIAL


ADD = "entities:\n  X__c: {"
INCLUDE = "entities:\n  Account:\n    include:\n"


@pytest.mark.parametrize(
    ("text", "where", "problem"),
    [
        ("", ": ", "the file is empty: add entities or ignore or noise or own_clients"),
        ("- Account", ": ", "expected a mapping, found a list"),
        ("entity:\n", ": ", "unknown key 'entity': did you mean entities?"),
        ("entities:\n  Acount: never\n", ": entities.Acount: ", "'Acount' is no object: did you mean Account?"),
        ("entities:\n  ACCOUNT: never\n", ": entities.ACCOUNT: ", "'ACCOUNT' is no object: did you mean Account?"),
        ("entities:\n  Project_c: never\n", ": entities.Project_c: ", "did you mean Project__c?"),
        ("entities:\n  a__B__C: never\n", ": entities.a__B__C: ", "did you mean a__B__c?"),
        ("entities:\n  a__b__d__c: never\n", ": entities.a__b__d__c: ", "is no object: write its API name"),
        ("entities:\n  my project: never\n", ": entities.my project: ", "such as Case, or Project__c for a custom"),
        ("entities:\n  CaseChangeEvent: never\n", "CaseChangeEvent: ", "did you mean Case?"),
        ("entities:\n  A_B__ChangeEvent: never\n", "A_B__ChangeEvent: ", "did you mean A_B__c?"),
        ("entities:\n  X__c: {account: Account}\n", ": entities.X__c: ", "no fields: list some under include"),
        (ADD + "account: Acct, include: [A]}\n", "X__c.account[0]: ", "no field that refers to a record: write its"),
        (ADD + "account: Account, include: [A]}\n", "X__c.account[0]: ", "did you mean AccountId?"),
        (ADD + "account: accountid, include: [A]}\n", "X__c.account[0]: ", "did you mean AccountId?"),
        (ADD + "account: [A__c, B_c], include: [A]}\n", "X__c.account[1]: ", "did you mean B__c?"),
        (ADD + "account: A.B, include: [A]}\n", "X__c.account[0]: ", "write its API name, such as AccountId or"),
        (ADD + "account: [], include: [A]}\n", "X__c.account: ", "no fields: name one, such as AccountId"),
        (ADD + "account: 7, include: [A]}\n", "X__c.account: ", "expected a list, found a number"),
        (ADD + "acount: A__c, include: [A]}\n", "X__c: ", "unknown key 'acount': did you mean account?"),
        (
            "entities:\n  Account: {account: ParentId, include: [A]}\n",
            ": entities: ",
            "an Account is named by its record id: remove its key account",
        ),
        ("ignore: Task\n", ": ignore: ", "expected a list, found text"),
        ("ignore: [Account]\n", ": ignore[0]: ", "Account can't be ignored"),
        ("ignore: [Task, Taks]\n", ": ignore[1]: ", "unknown key 'Taks': did you mean Task?"),
        ("ignore: [Task]\nentities:\n  Task: never\n", ": ignore[0]: ", "Task is under entities, too: remove it"),
        ("entities:\n  ? [a]\n  : b\n", ":2:5: ", "found unhashable key"),
        ("entities:\n  1: never\n", ": entities[1]: ", "expected text, found a number"),
        ("entities:\n", ": entities: ", "expected a mapping, found null"),
        ("entities:\n  Task: never\n  Task: never\n", ":3:3: ", "duplicate key 'Task': merge the two entries"),
        ("own_clients: [a]\nown_clients: [b]\n", ":2:1: ", "duplicate key 'own_clients'"),
        (INCLUDE + "      - A\n    include: [B]\n", ":5:5: ", "duplicate key 'include'"),
        ("entities:\n  Task: sometimes\n", ": entities.Task: ", "expected a mapping, found text"),
        ("entities:\n  Task:\n", ": entities.Task: ", "no fields: list some under include, or write `never`"),
        ("entities:\n  Task: {}\n", ": entities.Task: ", "no fields"),
        ("entities:\n  Task:\n    exclude: [Type]\n", ": entities.Task: ", "no fields"),
        ("entities:\n  Task:\n    include: []\n", ": entities.Task: ", "no fields"),
        ("entities:\n  Task:\n    include:\n", ": entities.Task: ", "no fields"),
        ("entities:\n  Task:\n    includes: [Type]\n", ": entities.Task: ", "'includes': did you mean include?"),
        ("entities:\n  Task:\n    include: Type\n", ": entities.Task.include: ", "expected a list, found text"),
        ("entities:\n  Task:\n    include: [Type]\n    exclude:\n", ": entities.Task.exclude: ", "found null"),
        (INCLUDE + "      - Rating\n      - Yes\n", ": entities.Account.include[1]: ", "expected text, found true or"),
        (INCLUDE + "      - 7\n", ": entities.Account.include[0]: ", "expected text, found a number"),
        (
            INCLUDE + "      - Annual Revenue\n",
            ": entities.Account.include[0]: ",
            "'Annual Revenue' can match no",
        ),
        (INCLUDE + "      - 'Rating '\n", ": entities.Account.include[0]: ", "'Rating ' can match no field"),
        (INCLUDE + "      - ''\n", ": entities.Account.include[0]: ", "'' can match no field"),
        (INCLUDE + "      - 7Up__c\n", ": entities.Account.include[0]: ", "'7Up__c' can match no field"),
        (INCLUDE + "      - a.b.c\n", ": entities.Account.include[0]: ", "'a.b.c' can match no field"),
        (INCLUDE + "      - Rating.\n", ": entities.Account.include[0]: ", "'Rating.' can match no field"),
        (INCLUDE + "      - Größe__c\n", ": entities.Account.include[0]: ", "'Größe__c' can match no field"),
        (
            INCLUDE + "      - '*.City'\n",
            ": entities.Account.include[0]: ",
            "'*.City' has a * before the dot: name",
        ),
        (INCLUDE + "      - '*__c.City'\n", ": entities.Account.include[0]: ", "has a * before the dot: name"),
        (INCLUDE + "      - *__c\n", ":4:9: ", 'quote text that starts with *, such as "*__c"'),
        (INCLUDE + "      - *\n", ":4:10: ", 'quote text that starts with *, such as "*__c"'),
        (
            INCLUDE + "      - Rating\n    exclude:\n      - 'Rat*'\n",
            ": entities.Account.include[0]: ",
            "Rating is also excluded, so it can match nothing: remove it",
        ),
        (INCLUDE + "      - A.B\n      - 'X*__c'\n    exclude: ['*__c']\n", "include[1]: ", r"X*__c is also excluded"),
        (INCLUDE + "      - A.B\n    exclude: [A]\n", ": entities.Account.include[0]: ", "A.B is also excluded"),
        (INCLUDE + "      - A\n    exclude: [C, 'b b']\n", ": entities.Account.exclude[1]: ", "'b b' can match no"),
        ("own_clients: Us\n", ": own_clients: ", "expected a list, found text"),
        ("own_clients:\n  - 123\n", ": own_clients[0]: ", "expected text, found a number"),
        ("own_clients: ['client=Us']\n", ": own_clients[0]: ", "'client=Us' is not a client: write what follows"),
        ("own_clients: ['/']\n", ": own_clients[0]: ", "'/' is not a client"),
        ("entities:\n  A__c: never\n  a__c: never\n", ": entities.a__c: ", "a__c is there in another case"),
        (ADD + "account: [A__c, a__c], include: [A]}\n", "entities.X__c.account[1]: ", "a__c is there in another case"),
        (INCLUDE + "      - Rating\n      - RATING\n", "entities.Account.include[1]: ", "RATING is there in another"),
        (INCLUDE + "      - A\n    exclude: [b, B]\n", "entities.Account.exclude[1]: ", "B is there in another case"),
        ("ignore: [Task, task]\n", ": ignore[1]: ", "task is there in another case: remove one of the two"),
        ("own_clients: [Us, us]\n", ": own_clients[1]: ", "us is there in another case"),
        ("ignore: [a__c]\nentities:\n  A__c: never\n", ": ignore[0]: ", "a__c is under entities, too"),
        ("noise: [times]\n", ": noise[0]: ", "unknown key 'times': expected coordinates, package_times"),
        (ADD + "include: [A], noise: [package_time]}\n", "X__c.noise[0]: ", "did you mean package_times?"),
        ("entities: [\n", ":2:1: ", "correct the YAML"),
        ("entities: {}\n---\nentities: {}\n", ":2:1: ", "correct the YAML"),
        ("entities:\n  A\x01: x\n", ": ", "control character U+0001: remove it"),
    ],
)
def test_a_wrong_rule_is_named_by_its_key_path(tmp_path: Path, text: str, where: str, problem: str) -> None:
    """The pipeline does not start; one line names the file, the key path, what is wrong and the remedy."""
    with pytest.raises(YamlFileError) as error:
        _load(tmp_path, text)
    message = str(error.value)
    assert message.startswith(str(tmp_path / "rules.yaml"))
    assert where in message
    assert problem in message
    assert "\n" not in message


@given(st.integers(0, 2**64))
def test_generated_changes_are_judged_as_they_were_meant(seed: int) -> None:
    """Material changes of the generated CRM are material, and its noise is not."""
    rng = random.Random(seed)
    noise, meant = immaterial_change(rng), material_change(rng, context(1).profile)
    assert _decided(DEFAULTS, _update(*noise, "LastModifiedDate", "LastModifiedById")) == IMMATERIAL
    assert DEFAULTS.skip_reason(_update(*meant, "LastModifiedDate")) is None


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("pozil_account_update_avrojson_names", ("Rating",)),
        ("pozil_account_update_avrojson_compound_names", ("Rating", "BillingAddress.PostalCode")),
        ("pozil_account_update_flattened_v5", ("BillingAddress.City", "BillingAddress.State")),
        ("triggermesh_account_update_cloudevent_data", ("Rating",)),
    ],
)
def test_published_updates_are_material_by_the_fields_they_name(
    published_events: Path, name: str, fields: tuple[str, ...]
) -> None:
    """Real updates of accounts are material for the fields that they changed, never for LastModifiedDate."""
    (item,) = parse_message(
        SourceMessage(payload=(published_events / f"{name}.json").read_bytes()), account_fields=ACCOUNT_FIELDS
    )
    assert isinstance(item, AccountChange)
    assert DEFAULTS.skip_reason(item) is None
    assert sorted(DEFAULTS.material_fields(item)) == sorted(fields)
