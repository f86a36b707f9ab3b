"""The tap: its settings and its streams."""

from __future__ import annotations

import typing as t
from collections import Counter
from datetime import UTC, datetime
from functools import cached_property

import click
from singer_sdk import typing as th
from singer_sdk.configuration._dict_config import merge_missing_config_jsonschema
from singer_sdk.helpers.capabilities import EMIT_ACTIVATE_VERSION_CONFIG
from typing_extensions import override

from tap_metrika_calls import settings
from tap_metrika_calls.cli import CommandLineTap, Terminated
from tap_metrika_calls.errors import MetrikaError, SyncFailedError
from tap_metrika_calls.sdk_settings import SDK_SETTINGS
from tap_metrika_calls.settings import Wanted
from tap_metrika_calls.streams import CallsUploadingsStream, CountersStream
from tap_metrika_calls.writer import EncodedStateWriter

if t.TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk.streams import Stream

    from tap_metrika_calls.client import MetrikaClient

_ID = th.IntegerType(minimum=1, maximum=2**63 - 1)
REQUESTS_A_DAY = 5_000  # documented, for a login


class TapMetrikaCalls(CommandLineTap):
    """Yandex Metrica: what became of the phone calls you uploaded."""

    name = "tap-metrika-calls"
    config_jsonschema = th.PropertiesList(
        th.Property(
            "oauth_token",
            th.StringType(pattern=r"\S"),
            required=True,
            secret=True,
            title="OAuth token",
            description=(
                "OAuth token of a Yandex account that may read the counters, with the "
                "scope `metrika:read`."
            ),
        ),
        th.Property(
            "counter_id",
            _ID,
            title="Counter ID",
            description=(
                "The one counter to read. Together with `uploading_ids`, short for one "
                "entry of `counters`."
            ),
        ),
        th.Property(
            "uploading_ids",
            th.ArrayType(_ID),
            title="Upload IDs",
            description=(
                "Uploads of `counter_id` to read in every sync. Left out: every upload "
                "of the counter, incrementally."
            ),
        ),
        th.Property(
            "counters",
            th.ArrayType(
                th.ObjectType(
                    th.Property("counter_id", _ID, required=True),
                    th.Property("uploading_ids", th.ArrayType(_ID)),
                    additional_properties=False,
                )
            ),
            title="Counters",
            description=(
                'Several counters: a list of `{"counter_id": 1, "uploading_ids": '
                "[2, 3]}`. Without `uploading_ids`, every upload of the counter; with "
                "an empty list, none. With neither `counters` nor `counter_id`, every "
                "counter that the token sees."
            ),
        ),
        th.Property(
            "start_date",
            th.DateTimeType,
            title="Start date",
            description=(
                "Of whole counters, only uploads created at or after this time are "
                "read (in UTC where no zone is named). Uploads asked for by ID are not "
                "filtered."
            ),
        ),
        th.Property(
            "lookup",
            th.StringType,
            allowed_values=["auto", "by_id", "list"],
            default="auto",
            title="Lookup of upload IDs",
            description=(
                "How configured upload IDs are found: `by_id` costs a request each, "
                "`list` one for 10,000 uploads of the counter, `auto` chooses the "
                "cheaper way. The records are the same."
            ),
        ),
        th.Property(
            "on_missing",
            th.StringType,
            allowed_values=["fail", "skip"],
            default="fail",
            title="On a missing upload",
            description=(
                "What an upload ID that the API does not know does: `fail` loads the "
                "others and ends with exit code 1, `skip` warns."
            ),
        ),
        th.Property(
            "unsettled_days",
            th.IntegerType(minimum=0, maximum=36_500),
            default=21,
            title="Days to wait for an upload",
            description=(
                "For how many days after its creation an unfinished upload is read "
                "again in every sync of its counter."
            ),
        ),
        th.Property(
            "ulogin",
            th.StringType(pattern=r"\S"),
            title="Delegated account",
            description="Login of the account whose delegated rights are used.",
        ),
        th.Property(
            "max_parallel_requests",
            th.IntegerType(minimum=1, maximum=100),
            default=3,
            title="Parallel requests",
            description="Most requests at once; the API allows 3 for a login.",
        ),
        th.Property(
            "requests_per_second",
            th.IntegerType(minimum=1, maximum=1_000_000),
            default=30,
            title="Requests a second",
            description="Most requests a second; the API allows 30 for an IP address.",
        ),
        th.Property(
            "request_timeout",
            th.IntegerType(minimum=1, maximum=86_400),
            default=60,
            title="Request time-out",
            description="Seconds that one attempt of a request may take.",
        ),
        th.Property(
            "max_attempts",
            th.IntegerType(minimum=1, maximum=1_000),
            default=8,
            title="Attempts",
            description=(
                "How often a request is attempted when the API throttles or fails, "
                "with growing pauses."
            ),
        ),
        th.Property(
            "api_url",
            th.StringType,
            default="https://api-metrika.yandex.net",
            title="API address",
            description=(
                "Address of the API; plain `http://` only on a loopback address."
            ),
        ),
        additional_properties=False,
    ).to_dict()

    def __init__(
        self, *, catalog: dict[str, t.Any] | None = None, **kwargs: t.Any
    ) -> None:
        super().__init__(catalog=with_replication_methods(catalog), **kwargs)
        self._state_writer = EncodedStateWriter(self.message_writer)
        self.failures: list[str] = []
        self.stopped = False
        self.emitted: Counter[str] = Counter()

    @classmethod
    @override
    def append_builtin_config(cls, config_jsonschema: dict[str, t.Any]) -> None:
        merge_missing_config_jsonschema(SDK_SETTINGS, config_jsonschema)
        super().append_builtin_config(config_jsonschema)
        merge_missing_config_jsonschema(EMIT_ACTIVATE_VERSION_CONFIG, config_jsonschema)

    @override
    def discover_streams(self) -> Sequence[Stream]:
        return [CallsUploadingsStream(self), CountersStream(self)]

    @cached_property
    def client(self) -> MetrikaClient:
        """The API; one for all streams, so that they share the quotas."""
        # Discovery needs no API, and starts the faster without it.
        from tap_metrika_calls.client import MetrikaClient  # noqa: PLC0415

        return MetrikaClient(self.config, self.logger, self.message_writer.flush)

    @property
    def started_at(self) -> datetime:
        """When this run began, in UTC."""
        return datetime.fromtimestamp(self.initialized_at / 1000, UTC)

    def wanted_counters(self) -> list[Wanted]:
        """What is wanted of which counter, in order.

        Raises:
            MetrikaError: If the list of counters is wanted and cannot be read.
        """
        configured = settings.wanted_counters(self.config)
        if configured is None:
            return [Wanted(counter["id"]) for counter in self.client.all_counters()]
        for wanted in configured:
            if not wanted.whole and not wanted.uploading_ids:
                self.logger.warning(
                    "Counter %d: uploading_ids is empty, so nothing is read of it. "
                    "Leave the setting out to read every upload.",
                    wanted.counter_id,
                )
        return [wanted for wanted in configured if wanted.whole or wanted.uploading_ids]

    @override  # type: ignore[misc]
    def sync_all(self) -> None:
        """Sync all streams, and only then tell what went wrong.

        Final to type checkers, but there is no hook behind the last stream.

        Raises:
            SyncFailedError: If anything that was wanted could not be read.
        """
        try:
            super().sync_all()
        except Terminated:
            # In batches, the last state written is the last that is covered.
            if "batch_config" not in self.config:
                self.state_writer.write_state(self.state)
            raise
        finally:
            self.message_writer.flush()
            self.client.close()
            self._log_summary()
        if self.failures:
            raise SyncFailedError(self.failures)

    @override
    def check_connection(self) -> None:
        from tap_metrika_calls.check import check_connection  # noqa: PLC0415

        check_connection(self.client, self.wanted_counters, click.echo)

    def stop(self, error: MetrikaError) -> None:
        """Take note of an error behind which no stream can go on."""
        self.stopped = True
        if str(error) not in self.failures:
            self.failures.append(str(error))

    def _log_summary(self) -> None:
        sent = self.client.requests
        self.logger.info(
            "Records: %s. Requests: %s. Retries: %d. That is %.1f %% of the %d "
            "requests that the API allows a login in a day.",
            ", ".join(f"{n} {name}" for name, n in self.emitted.items()) or "none",
            ", ".join(f"{n} {kind}" for kind, n in sent.items()) or "none",
            self.client.retries,
            100 * sent.total() / REQUESTS_A_DAY,
            REQUESTS_A_DAY,
        )


def with_replication_methods(catalog: t.Any) -> t.Any:  # noqa: ANN401
    """Put replication methods where the SDK looks for them.

    The Singer specification has them in the metadata of a stream, where users and
    Meltano write them; the SDK puts one beside it first, that it wrote itself.
    """
    if not isinstance(catalog, dict):
        return catalog
    streams = []
    for stream in catalog.get("streams", ()):
        root: dict[str, t.Any] = {}
        for entry in stream.get("metadata", ()):
            if not entry["breadcrumb"]:
                root = entry["metadata"]
        method = root.get("replication-method") or root.get("forced-replication-method")
        streams.append({**stream, "replication_method": method} if method else stream)
    return {**catalog, "streams": streams}
