"""The admin's pages of durable tasks."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.urls import path, reverse
from django.utils import timezone

from asyncviews.durable.admin import StoredTaskAdmin
from asyncviews.durable.models import Status, StoredTask

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

LIST = "admin:asyncviews_durable_storedtask_changelist"
PAGE = "admin:asyncviews_durable_storedtask_change"


site = admin.AdminSite()  # of its own: others register models with Django's while the tests run
site.register(StoredTask, StoredTaskAdmin)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture(autouse=True)
def _tasks(settings):
    backend = {"BACKEND": "asyncviews.tasks.DurableBackend", "QUEUES": ["default", "slow"]}
    settings.TASKS = {"default": backend}


def stored(name: str, status: Status = Status.READY, **values) -> StoredTask:
    defaults = {
        "id": f"{name}-{status}", "backend": "default", "queue_name": "default",
        "task_path": f"tests.tasks.cooking.{name}", "args": ["ribs"], "kwargs": {}, "priority": 0,
        "enqueued_at": timezone.now(),
    }  # fmt: skip
    return StoredTask.objects.create(status=status, **defaults | values)


def act(client, action: str, *tasks: StoredTask) -> str:
    data = {"action": action, "_selected_action": [task.id for task in tasks]}
    return client.post(reverse(LIST), data, follow=True).content.decode()


def test_the_list_shows_tasks_without_their_secrets(admin_client):
    stored("smoke")
    stored("logs_in", args=["anne", "hunter2"])
    stored("logs_in_with_context", args=["olga", "hunter4"])
    stored("gone", args=["hunter3"])
    page = admin_client.get(reverse(LIST)).content.decode()
    assert "tests.tasks.cooking.smoke" in page
    assert "&#x27;ribs&#x27;" in page
    for name in ("anne", "olga"):
        assert f"name=&#x27;{name}&#x27;, password=****" in page
    assert "hunter" not in page


def test_one_task_can_be_looked_at_and_not_changed(admin_client):
    error = {"exception_class_path": "builtins.ValueError", "traceback": "ValueError: burned"}
    task = stored("logs_in", Status.FAILED, args=["anne", "hunter2"], errors=[error])
    page = admin_client.get(reverse(PAGE, args=[task.id])).content.decode()
    assert "ValueError: burned" in page
    assert "hunter2" not in page
    assert '<input type="text"' not in page
    admin_client.post(reverse(PAGE, args=[task.id]), {"status": "READY", "args": "[]"})
    task.refresh_from_db()
    assert (task.status, task.args) == (Status.FAILED, ["anne", "hunter2"])


def test_tasks_cannot_be_added(admin_client):
    assert admin_client.get(reverse(LIST) + "add/").status_code == 403


def test_failed_tasks_are_run_again(admin_client):
    failed, done = stored("smoke", Status.FAILED), stored("smoke", Status.SUCCESSFUL)
    assert "1 task is run again." in act(admin_client, "retry", failed, done)
    failed.refresh_from_db()
    done.refresh_from_db()
    assert (failed.status, done.status) == (Status.READY, Status.SUCCESSFUL)


def test_waiting_and_running_tasks_are_cancelled(admin_client):
    ready, running = stored("smoke"), stored("smoke", Status.RUNNING, leased_by="worker")
    failed = stored("smoke", Status.FAILED)
    assert "2 tasks are cancelled." in act(admin_client, "cancel", ready, running, failed)
    ready.refresh_from_db()
    running.refresh_from_db()
    assert (ready.status, ready.finished_at is not None) == (Status.FAILED, True)
    assert ready.errors[0]["exception_class_path"] == "asyncio.exceptions.CancelledError"
    assert (running.status, running.cancel_requested) == (Status.RUNNING, True)


def test_who_may_only_look_may_only_look(client, django_user_model):
    user = django_user_model.objects.create_user("anne", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_storedtask"))
    client.force_login(user)
    failed = stored("smoke", Status.FAILED)
    page = client.get(reverse(LIST)).content.decode()
    assert "tests.tasks.cooking.smoke" in page
    assert "Run selected failed tasks again" not in page
    act(client, "retry", failed)
    failed.refresh_from_db()
    assert failed.status == Status.FAILED


# What may be asked about what is not shown

HIDDEN = [
    "args", "args__0", "args__0__startswith", "args__contains", "kwargs", "kwargs__token",
    "kwargs__token__startswith", "kwargs__token__regex", "kwargs__icontains", "kwargs__has_key",
    "kwargs__isnull", "return_value__startswith", "return_value__token__gt", "errors__0__traceback",
    "errors__0__traceback__contains", "errors__icontains", "worker_ids__0__startswith",
    "leased_by__startswith", "id__startswith",
]  # fmt: skip


@pytest.mark.parametrize("lookup", HIDDEN)
def test_what_is_not_shown_cannot_be_guessed_by_filters(admin_client, lookup):
    stored("logs_in", args=["anne", "hunter2"], kwargs={"token": "hunter2"})
    for value in ("hunter2", "h", "x", "1", "[]"):
        response = admin_client.get(reverse(LIST), {lookup: value})
        assert response.status_code == 400
        assert "logs_in" not in response.content.decode()


def test_what_is_not_shown_is_neither_searched_nor_sorted_by(admin_client):
    stored("logs_in", args=["anne", "hunter2"], kwargs={"token": "hunter2"})
    for query in ("hunter2", "kwargs__token__startswith=h", "anne"):
        assert "0 tasks" in admin_client.get(reverse(LIST), {"q": query}).content.decode()
    page = admin_client.get(reverse(LIST)).content.decode()
    assert "sortable column-task_path" in page
    assert "sortable column-arguments" not in page


@pytest.mark.parametrize(
    "query",
    [
        {"status__exact": "READY"}, {"backend": "default"}, {"queue_name": "default"},
        {"task_path": "tests.tasks.cooking.smoke"}, {"enqueued_at__year": "2030"}, {"q": "cooking.sm"},
        {"status__exact": "READY", "_facets": "True", "o": "-6.1"},
    ],
)  # fmt: skip
def test_the_filters_of_the_page_work(admin_client, query):
    moment = timezone.now().replace(year=2030, month=6)
    task = stored("smoke", enqueued_at=moment)
    stored("burns", Status.FAILED, backend="other", queue_name="slow")
    page = admin_client.get(reverse(LIST), query)
    assert [each.pk for each in page.context["cl"].result_list] == [task.pk]


class OwnAdmin(StoredTaskAdmin):
    class LongWait(admin.SimpleListFilter):
        title = parameter_name = "waits"

        def lookups(self, request, model_admin):
            return [("long", "long")]

        def queryset(self, request, queryset):
            return queryset

    list_filter = (("status", admin.ChoicesFieldListFilter), "leased_by", LongWait)


def test_a_project_may_have_other_filters(rf):
    own = OwnAdmin(StoredTask, site)
    allowed = {
        lookup: own.lookup_allowed(lookup, "x", rf.get("/"))
        for lookup in ("status__exact", "leased_by", "waits", "kwargs__token", "backend")
    }
    assert allowed == {
        "status__exact": True, "leased_by": True, "waits": True, "kwargs__token": False,
        "backend": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "expected"),
    [("smoke", "&quot;smoked ü&quot;"), ("logs_in", "****"), ("gone", "****")],
)
def test_a_result_is_shown_unless_arguments_are_secret(admin_client, name, expected):
    task = stored(name, Status.SUCCESSFUL, return_value="smoked ü", args=["anne", "hunter2"])
    page = admin_client.get(reverse(PAGE, args=[task.id])).content.decode()
    result = page.partition("field-result")[2].partition("field-tracebacks")[0]
    assert expected in result
    assert ("smoked" in result) is (name == "smoke")
