"""The dataset, topics and subscription that dead letters are read from and replayed to."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from pipeline.resources.checked_names import subscription_path, topic_path
from pipeline.resources.datasets import check_dataset, open_warehouse
from pipeline.resources.names import (
    CRM_DATASET,
    DEAD_LETTER_HOLD_SUBSCRIPTION,
    PARKING_LOT_TOPIC,
    SCORING_DATASET,
    TOPIC,
)
from transforms.clients.bigquery import Warehouse


@dataclass(frozen=True)
class ReplayResources:
    """Names of the resources; topics and subscription are a name, or `projects/P/…`.

    Attributes:
        project: Google Cloud project.
        dataset: BigQuery dataset of dead letters, replays and ledger.
        topic: Topic that dead letters are replayed to.
        parking_lot: Topic of dead letters that were replayed too often.
        hold: Subscription of the dead-letter topic.
        crm_dataset: BigQuery dataset of the CRM mirror.
    """

    project: str
    dataset: str = SCORING_DATASET
    topic: str = TOPIC
    parking_lot: str = PARKING_LOT_TOPIC
    hold: str = DEAD_LETTER_HOLD_SUBSCRIPTION
    crm_dataset: str = CRM_DATASET

    def __post_init__(self) -> None:
        check_dataset(self.dataset)
        check_dataset(self.crm_dataset, "--crm-dataset")
        _ = self.topic_path, self.parking_lot_path, self.hold_path  # refused now, if they are no names

    @property
    def topic_path(self) -> str:
        """`projects/P/topics/NAME` of the topic that dead letters are replayed to."""
        return topic_path(self.project, self.topic)

    @property
    def parking_lot_path(self) -> str:
        """`projects/P/topics/NAME` of the parking lot."""
        return topic_path(self.project, self.parking_lot, "--parking-lot")

    @property
    def hold_path(self) -> str:
        """`projects/P/subscriptions/NAME` of the hold subscription."""
        return subscription_path(self.project, self.hold, "--hold")

    def open_warehouse(self) -> AbstractContextManager[Warehouse]:
        """Return a connection to the dataset; its errors name the dataset."""
        return open_warehouse(self.project, self.dataset)
