"""What Gemini is told of accounts."""
