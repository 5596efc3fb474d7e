"""The dashboard: who may look, what it shows, what its buttons do, and how it stays live."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError
from django.test import AsyncClient, AsyncRequestFactory
from django.urls import include, path
from django.utils import timezone

from asyncviews import add_background_task, background_task, current_task
from asyncviews.background import State, runner
from asyncviews.dashboard import overview, views
from asyncviews.dashboard.overview import duration
from asyncviews.durable import store
from asyncviews.durable.models import Status, StoredTask
from asyncviews.handler import InFlight, requests_in_flight
from tests.conftest import until

pytestmark = [
    pytest.mark.urls(__name__),
    pytest.mark.usefixtures("app_lifespan", "site_database"),
]

dashboard = path("background/", include("asyncviews.dashboard.urls"))
urlpatterns = [dashboard, path("ops/", include(([dashboard], "ops")))]

HOME = "/background/"
GETS = [HOME, f"{HOME}events/"]
POSTS = [f"{HOME}tasks/{'0' * 32}/cancel/", f"{HOME}tasks/{'0' * 32}/retry/"]
BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(autouse=True)
def _settings(settings):
    backend = {"BACKEND": "asyncviews.tasks.AsyncioBackend", "QUEUES": ["default", "slow"]}
    settings.TASKS = {"default": backend}
    runner._history.__init__()


async def logged_in(**attributes: bool) -> AsyncClient:
    client = AsyncClient()
    user = await User.objects.acreate_user("cook", **attributes)
    await client.aforce_login(user)
    return client


@pytest.fixture
async def staff(site_database) -> AsyncClient:
    """Who may look, and change nothing."""
    client = await logged_in(is_staff=True)
    await permit("view_storedtask")
    return client


@pytest.fixture
async def boss(site_database) -> AsyncClient:
    return await logged_in(is_staff=True, is_superuser=True)


async def permit(codename: str) -> None:
    user = await User.objects.aget()
    await user.user_permissions.aadd(await Permission.objects.aget(codename=codename))


async def shown(client: AsyncClient) -> str:
    response = await client.get(HOME, headers=BROWSER)
    assert response.status_code == 200
    return response.content.decode()


def section(page: str, name: str) -> str:
    return page.partition(f'<section id="{name}">')[2].partition("</section>")[0]


async def stored(name: str, status: Status = Status.READY, **values) -> StoredTask:
    defaults = {
        "id": f"{name}-{status}", "backend": "default", "queue_name": "default",
        "task_path": f"tests.tasks.cooking.{name}", "args": ["ribs"], "kwargs": {}, "priority": 0,
        "enqueued_at": timezone.now(),
    }  # fmt: skip
    return await store.tasks().acreate(status=status, **defaults | values)


# Who may look


@pytest.mark.parametrize(("method", "address"), [
    *[("get", address) for address in GETS], *[("post", address) for address in POSTS],
])  # fmt: skip
async def test_a_stranger_sees_nothing(async_client, method, address):
    send = getattr(async_client, method)
    response = await send(address)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Cookie")
    assert response.json()["detail"] == "This is for members of the staff. Log in."
    response = await send(address, headers=BROWSER)
    assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={HOME}")
    assert "Accept" in response["Vary"]
    assert response.content == b""


@pytest.mark.parametrize(("method", "address"), [
    *[("get", address) for address in GETS], *[("post", address) for address in POSTS],
])  # fmt: skip
async def test_whoever_is_not_staff_sees_nothing_either(site_database, method, address):
    send = getattr(await logged_in(is_superuser=True), method)
    assert (await send(address)).status_code == 403
    response = await send(address, headers=BROWSER)
    assert response.status_code == 403
    assert "Process" not in response.content.decode()


async def test_the_page_is_not_cached(staff):
    assert "no-store" in (await staff.get(HOME))["Cache-Control"]


async def test_without_a_user_the_project_is_told_what_to_add():
    request = AsyncRequestFactory().get(HOME)
    with pytest.raises(ImproperlyConfigured, match="AuthenticationMiddleware"):
        await views.Dashboard.as_view()(request)


async def test_whoever_is_inactive_is_not_staff():
    request = AsyncRequestFactory().get(HOME)
    request.user = User(is_staff=True, is_active=False, is_superuser=True)
    assert (await views.Dashboard.as_view()(request)).status_code == 403
    request.user = AnonymousUser()
    assert (await views.Dashboard.as_view()(request)).status_code == 401


@pytest.mark.parametrize("attribute", ["is_authenticated", "is_active", "is_staff"])
async def test_a_coroutine_makes_nobody_staff(attribute):
    async def no(self) -> bool:
        return False

    attributes = {"is_authenticated": True, "is_active": True, "is_staff": True}
    request = AsyncRequestFactory().get(HOME)
    request.user = type("Cook", (), attributes | {attribute: property(no)})()
    response = await views.Dashboard.as_view()(request)
    assert response.status_code == (401 if attribute == "is_authenticated" else 403)


@pytest.mark.parametrize(("method", "address"), [
    *[("get", address) for address in GETS], *[("post", address) for address in POSTS],
])  # fmt: skip
async def test_staff_needs_the_permission_to_see_tasks(site_database, method, address):
    client = await logged_in(is_staff=True)
    await stored("smoke")
    response = await getattr(client, method)(address)
    assert response.status_code == 403
    assert "asyncviews_durable.view_storedtask" in response.json()["detail"]
    response = await getattr(client, method)(address, headers=BROWSER)
    assert "ribs" not in response.content.decode()


@pytest.mark.parametrize("codename", ["view_storedtask", "change_storedtask"])
async def test_who_may_change_tasks_may_see_them(site_database, codename):
    """As in the admin."""
    client = await logged_in(is_staff=True)
    await permit(codename)
    await stored("smoke")
    assert "ribs" in await shown(client)


class Strict(ModelBackend):
    def has_perm(self, user_obj, perm, obj=None):
        return False


async def test_a_backend_that_refuses_permissions_is_asked(site_database, settings):
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Strict"]
    client = await logged_in(is_staff=True)
    await permit("view_storedtask")
    await permit("change_storedtask")
    for address in GETS:
        assert (await client.get(address)).status_code == 403
    for address in POSTS:
        assert (await client.post(address)).status_code == 403


@pytest.mark.parametrize("middleware", [True, False])
@pytest.mark.parametrize("address", POSTS)
async def test_the_buttons_want_a_token_even_where_the_project_wants_none(
    boss, settings, middleware, address
):
    if not middleware:
        settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    client = AsyncClient(enforce_csrf_checks=True)
    client.cookies = boss.cookies
    assert (await client.post(address)).status_code == 403
    page = await shown(client)
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    response = await client.post(address, {"csrfmiddlewaretoken": token})
    assert response.status_code == 404


# What it shows


async def test_the_tasks_of_this_process(boss, settings):
    settings.ASYNCVIEWS = {"MAX_RUNNING": 1}
    gate = asyncio.Event()

    async def smoke(meat: str) -> None:
        current_task().progress(1, 4, f"Turning the {meat}")
        await gate.wait()

    async def burn() -> None:
        raise ValueError("<burned>")

    await asyncio.gather(add_background_task(burn), return_exceptions=True)
    await add_background_task(int, "7")
    running = add_background_task(smoke, "ribs")
    waiting = add_background_task(smoke, "salmon")
    await until(lambda: running.state is State.RUNNING)
    page = await shown(boss)
    assert "Turning the ribs" in section(page, "running")
    assert 'value="25.0"' in section(page, "running")
    assert f'"tasks/{running.id}/cancel/' in section(page, "running")
    assert "(&#x27;salmon&#x27;)" in section(page, "waiting")
    assert f'"tasks/{waiting.id}/cancel/' in section(page, "waiting")
    assert "ValueError: &lt;burned&gt;" in section(page, "failed")
    assert "in burn\n" in section(page, "failed")
    assert "builtins.int" in section(page, "finished")
    assert "retry" not in page
    for figure in ("1 of 1", "1 of 1000"):
        assert f"<dd>{figure}</dd>" in section(page, "figures")
    gate.set()
    await asyncio.gather(running, waiting)
    assert "Nothing runs." in await shown(boss)


async def test_secrets_are_not_shown(staff):
    gate = asyncio.Event()

    @background_task(secrets=["password"])
    async def log_in(name: str, password: str) -> None:
        await gate.wait()

    task = add_background_task(log_in, "anne", "hunter2")
    await until(lambda: task.state is State.RUNNING)
    await stored("logs_in", args=["anne", "hunter2"])
    page = await shown(staff)
    assert page.count("password=****") == 2
    gate.set()
    await task
    page += await shown(staff)
    assert "hunter2" not in page


async def test_stored_tasks_of_all_processes(boss):
    error = {"exception_class_path": "builtins.ValueError", "traceback": "Traceback\nIt burned\n"}
    now = timezone.now()
    await stored(
        "smoke", Status.RUNNING, leased_by="other-1", started_at=now, last_attempted_at=now
    )
    await stored("asmoke", run_after=now)
    await stored("burns", Status.FAILED, errors=[error], finished_at=now, worker_ids=["other-2"])
    await stored("echo", Status.SUCCESSFUL, finished_at=now)
    await stored("smoke", Status.FAILED, id="c", cancel_requested=True, finished_at=now)
    page = await shown(boss)
    assert "in other-1" in section(page, "running")
    assert "not before" in section(page, "waiting")
    failed, finished = section(page, "failed"), section(page, "finished")
    assert '<p class="error">It burned</p>' in failed
    assert '"tasks/burns-FAILED/retry/"' in failed
    assert "smoke" not in failed
    assert "tests.tasks.cooking.echo" in finished
    assert '<span class="state">cancelled</span>' in finished
    assert section(page, "figures").count("<dd>1</dd>") >= 2


async def test_a_stored_task_that_runs_here_is_shown_once(boss):
    gate = asyncio.Event()

    async def smoke() -> None:
        current_task().progress(3, 4)
        await gate.wait()

    task = add_background_task(smoke)
    await until(lambda: task.state is State.RUNNING)
    await stored("smoke", Status.RUNNING, id=task.id, last_attempted_at=timezone.now())
    running = section(await shown(boss), "running")
    assert running.count('<li class="task"') == 1
    assert "stored" in running
    assert 'value="75.0"' in running
    gate.set()
    await task


async def test_of_many_tasks_some_are_shown(staff, monkeypatch):
    monkeypatch.setattr(overview, "SHOWN", 3)
    for _ in range(5):
        await add_background_task(int, "7")
    finished = section(await shown(staff), "finished")
    assert finished.count('<li class="task"') == 3
    assert "There may be more: 3 are shown." in finished


async def test_without_stored_tasks_there_is_nothing_of_them(boss, settings):
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if "durable" not in app]
    page = await shown(boss)
    assert "Stored" not in page
    for address in POSTS:
        assert (await boss.post(address)).status_code == 404


async def test_a_database_that_cannot_be_used_is_no_end_of_the_page(staff, monkeypatch):
    def fails() -> None:
        raise OperationalError("no such table: tasks\nHint")

    monkeypatch.setattr(store, "tasks", fails)
    page = await shown(staff)
    assert "The database of the stored tasks cannot be used: no such table: tasks<" in page


def test_requests_in_flight_are_those_of_all_handlers():
    before = requests_in_flight()
    one, other = InFlight(), InFlight()
    key = one.add({"method": "GET", "path": "/"})
    other.add({"method": "GET", "path": "/"})
    assert requests_in_flight() == before + 2
    one.remove(key)
    assert requests_in_flight() == before + 1


async def test_the_lag_is_how_late_the_event_loop_is():
    measuring = asyncio.create_task(views.loop_lag(views.LAG_STEP))
    await asyncio.sleep(0)
    time.sleep(0.5)  # noqa: ASYNC251 - it is meant to block
    assert await measuring > 0.4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.01234, "0.012 s"),
        (9.5, "9.5 s"),
        (59.7, "1 min 0 s"),
        (125, "2 min 5 s"),
        (7325, "2 h 2 min"),
    ],
)
def test_durations_are_written_as_people_do(seconds, text):
    assert duration(seconds) == text


# What its buttons do


async def test_a_running_task_is_cancelled(boss):
    task = add_background_task(asyncio.Event().wait)
    await until(lambda: task.state is State.RUNNING)
    response = await boss.post(f"{HOME}tasks/{task.id}/cancel/")
    assert (response.status_code, response["Location"]) == (302, HOME)
    await until(task.done)
    assert task.state is State.CANCELLED
    response = await boss.post(f"{HOME}tasks/{task.id}/cancel/")
    assert response.status_code == 404
    assert "It has ended, or another process runs it" in response.json()["detail"]


async def test_the_project_may_put_it_into_a_namespace(boss, async_client):
    task = add_background_task(asyncio.Event().wait)
    await until(lambda: task.state is State.RUNNING)
    page = (await boss.get(f"/ops{HOME}")).content.decode()
    assert f'formaction="tasks/{task.id}/cancel/"' in page
    response = await boss.post(f"/ops{HOME}tasks/{task.id}/cancel/")
    assert response["Location"] == f"/ops{HOME}"
    response = await async_client.get(f"/ops{HOME}", headers=BROWSER)
    assert response["Location"] == f"/accounts/login/?next=/ops{HOME}"
    await until(task.done)


async def test_what_failed_in_memory_is_not_run_again(boss):
    async def burn() -> None:
        raise ValueError

    task = add_background_task(burn)
    await asyncio.gather(task, return_exceptions=True)
    response = await boss.post(f"{HOME}tasks/{task.id}/retry/")
    assert response.status_code == 404
    assert "What ran in memory cannot be run again" in response.json()["detail"]


async def test_stored_tasks_are_cancelled_and_run_again(boss):
    waiting = await stored("smoke")
    assert (await boss.post(f"{HOME}tasks/{waiting.id}/cancel/")).status_code == 302
    await waiting.arefresh_from_db()
    assert (waiting.status, waiting.cancel_requested) == (Status.FAILED, True)
    assert (await boss.post(f"{HOME}tasks/{waiting.id}/retry/")).status_code == 302
    await waiting.arefresh_from_db()
    assert (waiting.status, waiting.cancel_requested) == (Status.READY, False)
    assert (await boss.post(f"{HOME}tasks/{waiting.id}/retry/")).status_code == 404


async def test_who_may_only_look_changes_nothing(staff):
    task = await stored("smoke")
    here = add_background_task(asyncio.Event().wait)
    await until(lambda: here.state is State.RUNNING)
    page = await shown(staff)
    assert "tests.tasks.cooking.smoke" in page
    assert here.id in page
    assert '"tasks/' not in page
    for address in [task.id, here.id, "0" * 32]:
        for action in ("cancel", "retry"):
            response = await staff.post(f"{HOME}tasks/{address}/{action}/")
            assert response.status_code == 403
            assert "asyncviews_durable.change_storedtask" in response.json()["detail"]
    assert here.state is State.RUNNING
    await permit("change_storedtask")
    page = await shown(staff)
    for each in (task, here):
        assert f'"tasks/{each.id}/cancel/' in page
        assert (await staff.post(f"{HOME}tasks/{each.id}/cancel/")).status_code == 302
    await until(here.done)


# Live


async def next_part(events) -> dict[str, str]:
    async with asyncio.timeout(10):
        event = await anext(events)
    return json.loads(event.decode().partition("data: ")[2])


async def test_the_stream_has_all_parts_first_and_then_those_that_change(staff, monkeypatch):
    monkeypatch.setattr(views, "UPDATE_SECONDS", 0.01)
    response = await staff.get(f"{HOME}events/")
    events = response.streaming_content
    first = [(await next_part(events))["name"] for _ in range(5)]
    assert first == ["figures", "running", "waiting", "failed", "finished"]
    await add_background_task(int, "7")
    changed = []
    while "finished" not in changed:
        part = await next_part(events)
        changed.append(part["name"])
    assert "builtins.int" in part["html"]
    assert "failed" not in changed
    response.close()


async def test_the_stream_ends_so_that_its_reader_is_asked_again(staff, monkeypatch):
    monkeypatch.setattr(views, "STREAM_SECONDS", 0)
    response = await staff.get(f"{HOME}events/")
    async with asyncio.timeout(10):
        assert len([event async for event in response.streaming_content]) == 5
    response.close()
