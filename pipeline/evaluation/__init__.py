"""Evaluation: how well scores rank accounts, by what happened to the accounts afterwards."""
