"""Uploads of one counter, and the pages of their lists."""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import dataclass, field

from sandbox.bulk import Bulk

if t.TYPE_CHECKING:
    from datetime import datetime

Fields: t.TypeAlias = dict[str, t.Any]

KINDS = ("BASIC", "CALLS", "CHATS")
ORDERS = ("newest", "oldest", "shuffled")
BULK_IDS = 3_000_000  # for each kind of a counter


@dataclass
class Upload:
    """One upload.

    Attributes:
        fields: What the API sends.
        stages: When which status begins; none if the status in `fields` stays.
        visible: Whether it is in the list and found by its ID.
    """

    fields: Fields
    stages: list[tuple[datetime, str]] = field(default_factory=list)
    visible: bool = True

    def exists(self, now: datetime) -> bool:
        """Whether the API knows it at a time: an upload of the future is unknown."""
        return self.visible and (not self.stages or self.stages[0][0] <= now)

    def at(self, now: datetime) -> Fields:
        """Return the upload as it is at a time."""
        reached = [status for begins, status in self.stages if begins <= now]
        return {**self.fields, "status": reached[-1]} if reached else self.fields


@dataclass
class UploadList:
    """The uploads of one kind: computed ones, and then those kept, as they were added.

    Attributes:
        bulk: The computed ones.
        uploads: Those kept.
    """

    bulk: Bulk
    uploads: list[Upload] = field(default_factory=list)

    def find(self, upload_id: int, now: datetime) -> Fields | None:
        """Return the upload with an ID, as it is at a time."""
        for upload in self.uploads:
            if upload.fields.get("id") == upload_id and upload.exists(now):
                return upload.at(now)
        return self.bulk.decoded(upload_id) if upload_id in self.bulk else None

    def page(self, order: str, offset: int, limit: int, now: datetime) -> list[bytes]:
        """Return some of the uploads as JSON, in an order of `ORDERS`."""
        kept = [upload for upload in self.uploads if upload.exists(now)]
        if order == "newest":
            kept.reverse()
        elif order == "shuffled":
            kept.sort(key=_hash)
        stop = offset + limit
        if order == "oldest":
            rest = max(0, offset - len(self.bulk)), max(0, stop - len(self.bulk))
            return [
                *self.bulk.page(order, offset, stop),
                *(_encoded(upload, now) for upload in kept[slice(*rest)]),
            ]
        rest = max(0, offset - len(kept)), max(0, stop - len(kept))
        return [
            *(_encoded(upload, now) for upload in kept[offset:stop]),
            *self.bulk.page(order, *rest),
        ]

    def delete(self, upload_id: int) -> None:
        """Delete an upload.

        Raises:
            KeyError: There is none.
        """
        if upload_id in self.bulk:
            self.bulk.delete(upload_id)
        else:
            self.uploads.remove(self.kept(upload_id))

    def kept(self, upload_id: int) -> Upload:
        """Return the upload with an ID that is kept, visible or not.

        Raises:
            KeyError: There is none.
        """
        for upload in self.uploads:
            if upload.fields.get("id") == upload_id:
                return upload
        raise KeyError(upload_id)


@dataclass
class Counter:
    """One counter, and its uploads by kind."""

    id: int
    name: str
    lists: dict[str, UploadList]
    inaccessible: bool = False

    @property
    def uploads(self) -> list[Upload]:
        """The uploads of calls that are kept."""
        return self.lists["CALLS"].uploads

    def next_id(self) -> int:
        """Return an ID above all that are known: kinds share one number space."""
        ids = [0]
        for uploads in self.lists.values():
            given = (upload.fields.get("id") for upload in uploads.uploads)
            ids += [i for i in given if isinstance(i, int) and not isinstance(i, bool)]
            if uploads.bulk.size:
                ids.append(uploads.bulk.first_id + uploads.bulk.size - 1)
        return max(ids) + 1


def new_counter(counter_id: int, name: str, epoch: datetime) -> Counter:
    """Return a counter without uploads."""
    first_id = counter_id * len(KINDS) * BULK_IDS
    lists = {
        kind: UploadList(Bulk(first_id + place * BULK_IDS, kind, epoch))
        for place, kind in enumerate(KINDS)
    }
    return Counter(counter_id, name, lists)


def _encoded(upload: Upload, now: datetime) -> bytes:
    return json.dumps(upload.at(now)).encode()


def _hash(upload: Upload) -> bytes:
    """Return a sort key that depends on the upload alone, so others may come and go."""
    return hashlib.blake2b(str(upload.fields.get("id")).encode()).digest()
