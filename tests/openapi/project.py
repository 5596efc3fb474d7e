"""A project that uses everything that a document can say; each handler does what it declares."""

from __future__ import annotations

import enum
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views import View
from pydantic import BaseModel, Field, RootModel
from typing_extensions import TypedDict, deprecated

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
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
    TooManyRequests,
    Unauthorized,
    Upload,
    UploadedFile,
)
from asyncviews.openapi import OpenAPI


class Wood(enum.StrEnum):
    OAK = "oak"
    HICKORY = "hickory"


class Meat(BaseModel):
    name: str = Field(max_length=20, description="What it is called.")
    kilograms: float = Field(1.0, gt=0, lt=100)


class Order(BaseModel):
    """What a customer wants smoked."""

    customer: str = Field(max_length=60)
    meats: list[Meat] = Field(max_length=5)
    wood: Wood = Wood.OAK


class Placed(Order):
    id: int


class Search(BaseModel):
    q: str = Field("", max_length=20, description="What to look for.")
    woods: list[Wood] = []
    limit: int | None = Field(None, ge=1, le=100)
    sort: str = Field("id", alias="order-by", deprecated=True)


class Month(BaseModel):
    year: int = Field(ge=1, le=9999)
    month: int = Field(ge=1, le=12)


@dataclass
class Tracking:
    user_agent: str = ""
    accept: str = ""


NOT_TRACKED = Tracking()


class Credentials(TypedDict):
    name: str
    password: str


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Cash(BaseModel):
    kind: Literal["cash"]


class Payment(RootModel[Annotated[Card | Cash, Field(discriminator="kind")]]): ...


class TooHot(Problem):
    """The smoker is too hot to be opened."""

    status = 409
    title = "Too hot"


class NoWood(Problem):
    status = 409
    title = "No wood"


class Orders(AsyncView):
    """The orders of the smokehouse."""

    async def get(
        self,
        request: HttpRequest,
        search: Query[Search],
        page: Query[Annotated[int, Field(ge=1)]] = 1,
        meats: Query[CommaSeparated[str]] = ("ribs",),
        session_key: Cookie[Annotated[str, Field(alias="key")]] = "",
        if_match: Header[list[str]] = (),
        tracking: Header[Tracking] = NOT_TRACKED,
    ) -> list[Placed]:
        """List the orders
        that fit.

        Newest *first*.
        """
        return [Placed(id=1, customer="Jace", meats=[], wood=wood) for wood in search.woods]

    async def post(
        self, request: HttpRequest, order: Body[Order]
    ) -> Annotated[Placed, Status(201, headers={"Location": "Where the order is."})]:
        self.headers["Location"] = "/api/orders/7/"
        return Placed(id=7, **order.model_dump())


class OneOrder(BackgroundTaskMixin, AsyncView):
    raises = (TooHot, NoWood)
    openapi_tags = ("Kitchen",)

    async def get(
        self, request: HttpRequest, pk: int, verbose: Query[bool] = False
    ) -> Placed | Annotated[None, Status(204, description="It is gone.")]:
        if pk == 0:
            return None
        return Placed(id=pk, customer="Jace", meats=[])

    async def put(self, request: HttpRequest, pk: int, order: Body[Order]) -> Placed:
        if order.wood is Wood.HICKORY:
            raise NoWood("Hickory is out.")
        return Placed(id=pk, **order.model_dump())

    async def patch(
        self, request: HttpRequest, pk: int, wood: Body[Wood], hurry: Body[bool] = False
    ) -> dict[str, Wood]:
        return {"wood": wood}

    @deprecated("Orders are kept.", category=None)
    async def delete(self, request: HttpRequest, pk: int) -> None:
        raise TooHot(temperature=200)


class Progress(AsyncView):
    async def get(
        self, request: HttpRequest, last_event_id: Header[int] = 0
    ) -> AsyncIterator[ServerSentEvent[Meat]]:
        yield ServerSentEvent(Meat(name="ribs"), id="1")


class Log(AsyncView):
    async def get(self, request: HttpRequest, slug: str) -> AsyncIterator[Meat]:
        yield Meat(name="ribs")


class Login(AsyncView):
    async def post(self, request: HttpRequest, credentials: Form[Credentials]) -> None:
        if credentials["name"] == "nobody":
            raise Unauthorized

    raises = (Unauthorized,)


class Photos(AsyncView):
    async def post(
        self,
        request: HttpRequest,
        image: File[Annotated[UploadedFile, Upload(max_size=1_000_000)]],
        others: File[list[UploadedFile]] = (),
        title: Form[str] = "",
    ) -> dict[str, int]:
        return {"size": image.size or 0}


class Raw(AsyncView):
    async def put(self, request: HttpRequest, content: Body[bytes]) -> dict[str, int]:
        return {"size": len(content)}

    async def post(self, request: HttpRequest, chunks: Body[AsyncIterator[bytes]]) -> int:
        return sum([len(chunk) async for chunk in chunks])


class Pay(AsyncView):
    async def post(self, request: HttpRequest, payment: Body[Payment]) -> Card | Cash:
        return payment.root

    async def query(self, request: HttpRequest, payment: Body[Payment]) -> None: ...


class Archive(AsyncView):
    async def get(self, request: HttpRequest, month: Path[Month]) -> list[Placed]:
        return []


class Choice(AsyncView):
    async def get(self, request: HttpRequest, payment: Query[Card | Cash]) -> str:
        return payment.kind


class Key(AsyncView):
    async def get(self, request: HttpRequest, key: uuid.UUID, rest: str) -> str:
        return rest


class Limited(AsyncView):
    credentials = ("session", "token")

    async def throttle(self, request: HttpRequest) -> None:
        raise TooManyRequests(retry_after=1)

    async def get(self, request: HttpRequest) -> str:
        raise AssertionError("is throttled")


class Text(AsyncView):
    async def get(self, request: HttpRequest, name: str) -> HttpResponse:
        """Greet."""
        return HttpResponse(f"Hello {name}", content_type="text/plain")

    async def head(self, request: HttpRequest, name: str) -> HttpResponse:
        """Greet in silence."""
        return HttpResponse()


class Hidden(AsyncView):
    openapi_hidden = True

    async def get(self, request: HttpRequest) -> None: ...


class Sync(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


api = OpenAPI(
    title="Smokehouse",
    version="2.0",
    description="All of *it*.",
    prefix="api/",
    security_schemes={"token": {"type": "http", "scheme": "bearer"}},
)

shop = [
    path("orders/", Orders.as_view(), name="orders"),
    path("orders/<int:pk>/", OneOrder.as_view(), name="order"),
]
handler404 = "asyncviews.problems.page_not_found"
urlpatterns = [
    path("docs/", api.urls),
    path("api/", include((shop, "shop"))),
    path("api/progress/", Progress.as_view(), name="progress"),
    path("api/log/<slug:slug>/", Log.as_view(), name="log"),
    path("api/login/", Login.as_view(), name="login"),
    path("api/photos/", Photos.as_view(), name="photos"),
    path("api/raw/", Raw.as_view(), name="raw"),
    path("api/pay/", Pay.as_view(), name="pay"),
    re_path(r"^api/archive/(?P<year>\d+)/(?P<month>\d+)/$", Archive.as_view(), name="archive"),
    path("api/choice/", Choice.as_view()),
    path("api/keys/<uuid:key>/<path:rest>", Key.as_view(), name="key"),
    path("api/limited/", Limited.as_view(), name="limited"),
    path("api/text/<name>/", Text.as_view(), name="text"),
    path("api/hidden/", Hidden.as_view()),
    path("api/sync/", Sync.as_view()),
    path("other/", Hidden.as_view()),
]
