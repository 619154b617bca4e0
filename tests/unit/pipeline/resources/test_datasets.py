"""What to check after an error of BigQuery."""

import pytest
from google.api_core.exceptions import Forbidden, NotFound, RetryError, ServiceUnavailable
from requests.exceptions import ConnectionError as NoConnection

from pipeline.resources.datasets import remedy_for
from transforms.errors import WarehouseUnavailable

NOT_FOUND, FORBIDDEN, UNAVAILABLE = NotFound("x"), Forbidden("x"), ServiceUnavailable("x")  # type: ignore[no-untyped-call]
RETRIED_NOT_FOUND, RETRIED_LOST = RetryError("x", NOT_FOUND), RetryError("x", NoConnection("y"))  # type: ignore[no-untyped-call]
EMULATOR = {"BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9"}


def _error(cause: Exception | None) -> WarehouseUnavailable:
    error = WarehouseUnavailable("BigQuery: query: failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("cause", [NOT_FOUND, FORBIDDEN, RETRIED_NOT_FOUND])
def test_an_error_about_the_dataset_asks_about_it(cause: Exception) -> None:
    """BigQuery answered that it is not there, or may not be used."""
    assert remedy_for(_error(cause), "my-project.scores", EMULATOR).startswith("is my-project.scores the dataset")


@pytest.mark.parametrize("cause", [UNAVAILABLE, NoConnection("x"), RETRIED_LOST, None])
def test_an_endpoint_that_does_not_answer_is_named(cause: Exception | None) -> None:
    """With the variable that set it; Google's own without one."""
    remedy = remedy_for(_error(cause), "my-project.scores", EMULATOR)
    assert remedy == "does BigQuery answer at http://127.0.0.1:9? That is the value of BIGQUERY_EMULATOR_HOST"
    assert "bigquery.googleapis.com" in remedy_for(_error(cause), "my-project.scores", {})
