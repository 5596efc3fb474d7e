"""The Django project: the same view in six ways, and those of the other benchmarks."""

import asyncio
from http import HTTPStatus

from adrf.views import APIView
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views import View
from dmr import Body as ModernBody
from dmr import Controller, modify
from dmr import Query as ModernQuery
from dmr.plugins.pydantic import PydanticFastSerializer
from ninja import NinjaAPI
from ninja import Query as NinjaQuery
from pydantic import ValidationError
from rest_framework.response import Response

from asyncviews import AsyncView, Body, Query
from tests.benchmarks import bodies
from tests.benchmarks.schema import SmokeQuery, ticks


def answer(request: HttpRequest) -> HttpResponse:
    """Validate by hand, as a view of Django's does."""
    try:
        query = SmokeQuery.model_validate(request.GET.dict())
    except ValidationError as exc:
        return JsonResponse(exc.errors(include_context=False), status=422, safe=False)
    return HttpResponse(query.model_dump_json(), content_type="application/json")


async def function(request: HttpRequest) -> HttpResponse:
    return answer(request)


class ClassBased(View):
    async def get(self, request: HttpRequest) -> HttpResponse:
        return answer(request)


class Typed(AsyncView):
    async def get(self, request: HttpRequest, query: Query[SmokeQuery]) -> HttpResponse:
        return HttpResponse(query.model_dump_json(), content_type="application/json")


class Adrf(APIView):
    async def get(self, request):
        try:
            query = SmokeQuery.model_validate(request.query_params.dict())
        except ValidationError as exc:
            return Response(exc.errors(include_context=False), status=422)
        return Response(query.model_dump())


class ModernRest(Controller[PydanticFastSerializer]):
    async def get(self, parsed_query: ModernQuery[SmokeQuery]) -> SmokeQuery:
        return parsed_query


ninja = NinjaAPI(docs_url=None, openapi_url=None)


@ninja.get("/", response=SmokeQuery)
async def smoke(request, query: NinjaQuery[SmokeQuery]):
    return query


class TypedBody(AsyncView):
    async def post(self, request: HttpRequest, order: Body[bodies.Order]) -> list[bodies.Order]:
        return bodies.answer(order)


class ModernRestBody(Controller[PydanticFastSerializer]):
    @modify(status_code=HTTPStatus.OK)
    async def post(self, parsed_body: ModernBody[bodies.Order]) -> list[bodies.Order]:
        return bodies.answer(parsed_body)


ninja_body = NinjaAPI(docs_url=None, openapi_url=None, urls_namespace="body")


@ninja_body.post("/", response=list[bodies.Order])
async def take(request, order: bodies.Order):
    return bodies.answer(order)


async def wait(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(1)
    return HttpResponse("waited")


async def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(ticks(), content_type="text/event-stream")


async def read(request: HttpRequest) -> HttpResponse:
    """Read one row by its key, from the database that the query names."""
    group = await Group.objects.using(request.META["QUERY_STRING"]).aget(pk=1)
    return HttpResponse(group.name)


def sync(request: HttpRequest) -> HttpResponse:
    return answer(request)


urlpatterns = [
    path("function/", function),
    path("cbv/", ClassBased.as_view()),
    path("asyncview/", Typed.as_view()),
    path("adrf/", Adrf.as_view()),
    path("modern_rest/", ModernRest.as_view()),
    path("ninja/", ninja.urls),
    path("body/asyncview/", TypedBody.as_view()),
    path("body/modern_rest/", ModernRestBody.as_view()),
    path("body/ninja/", ninja_body.urls),
    path("wait/", wait),
    path("stream/", stream),
    path("read/", read),
    path("sync/", sync),
]
