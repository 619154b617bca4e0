"""Publish change events from files, as Salesforce's bridge would."""
