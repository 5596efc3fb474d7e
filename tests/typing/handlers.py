"""What type checkers say of handlers: each comment is what is expected of its line."""

from collections.abc import AsyncIterator
from typing import Annotated, reveal_type

from django.http import HttpRequest, HttpResponse
from pydantic import BaseModel, Field

from asyncviews import (
    AsyncView,
    Body,
    CommaSeparated,
    Cookie,
    File,
    Form,
    Header,
    Path,
    Problem,
    Query,
    ServerSentEvent,
    Status,
    UploadedFile,
)
from asyncviews.openapi import OpenAPI


class SmokeQuery(BaseModel):
    to_smoke: CommaSeparated[str] = Field(default=["ribs"], max_length=20)
    flavor: str = ""


class Batch(BaseModel):
    id: int


class TooHot(Problem):
    status = 409


class Typed(AsyncView):
    raises = (TooHot,)
    problems = {LookupError: TooHot}

    async def get(
        self,
        request: HttpRequest,
        pk: Path[int],
        query: Query[SmokeQuery],
        page: Query[Annotated[int, Field(ge=1)]] = 1,
        woods: Query[CommaSeparated[str] | None] = None,
        last_event_id: Header[int] = 0,
        key: Cookie[str] = "",
    ) -> HttpResponse:
        reveal_type(query)  # note: SmokeQuery
        reveal_type(query.to_smoke)  # note: list[str]
        reveal_type(query.flavor.upper())  # note: str
        reveal_type(pk)  # note: int
        reveal_type(page + last_event_id)  # note: int
        reveal_type(woods)  # note: list[str] | None
        reveal_type(key)  # note: str
        query.flavour  # error: attr-defined  # noqa: B018 - that is the mistake
        query.to_smoke.push("ribs")  # error: attr-defined
        return HttpResponse()

    async def post(
        self, request: HttpRequest, batch: Body[Batch], hurry: Body[bool] = False
    ) -> Annotated[Batch, Status(201, headers={"Location": "Where it is."})]:
        reveal_type(batch)  # note: Batch
        reveal_type(hurry)  # note: bool
        self.headers["Location"] = f"/{batch.id}/"
        if hurry:
            return batch.id  # error: return-value
        return batch

    async def put(
        self, request: HttpRequest, image: File[UploadedFile], title: Form[str] = ""
    ) -> Batch | None:
        reveal_type(image.size)  # note: int | None
        reveal_type(title)  # note: str
        return None

    async def patch(self, request: HttpRequest, chunks: Body[AsyncIterator[bytes]]) -> int:
        return sum([len(chunk) async for chunk in chunks])

    async def delete(
        self, request: HttpRequest, data: Body[bytes]
    ) -> AsyncIterator[ServerSentEvent[Batch]]:
        reveal_type(data)  # note: bytes
        yield ServerSentEvent(Batch(id=1), id="7")
        yield Batch(id=2)  # error: misc


class Wrong(AsyncView):
    raises = (ValueError,)  # error: assignment
    openapi_tags = 1  # error: assignment


api = OpenAPI(title="Smokehouse", prefix="api/", colour="red")  # error: call-arg
reveal_type(api.document())  # note: dict[str, Any]
