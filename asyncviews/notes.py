"""Notes on exceptions of Django's that do not say what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import walk_tb

from django.core.exceptions import SynchronousOnlyOperation

_INSTEAD = {
    "django.contrib.auth.middleware": (
        "request.user is fetched by a synchronous query when it is first looked at. In async code "
        "write `user = await request.auser()`; for a template that needs it, return Django's "
        "TemplateResponse, which is rendered on the request's thread."
    ),
    "django.contrib.sessions.backends": (
        "request.session is loaded by a synchronous query when it is first looked at. In async code "
        "write `await request.session.aget(...)`, `aset()`, `apop()` and so on."
    ),
}
"""By module of Django's, what to write where its code has been called from the event loop."""


def note_what_to_await(exc: Exception) -> None:
    """Add a note to an exception that async code gets from a lazy attribute of its request."""
    if not isinstance(exc, SynchronousOnlyOperation) or hasattr(exc, "__notes__"):
        return
    for module in _modules(exc):
        for prefix, note in _INSTEAD.items():
            if module.startswith(prefix):
                exc.add_note(note)
                return


def _modules(exc: Exception) -> Iterator[str]:
    """Yield the modules whose code has raised it, the outermost first."""
    for frame, _ in walk_tb(exc.__traceback__):
        yield frame.f_globals.get("__name__", "")
