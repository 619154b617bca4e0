"""Sample data of the local stack: a CRM (generated or from an extract), and change events of its accounts."""
