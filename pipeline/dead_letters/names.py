"""Where letters are, and where they go."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.dead_letters.replay import Topics
from pipeline.ledger.reconciliation import check_dataset
from pipeline.resources.names import DEAD_LETTER_HOLD_SUBSCRIPTION, PARKING_LOT_TOPIC, SCORING_DATASET, TOPIC
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable


@dataclass(frozen=True)
class Place:
    """Where letters are, and where they go: names, or `projects/P/…`."""

    project: str
    dataset: str = SCORING_DATASET
    topic: str = TOPIC
    parking_lot: str = PARKING_LOT_TOPIC
    hold: str = DEAD_LETTER_HOLD_SUBSCRIPTION

    def __post_init__(self) -> None:
        check_dataset(self.dataset)

    @property
    def topics(self) -> Topics:
        """The topics' full names."""
        return Topics(self._path("topics", self.topic), self._path("topics", self.parking_lot))

    @property
    def hold_path(self) -> str:
        """The subscription's full name."""
        return self._path("subscriptions", self.hold)

    def _path(self, kind: str, name: str) -> str:
        return name if "/" in name else f"projects/{self.project}/{kind}/{name}"


@contextmanager
def open_warehouse(place: Place) -> Iterator[Warehouse]:
    """Yield a connection to the warehouse; what goes wrong with it names the dataset."""
    warehouse = Warehouse(place.project)
    try:
        yield warehouse
    except WarehouseUnavailable as error:
        where = f"{place.project}.{place.dataset}"
        raise WarehouseUnavailable(f"{error}: is {where} the dataset, and may you use it?") from error
    finally:
        warehouse.close()
