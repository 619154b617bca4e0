"""The accounts of related records that name none: keyed state, then the mirror, then Salesforce."""
