"""Have one account scored again."""

import datetime as dt
from typing import Final

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from pipeline.api.answers import Asked, Operator, json_answer, problems
from pipeline.api.documents import RescoringDocument
from pipeline.api.idempotency import IdempotencyKey
from pipeline.api.problems import Kind, Problem
from pipeline.api.read_model.rows import time_of
from pipeline.api.read_model.score_queries import account_row, newest_change
from pipeline.api.rescoring import RescoringPlan, plan_rescoring
from pipeline.api.routes.scores import AccountId, checked_account, unknown_account
from pipeline.api.services import Services
from pipeline.ledger.score_costs import read_score_cost
from transforms.clients.messages import Message

router: Final = APIRouter(tags=["scores"])


class RescoringRequest(BaseModel):
    """What is asked for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"execute": True}})

    execute: bool = Field(default=False, strict=True, description="Carry the plan out")


@router.post(
    "/v1/accounts/{account_id}:rescore",
    summary="Score an account again: a plan, unless execute is true",
    response_model=None,
    responses={
        200: {"model": RescoringDocument, "description": "The plan"},
        202: {"model": RescoringDocument, "description": "The event is published"},
        **problems(Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT, Kind.TOO_LARGE, Kind.TIMEOUT),
    },
)
async def rescore(
    services: Asked,
    operator: Operator,
    account_id: AccountId,
    wanted: RescoringRequest,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Asks Gemini for the account's score as of now, as a backfill does, within the daily budget.

    The plan says what that may cost; an account whose context is unchanged costs nothing. Asking twice in a minute is
    one event.
    """
    checked = checked_account(account_id)
    if not wanted.execute:
        plan = await services.call(lambda: _plan(services, checked))
        return json_answer(plan.document(is_executed=False))

    async def carry_out() -> Response:
        return await services.call(lambda: _carry_out(services, checked, operator.name))

    return await services.idempotent.once(operator.name, idempotency_key, f"rescore {checked}", carry_out)


def _plan(services: Services, account_id: str) -> RescoringPlan:
    services.fresh()
    row = account_row(services.model, account_id)
    if row is None:
        raise unknown_account()
    if row[-1] is False:
        raise Problem(Kind.CONFLICT, "the account was deleted in Salesforce: there is nothing to score")
    newest = newest_change(services.model, account_id)
    now = services.now()
    with services.resources.open_warehouse() as warehouse:
        each = read_score_cost(warehouse, services.resources.dataset, now)
    return plan_rescoring(
        account_id, time_of(newest) if newest is not None else None, each, services.rule_files.rules, now
    )


def _carry_out(services: Services, account_id: str, who: str) -> Response:
    plan = _plan(services, account_id)
    if plan.newer_change_at:
        raise Problem(Kind.CONFLICT, _newer(plan.newer_change_at))
    services.publish([Message(plan.payload, {"published_by": who})])
    return json_answer(plan.document(is_executed=True), 202)


def _newer(at: dt.datetime) -> str:
    return (
        f"the account was scored for a change of {at:%Y-%m-%d %H:%M:%S} UTC, which the mirror may not have yet: ask "
        "again in a quarter of an hour"
    )
