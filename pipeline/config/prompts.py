"""A prompt of one's own: an instruction in Cloud Storage, read at the submission, in place of a packaged one."""

import hashlib
import re
from typing import Final

from transforms.clients.cloud_storage import CloudFile, CloudFileError

_NAME: Final = re.compile(r"[\w.-]{1,48}", re.ASCII)
_MAX_CHARACTERS: Final = 100_000
"""Each call has the instruction, so a longer one is another file that was named by mistake."""
_DIGITS: Final = 8


def named_prompt(version: str) -> tuple[str, str | None]:
    """Return a prompt's version, and its instruction unless the version is a packaged one.

    The version of `gs://BUCKET/PATH/NAME.md` is NAME and the first digits of the text's SHA-256: a changed text is
    another version, with scores of its own.

    Raises:
        ValueError: The file can't be read, or is no instruction.
    """
    if not version.startswith("gs://"):
        return version, None
    try:
        content = CloudFile(version).read_bytes()
        text = content.decode("utf-8-sig").strip()
    except CloudFileError as error:
        raise ValueError(f"{version}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"{version}: not UTF-8: save the file as UTF-8") from None
    if not text or len(text) > _MAX_CHARACTERS:
        raise ValueError(
            f"{version}: expected an instruction of 1 to {_MAX_CHARACTERS:,} characters, not {len(text):,}"
        )
    name = CloudFile(version).name.removesuffix(".md")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{version}: expected a file name of letters, digits, _, . and -, 48 at most")
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}", text
