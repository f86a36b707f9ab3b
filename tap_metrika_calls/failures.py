"""Failures kept apart: what fails a counter, stops a sync, or is only skipped."""

from __future__ import annotations

import typing as t

from tap_metrika_calls.api.errors import FatalError, OutageError, UnavailableError
from tap_metrika_calls.output.lines import GroupedLines, counted

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from tap_metrika_calls.api.errors import MetrikaError
    from tap_metrika_calls.sync.reader import CounterReader
    from tap_metrika_calls.sync.state import CounterStates

SYNC_AGAIN = "Synced data is kept; run the sync again later."
SKIPPED = "Skipped, as on_unavailable says."
MAX_OUTAGES = 3  # counters in a row


class Failures:
    """What went wrong in a sync.

    Attributes:
        failed: What makes the sync fail.
        skipped: What `on_unavailable: skip` passed over.
        warnings: What is worth a line at the end.
        names_streams: Whether lines say which stream they are about.
    """

    def __init__(
        self, stop: Callable[[FatalError], None], *, skips_unavailable: bool
    ) -> None:
        """Prepare.

        Args:
            stop: Makes all further requests fail.
            skips_unavailable: Whether unknown uploads and inaccessible counters are
                only warned about.
        """
        self.failed = GroupedLines()
        self.skipped = GroupedLines()
        self.warnings = GroupedLines()
        self.names_streams = False
        self._stop = stop
        self._skips_unavailable = skips_unavailable
        self._outages = self._untried = 0
        self._has_read = self._has_tried = False
        self._resume_from: tuple[str, int] | None = None

    def add(self, error: FatalError) -> None:
        """Note an error that no counter alone is about, and stop."""
        self.failed.add(str(error), "")
        self._stop(error)

    def add_success(self) -> None:
        """Note that something was read whole."""
        self._has_read = self._has_tried = True
        self._outages = 0

    def add_counter(self, stream: str, counter_id: int, error: MetrikaError) -> None:
        """Note why a counter could not be read, and stop if it is the API's outage."""
        if isinstance(error, FatalError):
            self.failed.add(str(error), "")
            self._untried += 1
            self._resume_from = self._resume_from or (stream, counter_id)
            return
        self._has_tried = True
        is_outage = isinstance(error, OutageError)
        self._outages = self._outages + 1 if is_outage else 0
        where = f" of {stream}" if self.names_streams else ""
        template = f"{error} (counter {{}}{where}). {SYNC_AGAIN}"
        if not is_outage:
            template = f"Counter {{}}{where}: {error}".rstrip(".") + "."
        if isinstance(error, UnavailableError) and self._skips_unavailable:
            self.skipped.add(f"{template} {SKIPPED}", counter_id)
        else:
            self.failed.add(template, counter_id)
        if self._outages == MAX_OUTAGES:
            msg = f"Stopped: {MAX_OUTAGES} counters in a row could not be read."
            self._stop(FatalError(msg))

    def add_uploads(self, reader: CounterReader) -> None:
        """Note the uploads of a counter that the API does not know."""
        where = f"Counter {reader.selection.counter_id}"
        template = f"{where}: unknown upload IDs: {{}}."
        for upload_id in reader.unknown_ids:
            if self._skips_unavailable:
                self.skipped.add(f"{template} {SKIPPED}", upload_id)
            else:
                advice = "Remove them from uploading_ids or set on_unavailable to"
                self.failed.add(f"{template} {advice} 'skip'.", upload_id)
        for upload_id in reader.lost_ids:
            template = f"{where}: uploads in flight are no longer known: {{}}."
            self.warnings.add(template, upload_id)

    def finish(
        self, states: Mapping[str, CounterStates], logger: logging.Logger
    ) -> None:
        """Decide where the next sync begins; log what is left to say.

        After a stop it begins with the first counter that was not tried. A sync that
        tried none leaves that as it was.
        """
        if self.skipped and not self.failed and not self._has_read:
            self.failed.add("Nothing could be read: see the warnings.", "")
        stream, counter_id = self._resume_from or (None, 0)
        if self._has_tried or stream is None:
            for name, state in states.items():
                state.resume_from = counter_id if name == stream else None
        for line in (*self.skipped.lines(), *self.warnings.lines()):
            logger.warning("%s", line)
        if stream is not None:
            logger.warning(
                "%s not tried; the next sync begins with counter %d of %s.",
                counted(self._untried, "counter"),
                counter_id,
                stream,
            )
