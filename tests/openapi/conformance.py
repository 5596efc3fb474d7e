"""Whether a server does what its document says: schemathesis, bounded and reproducible."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.control import SkipTest
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    allow_header_conformance,
]
EXACT = [negative_data_rejection, positive_data_acceptance]
"""Whether the schemas tell exactly what is accepted."""

Send = Callable[[Any], None]


def answers(
    url: str,
    document: dict[str, Any],
    *,
    examples: int,
    headers: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    inexact: Collection[str] = (),
) -> dict[str, set[int]]:
    """Send to every operation `examples` requests that fit, and as many that do not.

    Return the statuses of the answers by operation id. The operations `without` are left out; those
    that are `inexact` may accept what does not fit, and refuse what does, where JSON Schema cannot
    say what they accept.

    Raises:
        FailureGroup: an answer is not as the document says, or an error of the server.
    """
    found: dict[str, set[int]] = {}
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = result.ok()
        name = operation.definition.raw["operationId"]
        if name in without:
            continue
        checks = CHECKS if name in inexact else [*CHECKS, *EXACT]
        send = _sender(url, headers, checks, found.setdefault(name, set()))
        for mode in schemathesis.GenerationMode:
            _try(operation.as_strategy(generation_mode=mode), send, examples)
    return found


def _sender(
    url: str, headers: Mapping[str, str] | None, checks: list[Any], statuses: set[int]
) -> Send:
    def send(case: Any) -> None:
        answer = case.call(base_url=url, headers=headers, timeout=20)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=checks)

    return send


def _try(strategy: Any, send: Send, examples: int) -> None:
    bounded = settings(
        max_examples=examples,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    try:  # noqa: SIM105 - suppress() changes the type of exception groups
        bounded(given(strategy)(send))()
    except (SkipTest, Unsatisfiable):  # nothing is wrong with a request that has no parts
        pass
