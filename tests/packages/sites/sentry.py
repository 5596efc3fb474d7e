from __future__ import annotations

from typing import Any

from tests.packages.site import Site
from tests.packages.visitor import Visitor

UNEVEN = (
    "django.core.cache.close_caches",
    "django.core.handlers.base.reset_urlconf",
    "django.db.close_old_connections",
    "django.db.reset_queries",
    "connect",
)
"""Django's receivers that tidy a thread are not called; who connects to the database is chance."""


class Sentry(Site):
    package = "sentry-sdk"
    remarks = "no spans for Django's receivers that tidy up after a request: they are not called"

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def instrument(self) -> None:
        import sentry_sdk
        from sentry_sdk.integrations.django import DjangoIntegration
        from sentry_sdk.transport import Transport

        events = self.events

        class Kept(Transport):
            def capture_envelope(self, envelope: Any) -> None:
                events.extend(item.payload.json or {} for item in envelope.items)

        sentry_sdk.init(
            dsn="http://key@127.0.0.1/1",
            transport=Kept,
            integrations=[DjangoIntegration()],
            send_default_pii=True,
            traces_sample_rate=1.0,
        )

    def work(self, request: Any) -> str:
        import sentry_sdk

        scope = sentry_sdk.get_isolation_scope()
        before = scope._tags.get("user")
        scope.set_tag("user", str(request.user))
        return f"{request.user} {before}"

    def effects(self, name: str) -> Any:
        """Return the events of requests that were made by a user, as the browser names it."""
        found = []
        for event in self.events:
            if event.get("request", {}).get("headers", {}).get("x-visitor") != name:
                continue
            trace = event.get("contexts", {}).get("trace", {})
            errors = event.get("exception", {}).get("values", [])
            found.append(
                {
                    "type": event.get("type"),
                    "transaction": event.get("transaction"),
                    "user": event.get("user", {}).get("username"),
                    "errors": [(error["type"], error["value"]) for error in errors],
                    "handled": [error["mechanism"] for error in errors],
                    "trace": [trace.get("op"), trace.get("status")],
                    "spans": sorted(
                        (span["op"], span["description"])
                        for span in event.get("spans", [])
                        if span["description"] not in UNEVEN
                    ),
                }
            )
        return found

    async def visit(self, visitor: Visitor) -> None:
        visitor.headers["x-visitor"] = visitor.name
        await visitor.sign_in()
        await visitor.get("/sync/")
        await visitor.get("/")
        assert (await visitor.get("/fail/")).status_code == 500


site = Sentry()
