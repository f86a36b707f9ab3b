"""Failures kept apart: what fails a counter, stops a sync, or is only skipped."""

from __future__ import annotations

import contextlib
import typing as t

from tap_metrika_calls.api import errors, limits
from tap_metrika_calls.output.lines import GroupedLines, counted

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Mapping

    from tap_metrika_calls.sync.reader import CounterReader
    from tap_metrika_calls.sync.state import CounterStates

SYNC_AGAIN = "Synced data is kept; run the sync again later."
SKIPPED = "Skipped, as on_unavailable says."
UNKNOWN = "Counter {0}: unknown upload IDs: {{}}. {1}"
REMOVE = "Remove them from uploading_ids or set on_unavailable to 'skip'."
LOST = "Counter {0}{1}: uploads in flight are no longer known: {{}}."


class SyncFailedError(Exception):
    """A sync failed; `errors` holds a line for each failure."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(*lines)
        self.errors = lines


class Failures:
    """What went wrong in a sync.

    Attributes:
        failed: What makes the sync fail.
        skipped: What `on_unavailable: skip` passed over.
        warnings: What is worth a line at the end.
        names_streams: Whether lines say which stream they are about.
        has_read: Whether anything could be read.
    """

    again = SYNC_AGAIN

    def __init__(
        self, stop: Callable[[errors.FatalError], None], *, skips_unavailable: bool
    ) -> None:
        """Prepare; `stop` makes all further requests fail."""
        self.failed = GroupedLines()
        self.skipped = GroupedLines()
        self.warnings = GroupedLines()
        self.names_streams = False
        self._stop = stop
        self._skips_unavailable = skips_unavailable
        self.has_read = False
        self._outages = self._untried = 0
        self._has_skipped_counters = self._has_ended = False
        self._tried: set[str] = set()
        self._resume_from: tuple[str, int] | None = None

    def add(self, error: errors.FatalError) -> None:
        """Note an error that no counter alone is about, and stop."""
        self._has_ended = True
        self.failed.add(str(error), "")
        self._stop(error)

    def where(self, stream: str) -> str:
        """Return which stream a counter's line is about, if there are several."""
        return f" of {stream}" if self.names_streams else ""

    @contextlib.contextmanager
    def kept_apart(self, stream: str, counter: CounterReader) -> Iterator[None]:
        """Note whether a counter can be read, and go on with the others."""
        counter_id = counter.selection.counter_id
        try:
            yield
        except errors.FatalError as error:
            self.failed.add(str(error), "")
            self._untried += 1
            self._resume_from = self._resume_from or (stream, counter_id)
        except errors.MetrikaError as error:
            self._tried.add(stream)
            self._add_counter(stream, counter_id, error)
        else:
            self._tried.add(stream)
            self._outages = 0
            self.has_read |= counter.selection.is_whole or counter.seen > 0
        finally:
            counter.cancel()
            lines, advice = self.failed, REMOVE
            if self._skips_unavailable:
                lines, advice = self.skipped, SKIPPED
            for upload_id in counter.unknown_ids:
                lines.add(UNKNOWN.format(counter_id, advice), upload_id)
            for upload_id in counter.lost_ids:
                line = LOST.format(counter_id, self.where(stream))
                self.warnings.add(line, upload_id)

    def finish(
        self, states: Mapping[str, CounterStates], logger: logging.Logger
    ) -> None:
        """Decide where the next sync begins; log what is left to say.

        After a stop it begins with the first counter that was not tried. A sync that
        tried none, or failed for a reason that no counter has, leaves that as it was.
        """
        if self._has_skipped_counters and not (self.failed or self.has_read):
            self.failed.add("Nothing could be read: see the warnings.", "")
        for line in (*self.skipped.lines(), *self.warnings.lines()):
            logger.warning("%s", line)
        if self._has_ended:
            return
        stream, counter_id = self._resume_from or (None, None)
        for name in states.keys() & {*self._tried, stream} if self._tried else ():
            states[name].resume_from = counter_id if name == stream else None
        if stream in states:
            untried = counted(self._untried, "counter")
            next_sync = f"the next sync begins with counter {counter_id} of {stream}"
            logger.warning("%s not tried; %s.", untried, next_sync)

    def raise_if_failed(self) -> None:
        """Raise SyncFailedError if anything makes the sync fail."""
        if self.failed:
            raise SyncFailedError(self.failed.lines())

    def _add_counter(
        self, stream: str, counter_id: int, error: errors.MetrikaError
    ) -> None:
        is_outage = isinstance(error, errors.OutageError)
        self._outages = self._outages + 1 if is_outage else 0
        where = self.where(stream)
        unknown = isinstance(error, errors.UnknownUploadError)
        advice = ", check its number" if unknown else ""
        template = f"Counter {{}}{where}: {error}".rstrip(".") + f"{advice}."
        if is_outage:
            template = f"{error} (counter {{}}{where}). {self.again}"
        if isinstance(error, errors.UnavailableError) and self._skips_unavailable:
            self._has_skipped_counters = True
            self.skipped.add(f"{template} {SKIPPED}", counter_id)
        else:
            self.failed.add(template, counter_id)
        if self._outages == limits.MAX_OUTAGES:
            msg = f"Stopped: {limits.MAX_OUTAGES} counters in a row could not be read."
            self._stop(errors.FatalError(msg))
