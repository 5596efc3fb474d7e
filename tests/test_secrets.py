"""Marked secrets go in by every door, and everything fails: none may come out anywhere."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib import admin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient
from django.urls import include, path, reverse
from django.utils import timezone
from pydantic import BaseModel, RootModel, SecretBytes, SecretStr, field_serializer

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
    Body,
    Cookie,
    File,
    Form,
    Header,
    Path,
    Query,
    Unauthorized,
    UploadedFile,
    background_task,
)
from asyncviews.access_log import FORMATS, AccessLogger, parse_format
from asyncviews.background import runner
from asyncviews.durable import store
from asyncviews.durable.admin import StoredTaskAdmin
from asyncviews.durable.models import Status, StoredTask
from asyncviews.metrics import MeteredHandler, Metrics
from asyncviews.openapi import OpenAPI
from asyncviews.server import configure
from tests.conftest import http_scope, until
from tests.site_database import migrated_directory, site_alias, site_database
from tests.tasks import cooking

__all__ = ["migrated_directory", "site_alias", "site_database"]  # fixtures

pytestmark = [pytest.mark.urls(__name__), pytest.mark.usefixtures("app_lifespan")]

MARK = "hunter2.zqxj"
"""In every secret; greps look for the part after the dot, which no truncation has cut off."""


class Answer(BaseModel):
    number: int = 0


class Credentials(BaseModel):
    password: SecretStr
    token: SecretBytes = SecretBytes(b"")


class Loud(RootModel[str]):
    @field_serializer("root")
    def refuse(self, value: str) -> str:
        raise ValueError("no wood")


@background_task(secrets=["password"])
async def logs_in(name: str, password: str) -> None:
    raise RuntimeError("no wood")


@background_task(secrets=["password"])
def logs_in_on_a_thread(name: str, *, password: str) -> None:
    raise RuntimeError("no wood")


class Door(BackgroundTaskMixin, AsyncView):
    """Ends as the header ``How`` says, with the secret in its hands."""

    max_body_size = 2000

    async def authorize(self, request: HttpRequest) -> None:
        if request.headers.get("How") == "stranger":
            raise Unauthorized

    async def end(self, password: Any, **secrets: Any) -> Answer | Loud:
        how = self.request.headers["How"]
        plain = password.get_secret_value() if hasattr(password, "get_secret_value") else password
        if how == "bug":
            raise RuntimeError("no wood")
        if how == "unexpected":
            return {"number": plain}  # type: ignore[return-value]
        if how == "changed":
            answer = Answer()
            answer.number = plain
            return answer
        if how == "serializer":
            return Loud(plain)
        if how == "background":
            self.add_background_task(logs_in, "ann", plain)
            self.add_background_task(logs_in_on_a_thread, "ann", password=plain)
            self.add_background_task(logs_in, "ann", plain, plain)  # type: ignore[call-arg]
        return Answer()


class OfQuery(Door):
    async def post(
        self, request: HttpRequest, password: Query[SecretStr], n: Query[int]
    ) -> Answer | Loud:
        return await self.end(password)


class OfPath(Door):
    async def post(self, request: HttpRequest, password: Path[SecretStr], n: int) -> Answer | Loud:
        return await self.end(password)


class OfHeader(Door):
    async def post(
        self, request: HttpRequest, authorization: Header[SecretStr], n: Header[int]
    ) -> Answer | Loud:
        return await self.end(authorization)


class OfCookie(Door):
    async def post(
        self, request: HttpRequest, password: Cookie[SecretStr], n: Cookie[int]
    ) -> Answer | Loud:
        return await self.end(password)


class OfForm(Door):
    async def post(
        self, request: HttpRequest, password: Form[SecretStr], n: Form[int]
    ) -> Answer | Loud:
        return await self.end(password)


class OfFile(Door):
    async def post(
        self, request: HttpRequest, password: File[UploadedFile], n: Form[int]
    ) -> Answer | Loud:
        return await self.end(password.read().decode())


class OfBody(Door):
    async def post(
        self, request: HttpRequest, credentials: Body[Credentials], n: Query[int]
    ) -> Answer | Loud:
        return await self.end(credentials.password, credentials=credentials)


class OfRawBody(Door):
    async def post(self, request: HttpRequest, body: Body[bytes], n: Query[int]) -> Answer | Loud:
        return await self.end(body.decode())


class WithDefaults(AsyncView):
    async def get(
        self,
        request: HttpRequest,
        key: Query[SecretStr] = SecretStr(MARK),  # noqa: B008 - as a user may write it
    ) -> HttpResponse: ...


site = admin.AdminSite()
site.register(StoredTask, StoredTaskAdmin)
doors = [
    path("query/", OfQuery.as_view()),
    path("path/<password>/<n>/", OfPath.as_view()),
    path("header/", OfHeader.as_view()),
    path("cookie/", OfCookie.as_view()),
    path("form/", OfForm.as_view()),
    path("file/", OfFile.as_view()),
    path("body/", OfBody.as_view()),
    path("raw/", OfRawBody.as_view()),
    path("defaults/", WithDefaults.as_view()),
]
urlpatterns = [
    *doors,
    path("admin/", site.urls),
    path("background/", include("asyncviews.dashboard.urls")),
    path("metrics/", Metrics.as_view()),
    path("docs/", OpenAPI().urls),
]


@pytest.fixture(autouse=True)
def _settings(settings):
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "csrf" not in name]
    settings.ASYNCVIEWS = {"METRICS": True}
    runner._history.__init__()  # it has the paths of other requests, one of them with the secret


OF_DJANGO = {"args", "request"}
"""Fields of records that no formatter writes by itself; a request's repr has the query."""


@pytest.fixture
def written() -> Iterator[list[str]]:
    """Every record of every logger, as text with its traceback and its fields."""
    found: list[str] = []
    formatter = logging.Formatter()
    handler = logging.Handler(logging.DEBUG)

    def note(record: logging.LogRecord) -> None:
        text = formatter.format(record)
        fields = {name: value for name, value in vars(record).items() if name not in OF_DJANGO}
        found.append(f"{text} {fields}")

    handler.emit = note  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)


def sent(source: str, n: object = 1, **changes: Any) -> dict[str, Any]:
    """Return a request that carries the secret in this source."""
    form = f"password={MARK}&n={n}".encode()
    file = (
        f'--x\r\nContent-Disposition: form-data; name="password"; filename="{MARK}"\r\n'
        f"Content-Type: text/plain\r\n\r\n{MARK}\r\n--x\r\n"
        f'Content-Disposition: form-data; name="n"\r\n\r\n{n}\r\n--x--\r\n'
    ).encode()
    body = json.dumps({"password": MARK, "token": MARK}).encode()
    requests: dict[str, dict[str, Any]] = {
        "query": {"query": f"password={MARK}&n={n}"},
        "path": {"path": f"/path/{MARK}/{n}/"},
        "header": {"headers": {"authorization": f"Bearer {MARK}", "n": str(n)}},
        "cookie": {"headers": {"cookie": f"password={MARK}; n={n}"}},
        "form": {"body": form, "content_type": "application/x-www-form-urlencoded"},
        "file": {"body": file, "content_type": "multipart/form-data; boundary=x"},
        "body": {"body": body, "content_type": "application/json", "query": f"n={n}"},
        "raw": {"body": MARK.encode(), "content_type": "text/plain", "query": f"n={n}"},
    }
    return {"path": f"/{source}/", "how": "well"} | requests[source] | changes


async def send(
    path: str,
    *,
    how: str,
    method: str = "POST",
    query: str = "",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    content_type: str = "",
) -> tuple[int, str]:
    """Return status and all else of what is answered."""
    scope = http_scope(path, query=query, method=method)
    fields = {"how": how, "content-type": content_type, "content-length": str(len(body))}
    for name, value in (fields | (headers or {})).items():
        scope["headers"].append((name.encode(), value.encode()))
    communicator = ApplicationCommunicator(MeteredHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": body})
    start = await communicator.receive_output(5)
    messages = [start]
    while len(messages) == 1 or messages[-1].get("more_body"):
        messages.append(await communicator.receive_output(5))
    await communicator.wait(5)
    return start["status"], str(messages)


def failures() -> Iterator[Any]:
    everywhere = [
        ("well", 200, {}),
        ("stranger", 401, {"how": "stranger"}),
        ("method", 405, {"method": "PUT"}),
        ("accept", 406, {"accept": "image/png"}),
        ("invalid", 422, {"n": "x" + MARK}),
        ("bug", 500, {"how": "bug"}),
        ("unexpected", 500, {"how": "unexpected"}),
        ("changed", 500, {"how": "changed"}),
        ("serializer", 500, {"how": "serializer"}),
        ("background", 200, {"how": "background"}),
    ]
    for source in ("query", "path", "header", "cookie", "form", "file", "body", "raw"):
        for name, status, changes in everywhere:
            yield pytest.param(source, status, changes, id=f"{source}-{name}")
    large = {"body": MARK.encode() * 200}
    for source in ("query", "form", "file", "body", "raw"):
        yield pytest.param(source, 413, large, id=f"{source}-large")
    for source in ("form", "file", "body"):
        wrong = {"content_type": f"text/{MARK}"}
        yield pytest.param(source, 415, wrong, id=f"{source}-type")
    for invalid in ('{"password": "%s"', '{"password": %s}', "%s", '{"%s": 1}x', '"\\u%s"'):
        body = {"body": (invalid % MARK).encode()}
        yield pytest.param("body", 400, body, id=f"body-{invalid}")
    for mistake in ({"password": [MARK]}, {"password": {MARK[:3]: MARK}}, [MARK], MARK):
        body = {"body": json.dumps(mistake).encode()}
        yield pytest.param("body", 422, body, id=f"body-{mistake}")
    broken = {"body": f"--y\r\n{MARK}".encode(), "content_type": "multipart/form-data; boundary="}
    yield pytest.param("file", 400, broken, id="file-broken")


def require_none(text: str, *, known: str = "") -> None:
    """`known` is the URL's path, which every log has."""
    assert MARK.partition(".")[2] not in (text.replace(known, "") if known else text)


@pytest.mark.parametrize(("source", "status", "changes"), [*failures()])
async def test_no_answer_and_no_log_has_the_secret(source, status, changes, written):
    changes = dict(changes)
    if accept := changes.pop("accept", None):
        given = sent(source)
        given["headers"] = given.get("headers", {}) | {"accept": accept}
    else:
        given = sent(source, **changes)
    answered, answer = await send(**given)
    await until(lambda: not runner.unfinished())
    assert answered == status, answer
    require_none(answer)
    require_none("\n".join(written), known=given["path"])
    if status >= 400 and status not in {401, 405}:
        assert written  # what is looked through is there
    if changes.get("how") == "background":
        assert sum("no wood" in record for record in written) == 2
        require_none(str(runner.history()), known=given["path"])


async def boss() -> AsyncClient:
    client = AsyncClient()
    user = await User.objects.acreate_user("cook", is_staff=True, is_superuser=True)
    await client.aforce_login(user)
    return client


async def page(client: AsyncClient, url: str) -> str:
    response = await client.get(url, headers={"accept": "text/html"})
    assert response.status_code == 200
    return response.content.decode()


def store_tasks() -> list[str]:
    """Store a task in each state, with the secret by position and by name; return their ids."""
    failed = {"exception_class_path": "builtins.ValueError", "traceback": "ValueError: no wood"}
    calls: list[tuple[list[str], dict[str, str]]] = [
        (["ann", MARK], {}),
        (["ann"], {"password": MARK}),
        (["ann", MARK, MARK], {}),  # which does not fit, so that nobody knows what is secret
    ]
    ids: list[str] = []
    statuses = (Status.READY, Status.RUNNING, Status.FAILED, Status.SUCCESSFUL)
    for name, status, call in product(("logs_in", "logs_in_with_context"), statuses, calls):
        args, kwargs = call
        stored = store.tasks().create(
            id=f"{len(ids)}", status=status, backend="default", queue_name="default",
            task_path=f"tests.tasks.cooking.{name}", args=args, kwargs=kwargs, priority=0,
            enqueued_at=timezone.now(), errors=[failed] if status == Status.FAILED else [],
        )  # fmt: skip
        ids.append(stored.id)
    return ids


@pytest.fixture
def _stores_tasks(app_lifespan, settings):  # no worker runs them meanwhile
    backend = {"BACKEND": "asyncviews.tasks.DurableBackend", "QUEUES": ["default", "slow"]}
    settings.TASKS = {"default": backend}


@pytest.mark.usefixtures("site_database", "_stores_tasks")
async def test_no_page_has_the_secret():
    await send(**sent("form", how="background"))
    await send(**sent("body", n="x"))
    await until(lambda: not runner.unfinished())
    ids = await sync_to_async(store_tasks)()
    client = await boss()
    dashboard = await page(client, "/background/")
    assert "tests.test_secrets.logs_in" in dashboard
    assert "tests.tasks.cooking.logs_in" in dashboard
    assert "password=****" in dashboard
    require_none(dashboard)
    rows = await page(client, reverse("admin:asyncviews_durable_storedtask_changelist"))
    assert "password=****" in rows
    require_none(rows)
    for id_ in ids:
        require_none(
            await page(client, reverse("admin:asyncviews_durable_storedtask_change", args=[id_]))
        )


@pytest.mark.parametrize("name", ["logs_in", "logs_in_with_context"])
async def test_no_log_of_a_task_has_the_secret(name, written):
    await getattr(cooking, name).aenqueue("ann", MARK)
    await until(lambda: not runner.unfinished())
    require_none("\n".join(written))
    require_none(str(runner.history()))


@pytest.mark.parametrize("name", ["logs_in", "logs_in_with_context"])
async def test_nor_has_the_refusal_of_arguments_that_do_not_fit(name):
    with pytest.raises(TypeError, match="too many positional arguments") as refused:
        await getattr(cooking, name).aenqueue("ann", MARK, MARK)
    require_none(str(refused.value))


async def test_nor_have_metrics():
    for source in ("query", "path", "header"):
        await send(**sent(source))
    _, scraped = await send("/metrics/", how="", method="GET")
    assert "OfQuery" in scraped
    assert "OfPath" in scraped
    require_none(scraped)


async def test_nor_has_the_openapi_document():
    status, document = await send("/docs/openapi.json", how="", method="GET")
    assert status == 200
    assert "/defaults/" in document
    require_none(document)


@pytest.mark.parametrize("name", FORMATS)
async def test_nor_has_the_access_log_of_serve(name, capsys):
    """But for what a URL's path has, and the header Referer."""
    scope = http_scope("/query/", query=f"password={MARK}")
    scope["headers"] += [(b"cookie", MARK.encode()), (b"authorization", MARK.encode())]
    config = configure([], certfile=None, keyfile=None)
    config.accesslog, config.access_log_format = "-", parse_format(name)
    await AccessLogger(config).access(scope, {"status": 200, "headers": []}, 0.1)
    line = capsys.readouterr().out
    assert "/query/" in line
    require_none(line)
