"""The local stack: what stands in for Pub/Sub, BigQuery, Gemini and Google's token endpoint on one machine.

The pipeline knows nothing of it: it finds the stand-ins through the environment variables Google's clients honour.
"""
