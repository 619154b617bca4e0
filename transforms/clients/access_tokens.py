"""Access tokens of the application default credentials for an event loop; google-auth by itself blocks the thread."""

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
"""Timeout of the token endpoint."""
_REFRESHED_JUST_NOW_SECONDS: Final = 5.0


class AccessTokens:
    """Returns a valid access token; concurrent calls share one request for a new one."""

    def __init__(self, credentials: google.auth.credentials.Credentials) -> None:
        self.credentials = credentials
        self._request = functools.partial(google.auth.transport.requests.Request(), timeout=_TOKEN_SECONDS)
        self._refreshing = asyncio.Lock()
        self._refreshed_at = float("-inf")

    @classmethod
    async def from_environment(cls) -> "AccessTokens":
        """Use the credentials that Google's clients find in the environment.

        Raises:
            Unauthenticated: None were found.
        """
        try:
            credentials, _ = await asyncio.to_thread(google.auth.default, scopes=[SCOPE])
        except google.auth.exceptions.GoogleAuthError as error:
            raise Unauthenticated(f"no Google credentials were found ({type(error).__name__})") from None
        return cls(credentials)

    async def token(self) -> str:
        """Return a token that stays valid for some minutes.

        Raises:
            Unauthenticated: The token endpoint gave none.
        """
        if not self.credentials.valid:
            async with self._refreshing:
                if not self.credentials.valid:
                    await self._refresh()
        return str(self.credentials.token)

    async def refresh(self) -> None:
        """Request a new token after the old one was refused; calls refused at the same time share it.

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
