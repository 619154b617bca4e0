"""Connections to the BigQuery dataset that a command names."""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.identifiers import DatasetId, checked
from transforms.clients.bigquery import Warehouse
from transforms.errors import WarehouseUnavailable


def check_dataset(name: str) -> None:
    """Check the name of a dataset, which becomes part of queries.

    Raises:
        ValueError: It is not a dataset's name.
    """
    checked(DatasetId, name, "--dataset")


@contextmanager
def open_warehouse(project: str, dataset: str) -> Iterator[Warehouse]:
    """Yield a connection to BigQuery, and name the dataset in its errors.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    check_dataset(dataset)
    warehouse = Warehouse(project)
    try:
        yield warehouse
    except WarehouseUnavailable as error:
        raise WarehouseUnavailable(f"{error}: is {project}.{dataset} the dataset, and may you use it?") from error
    finally:
        warehouse.close()
