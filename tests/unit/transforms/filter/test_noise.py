"""Noise of custom fields: coordinates, and the times at which installed packages work."""

from pathlib import Path
from typing import Any

import pytest

from schemas.change_event import AccountChange
from tests.fixtures.changes import change
from transforms.filter.materiality import Materiality, load_materiality
from transforms.filter.noise import is_package_time, is_time

DEFAULTS = load_materiality()
TIME = "2026-03-02T09:30:00.000Z"
MILLISECONDS = 1_772_443_800_000

# Names of fields that packages install, as public code and documentation spell them, or in the manner of the package.
MATERIAL = [
    ("pi__score__c", 85, "Pardot's score of the prospect"),
    ("pi__grade__c", "A", "how well the prospect fits"),
    ("pi__last_activity__c", TIME, "the prospect did something"),
    ("pi__first_activity__c", TIME, "the prospect did something"),
    ("pi__conversion_date__c", TIME, "the prospect filled in a form"),
    ("pi__conversion_object_name__c", "Demo request", "which form"),
    ("pi__campaign__c", "Spring", "the source"),
    ("pi__created_date__c", TIME, "no work of the package: the prospect became known"),
    ("pi__pardot_hard_bounced__c", True, "the address is dead"),
    ("pi__Needs_Score_Synced__c", True, "no time"),
    ("pi__utm_source__c", "google", "the source"),
    ("DOZISF__ZoomInfo_Id__c", "12345", "no time"),
    ("DOZISF__ZoomInfo_Enrich_Status__c", "Enriched", "no time"),
    ("DOZISF__ZoomInfo_Company_ID__c", "12345", "no time"),
    ("LeanData__Routing_Status__c", "Matched", "no time"),
    ("LeanData__Routing_Action__c", "converted", "no time"),
    ("LeanData__Reporting_Matched_Account__c", "001000000000001AAA", "another account"),
    ("LeanData__Reporting_Last_Sales_Touch_Date__c", TIME, "a seller did something"),
    ("LeanData__Reporting_Last_Marketing_Touch_Date__c", TIME, "a campaign reached someone"),
    ("LeanData__Reporting_Has_Opportunity__c", True, "no time"),
    ("JBCXM__LastRunResult__c", "SUCCESS", "a result, no time"),
    ("JBCXM__CurrentScore__c", 71, "Gainsight's health score"),
    ("JBCXM__NextRenewalDate__c", "2026-12-01", "the contract ends"),
    ("JBCXM__MRR__c", 1200, "revenue"),
    ("dsfs__Envelope_Status__c", "Completed", "a contract was signed"),
    ("dsfs__Completed_Date_Time__c", TIME, "a contract was signed"),
    ("dsfs__Sent_Date_Time__c", TIME, "a contract was sent"),
    ("dsfs__Declined_Reason__c", "Price", "a contract was declined"),
    ("dsfs__Viewed_Date_Time__c", TIME, "the customer read it"),
    ("mkto_si__Last_Interesting_Moment_Date__c", TIME, "the prospect did something"),
    ("mkto_si__Last_Interesting_Moment_Desc__c", "Visited pricing", "what it was"),
    ("mkto_si__Urgency__c", 4, "Marketo's rank"),
    ("mkto2__Acquisition_Date__c", TIME, "the lead was won"),
    ("SalesLoft1__Most_Recent_Cadence_Name__c", "Outbound Q1", "the seller's sequence"),
    ("SalesLoft1__Most_Recent_Last_Completed_Step__c", "3", "how far it is"),
    ("SalesLoft1__SalesLoft_Clicked_Count__c", 3, "the prospect clicked"),
    ("outreach__Last_Replied_At__c", TIME, "the prospect replied"),
    ("outreach__Sequence_Status__c", "Finished", "no time"),
    ("HubSpot_Inc__Last_Engaged_Date__c", TIME, "the prospect did something"),
    ("HubSpot_Inc__Sync_Status__c", "Error", "no time"),
    ("CBIT__Employees__c", 250, "firmographics"),
    ("DNBoptimizer__DNB_D_U_N_S_Number__c", "804735132", "firmographics"),
    ("DNBoptimizer__Number_Of_Opportunity__c", 2, "a count"),
    ("x6s__Account_Buying_Stage__c", "Decision", "6sense's stage"),
    ("x6s__Intent_Score__c", 91, "6sense's score"),
    ("npe01__Last_Donation_Date__c", "2026-03-01", "a gift"),
    ("acme__Last_Gift_Date__c", "2026-03-01", "a gift"),
    ("acme__Signed_At__c", TIME, "a contract was signed, whoever writes it"),
    ("acme__Trial_Ends_At__c", TIME, "the trial ends"),
    ("acme__Contract_Updated_Date__c", TIME, "a contract"),
    ("ns__Last_Sync_Error__c", "Timeout", "no time"),
    ("ns__Last_Sync_Error__c", None, "no time"),
    ("ns__Synced_On__c", "never", "the value is no time"),
    ("ns__Run_Time__c", 95, "a duration: the value is no time"),
    ("ns__Refreshed__c", True, "the value is no time"),
    ("ns__Refreshed__c", None, "only a value could tell that it is a time"),
    ("ns__Last_Updated_By__c", "005000000000001AAA", "a person"),
    ("ns__Update_Count__c", 7, "a count"),
    ("ns__Chat__c", "hello", "ends in at, and is another word"),
    ("Last_Sync__c", TIME, "a field of the company's own"),
    ("ZoomInfo_Last_Updated__c", TIME, "a field of the company's own"),
    ("accountUpdateDate6sense__c", TIME, "a field of the company's own"),
]
BUSINESS_TIMES = [
    f"ns__{name}__c"
    for name in (
        "Last_Purchase_At",
        "Uninstalled_At",
        "Payment_Failed_At",
        "Delinquent_At",
        "Upgraded_At",
        "Approved_At",
        "Onboarded_At",
        "Went_Live_At",
        "Paused_At",
        "Suspended_At",
        "Registered_At",
        "Invoice_At",
        "Intent_Surge_At",
        "Last_Visit_Timestamp",
        "Kickoff_At",
        "Credit_Check_Date",
        "Background_Check_Date",
        "Import_License_Date",
        "Last_Credit_Check",
        "Verified_At",
        "Import_Date",
        "Job_Change_Date",
        "Last_Job_Date",
        "Payment_Processed_At",
        "Loan_Processed_Date",
        "Plan_Updated_At",
        "Went_Dark_At",
        "Hired_Ts",
        "Arrival_Time_Stamp",
        "Price_Import_Date",
        "Installed_At",
    )
]
NOISE = [
    ("pi__Pardot_Last_Scored_At__c", TIME),
    ("pi__Pardot_Last_Scored_At__pc", None),
    ("DOZISF__ZoomInfo_Last_Updated__c", TIME),
    ("DOZISF__ZoomInfo_First_Updated__c", TIME),
    ("zisf__zoom_lastupdated__c", TIME),
    ("LeanData__Reporting_Timestamp__c", TIME),
    ("LeanData__Last_Matched_Date__c", TIME),
    ("JBCXM__LastRunDate__c", TIME),
    ("JBCXM__LastModifiedDateTime__c", TIME),
    ("dlrs__Calc_At__c", TIME),
    ("dsfs__Last_Sync_Date__c", "2026-03-01"),
    ("mkto_si__Last_Synced__c", TIME),
    ("SalesLoft1__Last_Sync_Timestamp__c", TIME),
    ("outreach__Synced_At__c", TIME),
    ("HubSpot_Inc__LastSyncTime__c", None),
    ("CBIT__Last_Enriched__c", TIME),
    ("CBIT__Refreshed__c", TIME),
    ("DNBoptimizer__DNB_Last_Refresh_Date__c", "2026-03-01"),
    ("x6s__Score_Calculated_On__c", TIME),
    ("ns__LastUpdatedDateTime__c", TIME),
    ("ns__LastUpdatedDateTime__c", None),
    ("ns__Last_Run_Datetime__c", MILLISECONDS),
    ("ns__CalcAt__c", str(MILLISECONDS)),
    ("ns__calcat__c", None),
    ("ns__SyncedOn__c", "2026-03-02"),
    ("ns__syncedon__c", None),
    ("NS__LAST_SYNC__C", TIME),
    ("a_b__Last_Time_Stamp__c", None),
    ("ns__Timestamp__c", TIME),
    ("ns__Cached_At__c", TIME),
    ("ns__Last_Checked_At__c", TIME),
    ("ns__Last_Checked__c", TIME),
    ("ns__Last_Import_Date__c", TIME),
    ("ns__Import_Sync_Date__c", TIME),
    ("ns__Job_Run_At__c", TIME),
    ("ns__Batch_Processed_At__c", TIME),
    ("ns__Processed_At__c", TIME),
    ("ns__Processed__c", TIME),
    ("ns__Account_Updated_At__c", TIME),
]


def _update(name: str, value: Any, entity: str = "Account") -> AccountChange:
    values = {} if value is None else {name: value}
    return change(entity_name=entity, changed_fields=("LastModifiedDate", name), values=values)


@pytest.mark.parametrize(("name", "value", "reason"), MATERIAL)
def test_what_a_package_tells_of_a_customer_is_material(name: str, value: Any, reason: str) -> None:
    """Scores, states, and times of what people do; a value that is no time makes any field material."""
    assert DEFAULTS.material_fields(_update(name, value)) == (name,), reason


@pytest.mark.parametrize("value", [TIME, "2026-03-02", MILLISECONDS, None])
@pytest.mark.parametrize("name", BUSINESS_TIMES)
def test_a_time_without_a_word_of_housekeeping_is_material(name: str, value: Any) -> None:
    """Of whatever happened then: also if it is cleared, or its new value is unknown."""
    assert DEFAULTS.material_fields(_update(name, value)) == (name,)
    cleared = change(changed_fields=(name,), values={}, nulled_fields=(name,))
    assert DEFAULTS.material_fields(cleared) == (name,)


@pytest.mark.parametrize(("name", "value"), NOISE)
def test_when_a_package_worked_is_noise(name: str, value: Any) -> None:
    """Told by the name, and by the value where the event has it."""
    assert DEFAULTS.material_fields(_update(name, value)) == ()


def _own(tmp_path: Path, text: str) -> Materiality:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return load_materiality(path)


@pytest.mark.parametrize("name", ["ns__Synced_At__c", "Loc__c.Latitude", "Loc__Longitude__s"])
def test_noise_is_noise_in_entities_of_an_own_file(tmp_path: Path, name: str) -> None:
    """Unless the entity's entry, or the file, lists other kinds, or an include names the field."""

    def matters(text: str) -> bool:
        rules = _own(tmp_path, f"entities:\n  Project__c: {{account: Account__c, include: {text}}}\n")
        return bool(rules.material_fields(_update(name, None, "Project__c")))

    globs = '["*__c", "*__s"]'
    assert not matters(globs)
    assert matters(f"{globs}, noise: []")
    assert matters(f'["*__c", "*__s", "{name.upper()}"]')
    assert not matters(f"{globs}, noise: [package_times, coordinates]")
    rules = _own(tmp_path, f"noise: []\nentities:\n  Project__c: {{include: {globs}}}\n")
    assert rules.material_fields(_update(name, None, "Project__c")) == (name,)
    assert rules.material_fields(_update(name, None)) == (name,)


COORDINATES = {"Loc__c.Latitude": 52.5, "Loc__c.Longitude": 13.4}


@pytest.mark.parametrize(
    "item",
    [
        change(changed_fields=("Loc__c",), values=COORDINATES),
        change(changed_fields=("Loc__c",), values={"loc__c.latitude": 52.5, "loc__c.longitude": 13.4}),
        change(changed_fields=("Loc__c", "Loc__c.Latitude", "Loc__c.Longitude"), values={}),
        change(changed_fields=("Loc__c",), values={}, nulled_fields=("Loc__c.Latitude", "Loc__c.Longitude")),
        change(changed_fields=("Loc__c",), values={"Loc__Latitude__s": 52.5, "Loc__Longitude__s": 13.4}),
        change(changed_fields=("ns__Loc__pc",), values={"ns__Loc__pc.Latitude": 1}),
    ],
)
def test_a_geolocation_is_noise_as_a_whole(item: AccountChange) -> None:
    """Where the event has coordinates only of its parts, in whichever form."""
    assert DEFAULTS.material_fields(item) == ()


@pytest.mark.parametrize(
    "item",
    [
        change(changed_fields=("Site__c",), values={"Site__c.Latitude": 52.5, "Site__c.City": "Berlin"}),
        change(changed_fields=("Site__c",), values={"Site__Latitude__s": 52.5, "Site__City__s": "Berlin"}),
        change(changed_fields=("Site__c",), values={}),
        change(changed_fields=("Site__c",), values={"Site__c": "52.5, 13.4"}),
        change(changed_fields=("Site__c",), values={}, nulled_fields=("Site__c",)),
        change(changed_fields=("Site__c",), values={"Other__c.Latitude": 52.5}),
    ],
)
def test_another_compound_field_is_material(item: AccountChange) -> None:
    """An address, and a field of which the event does not say what it is."""
    assert "Site__c" in DEFAULTS.material_fields(item)


@pytest.mark.parametrize("value", [TIME, "2026-03-02", MILLISECONDS, float(MILLISECONDS), str(MILLISECONDS)])
def test_dates_and_times_are_times(value: Any) -> None:
    """As ISO 8601, or as epoch milliseconds of this century."""
    assert is_time(value)


@pytest.mark.parametrize("value", ["", "soon", "2026", 7, True, None, 10**15, "9" * 5_000, {"a": 1}, "²" * 12])
def test_other_values_are_no_times(value: Any) -> None:
    """Any JSON value may come."""
    assert not is_time(value)


@pytest.mark.parametrize("name", ["Name", "LastModifiedDate", "Synced_At__c", "__c", "ns____c", "ns__x__mdt", "ns__At"])
def test_only_fields_of_packages_are_package_times(name: str) -> None:
    """Standard fields, and those of the company's own, are not."""
    assert is_package_time(name) is False
