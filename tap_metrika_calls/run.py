"""What the streams of one sync share: requests, messages, failures, state."""

from __future__ import annotations

import logging
import typing as t
from functools import cached_property

from tap_metrika_calls import termination
from tap_metrika_calls.api import limits
from tap_metrika_calls.api.errors import FatalError
from tap_metrika_calls.failures import Failures
from tap_metrika_calls.output.lines import counted
from tap_metrika_calls.output.summary import Summary
from tap_metrika_calls.output.writer import StateWriter, Writer
from tap_metrika_calls.settings import select_counters
from tap_metrika_calls.sync.paging import ListReader
from tap_metrika_calls.sync.records import Columns, RecordDecoder
from tap_metrika_calls.sync.selection import CounterSelection
from tap_metrika_calls.sync.state import CounterStates, load_stream_state

if t.TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import msgspec

    from tap_metrika_calls.api.client import MetrikaClient
    from tap_metrika_calls.sync.reader import CounterReader
    from tap_metrika_calls.sync.state import State

NO_COUNTER = (
    "The token has access to no counter. Check that it belongs to the right account, "
    "and ulogin."
)


class Run:
    """One sync.

    Attributes:
        config: The settings.
        logger: Takes what is worth a line at once.
        writer: Takes the messages.
        states: What is remembered, by stream.
        state_writer: Takes the STATE messages.
        failures: What went wrong.
        summary: What was counted.
    """

    def __init__(
        self, config: Mapping[str, t.Any], logger: logging.Logger, writer: Writer
    ) -> None:
        self.config = config
        self.logger = logger
        self.writer = writer
        self.states: dict[str, CounterStates] = {}
        self.state_writer = StateWriter(writer, self.state)
        self.failures = Failures(
            self._stop,
            skips_unavailable=config["on_unavailable"] == "skip",
        )
        self.summary = Summary()
        self._logged: set[str] = set()

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
        decoder = RecordDecoder(_COUNTER_IDS, self.failures.warnings)

        def decode(raw: msgspec.Raw) -> t.Any:  # noqa: ANN401
            row = decoder.decode(raw)
            if row.id is not None:
                raws[row.id] = raw
            return row

        limit = limits.COUNTERS_PER_PAGE
        reader: ListReader[t.Any] = ListReader(
            self.client, self.client.counters, decode, limit=limit
        )
        for _ in reader.read():
            pass
        if reader.invalid_ids:
            template = "{} counters without a valid ID cannot be read"
            self.failures.failed.add(template, reader.invalid_ids)
        if not raws:
            raise FatalError(NO_COUNTER)
        return raws

    def select(self, stream: str) -> list[CounterSelection]:
        """Return what is configured; every counter, if none is.

        Raises:
            FatalError: If the list of counters is needed and cannot be read.
        """
        configured = select_counters(self.config)
        if configured is not None:
            if not configured:
                line = "Setting 'counters' is an empty list: nothing is read."
                self._log_once(logging.WARNING, line)
            return configured
        ids = list(self.counters)
        self._log_once(
            logging.INFO,
            f"Reading all {counted(len(ids), 'counter')} that the token has access to, "
            "because neither counters nor counter_id is set.",
        )
        for missing in self.states[stream].counter_ids() - set(ids):
            self.failures.warnings.add(
                "Counter {} is no longer listed for the token and not read, though the "
                "state has a bookmark.",
                missing,
            )
        return [CounterSelection(counter_id) for counter_id in ids]

    def load_state(self, state: State, streams: Iterable[str]) -> None:
        """Take over a valid state."""
        for name in streams:
            self.states[name] = CounterStates(load_stream_state(state, name))

    def state(self) -> State:
        """Return the state for a STATE message; empty if there is nothing to say."""
        contents = {name: states.content() for name, states in self.states.items()}
        bookmarks = {name: content for name, content in contents.items() if content}
        return {"bookmarks": bookmarks} if bookmarks else {}

    @property
    def is_terminated(self) -> bool:
        """Whether a signal asked the sync to end."""
        return termination.received() is not None

    def count(self, reader: CounterReader) -> None:
        """Count what was read of a counter, for the summary."""
        self.summary.uploads += reader.seen
        self.summary.pages += reader.pages
        is_early = reader.stopped_early and reader.selection.is_whole
        self.summary.early_stops += is_early

    def finish(self) -> None:
        """Write the last STATE, and log what was read."""
        self.state_writer.write_state()
        self.client.close()
        counts, client = self.writer.record_counts, self.client
        self.summary.log(self.logger, counts, client.requests, client.retries)

    def _stop(self, error: FatalError) -> None:
        self.client.stop(error)

    def _while_waiting(self) -> None:
        self.writer.flush()
        if self.is_terminated:
            raise termination.Terminated

    def _log_once(self, level: int, line: str) -> None:
        if line not in self._logged:
            self._logged.add(line)
            self.logger.log(level, "%s", line)


_COUNTER_IDS = Columns(
    {"id": "integer", "create_time": "date-time"}, reports_undocumented=False
)
