from __future__ import annotations

import hashlib
from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import Visitor


def trace_of(name: str) -> str:
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


class Telemetry(Site):
    package = "opentelemetry-instrumentation-django"

    def instrument(self) -> None:
        from opentelemetry import trace
        from opentelemetry.instrumentation.django import DjangoInstrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        provider = TracerProvider()
        self.exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        trace.set_tracer_provider(provider)
        DjangoInstrumentor().instrument()

    def work(self, request: Any) -> str:
        """Return whether the current span is in the trace that the browser began."""
        from opentelemetry import trace

        span = trace.get_current_span().get_span_context()
        return f"{request.user} {format(span.trace_id, '032x') == trace_of(str(request.user))}"

    def effects(self, name: str) -> Any:
        spans = [
            span
            for span in self.exporter.get_finished_spans()
            if format(span.context.trace_id, "032x") == trace_of(name)
        ]
        return [
            {
                "name": span.name,
                "kind": span.kind.name,
                "parent": span.parent and span.parent.span_id == 0xABC,
                "status": span.status.status_code.name,
                "events": [
                    (event.name, event.attributes["exception.message"]) for event in span.events
                ],
                "attributes": {
                    key: value
                    for key, value in sorted((span.attributes or {}).items())
                    if "port" not in key
                },
            }
            for span in sorted(spans, key=lambda span: span.start_time)
        ]

    async def visit(self, visitor: Visitor) -> None:
        visitor.headers["traceparent"] = f"00-{trace_of(visitor.name)}-0000000000000abc-01"
        await visitor.sign_in()
        await visitor.get("/sync/")
        await visitor.get("/")
        assert (await visitor.get("/fail/")).status_code == 500
        assert (await visitor.get("/nowhere/")).status_code == 404


site = Telemetry()
