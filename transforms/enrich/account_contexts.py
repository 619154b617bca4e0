"""Read account contexts from the CRM mirror, one query a batch."""

import datetime as dt
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from schemas.account_context import AccountContext
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.errors import InvalidContext

_CONTEXTS_SQL: Final = importlib.resources.files("transforms.enrich").joinpath("account_contexts.sql").read_text()
_MOST_FIELDS_NAMED: Final = 5


@dataclass(frozen=True)
class ContextBounds:
    """How much of an account's history becomes its context."""

    lookback: dt.timedelta = dt.timedelta(days=540)
    opportunities: int = 12
    emails: int = 6
    calls: int = 6


def read_account_contexts(
    warehouse: Warehouse,
    crm_dataset: str,
    account_ids: Sequence[str],
    *,
    since: dt.datetime,
    until: dt.datetime,
    bounds: ContextBounds,
) -> dict[str, AccountContext | InvalidContext]:
    """Read the contexts of a batch's accounts with one query; accounts that the mirror lacks are missing in the result.

    Args:
        warehouse: The connection.
        crm_dataset: The mirror's dataset, or `project.dataset`.
        account_ids: 18-character ids.
        since: Start of the history that is read; it bounds the partitions.
        until: End of the history that is read.
        bounds: How many records an account.

    Raises:
        WarehouseUnavailable: BigQuery did not answer.
    """
    contexts: dict[str, AccountContext | InvalidContext] = {}
    rows = warehouse.look_up(
        account_contexts_query(dataset_path(warehouse.project, crm_dataset), bounds),
        {"account_ids": list(account_ids), "since": since, "until": until},
    )
    for row in rows:
        account_id = row["profile"]["account_id"]
        try:
            contexts[account_id] = context_from_row(row)
        except InvalidContext as error:
            contexts[account_id] = error
    return contexts


def account_contexts_query(crm: str, bounds: ContextBounds) -> str:
    """Return the query; `crm` is `project.dataset`, from the configuration and never from an event."""
    return _CONTEXTS_SQL.format(crm=crm, opportunities=bounds.opportunities, emails=bounds.emails, calls=bounds.calls)


def context_from_row(row: Mapping[str, Any]) -> AccountContext:
    """Return a row of the query as a context.

    Raises:
        InvalidContext: A column holds a value that its field does not allow; the message names the fields.
    """
    try:
        return AccountContext(
            profile=row["profile"],
            opportunities=row["opportunities"] or (),
            emails=row["emails"] or (),
            calls=row["calls"] or (),
        )
    except ValidationError as error:
        places = {".".join(map(str, detail["loc"])) for detail in error.errors(include_input=False)}
        named = ", ".join(sorted(places)[:_MOST_FIELDS_NAMED])
        raise InvalidContext(f"the CRM mirror's {named} can't be read") from None
