"""Why a request failed. What a sync does about it depends on the class alone.

Messages are in the tap's own words: those of a library or of a response may repeat a
secret.
"""

from __future__ import annotations


class MetrikaError(Exception):
    """A request failed; the message is one line for users."""


class FatalError(MetrikaError):
    """No other request can succeed either."""


class TransientError(MetrikaError):
    """The same request may succeed a little later.

    Attributes:
        retry_after: Seconds that the API asked to wait.
    """

    retry_after = 0.0


class SlowError(TransientError):
    """The response took too long; asking for less may help."""


class OutageError(MetrikaError):
    """The API itself did not respond: not in all attempts, or something else did."""


class UnavailableError(MetrikaError):
    """The API says that a counter is inaccessible or unknown."""


class UnknownUploadError(UnavailableError):
    """The API says that an upload, or all of its counter, is unknown."""


class RejectedError(MetrikaError):
    """The API rejected a request for another reason: one counter cannot be read."""
