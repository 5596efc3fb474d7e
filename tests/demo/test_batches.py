"""The smoker: its API, its page without JavaScript, and what becomes of batches."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone

from asyncviews.background import BackgroundQueueFull, runner
from demo_site import batches, smoker, tasks
from demo_site.models import Batch
from demo_site.tasks import smoke_batch
from tests.conftest import until

pytestmark = pytest.mark.usefixtures("app_lifespan", "site_database")

API = "/api/batches/"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
async def an_hour_a_step(app_lifespan, site_database, settings):
    settings.DEMO_STEP_SECONDS = 3600
    yield
    for task in (left := runner.unfinished()):
        task.cancel()
    await until(lambda: all(task.done() for task in left))


async def fill(client: AsyncClient, *meats: str, **more: object):
    body = {"meats": meats or ("ribs",), **more}
    return await client.post(API, json.dumps(body), content_type="application/json")


async def batch_of(pk: int = 1) -> Batch:
    return await Batch.objects.aget(pk=pk)


async def until_status(status: str, pk: int = 1) -> None:
    async with asyncio.timeout(10):
        while (await batch_of(pk)).status != status:
            await asyncio.sleep(0.01)


async def make(**values) -> Batch:
    return await Batch.objects.acreate(**{"meat": "ribs", "flavor": "Honey"} | values)


# The API


async def test_each_meat_is_a_batch_that_is_smoked(async_client, background_work):
    response = await fill(async_client, "ribs", "salmon", flavor="Honey")
    assert response.status_code == 201
    made = response.json()
    assert [(one["meat"], one["flavor"], one["status"]) for one in made] == [
        ("ribs", "Honey", "waiting"),
        ("salmon", "Honey", "waiting"),
    ]
    await background_work()
    done = (await async_client.get(f"{API}{made[0]['id']}/")).json()
    assert (done["status"], done["percent"], done["stage"]) == ("done", 100, "Ready to eat")
    assert done["ended_at"] is not None


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/meats"),
        ({"meats": []}, "/meats"),
        ({"meats": ["tofu"]}, "/meats/0"),
        ({"meats": ["ribs"] * 21}, "/meats"),
        ({"meats": ["ribs"], "flavor": " "}, "/flavor"),
        ({"meats": ["ribs"], "flavor": "x" * 61}, "/flavor"),
        ({"meats": ["ribs"], "flavor": "\u0000"}, "/flavor"),
        ({"meats": ["ribs"], "salt": 1}, "/salt"),
    ],
)
async def test_what_cannot_be_smoked_is_refused(async_client, body, where):
    response = await async_client.post(API, json.dumps(body), content_type="application/json")
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json()["errors"]] == [where]
    assert await Batch.objects.acount() == 0


async def test_the_list_is_filtered(async_client):
    await make(status="done")
    await make(meat="salmon", status="done")
    await make(status="failed")

    async def ids(query: str) -> list[int]:
        return [batch["id"] for batch in (await async_client.get(f"{API}?{query}")).json()]

    assert await ids("") == [3, 2, 1]
    assert await ids("status=done,failed&meat=ribs") == [3, 1]
    assert await ids("limit=1") == [3]
    for query in ("limit=0", "limit=101", "status=raw", "meat=tofu", "page=1"):
        assert (await async_client.get(f"{API}?{query}")).status_code == 422


@pytest.mark.parametrize("pk", [7, 10**30])
@pytest.mark.parametrize(
    ("method", "path"), [("get", ""), ("delete", ""), ("post", "cancel/"), ("get", "photo/")]
)
async def test_a_batch_that_is_not_there_is_a_problem(async_client, pk, method, path):
    response = await getattr(async_client, method)(f"{API}{pk}/{path}")
    assert response.status_code == 404
    assert response.json()["detail"] == f"There is no batch {pk}."


@pytest.mark.usefixtures("an_hour_a_step")
async def test_a_smoker_that_is_full_takes_no_more(async_client, monkeypatch):
    monkeypatch.setattr(smoker, "PLACES", 2)
    assert (await fill(async_client, "ribs")).status_code == 201
    response = await fill(async_client, "ribs", "salmon")
    assert response.status_code == 409
    assert response.json()["detail"] == "The smoker has 2 places, and 1 of them are taken."


async def test_what_no_task_will_smoke_is_not_kept(async_client, monkeypatch):
    async def full(*args: object) -> None:
        raise BackgroundQueueFull

    monkeypatch.setattr(type(smoke_batch), "aenqueue", full)
    response = await fill(async_client)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert await Batch.objects.acount() == 0


async def test_a_cancelled_batch_ends_at_its_next_step(async_client, settings, background_work):
    settings.DEMO_STEP_SECONDS = 0.05
    await fill(async_client)
    await until_status("smoking")
    response = await async_client.post(f"{API}1/cancel/")
    assert (response.status_code, response.json()["status"]) == (200, "cancelled")
    await background_work()
    batch = await batch_of()
    assert (batch.status, batch.step < batch.steps) == ("cancelled", True)
    again = await async_client.post(f"{API}1/cancel/")
    assert (again.status_code, again.json()["detail"]) == (
        409,
        "Batch 1 is out of the smoker already.",
    )


async def test_a_removed_batch_ends_as_well(async_client, settings, background_work):
    settings.DEMO_STEP_SECONDS = 0.05
    await fill(async_client)
    await until_status("smoking")
    assert (await async_client.delete(f"{API}1/")).status_code == 204
    await background_work()
    assert await Batch.objects.acount() == 0


async def upload(client: AsyncClient, content: bytes, content_type: str, pk: int = 1):
    photo = SimpleUploadedFile("photo", content, content_type)
    form = encode_multipart(BOUNDARY, {"photo": photo})
    return await client.put(f"{API}{pk}/photo/", form, content_type=MULTIPART_CONTENT)


async def test_a_photo_is_kept_replaced_and_removed_with_its_batch(async_client, settings):
    await make()
    assert (await async_client.get(f"{API}1/photo/")).json()["detail"] == "Batch 1 has no photo."
    response = await upload(async_client, PNG, "image/png")
    assert response.json()["photo_url"] == f"{API}1/photo/"
    photo = await async_client.get(f"{API}1/photo/")
    assert (photo.content, photo.headers["Content-Type"]) == (PNG, "image/png")
    assert photo.headers["X-Content-Type-Options"] == "nosniff"
    for content, content_type in [(b"RIFF", "image/webp"), (b"\xff\xd8", "image/jpeg")]:
        await upload(async_client, content, content_type)
        photo = await async_client.get(f"{API}1/photo/")
        assert (photo.content, photo.headers["Content-Type"]) == (content, content_type)
    photos = settings.MEDIA_ROOT / "photos"
    assert len(list(photos.iterdir())) == 1
    await async_client.delete(f"{API}1/")
    assert list(photos.iterdir()) == []


async def test_a_photo_of_a_batch_that_was_removed_meanwhile_is_not_kept(async_client, settings):
    batch = await make()
    photo = SimpleUploadedFile("photo", PNG, "image/png")
    await Batch.objects.filter(pk=batch.pk).adelete()
    assert await sync_to_async(batches.replace_photo)(batch, photo) is False
    assert list((settings.MEDIA_ROOT / "photos").iterdir()) == []


async def test_a_photo_whose_file_is_gone_is_none(async_client, settings):
    await make(photo="photos/1.png")
    assert (await async_client.get(f"{API}1/photo/")).status_code == 404


async def test_what_is_no_photo_is_refused(async_client):
    await make()
    for content, content_type in [(b"<svg/>", "image/svg+xml"), (b"x" * 2_000_001, "image/png")]:
        assert (await upload(async_client, content, content_type)).status_code == 422
    response = await async_client.put(f"{API}1/photo/", b"x", content_type="image/png")
    assert response.status_code == 415


async def test_the_export_has_every_batch(async_client):
    for meat in ("ribs", "salmon"):
        await make(meat=meat)
    response = await async_client.get(f"{API}export/")
    assert response.headers["Content-Type"] == "application/jsonl"
    lines = [json.loads(line) async for line in response.streaming_content]
    response.close()
    assert [(line["id"], line["meat"]) for line in lines] == [(1, "ribs"), (2, "salmon")]


async def test_a_program_without_a_token_is_told_so():
    client = AsyncClient(enforce_csrf_checks=True)
    response = await fill(client)
    assert response.status_code == 403
    assert response.json()["detail"] == "The CSRF token is missing or wrong."


# The event stream


async def next_changes(events) -> dict:
    async with asyncio.timeout(10):
        while not (event := await anext(events)).startswith(b"retry: 1000\ndata: "):
            pass
    return json.loads(event.removeprefix(b"retry: 1000\ndata: "))


async def test_the_stream_has_everything_first_and_then_what_changes(async_client, settings):
    settings.DEMO_LOOK_SECONDS = 0.01
    await make(status="done")
    response = await async_client.get(f"{API}events/")
    events = response.streaming_content
    first = await next_changes(events)
    assert first["everything"] is True
    assert [batch["id"] for batch in first["batches"]] == [1]
    batch = await make(meat="salmon")
    added = await next_changes(events)
    assert (added["everything"], added["removed"]) == (False, [])
    assert [(one["id"], one["status"]) for one in added["batches"]] == [(2, "waiting")]
    await batch.areport(Batch.Status.SMOKING, 4)
    assert [one["percent"] for one in (await next_changes(events))["batches"]] == [50]
    await batch.adelete()
    gone = await next_changes(events)
    assert (gone["batches"], gone["removed"]) == ([], [2])
    response.close()


# What becomes of batches


async def test_an_interrupted_task_goes_on_where_it_was(steps):
    batch = await make(step=6, status="smoking")
    await tasks.smoke_batch.acall(batch.pk)
    assert (await batch_of()).status == "done"
    assert steps() == ["Ribs smoked, with Honey."]


async def test_a_failure_shows(monkeypatch):
    batch = await make()
    monkeypatch.setattr(tasks.asyncio, "sleep", None)
    with pytest.raises(TypeError):
        await tasks.smoke_batch.acall(batch.pk)
    batch = await batch_of()
    assert (batch.status, batch.stage) == ("failed", "Something went wrong; the log says what")


@pytest.mark.usefixtures("an_hour_a_step")
async def test_somebody_may_cancel_the_task(async_client):
    await fill(async_client)
    await until_status("smoking")
    [task] = runner.unfinished()
    task.cancel()
    await until_status("cancelled")
    await until(task.done)


@pytest.mark.parametrize(("home", "status"), [("memory", "lost"), ("durable", "waiting")])
@pytest.mark.usefixtures("an_hour_a_step")
async def test_a_shutdown_loses_what_is_in_memory_only(async_client, settings, home, status):
    await fill(async_client)
    await until_status("smoking")
    settings.DEMO_TASKS = home
    await runner.drain(0)
    await until_status(status)


async def test_a_batch_whose_process_was_killed_is_lost(async_client):
    await make(status="smoking", step=3, task_id="gone")
    assert (await async_client.get(f"{API}1/")).json()["status"] == "smoking"
    await Batch.objects.aupdate(seen_at=timezone.now() - smoker.patience() - timedelta(seconds=1))
    [lost] = (await async_client.get(API)).json()
    assert (lost["status"], lost["stage"]) == ("lost", "Lost: the server ended while it smoked")


@pytest.mark.usefixtures("an_hour_a_step")
async def test_a_batch_that_waits_for_long_is_not_lost(async_client):
    await fill(async_client)
    await until_status("smoking")
    long_ago = timezone.now() - smoker.patience() - timedelta(seconds=1)
    await Batch.objects.aupdate(seen_at=long_ago)
    [batch] = (await async_client.get(API)).json()
    assert batch["status"] == "smoking"
    assert (await batch_of()).seen_at > long_ago


async def test_a_task_that_was_cancelled_before_it_began_takes_its_batch_along(
    async_client, background_work
):
    await fill(async_client)
    await background_work()
    long_ago = timezone.now() - smoker.patience() - timedelta(seconds=1)
    await Batch.objects.aupdate(status="waiting", seen_at=long_ago)
    [batch] = (await async_client.get(API)).json()
    assert batch["status"] == "cancelled"


# The page, without JavaScript


async def test_a_form_fills_the_smoker(async_client, background_work):
    form = {"meats": ["ribs", "salmon"], "flavor": "Honey"}
    response = await async_client.post("/", form)
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    await background_work()
    page = (await async_client.get("/")).content.decode()
    assert page.count("100 %</progress>") == 2
    assert "Ready to eat" in page


async def test_a_form_without_meats_is_explained(async_client):
    response = await async_client.post("/", {"flavor": "Honey"}, headers={"accept": "text/html"})
    assert response.status_code == 422
    assert "<code>meats</code> in the form: Field required" in response.content.decode()


async def test_the_buttons_of_the_page_cancel_and_remove(async_client):
    await make()
    response = await async_client.post("/batches/1/cancel/")
    assert (response.status_code, response.headers["Location"]) == (302, "/")
    assert (await batch_of()).status == "cancelled"
    await async_client.post("/batches/1/remove/")
    assert await Batch.objects.acount() == 0
    assert (await async_client.post("/batches/1/remove/")).status_code == 404
