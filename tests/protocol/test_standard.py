"""The SDK's standard suite, over real HTTP."""

from __future__ import annotations

import typing as t

import pytest
from singer_sdk.testing import SuiteConfig, get_tap_test_class

from sandbox import TOKEN, Sandbox
from tap_metrika_calls.tap import TapMetrikaCalls
from tests.support import as_a_process_of_its_own, catalog_of

if t.TYPE_CHECKING:
    from collections.abc import Iterator

# Conversions have no calls, so that two of their columns are always null.
pytestmark = pytest.mark.filterwarnings("ignore:No records were available to test")
CONFIG = {"oauth_token": TOKEN}


@pytest.fixture(scope="module", autouse=True)
def standard_api() -> Iterator[None]:
    """One mock API for the whole suite, which reads the configuration once."""
    with Sandbox(counters=2, uploads=5, conversions=20, chats=20) as sandbox:
        CONFIG["api_url"] = sandbox.url
        yield


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Undo what each run changes about this process."""
    with as_a_process_of_its_own():
        yield


TestStandard = get_tap_test_class(
    TapMetrikaCalls,
    config=CONFIG,
    suite_config=SuiteConfig(max_records_limit=100),
    catalog=catalog_of(
        "calls_uploadings", "chats_uploadings", "conversions_uploadings", "counters"
    ),
)
