"""What a backfill and its plan begin with: the options, the accounts, and which of them are done."""

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.backfill.account_filter import account_filter
from pipeline.backfill.warehouse import BackfillWarehouse, read_account_ids
from pipeline.config.options import RescoringConfig, command_line, complete_arguments, config_from
from schemas.clock import Clock
from transforms.clients.bigquery import Warehouse
from transforms.parse.score_requests import Backfill

DEFAULT_OPTIONS: Final = (
    "--runner=FnApiRunner",
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--batch_size=320",
)
"""Defaults; the user's options override them.

The default DirectRunner would look for a Prism binary to download. Several workers talk over gRPC, which cost 64 s of
CPU where one worker cost 48. A batch of 320 accounts is 64 calls at once."""


@dataclass(frozen=True)
class Selection:
    """The accounts to score: exactly one of the three is set."""

    everything: bool = False
    file: Path | None = None
    where: str | None = None

    def __post_init__(self) -> None:
        """Check that exactly one is set.

        Raises:
            ValueError: None or several are.
        """
        if sum((self.everything, self.file is not None, self.where is not None)) != 1:
            raise ValueError("expected exactly one of --all, --accounts FILE and --where FILTER")

    @cached_property
    def listed(self) -> list[str] | None:
        """The accounts of the file, which is read once: it may be standard input."""
        return read_account_ids(self.file) if self.file else None


@dataclass(frozen=True)
class Prepared:
    """A backfill that can begin.

    Attributes:
        options: Beam's options and the pipeline's.
        config: The pipeline's configuration.
        connection: To BigQuery.
        warehouse: The queries of a backfill, on that connection.
        backfill: The backfill.
        wanted: The accounts that were selected.
        done: Those that need no score any more.
    """

    options: list[str]
    config: RescoringConfig
    connection: Warehouse
    warehouse: BackfillWarehouse
    backfill: Backfill
    wanted: Sequence[str]
    done: frozenset[str]

    @property
    def left(self) -> int:
        """How many accounts are to be scored."""
        return sum(account_id not in self.done for account_id in self.wanted)


@contextmanager
def preparing(
    arguments: Sequence[str],
    selection: Selection,
    *,
    resume: bool,
    mirror_lag: dt.timedelta,
    as_of: dt.datetime | None,
    own_flags: Sequence[str] = (),
    now: Clock,
) -> Iterator[Prepared]:
    """Read options and accounts, and yield what a backfill begins with; see `backfill` for the arguments.

    Raises:
        ValueError: An option, a filter or a file can't be used, or there is nothing to resume.
        OSError: The file can't be read.
        WarehouseUnavailable: BigQuery did not answer.
    """
    if resume and as_of:
        raise ValueError("--as-of and --resume exclude each other: a resumed backfill keeps its own time")
    line = command_line(arguments, own_flags=own_flags)
    options = complete_arguments([*DEFAULT_OPTIONS, *line.arguments])
    config = config_from(PipelineOptions(options), line)
    chosen = account_filter(selection.where) if selection.where is not None else None
    listed = selection.listed
    with closing(Warehouse(config.project)) as connection:
        warehouse = BackfillWarehouse(connection, config.dataset, config.crm_dataset)
        this = _last(warehouse, now()) if resume else Backfill((as_of or now() - mirror_lag).replace(microsecond=0))
        yield Prepared(
            options=options,
            config=config,
            connection=connection,
            warehouse=warehouse,
            backfill=this,
            wanted=listed if listed is not None else warehouse.accounts(chosen),
            done=warehouse.done(this) if resume else frozenset(),
        )


def _last(warehouse: BackfillWarehouse, now: dt.datetime) -> Backfill:
    last = warehouse.last(now)
    if last is None:
        raise ValueError("no backfill of the last 30 days found to resume: leave --resume out")
    return last
