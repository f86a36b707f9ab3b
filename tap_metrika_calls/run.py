"""What the streams of one sync share: requests, messages, failures, state."""

from __future__ import annotations

import typing as t
from collections import Counter
from functools import cached_property

from tap_metrika_calls import termination
from tap_metrika_calls.api import limits
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.failures import Failures
from tap_metrika_calls.output.lines import counted
from tap_metrika_calls.output.summary import summarize
from tap_metrika_calls.output.writer import StateWriter, Writer
from tap_metrika_calls.sync.paging import ListReader
from tap_metrika_calls.sync.records import RecordDecoder
from tap_metrika_calls.sync.selection import CounterSelection, select_counters

if t.TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    import msgspec

    from tap_metrika_calls.api.client import MetrikaClient
    from tap_metrika_calls.sync.reader import CounterReader
    from tap_metrika_calls.sync.state import CounterStates, State

READING_ALL = (
    "Reading all %s that the token has access to, because neither counters nor "
    "counter_id is set."
)
NO_COUNTER = "The token has access to no counter. Check whose token it is, and ulogin."
NO_IDS = "Counter %d: uploading_ids is empty, so no upload of calls is read."
NOT_LISTED = "Not read, as no longer listed for the token: counter {} of the state."
_COUNTER = {"id": "integer", "create_time": "date-time"}


class Run:
    """One sync.

    Attributes:
        config: The settings.
        states: What is remembered, by stream.
        failures: What went wrong.
        read: Number of uploads and pages received, and of lists left early.
    """

    def __init__(
        self, config: Mapping[str, t.Any], logger: logging.Logger, writer: Writer
    ) -> None:
        self.config = config
        self.logger = logger
        self.writer = writer
        self.states: dict[str, CounterStates] = {}
        self.state_writer = StateWriter(writer, self.state)
        skips_unavailable = config["on_unavailable"] == "skip"
        self.failures = Failures(self._stop, skips_unavailable=skips_unavailable)
        self.read: Counter[str] = Counter()

    @cached_property
    def client(self) -> MetrikaClient:
        """The API; one for all streams, so that they share the quotas."""
        # Discovery needs no API, and starts faster without its libraries.
        from tap_metrika_calls.api.client import MetrikaClient  # noqa: PLC0415

        return MetrikaClient(self.config, self.logger, self._while_waiting)

    @cached_property
    def counters(self) -> dict[int, msgspec.Raw]:
        """All counters that the token has access to, by ID.

        Raises:
            FatalError: If the list cannot be read, or is empty.
        """
        raws: dict[int, msgspec.Raw] = {}
        decoder = RecordDecoder(_COUNTER, self.failures.warnings, reports_others=False)

        def decode(raw: msgspec.Raw) -> t.Any:  # noqa: ANN401
            row = decoder.decode(raw)
            raws[row.id] = raw
            return row

        reader: ListReader[t.Any] = ListReader(
            self.client, self.client.counters, decode, limit=limits.COUNTERS_PER_PAGE
        )
        for _ in reader.read():
            pass
        if reader.invalid_ids:
            del raws[None]  # type: ignore[arg-type]
            template = "{} counters without a valid ID cannot be read"
            self.failures.failed.add(template, reader.invalid_ids)
        if not raws:
            raise FatalError(NO_COUNTER)
        return raws

    @cached_property
    def selected(self) -> list[CounterSelection]:
        """What is configured; every counter, if none is.

        Raises:
            FatalError: If the list of counters is needed and cannot be read.
        """
        selected = select_counters(self.config)
        if selected == []:
            line = "Setting 'counters' is an empty list: nothing is read."
            self.logger.warning(line)
        for each in selected or ():
            if not (each.is_whole or each.uploading_ids):
                self.logger.warning(NO_IDS, each.counter_id)
        if selected is None:
            selected = [CounterSelection(counter_id) for counter_id in self.counters]
            self.logger.info(READING_ALL, counted(len(selected), "counter"))
            for states in self.states.values():
                for missing in states.counter_ids() - self.counters.keys():
                    self.failures.warnings.add(NOT_LISTED, missing)
        return selected

    def state(self) -> State:
        """Return the state for a STATE message; empty if there is nothing to say."""
        contents = {name: states.content() for name, states in self.states.items()}
        bookmarks = {name: content for name, content in contents.items() if content}
        return {"bookmarks": bookmarks} if bookmarks else {}

    def count(self, reader: CounterReader) -> None:
        """Count what was read of a counter, for the summary."""
        self.read.update(uploads=reader.seen, pages=reader.pages)
        self.read["early_stops"] += reader.stopped_early and reader.selection.is_whole

    def finish(self) -> None:
        """Write the last STATE, and log what was read."""
        self.state_writer.write_now()
        self.client.close()
        counts, client = self.writer.record_counts, self.client
        line = summarize(counts, self.read, client.requests, client.retries)
        self.logger.info("%s", line)

    def _stop(self, error: FatalError) -> None:
        self.client.stop(error)

    def _while_waiting(self) -> None:
        self.writer.flush()
        self.state_writer.write_if_due()
        if termination.received() is not None:
            raise termination.Terminated
