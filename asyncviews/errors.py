"""What a client is told of each of its errors: where, which, why.

Nothing of what it sent is in there but the names of parameters, and of long ones their beginning.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails, PydanticSerializationError, ValidationError

from asyncviews.sources import Source

Error = dict[str, str]

MOST_BUILT = 1000
"""How many errors of one source are looked at; pydantic tells of all or of none."""

MOST_LOGGED = 10

LONGEST_NAME = 100
LONGEST_TEXT = 500
"""Characters of a step of a pointer, and of a whole pointer or a detail."""

_WITHOUT_INPUT: Mapping[str, str] = {
    "base64_decode": "Data should be valid base64",
    "byte_size_unit": "Input should have a valid unit of bytes",
    "bytes_invalid_encoding": "Data should be valid {encoding}",
    "import_error": "Input should be a valid Python path",
    "union_tag_invalid": "Input should have one of the tags {expected_tags} as {discriminator}",
    "uuid_parsing": "Input should be a valid UUID",
    "zoneinfo_str": "Input should be a valid time zone",
}
"""By type, what to say instead of a message of pydantic's that quotes the input."""

_VALUES = re.compile(r"input_value=.*, (?=input_type=)", re.DOTALL)


def errors_of(exc: ValidationError, source: Source, read: Callable[[], Any]) -> Iterator[Error]:
    """Yield the errors in what `source` has, as `read` returns it; of too many, one that says so."""
    if (count := exc.error_count()) > MOST_BUILT:
        yield error(source, "too_many_errors", f"{count:,} values are invalid, too many to list")
        return
    given = read()
    for details in exc.errors(include_url=False, include_input=False):
        path = _path(given, details["loc"], is_missing=details["type"] == "missing")
        yield error(source, details["type"], _detail(details), path)


def summary(exc: ValidationError) -> str:
    """Return in one line where and why a value is invalid, for a log: without the value."""
    if (count := exc.error_count()) > MOST_BUILT:
        return f"{count:,} values in it are invalid"
    found = exc.errors(include_url=False, include_input=False)
    texts = [
        ": ".join(filter(None, (".".join(map(str, each["loc"])), _detail(each))))
        for each in found[:MOST_LOGGED]
    ]
    return "; ".join(_short(text, LONGEST_TEXT) for text in texts)


def serialization_summary(exc: PydanticSerializationError) -> str:
    """Return why a value cannot be serialized, without the value."""
    return _short(_VALUES.sub("", str(exc)), LONGEST_TEXT)


def error(source: Source, type_: str, detail: str, path: Sequence[int | str] = ()) -> Error:
    """Return what is said of one error, at most a few hundred characters."""
    found = {"location": source.location, "type": type_, "detail": _short(detail, LONGEST_TEXT)}
    if path:
        steps = [_short(str(step), LONGEST_NAME) for step in path]
        steps[0] = found["name"] = source.public_name(steps[0])
        found["pointer"] = _short("".join(map(_escaped, steps)), LONGEST_TEXT)
    return found


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _escaped(step: str) -> str:
    """Write one step of a JSON pointer (RFC 6901, section 3)."""
    return "/" + step.replace("~", "~0").replace("/", "~1")


def _detail(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if template := _WITHOUT_INPUT.get(details["type"]):
        return template.format_map(defaultdict(str, context))
    if "reason" in context:  # as email-validator gives it, which quotes
        return "Input should be a valid email address"
    return details["msg"].removeprefix("Value error, ")  # pydantic's, not the author's


def _path(given: Any, steps: Sequence[int | str], *, is_missing: bool) -> tuple[int | str, ...]:
    """Return where in `given` an error is.

    Of pydantic's steps some do not lead into the value: they name the member of a union.
    """
    path: list[int | str] = []
    for number, step in enumerate(steps, 1):
        key_is_missing = is_missing and number == len(steps)
        if isinstance(step, str) and not (isinstance(given, Mapping) and step in given):
            if key_is_missing:
                path.append(step)
            continue
        path.append(step)
        try:
            given = given[step]
        except (LookupError, TypeError):  # a validator has made a list of it
            given = None
    return tuple(path)
