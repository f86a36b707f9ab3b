"""An upload as the API sends it -> a record that fits the schema."""

from __future__ import annotations

import typing as t
from itertools import islice

from tap_metrika_calls.bookmark import normal_form
from tap_metrika_calls.settings import parse_time

if t.TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from singer_sdk.helpers.types import Record

    from tap_metrika_calls.answers import Fields

UNDOCUMENTED = "Fields that no documentation of the API knows were left out"
MISFIT = "Values of another type than documented were loaded as null"
NAMED = 20


class Oddities:
    """What the API sends and no documentation knows: told once a sync, by name."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = {}

    def add(self, what: str, name: str, source: Fields) -> None:
        """Take note of a name, and of the ID of the object it was first met in."""
        names = self._names.setdefault(what, {})
        if name not in names:
            names[name] = str(source.get("id"))[:40]

    def lines(self) -> Iterator[str]:
        """A line for each kind of oddity, with the names and where they were met."""
        for what, names in self._names.items():
            told = [
                f"{ascii(name)[1:-1][:80]} (first in {where})"
                for name, where in islice(names.items(), NAMED)
            ]
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            yield f"{what}: {', '.join(told)}{more}"


class RecordShaper:
    """Makes records that fit a schema of integers, strings and date-times exactly.

    A value that does not fit its property becomes null, and a field that is no
    property is left out; both are taken note of.
    """

    def __init__(
        self,
        schema: Mapping[str, t.Any],
        documented: Mapping[str, t.Any] | None,
        oddities: Oddities,
    ) -> None:
        """Prepare.

        Args:
            schema: The schema that the records have to fit.
            documented: A schema with all documented fields; None if none is at hand,
                so that no field counts as undocumented.
            oddities: Takes note of what does not fit.
        """
        properties = schema["properties"]
        self._kinds = {
            name: str if "string" in prop["type"] else int
            for name, prop in properties.items()
        }
        self._times = [
            name
            for name, prop in properties.items()
            if prop.get("format") == "date-time"
        ]
        self._fitting: set[tuple[object, ...]] = set()
        self._documented = documented and documented["properties"]
        self._oddities = oddities

    def shape(self, record: Record, source: Fields) -> Record:
        """Fill a record with what the API sent; what it did not send stays away."""
        signature = (*source, *map(type, source.values()))
        if signature in self._fitting:
            record |= source
        elif self._pick(record, source):
            self._fitting.add(signature)
        for name in self._times:
            if record.get(name) is not None:
                record[name] = self._time(name, record[name], source)
        return record

    def _pick(self, record: Record, source: Fields) -> bool:
        """Take over what fits; tell whether all did."""
        fits = True
        for name, value in source.items():
            kind = self._kinds.get(name)
            if kind is None:
                fits = False
                if self._documented is not None and name not in self._documented:
                    self._oddities.add(UNDOCUMENTED, name, source)
            elif value is None or type(value) is kind:
                record[name] = value
            else:
                fits = False
                record[name] = None
                self._oddities.add(MISFIT, name, source)
        return fits

    def _time(self, name: str, value: str, source: Fields) -> str | None:
        instant = parse_time(value)
        if instant is None:
            self._oddities.add(MISFIT, name, source)
            return None
        return normal_form(instant)
