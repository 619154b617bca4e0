"""The local stack: Pub/Sub, BigQuery, Gemini and the token endpoint on this machine.

The pipeline does not know of it: Google's clients find it through environment variables.
"""
