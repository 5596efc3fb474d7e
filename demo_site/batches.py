"""The smoker's API: what requests and responses carry is in the signatures, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, ConfigDict, Field

from asyncviews import (
    AsyncView,
    BackgroundQueueFull,
    Body,
    CommaSeparated,
    File,
    NotFound,
    Query,
    ServerSentEvent,
    Status,
    Upload,
    UploadedFile,
)
from demo_site import smoker
from demo_site.models import Batch
from demo_site.schemas import FLAVOR, Meat, Text

PHOTOS = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
Photo = Annotated[UploadedFile, Upload(max_size=2_000_000, content_types=tuple(PHOTOS.values()))]


class NewBatches(BaseModel):
    """What is to be smoked: each meat is a batch of its own."""

    meats: list[Meat] = Field(min_length=1, max_length=20)
    flavor: Annotated[Text, Field(min_length=1)] = FLAVOR


class NewBatchesBody(NewBatches):
    model_config = ConfigDict(extra="forbid")


class BatchFilter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: CommaSeparated[Batch.Status] = []
    meat: CommaSeparated[Meat] = []
    limit: int = Field(24, ge=1, le=100)


class BatchRead(BaseModel):
    """A batch as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    meat: Meat
    flavor: str
    status: Batch.Status
    stage: str
    step: int
    steps: int
    percent: int = Field(ge=0, le=100)
    photo_url: str | None
    created_at: datetime
    ended_at: datetime | None


class Changes(BaseModel):
    """What is different from the event before; the first one has everything."""

    everything: bool
    batches: list[BatchRead]
    removed: list[int]


async def latest(count: int = 24) -> list[BatchRead]:
    """Return the batches that came last, the newest first."""
    await smoker.ask_for_the_silent()
    return [BatchRead.model_validate(batch) async for batch in Batch.objects.all()[:count]]


async def get_batch(pk: int) -> Batch:
    batch = await Batch.objects.filter(pk=pk).afirst()
    if batch is None:
        raise NotFound(f"There is no batch {pk}.")
    return batch


class Batches(AsyncView):
    raises = (smoker.Conflict, BackgroundQueueFull)

    async def get(self, request: HttpRequest, query: Query[BatchFilter]) -> list[BatchRead]:
        """List the batches that fit, the newest first."""
        await smoker.ask_for_the_silent()
        batches = Batch.objects.all()
        if query.status:
            batches = batches.filter(status__in=query.status)
        if query.meat:
            batches = batches.filter(meat__in=query.meat)
        return [BatchRead.model_validate(batch) async for batch in batches[: query.limit]]

    async def post(
        self, request: HttpRequest, new: Body[NewBatchesBody]
    ) -> Annotated[list[BatchRead], Status(201)]:
        """Put meats into the smoker: each is a batch of its own."""
        batches = await smoker.fill(new.meats, new.flavor)
        return [BatchRead.model_validate(batch) for batch in batches]


class OneBatch(AsyncView):
    raises = (NotFound,)

    async def get(self, request: HttpRequest, pk: int) -> BatchRead:
        """Look at one batch."""
        return BatchRead.model_validate(await get_batch(pk))

    async def delete(self, request: HttpRequest, pk: int) -> None:
        """Remove a batch, also one that is being smoked."""
        await (await get_batch(pk)).adelete()


class CancelBatch(AsyncView):
    raises = (NotFound, smoker.Conflict)

    async def post(self, request: HttpRequest, pk: int) -> BatchRead:
        """Take a batch out of the smoker before it is done."""
        batch = await get_batch(pk)
        if not await batch.acancel():
            raise smoker.Conflict(f"Batch {pk} is out of the smoker already.")
        return BatchRead.model_validate(await get_batch(pk))


class BatchPhoto(AsyncView):
    raises = (NotFound,)

    async def put(self, request: HttpRequest, pk: int, photo: File[Photo]) -> BatchRead:
        """Keep a photo of a batch, in place of the one before."""
        batch = await get_batch(pk)
        if not await sync_to_async(replace_photo)(batch, photo):
            raise NotFound(f"There is no batch {pk} any more.")
        return BatchRead.model_validate(batch)

    async def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Send the photo of a batch."""
        batch = await get_batch(pk)
        content = await sync_to_async(read_photo)(batch)
        if content is None:
            raise NotFound(f"Batch {pk} has no photo.")
        return HttpResponse(content, content_type=PHOTOS[Path(batch.photo.name or "").suffix])


def read_photo(batch: Batch) -> bytes | None:
    """Return the photo; None if there is none, or it is being replaced this moment."""
    try:
        with batch.photo.open() as photo:
            content: bytes = photo.read()
    except (ValueError, FileNotFoundError):  # the first is what a field without a file raises
        return None
    return content


def replace_photo(batch: Batch, photo: UploadedFile) -> bool:
    """Keep a photo instead of the one before; False if its batch was removed meanwhile."""
    old = batch.photo.name
    extension = next(name for name, type_ in PHOTOS.items() if type_ == photo.content_type)
    batch.photo.save(f"{batch.pk}{extension}", photo, save=False)
    kept = Batch.objects.filter(pk=batch.pk).update(photo=batch.photo.name)
    if useless := old if kept else batch.photo.name:
        batch.photo.storage.delete(useless)
    return bool(kept)


class BatchEvents(AsyncView):
    """What changes in the smoker, as it changes, whichever process changes it."""

    async def get(self, request: HttpRequest) -> AsyncIterator[ServerSentEvent[Changes]]:
        sent: dict[int, BatchRead] | None = None
        while True:
            now = {batch.id: batch for batch in await latest()}
            known = sent or {}
            changes = Changes(
                everything=sent is None,
                batches=[batch for batch in now.values() if known.get(batch.id) != batch],
                removed=sorted(known.keys() - now.keys()),
            )
            if changes.everything or changes.batches or changes.removed:
                yield ServerSentEvent(changes, retry=1000)
            sent = now
            await asyncio.sleep(settings.DEMO_LOOK_SECONDS)


class BatchExport(AsyncView):
    """Every batch, however many there are, one a line."""

    async def get(self, request: HttpRequest) -> AsyncIterator[BatchRead]:
        async for batch in Batch.objects.order_by("id").aiterator():
            yield BatchRead.model_validate(batch)
