"""Running checks: each ends by itself, also if others fail, and the results keep their order."""

import threading

import pytest

from pipeline.doctor.advice import Advice
from pipeline.doctor.check import WORKERS, Check, Finding, Result, Shared, Silence, Status, examine
from pipeline.doctor.deployment import checks_of
from pipeline.doctor.diagnosis import Diagnosis, deployment_from
from pipeline.doctor.permissions import ROLES, SEE_TOPIC, WRITE, Persona, judge, needed
from pipeline.doctor.pubsub import DELETED_TOPIC, SUBSCRIPTION_NEEDS, TOPIC_NEEDS, judge_subscription
from pipeline.doctor.warehouse import CRM_NEEDS, SCORING_NEEDS

ADVICE = Advice("It", "it.googleapis.com", "my-project", refused="role", missing="make it")
SUBSCRIPTION = "projects/my-project/subscriptions/some"
TOPIC = "projects/my-project/topics/wanted"


def _well() -> Finding:
    return Finding(Status.OK, "well")


def test_neither_a_hang_nor_an_error_stops_the_other_checks() -> None:
    """A check that hangs fails at its deadline, one that raises fails with the error's class; the rest runs."""
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


def test_a_service_that_is_silent_is_not_asked_again_and_again() -> None:
    """After one check without an answer others have its finding; if the service has answered once, each is asked."""
    silent = Finding(Status.FAILED, "It does not answer (ReadTimeout)", "reach it")
    refused = Finding(Status.FAILED, "It refuses these credentials (403)", "role")
    silence = Silence()
    assert silence.of("It") is None
    silence.note("It", silent)
    assert silence.of("It") is silent
    assert silence.of("Another") is None
    silence.note("It", refused)
    assert silence.of("It") is None


def test_checks_of_a_silent_service_end_with_the_first() -> None:
    """Otherwise each round of them would wait as long again."""
    asked: list[int] = []

    def silent() -> Finding:
        asked.append(1)
        raise TimeoutError

    results = examine([Check("it", silent, ADVICE) for _ in range(200)])
    assert {result.finding.detail for result in results} == {results[0].finding.detail}
    assert "It does not answer" in results[0].finding.detail
    assert len(asked) < 200


def test_the_longest_check_starts_first() -> None:
    """Else it would begin when the others have waited; the results keep their order."""
    started = threading.Event()

    def longest() -> Finding:
        started.set()
        return _well()

    def other() -> Finding:
        return _well() if started.wait(30.0) else Finding(Status.FAILED, "the longest has not started")

    checks = [*(Check(str(number), other, ADVICE, 60.0) for number in range(WORKERS)), Check("it", longest, ADVICE, 90)]
    results = examine(checks)
    assert {result.finding.status for result in results} == {Status.OK}
    assert [result.name for result in results] == [check.name for check in checks]


def test_a_whole_deployment_that_does_not_answer_takes_less_than_a_minute() -> None:
    """By the deadlines of all checks, WORKERS at a time, with everything configured."""
    arguments = [
        "--project=my-project",
        "--redis_url=REDIS_URL",
        "--salesforce_login_url=https://acme.my.salesforce.com",
    ]
    deployment = deployment_from([*arguments, "--salesforce_client_id=id", "--salesforce_secret=THE_SECRET"], "both")
    with checks_of(deployment) as checks:
        assert len(checks) > 40
        deadlines = [check.deadline_seconds for check in checks]
        assert sum(deadlines) / WORKERS + max(deadlines) < 60


def test_a_connection_is_made_once_and_every_check_gets_its_error() -> None:
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
def test_a_subscription_without_messages_is_found(topic: str, is_detached: bool, status: Status, detail: str) -> None:  # noqa: FBT001
    """Of a deleted topic, detached, or of another topic: it must be deleted before it can be created again."""
    finding = judge_subscription(SUBSCRIPTION, topic, TOPIC, is_detached=is_detached)
    assert finding.status is status
    assert detail in finding.detail
    if status is Status.FAILED:
        assert finding.remedy
        assert "gcloud pubsub subscriptions delete some --project my-project" in finding.remedy


def test_missing_permissions_are_found() -> None:
    """The remedy is the role; an emulator, which does not tell, is neither ok nor failed."""
    assert judge((SEE_TOPIC, WRITE), {SEE_TOPIC, WRITE}).status is Status.OK
    assert judge((SEE_TOPIC, WRITE), None).status is Status.NOT_TOLD
    missing = judge((SEE_TOPIC, WRITE), {SEE_TOPIC})
    assert missing.status is Status.FAILED
    assert missing.detail == f"not granted: {WRITE}"
    assert missing.remedy
    assert "roles/bigquery.dataEditor" in missing.remedy
    assert "roles/pubsub.viewer" not in missing.remedy


def test_each_persona_needs_its_own_permissions() -> None:
    """The pipeline publishes dead letters only, the replay changes only; each permission has a role."""
    assert set(needed(TOPIC_NEEDS, Persona.PIPELINE)) == {"account-changes-dead-letter"}
    assert set(needed(TOPIC_NEEDS, Persona.REPLAY)) == {"account-changes", "account-changes-parking-lot"}
    assert set(needed(SUBSCRIPTION_NEEDS, Persona.PIPELINE)) == {"account-changes-rescoring"}
    assert set(needed(CRM_NEEDS, Persona.REPLAY)) == {"accounts"}
    for needs in (TOPIC_NEEDS, SUBSCRIPTION_NEEDS, SCORING_NEEDS, CRM_NEEDS):
        both = needed(needs, Persona.BOTH)
        assert set(both) == set(needed(needs, Persona.PIPELINE)) | set(needed(needs, Persona.REPLAY))
        assert all(permission in ROLES for permissions in both.values() for permission in permissions)


def test_only_failed_checks_count() -> None:
    """A deployment is ok with checks that were skipped or not told."""
    results = [Result(status, Finding(status, ""), 0.0) for status in Status]
    assert not Diagnosis("my-project", tuple(results)).is_ok
    assert Diagnosis("my-project", tuple(r for r in results if r.finding.status is not Status.FAILED)).is_ok
