"""Which hooks of Django's middleware only compute, hook by hook, and when they need a thread.

Read in the sources of Django 5.2, 6.0 and 6.1. A hook that is not here goes to a thread.
"""

# ruff: noqa: SLF001 - what is private to Django here was read in the versions of CHECKED
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.messages.storage.session import SessionStorage
from django.contrib.sessions.backends import cache, cached_db, db, file, signed_cookies
from django.core.signing import JSONSerializer
from django.urls import get_resolver
from django.utils.deprecation import MiddlewareMixin
from django.utils.safestring import SafeString
from django.utils.translation import get_language_from_path, get_language_from_request, trans_real

from asyncviews.internals import CHECKED, form_is_at_hand

HOOKS = ("process_request", "process_view", "process_template_response", "process_response")
"""The hooks of a middleware that may run on the event loop, in the order in which they are called."""

# Bytes whose processing takes about as long as the way to a thread.
LARGE_TO_COMPRESS = 16 * 1024
LARGE_TO_HASH = 64 * 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """Where one hook runs: on the event loop, unless its arguments say that it needs a thread."""

    needs_thread: Callable[..., bool]
    """Called on the event loop, with the middleware and the hook's own arguments."""

    unless: str = ""
    """The same in words, to complete "inline unless"."""

    settled: Callable[[], bool | None] = lambda: None
    """What the settings alone decide: True for a thread, False for inline, None for neither."""

    versions: frozenset[tuple[int, int]] = CHECKED

    asks_hook: bool = False
    """Whether the condition calls the hook itself: what a tool has put around it would run twice."""

    because: str = field(default="", compare=False)
    """Why nobody asks, and the hook runs in a thread."""

    @property
    def is_inline(self) -> bool:
        """Whether the hook ever runs on the event loop, as far as the settings alone decide."""
        return self.settled() is not True


def in_thread(because: str) -> Rule:
    """Return the rule of a hook that Django sends to a thread."""
    return replace(THREAD, because=because)


def dotted_path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def has_own_call(cls: type) -> bool:
    """Whether another class than `MiddlewareMixin` decides how the hooks of a middleware are called."""
    if not issubclass(cls, MiddlewareMixin):
        return True
    others = (c for c in cls.__mro__ if c not in (MiddlewareMixin, object))
    return any({"__call__", "__acall__"} & vars(c).keys() for c in others)


# Sessions

_STORES = {
    cache.SessionStore,
    cached_db.SessionStore,
    db.SessionStore,
    file.SessionStore,
    signed_cookies.SessionStore,
}
_CACHES_THAT_CONNECT_LATER = {
    "django.core.cache.backends.db.DatabaseCache",
    "django.core.cache.backends.dummy.DummyCache",
    "django.core.cache.backends.locmem.LocMemCache",
    "django.core.cache.backends.memcached.PyLibMCCache",
    "django.core.cache.backends.memcached.PyMemcacheCache",
    "django.core.cache.backends.redis.RedisCache",
}


def _making_a_session_may_block(store: type) -> bool:
    if store in (cache.SessionStore, cached_db.SessionStore):
        backend = settings.CACHES.get(settings.SESSION_CACHE_ALIAS, {}).get("BACKEND")
        return backend not in _CACHES_THAT_CONNECT_LATER
    return store not in (db.SessionStore, signed_cookies.SessionStore)


def _session_must_be_saved(middleware: Any, request: Any, response: Any) -> bool:
    session = getattr(request, "session", None)
    if session is None:
        return False
    if type(session) not in _STORES:
        return True
    if not session.modified and not settings.SESSION_SAVE_EVERY_REQUEST:
        return False
    return not session.is_empty() and not _only_computes(session)


def _in_memory(session: Any) -> bool:
    """Whether to read or change a session only computes."""
    if type(session) not in _STORES:
        return False
    loaded = "_session_cache" in vars(session) or session.session_key is None
    return loaded or _only_computes(session)


def _only_computes(session: Any) -> bool:
    """Whether a session lives in its cookie, by Django's own means."""
    return type(session) is signed_cookies.SessionStore and session.serializer is JSONSerializer


def is_djangos(session: Any) -> bool:
    """Whether a session is of a class of Django itself."""
    return type(session) in _STORES


def _store() -> type:
    store: type = import_module(settings.SESSION_ENGINE).SessionStore
    return store


# Messages

_STORAGES = {CookieStorage, FallbackStorage, SessionStorage}
_STORAGE_PATHS = {dotted_path(storage) for storage in _STORAGES}


def _storage_is_custom() -> bool:
    custom = settings.MESSAGE_STORAGE not in _STORAGE_PATHS
    return custom or settings.SIGNING_BACKEND != "django.core.signing.TimestampSigner"


def _storing_messages_may_block(middleware: Any, request: Any, response: Any) -> bool:
    storage = getattr(request, "_messages", None)
    if storage is None:
        return False
    if type(storage) not in _STORAGES or _storage_is_custom():
        return True
    if not storage.used and not storage.added_new:
        return False
    if not all(_is_text(message) for message in storage._queued_messages):
        return True
    if type(storage) is CookieStorage or _in_memory(getattr(storage.request, "session", None)):
        return False
    return type(storage) is SessionStorage or storage.added_new or bool(storage._used_storages)


def _is_text(message: Any) -> bool:
    """Whether storing it calls no ``__str__()`` of a model or a translation."""
    texts = (message.message, message.extra_tags or "")
    return all(type(text) in (str, SafeString) for text in texts)


# CSRF


class _Question:
    """Finds out whether a request is refused, without the failure view and the log."""

    def _reject(self, request: Any, reason: str) -> Any:
        return True


@lru_cache(16)
def _question_of(cls: type[Any]) -> type:
    """Return a class that asks as `cls` does, whatever is overridden in it, or patched later."""
    return type("_CsrfQuestion", (_Question, cls), {})


def _csrf_check_may_block(middleware: Any, request: Any, callback: Any, *args: Any) -> bool:
    if (
        request.method in ("GET", "HEAD", "OPTIONS", "TRACE")
        or getattr(callback, "csrf_exempt", False)
        or getattr(request, "csrf_processing_done", False)
    ):
        return False
    if _csrf_token_not_loaded(middleware, request) or not form_is_at_hand(request):
        return True
    question: Any = object.__new__(_question_of(middleware.__class__))
    question.__dict__ = vars(middleware)
    # A request that passes is marked as such: nothing is left to do for the hook itself.
    return bool(question.process_view(request, callback, *args))


def _csrf_token_not_loaded(middleware: Any, request: Any) -> bool:
    return settings.CSRF_USE_SESSIONS and not _in_memory(getattr(request, "session", None))


def _csrf_token_changes(middleware: Any, request: Any, response: Any) -> bool:
    changes = bool(request.META.get("CSRF_COOKIE_NEEDS_UPDATE"))
    return changes and _csrf_token_not_loaded(middleware, request)


# URLs, languages, bodies, sites, users


def _urls_not_imported(request: Any) -> bool:
    return "url_patterns" not in vars(get_resolver(getattr(request, "urlconf", None)))


def _language_not_loaded(middleware: Any, request: Any) -> bool:
    if _urls_not_imported(request):
        return True
    urlconf = getattr(request, "urlconf", settings.ROOT_URLCONF)
    in_path, default_in_path = is_language_prefix_patterns_used(urlconf)
    language = get_language_from_request(request, check_path=in_path)
    if in_path and not default_in_path and not get_language_from_path(request.path_info):
        language = settings.LANGUAGE_CODE
    return settings.USE_I18N and language not in trans_real._translations  # type: ignore[attr-defined]


def _much_to_hash(middleware: Any, request: Any, response: Any) -> bool:
    if request.method != "GET":
        return False
    # A precondition that fails is logged.
    precondition = request.META.keys() & {"HTTP_IF_MATCH", "HTTP_IF_UNMODIFIED_SINCE"}
    return bool(precondition) or _is_longer(response, LARGE_TO_HASH)


def _much_to_compress(middleware: Any, request: Any, response: Any) -> bool:
    wanted = "gzip" in request.META.get("HTTP_ACCEPT_ENCODING", "")
    return wanted and _is_longer(response, LARGE_TO_COMPRESS)


def _is_longer(response: Any, limit: int) -> bool:
    return not response.streaming and len(response.content) > limit


def _page_may_be_cached(middleware: Any, request: Any, response: Any) -> bool:
    update = getattr(request, "_cache_update_cache", False)
    return bool(update) and not response.streaming and response.status_code in (200, 304)


def _site_not_cached(middleware: Any, request: Any) -> bool:
    if not apps.is_installed("django.contrib.sites"):
        return False
    from django.contrib.sites import models

    return getattr(settings, "SITE_ID", None) not in models.SITE_CACHE


def _login_is_required(middleware: Any, request: Any, callback: Any, *args: Any) -> bool:
    # Django 5.2 looks at the user before it looks at the view.
    return django.VERSION < (6, 0) or bool(getattr(callback, "login_required", True))


# The table

INLINE = Rule(lambda *args: False, settled=lambda: False)
NATIVE = Rule(lambda *args: False, "it is async itself", settled=lambda: False)
THREAD = Rule(lambda *args: True, settled=lambda: True)
_NOT_FOUND = Rule(lambda middleware, request, response: response.status_code == 404, "it is a 404")
_CACHED_PAGE = Rule(_page_may_be_cached, "the page may be put into the cache")
_SINCE_6 = Rule(INLINE.needs_thread, settled=INLINE.settled, versions=CHECKED - {(5, 2)})
_CACHEABLE_METHOD = Rule(
    lambda middleware, request: request.method in ("GET", "HEAD"), "it is a GET or a HEAD"
)

RULES: dict[str, dict[str, Rule]] = {
    "django.middleware.security.SecurityMiddleware": {
        "process_request": INLINE,
        "process_response": INLINE,
    },
    "django.middleware.common.CommonMiddleware": {
        "process_request": INLINE,
        "process_response": INLINE,
    },
    "django.middleware.common.BrokenLinkEmailsMiddleware": {
        "process_response": Rule(
            lambda middleware, request, response: (
                response.status_code == 404 and "HTTP_REFERER" in request.META
            ),
            "it is a 404 with a Referer, about which a mail may be sent",
        ),
    },
    "django.middleware.csrf.CsrfViewMiddleware": {
        "process_request": Rule(
            _csrf_token_not_loaded,
            "the token is in a session that is not loaded (CSRF_USE_SESSIONS)",
            lambda: None if settings.CSRF_USE_SESSIONS else False,
        ),
        "process_view": Rule(
            _csrf_check_may_block,
            "the request is refused, its form is large or multipart, "
            "or the token is in a session that is not loaded",
            asks_hook=True,
        ),
        "process_response": Rule(
            _csrf_token_changes,
            "a changed token goes into a session that is not loaded (CSRF_USE_SESSIONS)",
            lambda: None if settings.CSRF_USE_SESSIONS else False,
        ),
    },
    "django.middleware.clickjacking.XFrameOptionsMiddleware": {"process_response": INLINE},
    "django.middleware.csp.ContentSecurityPolicyMiddleware": {
        "process_request": _SINCE_6,
        "process_response": _SINCE_6,
    },
    "django.middleware.locale.LocaleMiddleware": {
        "process_request": Rule(
            _language_not_loaded, "the translations or the URLs are not loaded yet"
        ),
        "process_response": Rule(
            lambda middleware, request, response: _urls_not_imported(request),
            "the request has got other URLs, which are not loaded yet",
        ),
    },
    "django.middleware.http.ConditionalGetMiddleware": {
        "process_response": Rule(
            _much_to_hash, "the body is large, or the request has If-Match or If-Unmodified-Since"
        ),
    },
    "django.middleware.gzip.GZipMiddleware": {
        "process_response": Rule(_much_to_compress, "the body is large"),
    },
    "django.middleware.cache.UpdateCacheMiddleware": {"process_response": _CACHED_PAGE},
    "django.middleware.cache.FetchFromCacheMiddleware": {"process_request": _CACHEABLE_METHOD},
    "django.middleware.cache.CacheMiddleware": {},
    "django.contrib.sessions.middleware.SessionMiddleware": {
        "process_request": Rule(
            lambda middleware, request: _making_a_session_may_block(middleware.SessionStore),
            "SESSION_ENGINE is custom or keeps files",
            lambda: _making_a_session_may_block(_store()),
        ),
        "process_response": Rule(
            _session_must_be_saved,
            "the session must be saved",
            lambda: None if _store() in _STORES else True,
        ),
    },
    "django.contrib.auth.middleware.AuthenticationMiddleware": {"process_request": INLINE},
    "django.contrib.auth.middleware.LoginRequiredMiddleware": {
        "process_view": Rule(
            _login_is_required,
            "the view requires a login: that loads session and user",
            lambda: True if django.VERSION < (6, 0) else None,
        ),
    },
    "django.contrib.messages.middleware.MessageMiddleware": {
        "process_request": Rule(
            lambda middleware, request: _storage_is_custom(),
            "MESSAGE_STORAGE or SIGNING_BACKEND is custom",
            _storage_is_custom,
        ),
        "process_response": Rule(
            _storing_messages_may_block,
            "messages are kept in a session that is not loaded, or are not plain text",
            lambda: _storage_is_custom() or None,
        ),
    },
    "django.contrib.sites.middleware.CurrentSiteMiddleware": {
        "process_request": Rule(
            _site_not_cached,
            "the site is not cached yet, or found by its host",
            lambda: None if apps.is_installed("django.contrib.sites") else False,
        ),
    },
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware": {
        "process_response": _NOT_FOUND
    },
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware": {
        "process_response": _NOT_FOUND
    },
    "django.contrib.admindocs.middleware.XViewMiddleware": {
        "process_view": Rule(
            lambda middleware, request, *args: request.method == "HEAD",
            "it is a HEAD: that loads session and user",
        ),
    },
}
