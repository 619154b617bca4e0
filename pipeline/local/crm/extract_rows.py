"""Read and validate the CSV files of the Maven CRM extract; errors name file, line and correction."""

import csv
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from schemas.record import ValidatedModel

ACCOUNTS_CSV: Final = "accounts.csv"
PRODUCTS_CSV: Final = "products.csv"
PIPELINE_CSV: Final = "sales_pipeline.csv"
TEAMS_CSV: Final = "sales_teams.csv"

_SPELLING: Final = {
    "sector": {"technolgy": "technology"},
    "product": {"GTXPro": "GTX Pro"},
    "office_location": {"Philipines": "Philippines"},
}
"""Misspelt values by column, as the published extract has them."""


class CrmExtractError(ValueError):
    """The extract is invalid; the message names the place and the correction."""


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _iso_date(value: object) -> object:
    # Not pydantic's date parsing, which takes a bare number for seconds since 1970.
    if not isinstance(value, str) or not value:
        return value or None
    try:
        return dt.date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a date: write YYYY-MM-DD") from None


Text = Annotated[str, Field(min_length=1)]
OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]
OptionalDate = Annotated[dt.date | None, BeforeValidator(_iso_date)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
OptionalAmount = Annotated[Amount | None, BeforeValidator(_none_if_empty)]


class ExtractRow(ValidatedModel):
    """A row of the extract, with known misspellings corrected."""

    @field_validator("*", mode="before")
    @classmethod
    def _correct_spelling(cls, value: object, info: ValidationInfo) -> object:
        corrections = _SPELLING.get(info.field_name or "", {})
        return corrections.get(value, value) if isinstance(value, str) else value


class AccountRow(ExtractRow):
    """A row of accounts.csv; `revenue` is in millions of dollars."""

    account: Text
    sector: Text
    year_established: int = Field(ge=1000, le=2100)
    revenue: Amount
    employees: int = Field(ge=0)
    office_location: Text
    subsidiary_of: OptionalText


class ProductRow(ExtractRow):
    """A row of products.csv."""

    product: Text
    series: Text
    sales_price: Amount


class TeamRow(ExtractRow):
    """A row of sales_teams.csv."""

    sales_agent: Text
    manager: Text
    regional_office: Text


class PipelineRow(ExtractRow):
    """A row of sales_pipeline.csv: an opportunity."""

    opportunity_id: Text
    sales_agent: Text
    product: Text
    account: OptionalText
    deal_stage: Literal["Won", "Lost", "Engaging", "Prospecting"]
    engage_date: OptionalDate
    close_date: OptionalDate
    close_value: OptionalAmount

    @property
    def is_closed(self) -> bool:
        """Whether the opportunity was won or lost."""
        return self.deal_stage in {"Won", "Lost"}

    @model_validator(mode="after")
    def _dates_fit_the_stage(self) -> Self:
        if self.deal_stage != "Prospecting" and self.engage_date is None:
            raise ValueError(f"engage_date is empty, deal_stage is {self.deal_stage}: fill it, or write Prospecting")
        if self.is_closed and (self.close_date is None or self.close_value is None):
            raise ValueError(f"deal_stage is {self.deal_stage}: fill close_date and close_value, or write Engaging")
        if self.engage_date and self.close_date and self.close_date < self.engage_date:
            raise ValueError(f"close_date {self.close_date} is before engage_date {self.engage_date}: correct either")
        return self


Row = TypeVar("Row", bound=ExtractRow)


def read_rows(file: Path, row_type: type[Row]) -> Iterator[tuple[int, Row]]:
    """Yield line number and row.

    Raises:
        CrmExtractError: The file is missing, lacks a column, is not UTF-8, or has an invalid row.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            _require_columns(file, reader, row_type)
            for values in reader:
                yield reader.line_num, _row(file, reader.line_num, values, row_type)
    except FileNotFoundError:
        raise CrmExtractError(
            f"{file} is missing: give the folder that holds the CRM extract's {ACCOUNTS_CSV}, {PRODUCTS_CSV}, "
            f"{PIPELINE_CSV} and {TEAMS_CSV}"
        ) from None
    except UnicodeDecodeError as error:
        raise CrmExtractError(f"{file} is not UTF-8 at byte {error.start}: save it as UTF-8") from None


def _require_columns(file: Path, reader: "csv.DictReader[str]", row_type: type[ExtractRow]) -> None:
    expected = list(row_type.model_fields)
    missing = [name for name in expected if name not in (reader.fieldnames or ())]
    if missing:
        raise CrmExtractError(
            f"{file} line 1: column {', '.join(missing)} is missing: the first line must be {','.join(expected)}"
        )


def _row(file: Path, line: int, values: dict[str | Any, str | Any], row_type: type[Row]) -> Row:
    if None in values or None in values.values():  # csv's marks for too many and too few cells
        raise CrmExtractError(f"{file} line {line}: expected as many cells as line 1 has columns: check the commas")
    known = {name: values[name] for name in row_type.model_fields}
    try:
        return row_type.model_validate(known)
    except ValidationError as error:
        reasons = "; ".join(_reason(detail["loc"], detail["msg"]) for detail in error.errors(include_url=False))
        raise CrmExtractError(f"{file} line {line}: {reasons}") from None


def _reason(location: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    return f"{location[0]}: {text}" if location else text
