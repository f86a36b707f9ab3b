"""What keeps a page from being built."""

from __future__ import annotations


class ReportError(Exception):
    """A report cannot be built; the message is one line for its reader."""
