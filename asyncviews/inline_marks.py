"""``ASYNCVIEWS["INLINE_MIDDLEWARE"]``: the project says which hooks of others only compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from asyncviews.conf import SETTING, Settings, did_you_mean, get_settings
from asyncviews.inline_rules import HOOKS, has_own_call


def marked_hooks() -> dict[type, tuple[str, ...]]:
    """Return the hooks that the project has marked, by their classes.

    Raises:
        ImproperlyConfigured: a path or a hook cannot be used; with all messages of `mistakes()`.
    """
    given = get_settings()
    if found := list(mistakes(given)):
        raise ImproperlyConfigured(" ".join(found))
    return {import_string(path): hooks for path, hooks in given.inline_middleware.items()}


def mistakes(given: Settings) -> Iterator[str]:
    """Yield in a sentence each what is wrong with the setting."""
    for path, hooks in given.inline_middleware.items():
        where = f"{SETTING}['INLINE_MIDDLEWARE'][{path!r}]"
        try:
            cls = import_string(path)
        except ImportError as exc:
            yield f"{where}: {exc}."
        except Exception as exc:  # noqa: BLE001 - whatever the module raises
            yield f"{where}: importing it raised {exc!r}."
        else:
            yield from (f"{where}: {mistake}" for mistake in _wrong_hooks(cls, hooks))


def _wrong_hooks(cls: object, hooks: Sequence[str]) -> Iterator[str]:
    if not isinstance(cls, type):
        yield "it is no class, and so has no hooks."
        return
    if not hooks:
        yield f"it names no hooks (known: {', '.join(HOOKS)})."
    for hook in hooks:
        if hook in {"__call__", "__acall__"}:
            yield (
                f"{hook}() waits for what is behind the middleware, so it cannot be called on the "
                f"event loop. Name hooks ({', '.join(HOOKS)}), or write it as async middleware."
            )
        elif hook not in HOOKS:
            yield f"there is no hook {hook!r}{did_you_mean(hook, HOOKS)}."
        elif not hasattr(cls, hook):
            yield f"it has no {hook}()."
        elif iscoroutinefunction(getattr(cls, hook)):
            yield f"{hook}() is async, and runs on the event loop already."
        elif hook in {"process_request", "process_response"} and has_own_call(cls):
            yield f"its own __call__() calls {hook}(), so it cannot be called on the event loop."
