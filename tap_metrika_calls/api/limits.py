"""Every limit of the API, and the sizes chosen to stay within them.

Documented means: in the reference of the management API at yandex.com/dev/metrika.
"""

from __future__ import annotations

REQUESTS_PER_SECOND = 30  # documented, per IP address
PARALLEL_REQUESTS = 3  # documented, per login
REQUESTS_PER_DAY = 5_000  # documented, per login; resets at 00:00 GMT

UPLOADS_PER_PAGE = 10_000  # the documented default; no maximum is documented
MIN_UPLOADS_PER_PAGE = 1_000  # the smallest page after responses that came too late
QUIET_PAGE_ROWS = 500  # the first page where few new uploads are expected
COUNTERS_PER_PAGE = 1_000  # documented: 10,000 at most
LAST_PAGE_ROWS = 100  # only a page with fewer rows can be the last of a list

FIRST_BACKOFF = 0.5  # seconds, without jitter; each pause is twice the last one
MAX_BACKOFF = 60.0  # seconds
MAX_RETRY_AFTER = 600.0  # seconds that a `Retry-After` is honored for at most
MAX_OUTAGES = 3  # counters, or IDs of one counter, that fail in a row
