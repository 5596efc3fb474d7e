"""Each hook runs where its rule says, and whoever sends the request sees no difference."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import random
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import django
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.conf.urls.i18n import i18n_patterns
from django.contrib import auth, messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends import db as db_sessions
from django.contrib.sessions.models import Session
from django.core import mail, signing
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import MiddlewareNotUsed
from django.core.handlers.asgi import ASGIHandler
from django.db import connection, transaction
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.test import override_settings
from django.urls import clear_url_caches, path
from django.utils import translation
from django.utils.deprecation import MiddlewareMixin
from django.utils.translation import get_language, gettext, gettext_lazy, trans_real
from django.views.decorators.csrf import csrf_exempt

from asyncviews import inline_classes, inline_rules, internals
from asyncviews.handler import HTTPHandler as Handler
from tests.conftest import http_scope

# Django's own warning about the one sync stream among the views.
pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")


# A browser


@dataclass(frozen=True)
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((v.decode() for n, v in self.headers if n.decode().lower() == name), None)


class Browser:
    """Sends requests to one handler, keeps cookies, knows the CSRF token.

    The event loop gets a thread of its own; what Django sends to "the" thread runs in this one,
    and so inside of the test's database transaction.
    """

    def __init__(self, handler: ASGIHandler) -> None:
        self.handler = handler
        self.cookies: dict[str, str] = {}

    def send(self, request: Request) -> Answer:
        answer = async_to_sync(self._send)(request)
        for name, value in answer.headers:
            if name.lower() == b"set-cookie":
                for key, morsel in SimpleCookie(value.decode()).items():
                    self.cookies[key] = morsel.value
                    if morsel["max-age"] == "0" or not morsel.value:
                        del self.cookies[key]
        return answer

    async def _send(self, request: Request) -> Answer:
        sent: list[dict[str, Any]] = []
        received = [{"type": "http.request", "body": request.body(self.cookies)}]

        async def receive() -> dict[str, Any]:
            if received:
                return received.pop()
            return await asyncio.get_running_loop().create_future()

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        # handle(), not __call__(), which would choose a thread of its own for the request.
        await self.handler.handle(request.scope(self.cookies), receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], list(sent[0]["headers"]), body)


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, str] | None = None
    raw: bytes = b""
    content_type: str = "application/x-www-form-urlencoded"
    cookies: dict[str, str] = field(default_factory=dict)
    scheme: str = "http"
    csrf: bool = False
    prepare: Callable[[Browser], None] | None = None

    def body(self, jar: dict[str, str]) -> bytes:
        if self.form is None and not self.csrf:
            return self.raw
        token = {"csrfmiddlewaretoken": jar["csrftoken"]} if self.csrf else {}
        return urlencode({**token, **(self.form or {})}).encode()

    def scope(self, jar: dict[str, str]) -> dict[str, Any]:
        scope = http_scope(self.path, method=self.method)
        cookies = "; ".join(f"{key}={value}" for key, value in {**jar, **self.cookies}.items())
        headers = {"content-type": self.content_type} if self.method == "POST" else {}
        headers |= {"cookie": cookies} if cookies else {}
        headers |= {key: value.format(**jar) for key, value in self.headers.items()}
        host = headers.pop("host", "testserver")
        scope["headers"] = [(b"host", host.encode())] + [
            (key.encode(), value.encode()) for key, value in headers.items()
        ]
        return scope | {"scheme": self.scheme}


def get(path: str, **kwargs: Any) -> Request:
    return Request("GET", path, **kwargs)


def head(path: str, **kwargs: Any) -> Request:
    return Request("HEAD", path, **kwargs)


def post(path: str, **kwargs: Any) -> Request:
    return Request("POST", path, **kwargs)


# A site


async def plain(request):
    return HttpResponse("plain")


async def token(request):
    return HttpResponse(str(len(get_token(request))))


async def form(request):
    return JsonResponse(request.POST | {"method": request.method})


async def large(request):
    return HttpResponse("abcdefgh" * 20_000)


async def stream(request):
    async def chunks():
        for chunk in ("one ", "two ", "three"):
            yield chunk * 100

    return StreamingHttpResponse(chunks())


def stream_sync(request):
    return StreamingHttpResponse(iter(["one ", "two"]))


async def not_modified_since(request):
    return HttpResponse("old", headers={"Last-Modified": "Mon, 06 Jul 2020 10:00:00 GMT"})


async def fail(request):
    await request.session.aset("lost", True)
    raise ValueError("view")


async def session_set(request):
    await request.session.aset("count", await request.session.aget("count", 0) + 1)
    return HttpResponse(str(await request.session.aget("count")))


def session_set_sync(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


async def session_read(request):
    return HttpResponse(str(await request.session.aget("count")))


async def session_flush(request):
    await request.session.aflush()
    return HttpResponse("flushed")


def session_clear(request):
    request.session.clear()
    return HttpResponse("cleared")


def session_cycle(request):
    request.session.cycle_key()
    return HttpResponse("cycled")


async def session_replaced(request):
    request.session = OwnSession("0123456789")
    return HttpResponse("replaced")


async def session_deleted(request):
    del request.session
    return HttpResponse("deleted")


async def session_expires(request):
    await request.session.aset_expiry(60)
    return HttpResponse("soon")


def session_lost(request):
    request.session["count"] = 99
    Session.objects.all().delete()
    return HttpResponse("lost")


async def log_in(request):
    await auth.alogin(request, await User.objects.aget(username="jo"))
    return HttpResponse("in")


def log_out(request):
    auth.logout(request)
    return HttpResponse("out")


async def who(request):
    return HttpResponse(str(await request.auser()))


@login_not_required
def who_sync(request):
    return HttpResponse(str(request.user))


@login_not_required
async def open_to_all(request):
    return HttpResponse("open")


async def message_add(request):
    messages.info(request, "saved")
    return HttpResponse("added")


async def message_add_lazy(request):
    messages.info(request, gettext_lazy("Yes"))
    return HttpResponse("added")


def message_add_many(request):
    for number in range(200):
        incompressible = hashlib.sha256(str(number).encode()).hexdigest()
        messages.info(request, incompressible, extra_tags="big")
    return HttpResponse("added")


def message_read(request):
    return HttpResponse(",".join(str(m) for m in messages.get_messages(request)))


async def message_storage_gone(request):
    del request._messages
    return HttpResponse("gone")


async def language(request):
    in_thread = await sync_to_async(get_language)()
    return HttpResponse(f"{get_language()} {in_thread} {gettext('Yes')} {request.LANGUAGE_CODE}")


async def other_urls(request):
    # A new tuple: URLs that no request has used before.
    request.urlconf = (path("other/", plain, name=secrets.token_hex(4)),)
    return HttpResponse("other")


async def nonce(request):
    return HttpResponse(str(request._csp_nonce))


async def site(request):
    return HttpResponse(request.site.domain)


async def framed(request):
    return HttpResponse("framed", headers={"X-Frame-Options": "SAMEORIGIN"})


async def template(request):
    response = HttpResponse("rendered")
    response.render = lambda: response
    return response


VIEWS = [
    plain, token, form, large, stream, stream_sync, not_modified_since, fail, session_set,
    session_set_sync, session_read, session_flush, session_clear, session_cycle,
    session_replaced, session_deleted, session_expires, session_lost, log_in, log_out, who,
    who_sync, open_to_all, message_add, message_add_lazy, message_add_many, message_read,
    message_storage_gone, language, other_urls, nonce, site, framed, template,
]  # fmt: skip
urlpatterns = [path(f"{view.__name__}/", view) for view in VIEWS]
urlpatterns += [path("exempt/", csrf_exempt(form)), path("stay", plain)]


def handler500(request):
    return HttpResponse("broken", status=500)


class Prefixed:
    handler500 = staticmethod(handler500)
    urlpatterns = i18n_patterns(path("language/", language))


class PrefixedButDefault:
    urlpatterns = i18n_patterns(path("language/", language), prefix_default_language=False)


# What a project may bring along


class OwnSession(db_sessions.SessionStore):
    pass


class OwnEngine:
    SessionStore = OwnSession


class OwnStorage(FallbackStorage):
    pass


class OwnSigner(signing.TimestampSigner):
    pass


class Answers(MiddlewareMixin):
    """Answers without asking the view."""

    def process_request(self, request):
        return HttpResponse("no view", status=203)


class AnswersForView(MiddlewareMixin):
    def process_view(self, request, callback, args, kwargs):
        return HttpResponse(f"not {callback.__name__}")


class Replaces(MiddlewareMixin):
    def process_response(self, request, response):
        return HttpResponse("replaced", status=202)


class Raises(MiddlewareMixin):
    def process_response(self, request, response):
        raise PermissionError("response")


class Catches(MiddlewareMixin):
    def process_exception(self, request, exception):
        return HttpResponse(f"caught {exception}")


class LoadsSession(MiddlewareMixin):
    def process_request(self, request):
        request.session.get("count")


class SetsUrls(MiddlewareMixin):
    def process_request(self, request):
        request.urlconf = Prefixed


def only_sync(get_response):
    def middleware(request):
        response = get_response(request)
        response["X-Sync"] = "yes"
        return response

    return middleware


# Scenarios

SHORT = {
    dotted.rpartition(".")[2].removesuffix("Middleware"): dotted for dotted in inline_rules.RULES
}
SHORT["RemoteUser"] = "django.contrib.auth.middleware.RemoteUserMiddleware"
SHORT["PersistentRemoteUser"] = "django.contrib.auth.middleware.PersistentRemoteUserMiddleware"
SEVEN = "Security Session Common CsrfView Authentication Message XFrameOptions"
SHORT_HOOKS = {"process_request": "request", "process_view": "view", "process_response": "response"}
NEW = django.VERSION >= (6, 0)
SLASH = [get("/plain")]
BIG = "x" * 20_000
MULTIPART = "multipart/form-data; boundary=b"
FILE_SESSIONS = "django.contrib.sessions.backends.file"


@dataclass(frozen=True)
class Scenario:
    id: str
    middleware: str
    requests: list[Request]
    hooks: str | None
    """The table's hooks that the last request runs, in order; "!" marks those in a thread."""

    settings: dict[str, Any] = field(default_factory=dict)
    apps: list[str] = field(default_factory=list)
    status: int = 200

    def __str__(self) -> str:
        return self.id


def crossing(*hooks: str) -> str:
    """The hooks of the seven, on their way in and out; those named are in a thread."""
    inward = [
        "Security.request", "Session.request", "Common.request", "CsrfView.request",
        "Authentication.request", "Message.request", "CsrfView.view",
    ]  # fmt: skip
    outward = [
        "XFrameOptions.response", "Message.response", "CsrfView.response", "Common.response",
        "Session.response", "Security.response",
    ]  # fmt: skip
    return " ".join(f"{hook}!" if hook in hooks else hook for hook in inward + outward)


FLAT = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"flatpages/default.html": "{{ flatpage.title }}"},
                )
            ]
        },
    }
]
SIGNED = {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}
IN_SESSION = {"MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage"}
IN_COOKIE = {"MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage"}
MESSAGE = "Session.request Message.request"
AUTH = "Session.request Authentication.request"
LOGIN_VIEW = "LoginRequired.view" if NEW else "LoginRequired.view!"


def locale(**kwargs: Any) -> list[Request]:
    """The same request twice: the first one loads what the second one finds."""
    return [get("/language/", **kwargs), get("/language/", **kwargs)]


SCENARIOS = [
    # The seven of startproject
    Scenario("seven", SEVEN, [get("/plain/")], crossing()),
    Scenario("seven HEAD", SEVEN, [head("/plain/")], crossing()),
    Scenario("seven stream", SEVEN, [get("/stream/")], crossing()),
    Scenario("seven sync stream", SEVEN, [get("/stream_sync/")], crossing()),
    Scenario("seven 500", SEVEN, [get("/fail/")], crossing("Session.response"), status=500),
    Scenario("seven token", SEVEN, [get("/token/")], crossing()),
    Scenario("seven log in", SEVEN, [get("/log_in/")], crossing("Session.response")),
    Scenario("seven who", SEVEN, [get("/log_in/"), get("/who/")], crossing()),
    Scenario("seven who, sync", SEVEN, [get("/log_in/"), get("/who_sync/")], crossing()),
    Scenario("seven log out", SEVEN, [get("/log_in/"), get("/log_out/"), get("/who/")], crossing()),
    Scenario("seven unknown host", SEVEN, [get("/plain/", headers={"host": "evil"})],
             "Security.request Session.request Common.request Session.response Security.response",
             settings={"ALLOWED_HOSTS": ["testserver"]}, status=400),
    Scenario("seven below a sync middleware", f"{__name__}.only_sync {SEVEN}", [get("/token/")],
             crossing()),
    Scenario("seven above a sync middleware", f"{SEVEN} {__name__}.only_sync", [get("/token/")],
             crossing().replace(" ", "! ").replace("view!", "view") + "!"),
    Scenario("seven and an exception", f"{SEVEN} {__name__}.Catches", [get("/fail/")],
             crossing("Session.response")),
    Scenario("seven and an answer for the view", f"{SEVEN} {__name__}.AnswersForView",
             [get("/plain/")], crossing()),
    # Security
    Scenario("https redirect", "Security", [get("/plain/")], "Security.request Security.response",
             settings={"SECURE_SSL_REDIRECT": True}, status=301),
    Scenario("https", "Security", [get("/plain/", scheme="https")],
             "Security.request Security.response", settings={"SECURE_HSTS_SECONDS": 9}),
    # Common
    Scenario("append slash", "Common", SLASH, "Common.request Common.response", status=301),
    Scenario("no slash to append", "Common", [get("/nowhere")], "Common.request Common.response",
             status=404),
    Scenario("URL without slash", "Common", [get("/stay")], "Common.request Common.response"),
    Scenario("slash and a body", "Common", [post("/plain", form={"a": "1"})],
             "Common.request Common.response", settings={"DEBUG": True}, status=500),
    Scenario("prepend www", "Common", SLASH, "Common.request Common.response",
             settings={"PREPEND_WWW": True}, status=301),
    Scenario("agent refused", "Common", [get("/plain/", headers={"user-agent": "bad bot"})],
             "Common.request",
             settings={"DISALLOWED_USER_AGENTS": [re.compile("bad")]}, status=403),
    # Broken links
    Scenario("404 without referer", "BrokenLinkEmails", [get("/nowhere/")],
             "BrokenLinkEmails.response", status=404),
    Scenario("404 with referer", "BrokenLinkEmails",
             [get("/nowhere/", headers={"referer": "http://testserver/plain/"})],
             "BrokenLinkEmails.response!", status=404),
    # CSRF
    Scenario("csrf: no cookie", "CsrfView", [post("/form/", form={"a": "1"})],
             "CsrfView.request CsrfView.view! CsrfView.response", status=403),
    Scenario("csrf: form", "CsrfView", [get("/token/"), post("/form/", form={"a": "1"}, csrf=True)],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: large form", "CsrfView",
             [get("/token/"), post("/form/", form={"a": BIG}, csrf=True)],
             "CsrfView.request CsrfView.view! CsrfView.response"),
    Scenario("csrf: header", "CsrfView",
             [get("/token/"), post("/form/", content_type="application/json", raw=b"{}",
                                   headers={"x-csrftoken": "{csrftoken}"})],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: multipart", "CsrfView",
             [get("/token/"), post("/form/", content_type=MULTIPART, raw=b"--b--\r\n",
                                   headers={"x-csrftoken": "{csrftoken}"})],
             "CsrfView.request CsrfView.view! CsrfView.response"),
    Scenario("csrf: PUT", "CsrfView",
             [get("/token/"), Request("PUT", "/form/", headers={"x-csrftoken": "{csrftoken}"})],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: wrong token", "CsrfView",
             [get("/token/"), post("/form/", form={"csrfmiddlewaretoken": "a" * 64})],
             "CsrfView.request CsrfView.view! CsrfView.response", status=403),
    Scenario("csrf: invalid cookie", "CsrfView", [get("/token/", cookies={"csrftoken": "?"})],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: exempt", "CsrfView", [post("/exempt/", content_type=MULTIPART, raw=b"--b--")],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: other origin", "CsrfView",
             [get("/token/"), post("/form/", headers={"origin": "http://evil"}, csrf=True)],
             "CsrfView.request CsrfView.view! CsrfView.response", status=403),
    Scenario("csrf: trusted origin", "CsrfView",
             [get("/token/"), post("/form/", headers={"origin": "http://a.b.c"}, csrf=True)],
             "CsrfView.request CsrfView.view CsrfView.response",
             settings={"CSRF_TRUSTED_ORIGINS": ["http://*.b.c"]}),
    Scenario("csrf: https without referer", "CsrfView",
             [get("/token/"), post("/form/", scheme="https", csrf=True)],
             "CsrfView.request CsrfView.view! CsrfView.response", status=403),
    Scenario("csrf: https", "CsrfView",
             [get("/token/"), post("/form/", scheme="https", csrf=True,
                                   headers={"referer": "https://testserver/x"})],
             "CsrfView.request CsrfView.view CsrfView.response"),
    Scenario("csrf: too many fields", "CsrfView",
             [get("/token/"), post("/form/", form=dict.fromkeys("abc", "1"), csrf=True)],
             "CsrfView.request CsrfView.response",
             settings={"DATA_UPLOAD_MAX_NUMBER_FIELDS": 2}, status=400),
    Scenario("csrf: own failure view", "CsrfView", [post("/form/")],
             "CsrfView.request CsrfView.view! CsrfView.response",
             settings={"CSRF_FAILURE_VIEW": f"{__name__}.refused"}, status=418),
    Scenario("csrf in new session", "Session CsrfView", [get("/token/")],
             "Session.request CsrfView.request CsrfView.view CsrfView.response Session.response!",
             settings={"CSRF_USE_SESSIONS": True}),
    Scenario("csrf in session", "Session CsrfView", [get("/token/"), post("/form/")],
             "Session.request CsrfView.request! CsrfView.view! CsrfView.response Session.response",
             settings={"CSRF_USE_SESSIONS": True}, status=403),
    Scenario("csrf in loaded session", f"Session {__name__}.LoadsSession CsrfView",
             [get("/token/"), get("/token/")],
             "Session.request CsrfView.request CsrfView.view CsrfView.response Session.response",
             settings={"CSRF_USE_SESSIONS": True}),
    Scenario("csrf in replaced session", "Session CsrfView", [get("/token_and_session/")],
             "Session.request CsrfView.request CsrfView.view CsrfView.response! Session.response!",
             settings={"CSRF_USE_SESSIONS": True}),
    Scenario("csrf in signed cookie", "Session CsrfView", [get("/token/"), get("/token/")],
             "Session.request CsrfView.request CsrfView.view CsrfView.response Session.response",
             settings={"CSRF_USE_SESSIONS": True} | SIGNED),
    Scenario("csrf in no session", "CsrfView", [get("/plain/")], "CsrfView.request!",
             settings={"CSRF_USE_SESSIONS": True}, status=500),
    # Frames, content security policy
    Scenario("frames", "XFrameOptions", [get("/plain/")], "XFrameOptions.response"),
    Scenario("frames allowed", "XFrameOptions", [get("/framed/")], "XFrameOptions.response"),
    # Languages
    Scenario("language, first", "Locale", locale()[:1], "Locale.request! Locale.response"),
    Scenario("language", "Locale", locale(), "Locale.request Locale.response"),
    Scenario("another language", "Locale",
             [get("/language/"), get("/language/", headers={"accept-language": "de-at"})],
             "Locale.request! Locale.response"),
    Scenario("accepted language", "Locale", locale(headers={"accept-language": "xx,de-at"}),
             "Locale.request Locale.response"),
    Scenario("language cookie", "Locale", locale(cookies={"django_language": "fr"}),
             "Locale.request Locale.response"),
    Scenario("no languages", "Locale", locale(), "Locale.request Locale.response",
             settings={"USE_I18N": False}),
    Scenario("language prefix missing", "Locale", [get("/de/language/"), get("/language/")],
             "Locale.request! Locale.response",
             settings={"ROOT_URLCONF": Prefixed}, status=302),
    Scenario("language prefix", "Locale", [get("/de/language/"), get("/de/language/")],
             "Locale.request Locale.response", settings={"ROOT_URLCONF": Prefixed}),
    Scenario("no prefix, default", "Locale", locale(headers={"accept-language": "de"}),
             "Locale.request Locale.response", settings={"ROOT_URLCONF": PrefixedButDefault}),
    Scenario("language and own URLs", f"{__name__}.SetsUrls Locale",
             [get("/de/language/"), get("/de/language/")], "Locale.request Locale.response"),
    Scenario("language and new URLs", "Locale", [get("/language/"), get("/other_urls/")],
             "Locale.request Locale.response!"),
    # Conditional GET
    Scenario("etag", "ConditionalGet", [get("/plain/")], "ConditionalGet.response"),
    Scenario("etag matches", "ConditionalGet",
             [get("/plain/", headers={"if-none-match": '"ac7938d40cfc2307e2bf325d28e7884e"'})],
             "ConditionalGet.response", status=304),
    Scenario("not modified since", "ConditionalGet",
             [get("/not_modified_since/",
                  headers={"if-modified-since": "Mon, 06 Jul 2020 10:00:00 GMT"})],
             "ConditionalGet.response", status=304),
    Scenario("precondition failed", "ConditionalGet",
             [get("/plain/", headers={"if-match": '"other"'})], "ConditionalGet.response!",
             status=412),
    Scenario("etag of HEAD", "ConditionalGet", [head("/plain/")], "ConditionalGet.response"),
    Scenario("etag of a large body", "ConditionalGet", [get("/large/")],
             "ConditionalGet.response!"),
    Scenario("etag of a stream", "ConditionalGet", [get("/stream/")], "ConditionalGet.response"),
    # Compression
    Scenario("gzip: small", "GZip", [get("/plain/", headers={"accept-encoding": "gzip"})],
             "GZip.response"),
    Scenario("gzip: large", "GZip", [get("/large/", headers={"accept-encoding": "gzip"})],
             "GZip.response!"),
    Scenario("gzip: not wanted", "GZip", [get("/large/")], "GZip.response"),
    Scenario("gzip: stream", "GZip", [get("/stream/", headers={"accept-encoding": "gzip"})],
             "GZip.response"),
    # Cached pages
    Scenario("cache: miss", "UpdateCache FetchFromCache", [get("/plain/")],
             "FetchFromCache.request! UpdateCache.response!"),
    Scenario("cache: hit", "UpdateCache FetchFromCache", [get("/plain/"), get("/plain/")],
             "FetchFromCache.request! UpdateCache.response"),
    Scenario("cache: POST", "UpdateCache FetchFromCache", [post("/form/")],
             "FetchFromCache.request UpdateCache.response"),
    Scenario("cache: stream", "UpdateCache FetchFromCache", [get("/stream/")],
             "FetchFromCache.request! UpdateCache.response"),
    Scenario("cache: both in one", "Cache", [get("/plain/")],
             "FetchFromCache.request! UpdateCache.response!"),
    # Sessions
    Scenario("session unused", "Session", [get("/plain/")], "Session.request Session.response"),
    Scenario("session set", "Session", [get("/session_set/")], "Session.request Session.response!"),
    Scenario("session set again", "Session", [get("/session_set/"), get("/session_set_sync/")],
             "Session.request Session.response!"),
    Scenario("session read", "Session", [get("/session_set/"), get("/session_read/")],
             "Session.request Session.response"),
    Scenario("session flushed", "Session", [get("/session_set/"), get("/session_flush/")],
             "Session.request Session.response"),
    Scenario("session cleared", "Session", [get("/session_set/"), get("/session_clear/")],
             "Session.request Session.response!"),
    Scenario("session cycled", "Session", [get("/session_set/"), get("/session_cycle/")],
             "Session.request Session.response!"),
    Scenario("session expires", "Session", [get("/session_expires/")],
             "Session.request Session.response!"),
    Scenario("session replaced", "Session", [get("/session_replaced/")],
             "Session.request Session.response!"),
    Scenario("session deleted", "Session", [get("/session_deleted/")],
             "Session.request Session.response"),
    Scenario("session lost meanwhile", "Session", [get("/session_set/"), get("/session_lost/")],
             "Session.request Session.response!", status=400),
    Scenario("session invalid", "Session", [get("/session_read/", cookies={"sessionid": "1"})],
             "Session.request Session.response"),
    Scenario("session saved always", "Session", [get("/session_set/"), get("/plain/")],
             "Session.request Session.response!", settings={"SESSION_SAVE_EVERY_REQUEST": True}),
    Scenario("no session to save always", "Session", [get("/plain/")],
             "Session.request Session.response", settings={"SESSION_SAVE_EVERY_REQUEST": True}),
    Scenario("session in cookie", "Session", [get("/session_set/"), get("/session_set/")],
             "Session.request Session.response", settings=SIGNED),
    Scenario("session in cookie, own serializer", "Session",
             [get("/session_set/"), get("/session_set/")], "Session.request Session.response!",
             settings={"SESSION_SERIALIZER": f"{__name__}.OwnSerializer"} | SIGNED),
    Scenario("session in cache", "Session", [get("/session_set/"), get("/session_set/")],
             "Session.request Session.response!",
             settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}),
    Scenario("session in cached db", "Session", [get("/session_set/"), get("/session_read/")],
             "Session.request Session.response",
             settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}),
    Scenario("session in own cache", "Session", [get("/session_set/")],
             "Session.request! Session.response!",
             settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cache",
                       "CACHES": {"default": {"BACKEND": f"{__name__}.OwnCache"}}}),
    Scenario("session in file", "Session", [get("/session_read/")],
             "Session.request! Session.response", settings={"SESSION_ENGINE": FILE_SESSIONS}),
    Scenario("session of own class", "Session", [get("/plain/")],
             "Session.request! Session.response!",
             settings={"SESSION_ENGINE": f"{__name__}.own_engine"}),
    # Users
    Scenario("no session for users", "Authentication", [get("/plain/")], "Authentication.request",
             status=500),
    Scenario("login required", "Session Authentication LoginRequired", [get("/plain/")],
             f"{AUTH} LoginRequired.view! Session.response", status=302),
    Scenario("logged in", "Session Authentication LoginRequired",
             [get("/log_in_open/"), get("/plain/")],
             f"{AUTH} LoginRequired.view! Session.response"),
    Scenario("login not required", "Session Authentication LoginRequired", [get("/open_to_all/")],
             f"{AUTH} {LOGIN_VIEW} Session.response"),
    Scenario("remote user", f"{SEVEN} RemoteUser", [get("/who/", headers={"remote-user": "ann"})],
             crossing("Session.response"),
             settings={"AUTHENTICATION_BACKENDS":
                       ["django.contrib.auth.backends.RemoteUserBackend"]}),
    Scenario("remote user gone", f"{SEVEN} RemoteUser",
             [get("/who/", headers={"remote-user": "ann"}), get("/who/")], crossing(),
             settings={"AUTHENTICATION_BACKENDS":
                       ["django.contrib.auth.backends.RemoteUserBackend"]}),
    Scenario("remote user stays", f"{SEVEN} PersistentRemoteUser",
             [get("/who/", headers={"remote-user": "ann"}), get("/who/")], crossing(),
             settings={"AUTHENTICATION_BACKENDS":
                       ["django.contrib.auth.backends.RemoteUserBackend"]}),
    # Messages
    Scenario("message added", "Session Message", [get("/message_add/")],
             f"{MESSAGE} Message.response Session.response"),
    Scenario("message added, session not loaded", "Session Message",
             [get("/session_set/"), get("/message_add/")],
             f"{MESSAGE} Message.response! Session.response"),
    Scenario("message read", "Session Message", [get("/message_add/"), get("/message_read/")],
             f"{MESSAGE} Message.response Session.response"),
    Scenario("no message read, session not loaded", "Session Message",
             [get("/session_set/"), get("/message_read/")],
             f"{MESSAGE} Message.response Session.response"),
    Scenario("message that is lazy", "Session Message", [get("/message_add_lazy/")],
             f"{MESSAGE} Message.response! Session.response"),
    Scenario("messages too many", "Session Message", [get("/message_add_many/")],
             f"{MESSAGE} Message.response Session.response!"),
    Scenario("messages too many, read", "Session Message",
             [get("/message_add_many/"), get("/message_read/")],
             f"{MESSAGE} Message.response Session.response!"),
    Scenario("messages storage gone", "Session Message", [get("/message_storage_gone/")],
             f"{MESSAGE} Message.response Session.response"),
    Scenario("messages in session", "Session Message", [get("/message_add/"), get("/message_add/")],
             f"{MESSAGE} Message.response! Session.response!", settings=IN_SESSION),
    Scenario("messages in session, read", "Session Message",
             [get("/message_add/"), get("/message_read/")],
             f"{MESSAGE} Message.response Session.response!", settings=IN_SESSION),
    Scenario("messages in cookie", "Session Message", [get("/session_set/"), get("/message_add/")],
             f"{MESSAGE} Message.response Session.response", settings=IN_COOKIE),
    Scenario("messages do not fit in cookie", "Session Message", [get("/message_add_many/")],
             f"{MESSAGE} Message.response Session.response", settings=IN_COOKIE | {"DEBUG": True},
             status=500),
    Scenario("messages without session", "Message", [get("/plain/")], "Message.request",
             settings=IN_SESSION, status=500),
    Scenario("messages, own storage", "Session Message", [get("/message_add/")],
             "Session.request Message.request! Message.response! Session.response",
             settings={"MESSAGE_STORAGE": f"{__name__}.OwnStorage"}),
    Scenario("messages, own signer", "Session Message", [get("/message_add/")],
             "Session.request Message.request! Message.response! Session.response",
             settings={"SIGNING_BACKEND": f"{__name__}.OwnSigner"}),
    # Sites, flat pages, redirects, documentation
    Scenario("site of the request", "CurrentSite", [get("/site/")], "CurrentSite.request"),
    Scenario("site, first", "CurrentSite", [get("/site/")], "CurrentSite.request!",
             apps=["sites"], settings={"SITE_ID": 1}),
    Scenario("site", "CurrentSite", [get("/site/"), get("/site/")], "CurrentSite.request",
             apps=["sites"], settings={"SITE_ID": 1}),
    Scenario("site by host", "CurrentSite", [get("/site/"), get("/site/")], "CurrentSite.request!",
             apps=["sites"], settings={"SITE_ID": ""}),
    Scenario("flat page", "FlatpageFallback", [get("/flat/")], "FlatpageFallback.response!",
             apps=["sites", "flatpages"], settings={"SITE_ID": 1, "TEMPLATES": FLAT}),
    Scenario("no flat page needed", "FlatpageFallback", [get("/plain/")],
             "FlatpageFallback.response", apps=["sites", "flatpages"], settings={"SITE_ID": 1}),
    Scenario("redirect", "RedirectFallback", [get("/moved/")], "RedirectFallback.response!",
             apps=["sites", "redirects"], settings={"SITE_ID": 1}, status=301),
    Scenario("no redirect needed", "RedirectFallback", [get("/plain/")],
             "RedirectFallback.response", apps=["sites", "redirects"], settings={"SITE_ID": 1}),
    Scenario("view name", "Session Authentication XView", [head("/plain/")],
             f"{AUTH} XView.view! Session.response", settings={"INTERNAL_IPS": ["127.0.0.1"]}),
    Scenario("view name not wanted", "Session Authentication XView", [get("/plain/")],
             f"{AUTH} XView.view Session.response"),
    # Short cuts and exceptions
    Scenario("no view", f"Security {__name__}.Answers XFrameOptions", [get("/plain/")],
             "Security.request Security.response", status=203),
    Scenario("response replaced", f"Security {__name__}.Replaces XFrameOptions", [get("/plain/")],
             "Security.request XFrameOptions.response Security.response", status=202),
    Scenario("response raises", f"Security {__name__}.Raises XFrameOptions", [get("/plain/")],
             "Security.request XFrameOptions.response Security.response", status=500),
]  # fmt: skip
if NEW:
    CSP = "ContentSecurityPolicy"
    SCENARIOS += [
        Scenario("csp", CSP, [get("/nonce/")], f"{CSP}.request {CSP}.response",
                 settings={"SECURE_CSP": {"script-src": ["'self'", "<CSP_NONCE_SENTINEL>"]}}),
    ]  # fmt: skip


async def token_and_session(request):
    request.session = OwnSession("0123456789")
    get_token(request)
    return HttpResponse("both")


def refused(request, reason=""):
    return HttpResponse(reason, status=418)


class OwnSerializer(signing.JSONSerializer):
    pass


class OwnCache(LocMemCache):
    pass


urlpatterns += [
    path("token_and_session/", token_and_session),
    path("log_in_open/", login_not_required(log_in)),
]


# The stage


@pytest.fixture
def stage(db, monkeypatch, tmp_path) -> Callable[[Scenario], contextlib.AbstractContextManager]:
    """Set up a scenario; what it does to the database is undone."""
    User.objects.create(username="jo")
    monkeypatch.setitem(sys.modules, f"{__name__}.own_engine", OwnEngine)

    @contextlib.contextmanager
    def set_up(scenario: Scenario) -> Iterator[None]:
        monkeypatch.setattr(trans_real, "_translations", {})
        # It decides by USE_I18N at the first call of each function, for the rest of the process.
        monkeypatch.setattr(translation, "_trans", type(translation._trans)())
        managers = ["boss@example.com"] if NEW else [("boss", "boss@example.com")]
        locmem = "django.core.mail.backends.locmem.EmailBackend"
        names = [SHORT.get(name, name) for name in scenario.middleware.split()]
        changes = {
            "CSRF_TRUSTED_ORIGINS": [],
            "INSTALLED_APPS": settings.INSTALLED_APPS
            + [f"django.contrib.{name}" for name in scenario.apps],
            "MAILERS": {"default": {"BACKEND": locmem}},
            "MANAGERS": managers,
            "MIDDLEWARE": names,
            "ROOT_URLCONF": __name__,
            "SESSION_FILE_PATH": str(tmp_path),
            **scenario.settings,
        }
        with override_settings(**changes), transaction.atomic():
            clear_url_caches()
            cache.clear()
            make_tables(scenario.apps)
            yield
            transaction.set_rollback(True)
        cache.clear()

    return set_up


def make_tables(apps: list[str]) -> None:
    """Make the tables of contributed apps, which the test settings do not install."""
    if "sites" not in apps:
        return
    from django.contrib.sites import models as sites

    editor = connection.schema_editor(collect_sql=True)
    editor.deferred_sql = []
    models: list[Any] = [sites.Site]
    sites.SITE_CACHE.clear()
    if "redirects" in apps:
        from django.contrib.redirects.models import Redirect

        models.append(Redirect)
    if "flatpages" in apps:
        from django.contrib.flatpages.models import FlatPage

        models += [FlatPage, FlatPage.sites.through]
    with connection.cursor() as cursor:
        for model in models:
            cursor.execute(editor.table_sql(model)[0])
    site = sites.Site.objects.create(pk=1, domain="testserver", name="test")
    if "redirects" in apps:
        Redirect.objects.create(site=site, old_path="/moved/", new_path="/plain/")
    if "flatpages" in apps:
        FlatPage.objects.create(url="/flat/", title="flat").sites.add(site)


def run(browser: Browser, scenario: Scenario) -> list[Answer]:
    return [browser.send(request) for request in scenario.requests]


# Where


def table_hooks() -> dict[Any, str]:
    """Return the code of each hook in the table, with its name in the scenarios."""
    found = {}
    for dotted in inline_rules.RULES:
        module, _, name = dotted.rpartition(".")
        if importable(module):
            for hook, function in vars(getattr(import_module(module), name)).items():
                if hook in SHORT_HOOKS:
                    short = name.removesuffix("Middleware")
                    found[function.__code__] = f"{short}.{SHORT_HOOKS[hook]}"
    return found


def importable(module: str) -> bool:
    try:
        import_module(module)
    except (ImportError, RuntimeError):  # a contributed app that is not installed
        return False
    return True


def on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextlib.contextmanager
def hooks_seen(scenario: Scenario) -> Iterator[list[str]]:
    """Note each call of a hook of the scenario's middleware, with "!" if it is in a thread."""
    seen: list[str] = []
    names = table_hooks()
    middleware = scenario.middleware.split()

    def profile(frame: Any, event: str, arg: object) -> None:
        if event != "call" or frame.f_code not in names:
            return
        # Error pages and decorators of views use subclasses of middleware, too.
        if type(frame.f_locals["self"]).__name__.removesuffix("Middleware") in middleware:
            seen.append(names[frame.f_code] + ("" if on_event_loop() else "!"))

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_hooks_run_where_the_table_says(stage, scenario):
    """The last request of a scenario runs its hooks in this order, in these places."""
    with stage(scenario):
        browser = Browser(Handler())
        for request in scenario.requests[:-1]:
            browser.send(request)
        with hooks_seen(scenario) as seen:
            answer = browser.send(scenario.requests[-1])
    assert (answer.status, " ".join(seen)) == (scenario.status, scenario.hooks)


def test_every_place_in_the_table_is_tried():
    """Each hook is seen inline, and where it has a condition, in a thread, too."""
    expected = set(table_hooks_of_all_apps())
    tried = {hook for scenario in SCENARIOS for hook in scenario.hooks.split()}
    assert expected - tried == (set() if NEW else {"LoginRequired.view"})


def table_hooks_of_all_apps() -> Iterator[str]:
    for dotted, hooks in inline_rules.RULES.items():
        for hook, rule in hooks.items():
            if django.VERSION[:2] in rule.versions:
                name = dotted.rpartition(".")[2].removesuffix("Middleware")
                yield f"{name}.{SHORT_HOOKS[hook]}"
                if rule is not inline_rules.INLINE and rule.versions == internals.CHECKED:
                    yield f"{name}.{SHORT_HOOKS[hook]}!"


# Whether anybody notices


@pytest.fixture
def determined(monkeypatch) -> Callable[[], None]:
    """Make time stand still; return a function that starts all random values anew."""
    monkeypatch.setattr(time, "time", lambda: 1_900_000_000.0)

    def restart() -> None:
        generator = random.Random(1)
        monkeypatch.setattr(secrets, "choice", generator.choice)
        monkeypatch.setattr(secrets, "randbelow", generator.randrange)
        monkeypatch.setattr(secrets, "token_urlsafe", lambda n: f"{generator.random()}")

    return restart


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_nobody_notices(stage, determined, caplog, scenario):
    """Answers, database, mail and logs are those of Django's own handler."""
    outcomes = []
    for handler in (ASGIHandler, Handler):
        determined()
        mail.outbox.clear()
        caplog.clear()
        with stage(scenario):
            answers = [browser_answer(scenario, a) for a in run(Browser(handler()), scenario)]
            logged = [(r.name, r.levelname, r.getMessage()) for r in caplog.records]
            outcomes.append((answers, database(), [m.body for m in mail.outbox], logged))
    assert outcomes[1] == outcomes[0]


def browser_answer(scenario: Scenario, answer: Answer) -> Answer:
    """Leave out Django's debug page, in which the traceback shows where a hook ran."""
    if not scenario.settings.get("DEBUG"):
        return answer
    headers = [header for header in answer.headers if header[0] != b"Content-Length"]
    return dataclasses.replace(answer, body=b"", headers=headers)


def database() -> dict[str, Any]:
    return {
        "sessions": [(s.session_key, s.get_decoded()) for s in Session.objects.all()],
        "users": list(User.objects.values_list("username", "last_login__year")),
    }


# Whose hooks


class Notes(MiddlewareMixin):
    """Notes its hooks, with "!" for those in a thread."""

    def note(self, hook: str) -> None:
        NOTED.append(hook if on_event_loop() else f"{hook}!")

    def process_request(self, request):
        self.note("request")

    def process_view(self, request, callback, args, kwargs):
        self.note("view")

    def process_template_response(self, request, response):
        self.note("template")
        return response

    def process_response(self, request, response):
        self.note("response")
        return response


NOTED: list[str] = []
ALL_IN_THREAD = ["request!", "view!", "template!", "response!"]


@pytest.fixture
def noted(db, monkeypatch) -> Callable[..., list[str]]:
    """Serve one page through a middleware class; return what it noted."""

    def serve(cls: type, url: str = "/template/", *, status: int = 200) -> list[str]:
        NOTED.clear()
        monkeypatch.setattr(sys.modules[__name__], "Own", cls, raising=False)
        with override_settings(MIDDLEWARE=[f"{__name__}.Own"], ROOT_URLCONF=__name__):
            assert Browser(Handler()).send(get(url)).status == status
        return list(NOTED)

    return serve


def test_own_middleware_is_djangos_business(noted):
    assert noted(Notes) == ALL_IN_THREAD


def test_a_marked_class_runs_inline(noted, monkeypatch):
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)
    assert noted(Notes) == ["request", "view", "template", "response"]


def test_a_mark_is_not_inherited(noted, monkeypatch):
    """A subclass may add what blocks; its author has to say that it does not."""
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)
    assert noted(type("Sub", (Notes,), {})) == ALL_IN_THREAD


def test_a_mark_vouches_for_no_base(noted):
    assert noted(type("Sub", (Notes,), {"inline_capable": True})) == ALL_IN_THREAD


def test_a_marked_class_with_an_unknown_mixin_is_not_inline(noted, monkeypatch):
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)
    mixin = type("Mixin", (), {})
    assert noted(type("Sub", (mixin, Notes), {"inline_capable": True})) == ALL_IN_THREAD


def test_process_exception_stays_where_django_has_it(noted):
    def process_exception(self, request, exception):
        self.note("exception")
        return HttpResponse("caught")

    members = {"process_exception": process_exception, "note": Notes.note, "inline_capable": True}
    assert noted(type("Sub", (MiddlewareMixin,), members), "/fail/") == ["exception!"]


@pytest.mark.parametrize("name", ["__call__", "__acall__"])
def test_a_call_of_its_own_is_kept(noted, monkeypatch, name):
    """A class that calls its hooks in its own way goes on doing so."""
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)

    async def call(self, request):
        self.note("own")
        return await self.get_response(request)

    cls = type("Sub", (Notes,), {name: call, "inline_capable": True})
    assert noted(cls) == ["own", "view", "template"]


def test_a_call_of_its_base_is_kept(noted, monkeypatch):
    """Both are marked, but the hooks are called as the base does."""

    async def call(self, request):
        self.note("own")
        return await self.get_response(request)

    members = {"__acall__": call, "note": Notes.note, "inline_capable": True}
    base = type("Base", (MiddlewareMixin,), members)
    members = {"process_request": Notes.process_request, "inline_capable": True}
    assert noted(type("Sub", (base,), members)) == ["own"]


def test_a_hook_of_the_instance_is_not_inline(noted, monkeypatch):
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)

    def init(self, get_response):
        MiddlewareMixin.__init__(self, get_response)
        self.process_request = lambda request: self.note("instance")

    cls = type("Sub", (Notes,), {"__init__": init, "inline_capable": True})
    assert noted(cls) == ["instance!", "view", "template", "response!"]


def test_hooks_that_are_coroutine_functions_are_djangos_business(noted, monkeypatch):
    """Django refuses them; so do we."""

    async def process_request(self, request):
        raise AssertionError

    members = {"process_request": process_request, "inline_capable": True}
    assert noted(type("Sub", (MiddlewareMixin,), members), "/plain/", status=500) == []


def test_a_template_response_hook_that_returns_none_is_named(noted, monkeypatch, caplog):
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)
    monkeypatch.setattr(Notes, "process_template_response", lambda self, request, response: None)
    assert noted(Notes, status=500) == ["request", "view", "response"]
    assert "Notes.process_template_response didn't return an HttpResponse" in caplog.text


def test_a_subclass_of_djangos_is_not_inline():
    """Whatever it overrides, and be it nothing."""
    rules = inline_classes.rules(type("Sub", (CsrfViewMiddleware,), {}))
    assert {*rules.values()} == {inline_rules.THREAD}


def test_a_marked_subclass_of_djangos_keeps_djangos_conditions():
    """The mark speaks for what the class defines; what it inherits follows the table."""
    members = {"inline_capable": True, "process_request": lambda self, request: None}
    rules = inline_classes.rules(type("Sub", (CsrfViewMiddleware,), members))
    table = inline_rules.RULES["django.middleware.csrf.CsrfViewMiddleware"]
    assert rules == {**table, "process_request": inline_rules.INLINE}


def test_a_patched_hook_is_not_inline(monkeypatch):
    """Who replaces a hook of Django's, as tools that trace requests do, may do so to block."""
    monkeypatch.setattr(CsrfViewMiddleware, "process_view", lambda *args: None)
    rules = inline_classes.rules(CsrfViewMiddleware)
    assert rules["process_view"] == inline_rules.THREAD
    assert rules["process_request"] != inline_rules.THREAD


def test_an_unknown_django_is_left_alone(stage, monkeypatch):
    """A version whose middleware nobody has read gets threads for everything."""
    monkeypatch.setattr(django, "VERSION", (7, 0, 0, "final", 0))
    scenario = next(s for s in SCENARIOS if s.id == "seven")
    with stage(scenario):
        browser = Browser(Handler())
        with hooks_seen(scenario) as seen:
            browser.send(get("/plain/"))
    assert " ".join(seen) == crossing().replace(" ", "! ") + "!"


def test_a_rule_counts_only_for_the_versions_it_names(monkeypatch):
    rule = dataclasses.replace(inline_rules.INLINE, versions=frozenset({(5, 1)}))
    dotted = "django.middleware.csrf.CsrfViewMiddleware"
    monkeypatch.setitem(inline_rules.RULES, dotted, {"process_request": rule})
    assert set(inline_classes.rules(CsrfViewMiddleware).values()) == {inline_rules.THREAD}


def test_middleware_that_is_not_used_changes_nothing(db, monkeypatch):
    """Django adapts the next link a second time then."""
    monkeypatch.setattr(Notes, "inline_capable", True, raising=False)

    def unused(get_response):
        raise MiddlewareNotUsed

    monkeypatch.setattr(sys.modules[__name__], "unused", unused, raising=False)
    middleware = [f"{__name__}.unused", f"{__name__}.Notes"]
    NOTED.clear()
    with override_settings(MIDDLEWARE=middleware, ROOT_URLCONF=__name__):
        Browser(Handler()).send(get("/template/"))
    assert NOTED == ["request", "view", "template", "response"]


def test_every_middleware_of_django_has_been_read():
    """Each is in the table, or is native async; a new one fails here until somebody reads it."""
    native = {"RemoteUserMiddleware", "PersistentRemoteUserMiddleware"}
    read = {dotted.rpartition(".")[2] for dotted in inline_rules.RULES} | native
    files = Path(django.__file__).parent.rglob("*.py")
    sources = [file.read_text() for file in files if file.name != "tests.py"]
    defined = {
        name
        for text in sources
        for name in re.findall(r"^class (\w+Middleware)\b", text, re.MULTILINE)
    }
    assert read - defined == (set() if NEW else {"ContentSecurityPolicyMiddleware"})
    assert defined - read == set()
