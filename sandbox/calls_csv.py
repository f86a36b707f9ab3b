"""Reads the CSV files of calls that people upload."""

from __future__ import annotations

import csv
import io
import typing as t

if t.TYPE_CHECKING:
    from sandbox.uploads import Fields

ID_COLUMNS = {"UserId": "USER_ID", "ClientId": "CLIENT_ID", "Yclid": "YCLID"}
OPTIONAL_COLUMNS = {
    "StaticCall",
    "Price",
    "Currency",
    "PhoneNumber",
    "TalkDuration",
    "HoldDuration",
    "CallMissed",
    "Tag",
    "FirstTimeCaller",
    "URL",
    "CallTrackerURL",
}


def counted(file: bytes, kind: str | None) -> Fields:
    """Return what the API says of a file: its kind of IDs, and how many calls it has.

    Args:
        file: A CSV in UTF-8.
        kind: The `client_id_type` that the file is said to be of, if any.

    Raises:
        ValueError: The file is not a CSV of calls; the message says why.
    """
    reader = csv.DictReader(io.StringIO(file.decode("utf-8-sig"), newline=""))
    columns = set(reader.fieldnames or ())
    names = [name for name in ID_COLUMNS if name in columns]
    if len(names) != 1 or "DateTime" not in columns:
        message = f"DateTime and one of {', '.join(ID_COLUMNS)} are required"
        raise ValueError(message)
    if kind not in {None, ID_COLUMNS[names[0]]}:
        message = f"client_id_type does not fit the column {names[0]}"
        raise ValueError(message)
    unknown = columns - {*names, "DateTime"} - OPTIONAL_COLUMNS
    if unknown:
        message = f"Unknown columns: {', '.join(sorted(unknown))}"
        raise ValueError(message)
    rows = list(reader)
    valid = [
        row for row in rows if row[names[0]] and (row["DateTime"] or "").isdecimal()
    ]
    static = sum(row.get("StaticCall") == "1" for row in valid)
    return {
        "source_quantity": len(rows),
        "line_quantity": len(valid),
        "client_id_type": ID_COLUMNS[names[0]],
        "static_calls_quantity": static,
        "dynamic_calls_quantity": len(valid) - static,
    }
