"""Access tokens of the application-default credentials, for an event loop: google-auth by itself blocks its thread."""

import asyncio
import functools
import time
from typing import Final

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests

from transforms.errors import Unauthenticated

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_TOKEN_SECONDS: Final = 10.0
"""For the token endpoint to answer."""
_REFRESHED_JUST_NOW_SECONDS: Final = 5.0


class AccessTokens:
    """Hands out a valid access token; one request for a new one at a time, however many calls want it."""

    def __init__(self, credentials: google.auth.credentials.Credentials) -> None:
        self.credentials = credentials
        self._request = functools.partial(google.auth.transport.requests.Request(), timeout=_TOKEN_SECONDS)
        self._refreshing = asyncio.Lock()
        self._refreshed_at = float("-inf")

    @classmethod
    async def from_environment(cls) -> "AccessTokens":
        """Return tokens of the credentials that Google's clients find in the environment.

        Raises:
            Unauthenticated: There are none.
        """
        try:
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=[SCOPE])
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unauthenticated(f"no Google credentials were found ({type(error).__name__})") from None
        return cls(credentials)

    async def token(self) -> str:
        """Return a token that is valid for some minutes.

        Raises:
            Unauthenticated: The token endpoint gave none.
        """
        if not self.credentials.valid:
            async with self._refreshing:
                if not self.credentials.valid:
                    await self._refresh()
        return str(self.credentials.token)

    async def refresh(self) -> None:
        """Get a new token, since the old one was refused; calls that were refused together share the new one.

        Raises:
            Unauthenticated: The token endpoint gave none.
        """
        async with self._refreshing:
            if time.monotonic() - self._refreshed_at > _REFRESHED_JUST_NOW_SECONDS:
                await self._refresh()
                self._refreshed_at = time.monotonic()

    async def _refresh(self) -> None:
        try:
            await asyncio.to_thread(self.credentials.refresh, self._request)
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unauthenticated(f"the token endpoint gave no access token ({type(error).__name__})") from None
