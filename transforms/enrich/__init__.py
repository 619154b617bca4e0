"""What is known of an account, and whether any of it changed."""
