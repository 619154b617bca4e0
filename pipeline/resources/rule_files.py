"""The files by which events are read and judged: as `--materiality` and `--schemas` name them."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from transforms.filter.materiality import Materiality, load_materiality
from transforms.parse.avro_schemas import AvroSchemas, load_avro_schemas


@dataclass(frozen=True)
class RuleFiles:
    """The files, and what they hold; each is read once.

    Attributes:
        materiality: Which entities and changes matter; None: the defaults.
        schemas: Folder of Avro schemas, to decode field bitmaps with; None: none.
    """

    materiality: Path | None = None
    schemas: Path | None = None

    @cached_property
    def rules(self) -> Materiality:
        """Which changes matter.

        Raises:
            ValueError: The file can't be used.
        """
        return load_materiality(self.materiality)

    @cached_property
    def avro_schemas(self) -> AvroSchemas:
        """Avro schemas by id.

        Raises:
            ValueError: The folder can't be used.
        """
        return load_avro_schemas(self.schemas)
