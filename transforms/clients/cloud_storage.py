"""Files in Cloud Storage, read as local ones are. Alone imports Google's client, and maps its exceptions.

Google's client goes to STORAGE_EMULATOR_HOST where that variable is set. It is imported when a file is read: it
takes half a second, and most files are local.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final, NoReturn

if TYPE_CHECKING:
    from google.cloud import storage

URL_PATTERN: Final = r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]/\S{1,900}"

MAX_FILE_BYTES: Final = 4 * 2**20
"""Rules, prices and schemas are small; a larger file is another one, named by mistake."""
MAX_FILES: Final = 500
"""In a folder."""

_CALL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 20.0
_STATUS: Final = {
    401: "Cloud Storage does not accept the credentials (401): log in with gcloud auth application-default login",
    403: "Cloud Storage refuses these credentials (403): grant them roles/storage.objectViewer on the bucket",
    404: "Cloud Storage does not have it (404): check bucket and name",
}


class CloudFileError(OSError):
    """A file in Cloud Storage can't be read; `strerror` says why, and what to do about it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.strerror = reason


class CloudFile(Traversable):
    """A file or a folder `gs://BUCKET/NAME`; making one reads nothing."""

    def __init__(self, url: str) -> None:
        if not re.fullmatch(URL_PATTERN, url):
            raise ValueError("expected a path such as gs://my-bucket/rules.yaml")
        self._url = url
        self._bucket, _, self._name = url.removeprefix("gs://").partition("/")

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        return f"CloudFile({self._url!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CloudFile) and other._url == self._url

    def __hash__(self) -> int:
        return hash(self._url)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self._name).name

    def read_bytes(self) -> bytes:
        """Return the content.

        Raises:
            CloudFileError: It is not there, is too large, or Cloud Storage did not answer.
        """
        with _mapped():
            blob = self._objects.get_blob(self._name, timeout=_CALL_SECONDS, retry=_retry())
            if blob is None:
                raise CloudFileError(_STATUS[404])
            if (blob.size or 0) > MAX_FILE_BYTES:
                raise CloudFileError(
                    f"it has {blob.size:,} bytes, and {MAX_FILE_BYTES:,} are allowed: name another file"
                )
            content: bytes = blob.download_as_bytes(timeout=_CALL_SECONDS, retry=_retry())
            return content

    def read_text(self, encoding: str | None = None) -> str:
        """Return the content as text."""
        return self.read_bytes().decode(encoding or "utf-8")

    def iterdir(self) -> Iterator["CloudFile"]:
        """Yield the files of a folder, without those of folders in it.

        Raises:
            CloudFileError: There are too many, or Cloud Storage did not answer.
        """
        prefix = self._name.rstrip("/") + "/"
        with _mapped():
            found = self._objects.list_blobs(
                prefix=prefix, delimiter="/", max_results=MAX_FILES + 1, timeout=_CALL_SECONDS, retry=_retry()
            )
            names = [blob.name for blob in found if blob.name != prefix]
        if len(names) > MAX_FILES:
            raise CloudFileError(f"it has more than {MAX_FILES} files: name a folder of its own")
        for name in names:
            yield CloudFile(f"gs://{self._bucket}/{name}")

    def is_dir(self) -> bool:
        """Return whether it is a folder: there are files in it."""
        return any(True for _ in self.iterdir())

    def is_file(self) -> bool:
        """Return whether there is such a file."""
        with _mapped():
            return self._objects.get_blob(self._name, timeout=_CALL_SECONDS, retry=_retry()) is not None

    def joinpath(self, *descendants: Any) -> "CloudFile":
        """Return a file of this folder."""
        return CloudFile("/".join([self._url.rstrip("/"), *map(str, descendants)]))

    def open(self, mode: str = "r", *_arguments: Any, **_named: Any) -> IO[Any]:
        """Return the content as a file in memory."""
        content = self.read_bytes()
        return io.BytesIO(content) if "b" in mode else io.StringIO(content.decode())

    @cached_property
    def _objects(self) -> "storage.Bucket":
        from google.cloud import storage  # noqa: PLC0415 - see above

        return storage.Client(project=None).bucket(self._bucket)


def file_at(path: str) -> Path | CloudFile:
    """Return the file that an option names."""
    return CloudFile(path) if path.startswith("gs://") else Path(path)


def _retry() -> Any:
    from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped] # noqa: PLC0415 - as above

    return DEFAULT_RETRY.with_timeout(_RETRY_SECONDS)


@contextmanager
def _mapped() -> Iterator[None]:
    """Map the vendor's errors to CloudFileError."""
    import google.auth.exceptions  # noqa: PLC0415 - as above
    import requests.exceptions  # noqa: PLC0415 - as above
    from google.api_core import exceptions as api  # noqa: PLC0415 - as above

    try:
        yield
    except google.auth.exceptions.DefaultCredentialsError:
        raise CloudFileError(
            "there are no credentials for Cloud Storage: log in with gcloud auth application-default login"
        ) from None
    except (api.GoogleAPIError, google.auth.exceptions.GoogleAuthError, requests.exceptions.RequestException) as error:
        _refuse(error)


def _refuse(error: Exception) -> NoReturn:
    # A message can quote the request; class and status can't.
    cause = getattr(error, "cause", None) or error
    status = getattr(cause, "code", None)
    unknown = (
        f"Cloud Storage does not answer ({type(cause).__name__}): try again, and check that this machine reaches it"
    )
    raise CloudFileError(_STATUS.get(int(status), unknown) if isinstance(status, int) else unknown) from error
