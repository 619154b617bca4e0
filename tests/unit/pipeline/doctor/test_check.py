"""Making checks: each ends by itself, whatever becomes of the others, and the report keeps their order."""

import threading

import pytest

from pipeline.doctor.check import Check, Finding, Result, Shared, Status, examine, longest_seconds
from pipeline.doctor.deployment import checks_of
from pipeline.doctor.diagnosis import Diagnosis, deployment_from
from pipeline.doctor.permissions import ROLES, SEE_TOPIC, WRITE, Duty, judge, needed
from pipeline.doctor.pubsub import DELETED_TOPIC, SUBSCRIPTION_NEEDS, TOPIC_NEEDS, judge_subscription
from pipeline.doctor.remedies import Advice
from pipeline.doctor.warehouse import CRM_NEEDS, SCORING_NEEDS

ADVICE = Advice("It", "it.googleapis.com", "my-project", refused="role", missing="make it")
SUBSCRIPTION = "projects/my-project/subscriptions/some"
TOPIC = "projects/my-project/topics/wanted"


def _well() -> Finding:
    return Finding(Status.OK, "well")


def test_neither_silence_nor_a_fault_stops_the_other_checks() -> None:
    """One that never answers fails at its deadline, one that breaks fails with its class; the rest is made."""
    never = threading.Event()

    def hang() -> Finding:
        never.wait()
        return _well()

    def broken() -> Finding:
        raise KeyError("a fault of ours")

    seen: list[int] = []
    checks = [
        Check("silent", hang, ADVICE, deadline_seconds=0.05),
        Check("broken", broken, ADVICE),
        Check("well", _well, ADVICE),
    ]
    results = examine(checks, lambda index, _result: seen.append(index))
    never.set()
    assert [(result.name, result.finding.status) for result in results] == [
        ("silent", Status.FAILED),
        ("broken", Status.FAILED),
        ("well", Status.OK),
    ]
    assert "does not answer" in results[0].finding.detail
    assert "KeyError" in results[1].finding.detail
    assert sorted(seen) == [0, 1, 2]


def test_a_whole_deployment_that_does_not_answer_takes_less_than_a_minute() -> None:
    """By the deadlines of all checks, with everything configured."""
    arguments = [
        "--project=my-project",
        "--redis_url=REDIS_URL",
        "--salesforce_login_url=https://acme.my.salesforce.com",
    ]
    deployment = deployment_from([*arguments, "--salesforce_client_id=id", "--salesforce_secret=THE_SECRET"], "both")
    with checks_of(deployment) as checks:
        assert len(checks) > 40
        assert longest_seconds(checks) < 60


def test_a_connection_is_made_once_and_its_failure_is_everybodys() -> None:
    """Looking for credentials takes seconds: it is done once, not in every check."""
    made: list[str] = []

    def fail() -> str:
        made.append("once")
        raise ConnectionError("refused")

    shared = Shared(fail)
    for _ in range(3):
        with pytest.raises(ConnectionError):
            shared.get()
    assert made == ["once"]
    shared.close(lambda _connection: made.append("closed"))
    assert made == ["once"], "there is nothing to close"


@pytest.mark.parametrize(
    ("topic", "is_detached", "status", "detail"),
    [
        (TOPIC, False, Status.OK, "of topic wanted"),
        (DELETED_TOPIC, False, Status.FAILED, "deleted"),
        (TOPIC, True, Status.FAILED, "detached"),
        ("projects/my-project/topics/other", False, Status.FAILED, "topics/other"),
    ],
)
def test_a_subscription_that_gets_nothing_is_found(topic: str, is_detached: bool, status: Status, detail: str) -> None:  # noqa: FBT001
    """Of a deleted topic, detached, or of another topic: it has to be deleted before it can be made anew."""
    finding = judge_subscription(SUBSCRIPTION, topic, TOPIC, is_detached=is_detached)
    assert finding.status is status
    assert detail in finding.detail
    if status is Status.FAILED:
        assert finding.remedy
        assert "gcloud pubsub subscriptions delete some --project my-project" in finding.remedy


def test_permissions_are_judged_as_far_as_they_are_told() -> None:
    """All there: ok; one lacks: its role is the remedy; an emulator: not told, which is neither."""
    assert judge((SEE_TOPIC, WRITE), {SEE_TOPIC, WRITE}).status is Status.OK
    assert judge((SEE_TOPIC, WRITE), None).status is Status.NOT_TOLD
    lacking = judge((SEE_TOPIC, WRITE), {SEE_TOPIC})
    assert lacking.status is Status.FAILED
    assert lacking.detail == f"not granted: {WRITE}"
    assert lacking.remedy
    assert "roles/bigquery.dataEditor" in lacking.remedy
    assert "roles/pubsub.viewer" not in lacking.remedy


def test_each_duty_needs_its_own_permissions() -> None:
    """The pipeline publishes dead letters and no changes, the replay changes and no dead letters; each has a role."""
    assert set(needed(TOPIC_NEEDS, Duty.PIPELINE)) == {"account-changes-dead-letter"}
    assert set(needed(TOPIC_NEEDS, Duty.REPLAY)) == {"account-changes", "account-changes-parking-lot"}
    assert set(needed(SUBSCRIPTION_NEEDS, Duty.PIPELINE)) == {"account-changes-rescoring"}
    assert needed(CRM_NEEDS, Duty.REPLAY) == {}
    for needs in (TOPIC_NEEDS, SUBSCRIPTION_NEEDS, SCORING_NEEDS, CRM_NEEDS):
        both = needed(needs, Duty.BOTH)
        assert set(both) == set(needed(needs, Duty.PIPELINE)) | set(needed(needs, Duty.REPLAY))
        assert all(permission in ROLES for permissions in both.values() for permission in permissions)


def test_only_what_failed_is_wrong() -> None:
    """What is not configured, or not told, leaves a deployment well."""
    results = [Result(status, Finding(status, ""), 0.0) for status in Status]
    assert not Diagnosis("my-project", tuple(results)).is_ok
    assert Diagnosis("my-project", tuple(r for r in results if r.finding.status is not Status.FAILED)).is_ok
