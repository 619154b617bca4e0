"""Prompts for Gemini, and the preparation of CRM text for them."""
