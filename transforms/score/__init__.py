"""Gemini calls, and the scores that come of them."""
