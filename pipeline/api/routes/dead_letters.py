"""Dead letters and their replays."""

import datetime as dt
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from pipeline.api.answers import Asked, Operator, json_answer, problems
from pipeline.api.documents import (
    DeadLetterDocument,
    DeadLettersDocument,
    ReplayDocument,
    ReplayPlanDocument,
    StartedReplay,
)
from pipeline.api.idempotency import IdempotencyKey
from pipeline.api.problems import Kind, Problem, invalid
from pipeline.api.routes.scores import MAX_LIMIT, MAX_VALUES, checked_account
from pipeline.dead_letters.dead_letter_filter import DeadLetterFilter, ReplayRequest
from pipeline.dead_letters.list_dead_letters import list_dead_letters
from pipeline.dead_letters.replay_plan import plan
from pipeline.dead_letters.show_dead_letter import show_dead_letter
from pipeline.dead_letters.status import status
from schemas.failures import DEAD_LETTER_STAGES, ErrorClass

router: Final = APIRouter(tags=["dead letters"])

_EARLIEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_LATEST: Final = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
MAX_ACCOUNTS: Final = 1_000

Stage = StrEnum("Stage", {name.upper().replace(" ", "_"): name for name in DEAD_LETTER_STAGES})  # type: ignore[misc]
"""Labels of steps."""

_Time = Annotated[AwareDatetime, Field(ge=_EARLIEST, lt=_LATEST)]
_Id = Annotated[str, Field(min_length=15, max_length=18, pattern="^001[0-9A-Za-z]{12}([A-Za-z0-5]{3})?$")]
_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\w.@:/+-]+$")]


@router.get(
    "/v1/dead-letters",
    summary="List dead letters by class and stage, and the newest of them",
    response_model=None,
    responses={200: {"model": DeadLettersDocument}, **problems(Kind.INVALID)},
)
async def dead_letters(  # noqa: PLR0917 - the parameters of the query
    services: Asked,
    _operator: Operator,
    error_class: Annotated[list[ErrorClass], Query(description="Only these classes", max_length=MAX_VALUES)] = [],  # noqa: B006 - FastAPI copies it
    stage: Annotated[list[Stage], Query(description="Only those of these steps", max_length=MAX_VALUES)] = [],  # noqa: B006
    account: Annotated[list[_Id], Query(description="Only those of these accounts", max_length=MAX_VALUES)] = [],  # noqa: B006
    since: Annotated[_Time | None, Query(description="Failed at or after")] = None,
    until: Annotated[_Time | None, Query(description="Failed before")] = None,
    not_replayed: Annotated[bool, Query(description="Leave out those that were replayed or parked")] = False,  # noqa: FBT002
    ended: Annotated[bool, Query(description="Also those that were replayed and scored, or ended otherwise")] = False,  # noqa: FBT002
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description="How many one by one, at most; until= has the others")
    ] = 50,
) -> Response:
    """How many of each class and stage, since when, the remedy; and the newest, each with what became of it."""
    chosen = _filter(
        error_classes=error_class,
        stages=stage,
        accounts=account,
        since=since,
        until=until,
        is_not_replayed=not_replayed,
    )
    listed = await services.call(
        partial(list_dead_letters, services.resources, chosen, with_ended=ended, each=limit, now=services.now)
    )
    return json_answer(listed.document())


@router.get(
    "/v1/dead-letters/{dead_letter_id}",
    summary="Show a dead letter",
    response_model=None,
    responses={200: {"model": DeadLetterDocument}, **problems(Kind.INVALID, Kind.NOT_FOUND)},
)
async def dead_letter(
    services: Asked,
    _operator: Operator,
    dead_letter_id: Annotated[
        str,
        Path(
            description="dead_letter_id, or its first 6 or more digits",
            pattern="^[0-9a-f]{6,32}$",
            examples=["4f9d2c81"],
        ),
    ],
) -> Response:
    """Its payload (CRM data), what the pipeline would decide about it now, its replays and its outcomes."""
    try:
        shown = await services.call(
            partial(
                show_dead_letter,
                services.resources,
                dead_letter_id,
                services.rule_files,
            )
        )
    except ValueError:
        raise Problem(Kind.NOT_FOUND, "no dead letter has this id, or more than one has an id that starts so") from None
    return json_answer(shown.document())


class ReplayBody(BaseModel):
    """Which dead letters to replay; a dead letter matches if every field that is not empty does."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"error_classes": ["gemini_timeout"], "execute": True, "reason": "latency is back"},
        },
    )

    error_classes: tuple[ErrorClass, ...] = Field(default=(), max_length=MAX_VALUES)
    stages: tuple[Stage, ...] = Field(default=(), max_length=MAX_VALUES)
    accounts: tuple[_Id, ...] = Field(default=(), max_length=MAX_ACCOUNTS)
    models: tuple[_Name, ...] = Field(default=(), max_length=MAX_VALUES)
    pipeline_versions: tuple[_Name, ...] = Field(default=(), max_length=MAX_VALUES)
    since: _Time | None = Field(default=None, description="Failed at or after")
    until: _Time | None = Field(default=None, description="Failed before")
    not_replayed: bool = Field(default=False, strict=True, description="Leave out those that were replayed or parked")
    limit: int | None = Field(default=None, ge=1, le=100_000, strict=True, description="Dead letters, at most")
    rate: float = Field(default=50.0, ge=0.1, le=100_000, description="Dead letters a second, at most")
    force: bool = Field(
        default=False, strict=True, description="Also what would be parked, or waits for its account in the mirror"
    )
    execute: bool = Field(default=False, strict=True, description="Carry the plan out; needs a reason")
    reason: str = Field(default="", max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$", description="For the journal")

    def request(self) -> ReplayRequest:
        """Return what is asked of the replay.

        Raises:
            Problem: No dead letter could match.
        """
        chosen = _filter(
            error_classes=self.error_classes,
            stages=self.stages,
            accounts=self.accounts,
            models=self.models,
            pipeline_versions=self.pipeline_versions,
            since=self.since,
            until=self.until,
            is_not_replayed=self.not_replayed,
        )
        return ReplayRequest(chosen, self.limit, self.rate, self.force, self.reason.strip())


@router.post(
    "/v1/dead-letters:replay",
    summary="Replay dead letters: a plan, unless execute is true",
    response_model=None,
    responses={
        200: {"model": ReplayPlanDocument, "description": "The plan"},
        202: {"model": StartedReplay, "description": "The replay runs; the header Location has its path"},
        **problems(Kind.INVALID, Kind.CONFLICT, Kind.TOO_LARGE, Kind.TIMEOUT),
    },
)
async def replay_dead_letters(
    services: Asked, operator: Operator, body: ReplayBody, idempotency_key: IdempotencyKey = None
) -> Response:
    """Publishes dead letters again with their original payload and attributes, one replay at a time, in the background.

    The plan says how many would be replayed or parked, what would be decided about them now, and what their scores may
    cost.
    """
    request = body.request()
    if not body.execute:
        planned = await services.call(partial(plan, services.resources, request, services.rule_files))
        return json_answer(planned.document())
    if not request.reason:
        raise invalid("body.reason", "say why, for the journal")

    async def carry_out() -> Response:
        replay_id = await services.call(partial(services.replays.start, request, operator.name))
        path = f"/v1/replays/{replay_id}"
        return json_answer({"replay_id": replay_id, "path": path, "executed": True}, 202, {"Location": path})

    return await services.idempotent.once(operator.name, idempotency_key, f"replay {body.model_dump_json()}", carry_out)


@router.get(
    "/v1/replays/{replay_id}",
    summary="Show a replay: how far it is, and the outcomes of what it published",
    response_model=None,
    responses={200: {"model": ReplayDocument}, **problems(Kind.INVALID, Kind.NOT_FOUND)},
)
async def replay_status(
    services: Asked,
    _operator: Operator,
    replay_id: Annotated[str, Path(pattern="^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$", description="The replay's id")],
) -> Response:
    """Of this process, of another one, or of the command line."""
    try:
        found = await services.call(partial(status, services.resources, replay_id))
    except ValueError:
        raise Problem(Kind.NOT_FOUND, "there is no replay with this id") from None
    return json_answer(found.document())


def _filter(**fields: Any) -> DeadLetterFilter:
    """Return a filter.

    Raises:
        Problem: No dead letter could match.
    """
    accounts = tuple(checked_account(it, "accounts") for it in fields.pop("accounts"))
    if fields["since"] and fields["until"] and fields["since"] >= fields["until"]:
        raise invalid("since", "since is not before until: no dead letter could match")
    values: dict[str, Any] = {
        name: tuple(map(str, it)) if isinstance(it, list | tuple) else it for name, it in fields.items()
    }
    return DeadLetterFilter(accounts=accounts, **values)
