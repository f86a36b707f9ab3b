"""The kinds of uploads, and where the API serves them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class UploadKind:
    """Where the API serves one kind of upload.

    Attributes:
        one: Endpoint of one upload.
        many: Endpoint of the list.
        type: What the API calls the kind, in the field `type`.
        params: Query parameters of the list.
    """

    one: str
    many: str
    type: str
    params: Mapping[str, str] = field(default_factory=dict)


# The endpoints of the original documentation page.
CALLS = UploadKind("calls_uploading", "calls_uploadings", "CALLS")
CONVERSIONS = UploadKind("uploading", "uploadings", "BASIC", {"type": "BASIC"})
CHATS = UploadKind("uploading", "uploadings", "CHATS", {"type": "CHATS"})
