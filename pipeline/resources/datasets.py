"""Connections to the BigQuery dataset that a command names."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Final

from schemas.identifiers import DatasetId, DatasetPath, checked
from transforms.clients.bigquery import Warehouse, dataset_path
from transforms.errors import WarehouseUnavailable

_OF_DATASET: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_OWN: Final = "--dataset"
"""The flag of the dataset that this service writes."""
_HOST: Final = "BIGQUERY_EMULATOR_HOST"


class DatasetUnavailable(WarehouseUnavailable):
    """An error that says what to check."""


def check_dataset(name: str, flag: str = _OWN) -> None:
    """Check the name of a dataset, which becomes part of queries; one that is only read may be another project's.

    Raises:
        ValueError: It is not a dataset's name; the message names the flag.
    """
    checked(DatasetId if flag == _OWN else DatasetPath, name, flag)


@contextmanager
def open_warehouse(project: str, dataset: str, flag: str = _OWN) -> Iterator[Warehouse]:
    """Yield a connection to BigQuery; its errors name the dataset, or the endpoint if it is not the dataset's fault.

    Raises:
        ValueError: The dataset is not a name.
        WarehouseUnavailable: BigQuery did not answer, or has no such table.
    """
    check_dataset(dataset, flag)
    warehouse = Warehouse(project)
    try:
        yield warehouse
    except DatasetUnavailable:
        raise  # of a connection that was opened within this one
    except WarehouseUnavailable as error:
        raise DatasetUnavailable(f"{error}: {remedy_for(error, dataset_path(project, dataset), os.environ)}") from error
    finally:
        warehouse.close()


def remedy_for(error: WarehouseUnavailable, dataset: str, environment: Mapping[str, str]) -> str:
    """Return what to check after an error: the dataset if BigQuery answered that, else whether BigQuery answers.

    Args:
        error: The error; its cause is BigQuery's.
        dataset: `project.dataset`.
        environment: The environment, which can name another endpoint.
    """
    cause = getattr(error.__cause__, "cause", None) or error.__cause__  # of retries, the last error counts
    if getattr(cause, "code", None) in _OF_DATASET:
        return f"is {dataset} the dataset, and may you use it?"
    if host := environment.get(_HOST):
        return f"does BigQuery answer at {host}? That is the value of {_HOST}"
    return (
        "does BigQuery answer at bigquery.googleapis.com? Check the network, the credentials and Google's status page"
    )
