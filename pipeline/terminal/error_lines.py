"""What an error says to the person at the terminal: the thing, and the remedy, one line for each fault."""

import errno
import sys


def told(error: Exception) -> str:
    """Return what is wrong and what to do about it."""
    if "google.auth.exceptions" in sys.modules:  # else no service was called, and importing it takes 0.3 s
        from pipeline.terminal.service_errors import of_service  # noqa: PLC0415 - see above

        if line := of_service(error):
            return line
    return _of_system(error) if isinstance(error, OSError) else str(error)


def _of_system(error: OSError) -> str:
    """Return the line of an error of the operating system, which names the file if there is one."""
    name = str(error.filename) if error.filename else None
    if error.errno == errno.ENOSPC:
        return f"{name or 'the disk'}: no space is left: free some, or write elsewhere"
    reason = (error.strerror or str(error) or type(error).__name__).rstrip(".")
    return f"{name}: {reason[:1].lower()}{reason[1:]}" if name else reason
