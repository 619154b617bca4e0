"""Where results end: tables, and the dead-letter topic."""
