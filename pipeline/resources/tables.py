"""Create datasets, tables and views."""

from pipeline.resources.names import CRM_DATASET, SCORING_DATASET
from schemas.tables import CRM_TABLES, SCORING_TABLES
from schemas.views import SCORING_VIEWS
from transforms.clients.bigquery import Warehouse


def create_tables(warehouse: Warehouse) -> None:
    """Create missing datasets, tables and views."""
    warehouse.create_dataset(SCORING_DATASET)
    warehouse.create_dataset(CRM_DATASET)
    for table in SCORING_TABLES:
        warehouse.create_table(SCORING_DATASET, table)
    for view in SCORING_VIEWS:
        warehouse.create_view(SCORING_DATASET, view)
    for table in CRM_TABLES:
        warehouse.create_table(CRM_DATASET, table)
