"""Log records say for which request or background task they were written."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import re
from collections.abc import Iterator
from contextvars import copy_context
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.http import HttpResponse
from django.urls import path

from asyncviews import AsyncView, add_background_task, background_task
from asyncviews.asgi import lifespan
from asyncviews.logs import FIELDS, ContextFilter, context_fields
from tests.test_docs import DOCS, blocks, section

logger = logging.getLogger(__name__)


class Logging(AsyncView):
    async def get(self, request):
        logger.info("on the loop")
        await sync_to_async(logger.info)("in a thread")
        return HttpResponse()


urlpatterns = [path("logging/", Logging.as_view())]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.addFilter(ContextFilter())
    handler.emit = found.append
    loggers = [logger, logging.getLogger("asyncviews")]
    before = logger.level
    for each in loggers:
        each.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.setLevel(before)
    for each in loggers:
        each.removeHandler(handler)


async def test_a_request_has_fields(get, records):
    await get("/logging/", query="a=1")
    assert [record.getMessage() for record in records] == ["on the loop", "in a thread"]
    for record in records:
        assert (record.request_method, record.request_path) == ("GET", "/logging/")
        assert record.view == f"{__name__}.Logging"
        assert record.task_id is None


async def test_a_background_task_has_fields(app_lifespan, records):
    async def work() -> None:
        logger.info("working")
        await sync_to_async(logger.info)("working in a thread")

    task = add_background_task(work)
    await task
    assert len(records) == 2
    for record in records:
        fields = {name: getattr(record, name) for name in task.log_fields()}
        assert fields == {
            "task_id": task.id,
            "task_name": task.name,
            "task_origin": None,
            "task_attempt": 1,
        }
        assert record.request_path is None


def test_code_of_nobody_has_none(records):
    logger.info("hello")
    assert {getattr(records[0], name) for name in FIELDS} == {None}
    assert context_fields(copy_context()) == {}


async def test_a_field_of_the_record_itself_stays(app_lifespan, records):
    async def work() -> None:
        logger.info("of another", extra={"task_id": "another"})

    await add_background_task(work)
    assert records[0].task_id == "another"


async def test_what_the_runner_logs_of_a_task_has_fields(settings, records):
    settings.ASYNCVIEWS = {"DRAIN_TIMEOUT": 0.01}

    @background_task(attempts=2, backoff=0.001)
    def fail() -> None:
        raise ValueError("no")

    async def never_end() -> None:
        await asyncio.Event().wait()

    async with lifespan():
        failing = add_background_task(fail)
        with pytest.raises(ValueError, match="no"):
            await failing
        cut_off = add_background_task(never_end)
    told = [(record.task_id, record.task_attempt) for record in records]
    assert told[:2] == [(failing.id, 1), (failing.id, 2)]
    assert told[-1][0] == cut_off.id


def test_the_reference_lists_every_field():
    documented = set(re.findall(r"^\| `(\w+)` \|", section(DOCS / "reference/logging.md", "# Log records"), re.MULTILINE))  # fmt: skip
    sources = Path(DOCS.parent / "asyncviews").rglob("*.py")
    written = {
        name
        for source in sources
        for name in re.findall(r'"((?:task|request|blocked)_\w+)": ', source.read_text())
    }
    assert documented == {*written, *FIELDS}


async def test_the_example_of_the_reference_works(app_lifespan, capsys):
    example = next(b for b in blocks(DOCS / "reference/logging.md") if b.language == "python")
    namespace: dict = {}
    exec(example.text, namespace)
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    try:
        logging.config.dictConfig(namespace["LOGGING"])

        async def work() -> None:
            logger.info("working")

        task = add_background_task(work)
        await task
    finally:
        root.setLevel(before[0])
        root.handlers[:] = before[1]
    assert f"INFO {__name__}: working [None, {task.id}]\n" in capsys.readouterr().err
