"""Checks of optional services: Redis, secrets, Salesforce."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from pipeline.doctor.advice import Advice
from pipeline.doctor.check import CALL_SECONDS, Check, Finding, Status
from transforms.clients.redis import RedisSettings, RedisStore
from transforms.clients.salesforce import Salesforce
from transforms.clients.salesforce_api import RefusedCall, SalesforceSettings
from transforms.clients.secret_reader import read_secret
from transforms.clients.secrets import SecretUnavailable, is_secret_name
from transforms.errors import SalesforceUnavailable


def configured_checks(
    project: str, redis: RedisSettings | None, salesforce: SalesforceSettings | None
) -> Iterator[Check]:
    """Yield the checks of Redis, each secret and Salesforce; None means not configured."""
    yield Check("Redis", lambda: ping(redis), _redis_advice(project))
    secrets = [salesforce.secret] if salesforce else []
    secrets += [redis.location] if redis and is_secret_name(redis.location) else []
    for secret in secrets:
        yield Check(f"secret {secret}", partial(look_at_secret, secret), secret_advice(project, secret))
    if not secrets:
        yield Check("secrets", lambda: Finding(Status.SKIPPED, "no option names a secret"), _salesforce_advice(project))
    yield Check("Salesforce", lambda: log_in(salesforce), _salesforce_advice(project))


def ping(settings: RedisSettings | None) -> Finding:
    """Ping Redis.

    Raises:
        RedisUnavailable: It does not answer.
    """
    if settings is None:
        return Finding(Status.SKIPPED, "--redis_url was not given")
    RedisStore(settings, ttl_seconds=1.0).ping()
    return Finding(Status.OK, "answers")


def look_at_secret(name: str) -> Finding:
    """Read a secret as the pipeline does, and discard it.

    Raises:
        SecretUnavailable: It can't be read.
    """
    read_secret(name)
    return Finding(Status.OK, "can be read")


def log_in(settings: SalesforceSettings | None) -> Finding:
    """Log in to Salesforce; a refusal is reported by Salesforce's code."""
    if settings is None:
        return Finding(Status.SKIPPED, "--salesforce_login_url was not given")
    try:
        Salesforce(replace(settings, deadline_seconds=CALL_SECONDS)).log_in()
    except SecretUnavailable as error:
        return Finding(Status.FAILED, str(error), "fix the secret first: its own check says how")
    except RefusedCall as error:
        remedy = (
            f"check --salesforce_client_id, the secret, and that the connected app allows the flow {settings.flow} "
            "for the integration user"
        )
        return Finding(Status.FAILED, str(error), remedy)
    except SalesforceUnavailable as error:
        return Finding(Status.FAILED, str(error), "check --salesforce_login_url, and that this machine can reach it")
    return Finding(Status.OK, "login succeeded")


def secret_advice(project: str, name: str) -> Advice:
    """Return the remedies of a secret: a version in Secret Manager, or an environment variable."""
    missing = f"set the variable {name}, here and on the workers"
    if "/" in name:
        owner, secret = name.split("/")[1], name.split("/")[3]
        missing = f"gcloud secrets versions add {secret} --data-file=- --project {owner}"
        project = owner
    role = "roles/secretmanager.secretAccessor"
    refused = f"grant these credentials {role} on it: infrastructure/secrets.tf"
    return Advice("Secret Manager", "secretmanager.googleapis.com", project, refused=refused, missing=missing)


def _redis_advice(project: str) -> Advice:
    missing = "check --redis_url, the password that its URL holds, and that this machine is in the workers' network"
    return Advice("Redis", "redis.googleapis.com", project, refused=missing, missing=missing)


def _salesforce_advice(project: str) -> Advice:
    missing = "check the options --salesforce_*"
    return Advice("Salesforce", "secretmanager.googleapis.com", project, refused=missing, missing=missing)
