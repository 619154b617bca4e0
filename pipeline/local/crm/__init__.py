"""Sample data of the local stack: a CRM, generated or read from an extract, and the change events of its accounts."""
