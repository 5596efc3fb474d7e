"""What handlers answer, and which problems they may meet."""

from collections.abc import AsyncIterator
from typing import Annotated

import pytest
from django.core.files.base import ContentFile
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel

from asyncviews import (
    AsyncView,
    BackgroundTaskMixin,
    Body,
    File,
    Form,
    NotFound,
    Problem,
    Query,
    ServerSentEvent,
    Status,
    UploadedFile,
)

PROBLEMS = {"CSRF_FAILURE_VIEW": "asyncviews.problems.csrf_failure"}


class Meat(BaseModel):
    name: str


class TooHot(Problem):
    """The smoker is too hot.

    Only programmers read on.
    """

    status = 409


class Missing(LookupError): ...


def responses(documented, view, method="get", **options):
    view = view if callable(view) and not isinstance(view, type) else view.as_view()
    document = documented(path("", view), **options)
    found = document["paths"]["/"][method]["responses"]
    shared = document.get("components", {}).get("responses", {})
    return {
        status: shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        for status, one in found.items()
    }


def test_each_status_has_its_description_headers_and_content(documented):
    class View(AsyncView):
        async def get(
            self, request: HttpRequest
        ) -> (
            Annotated[Meat, Status(201, description="Bought.", headers={"Location": "Where."})]
            | Annotated[None, Status(202)]
            | list[Meat]
        ): ...

    found = responses(documented, View)
    assert found["201"] == {
        "description": "Bought.",
        "headers": {"Location": {"description": "Where.", "schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Meat"}}},
    }
    assert found["202"] == {"description": "Accepted"}
    assert found["200"]["content"]["application/json"]["schema"]["type"] == "array"
    assert list(found) == ["200", "201", "202", "406"]


def test_nothing_is_known_of_responses(documented):
    class View(AsyncView):
        async def get(self, request: HttpRequest) -> HttpResponse: ...

        async def put(self, request: HttpRequest) -> Meat | HttpResponse: ...

    assert list(responses(documented, View)) == ["default"]
    assert list(responses(documented, View, "put", settings=PROBLEMS)) == ["200", "403", "default"]


def test_a_status_that_http_does_not_know(documented):
    class View(AsyncView):
        async def get(self, request: HttpRequest) -> Annotated[str, Status(299)]: ...

    assert responses(documented, View)["299"]["description"]


@pytest.mark.parametrize(
    ("item", "media_type", "schema"),
    [
        (Meat, "application/jsonl", {"$ref": "#/components/schemas/Meat"}),
        (
            ServerSentEvent[Meat],
            "text/event-stream",
            {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": "#/components/schemas/Meat"},
            },
        ),
        (ServerSentEvent[str], "text/event-stream", {"type": "string"}),
    ],
)
def test_streams(documented, item, media_type, schema):
    class View(AsyncView):
        async def get(self, request: HttpRequest) -> AsyncIterator[item]: ...

    (content,) = responses(documented, View)["200"]["content"].items()
    found = content[1]["schema"]
    assert content[0] == media_type
    assert (found["properties"]["data"] if "properties" in found else found) == schema


@pytest.mark.parametrize(
    ("parameter", "statuses"),
    [
        (Query[int], {"422"}),
        (Body[Meat], {"400", "413", "415", "422"}),
        (Form[str], {"400", "413", "415", "422"}),
        (File[UploadedFile], {"400", "413", "415", "422"}),
        (Body[bytes], {"413", "422"}),
        (Body[AsyncIterator[bytes]], set()),
    ],
)
def test_what_a_request_may_be_refused_for(documented, parameter, statuses):
    class View(AsyncView):
        async def post(self, request: HttpRequest, parameter: parameter) -> None: ...

    found = responses(documented, csrf_exempt(View.as_view()), "post")
    assert set(found) == {"204"} | statuses


def test_problems_are_documents_and_those_of_parameters_list_them(documented):
    class View(AsyncView):
        async def get(self, request: HttpRequest, pk: Query[int]) -> Meat: ...

    found = responses(documented, View)
    for status, name in (("422", "InvalidParameters"), ("406", "Problem")):
        schema = {"$ref": f"#/components/schemas/{name}"}
        assert found[status]["content"] == {"application/problem+json": {"schema": schema}}


def test_what_the_view_says_that_it_raises(documented):
    class View(AsyncView):
        problems = {Missing: NotFound, ValueError: lambda exc: TooHot(str(exc))}
        raises = (TooHot,)

        async def get(self, request: HttpRequest) -> None: ...

    found = responses(documented, View)
    assert set(found) == {"204", "404", "409"}
    assert found["404"]["description"] == "Not Found"
    assert found["409"]["description"] == "The smoker is too hot."


def test_two_reasons_for_one_status(documented):
    class View(AsyncView):
        raises = (TooHot, type("Cold", (Problem,), {"status": 409, "title": "Too cold"}))

        async def get(self, request: HttpRequest) -> Annotated[Meat, Status(409)]: ...

    found = responses(documented, View)["409"]
    assert found["description"] == "Conflict Or: The smoker is too hot. Or: Too cold"
    assert list(found["content"]) == ["application/json", "application/problem+json"]


def test_a_problem_with_the_status_of_invalid_parameters(documented):
    class View(AsyncView):
        raises = (
            type("Odd", (Problem,), {"status": 422}),
            type("Even", (Problem,), {"status": 422}),
        )

        async def get(self, request: HttpRequest, number: Query[int]) -> None: ...

    (content,) = responses(documented, View)["422"]["content"].values()
    references = [{"$ref": f"#/components/schemas/{n}"} for n in ("InvalidParameters", "Problem")]
    assert content["schema"] == {"anyOf": references}


def test_problems_of_one_name(documented):
    class One(AsyncView):
        raises = (TooHot,)

        async def get(self, request: HttpRequest) -> None: ...

    class Other(AsyncView):
        raises = (type("TooHot", (Problem,), {"__module__": "other", "status": 410}),)

        async def get(self, request: HttpRequest) -> None: ...

    document = documented(path("a/", One.as_view()), path("b/", Other.as_view()))
    assert list(document["components"]["responses"]) == ["other.TooHot", f"{__name__}.TooHot"]


def test_queues_throttles_and_credentials(documented):
    class View(BackgroundTaskMixin, AsyncView):
        credentials = ("session",)

        async def throttle(self, request: HttpRequest) -> None: ...

        async def get(self, request: HttpRequest) -> None: ...

    assert set(responses(documented, View)) == {"204", "401", "403", "429", "503"}


class Unsafe(AsyncView):
    async def post(self, request: HttpRequest) -> None: ...

    async def get(self, request: HttpRequest) -> None: ...


def test_csrf_is_answered_with_a_page_or_a_problem(documented):
    page = responses(documented, Unsafe, "post")["403"]
    assert list(page["content"]) == ["text/html"]
    problem = responses(documented, Unsafe, "post", settings=PROBLEMS)["403"]
    assert list(problem["content"]) == ["application/problem+json"]
    guarded = type("Guarded", (Unsafe,), {"credentials": ("session",)})
    both = responses(documented, guarded, "post")["403"]
    assert list(both["content"]) == ["application/problem+json", "text/html"]


def test_where_there_is_no_csrf_protection_it_is_not_documented(documented):
    assert set(responses(documented, Unsafe)) == {"204"}
    assert set(responses(documented, csrf_exempt(Unsafe.as_view()), "post")) == {"204"}
    assert set(responses(documented, Unsafe, "post", settings={"MIDDLEWARE": []})) == {"204"}


async def test_the_problems_in_the_document_are_those_that_are_answered(async_client, settings):
    """The conformance test asks for all the others."""
    settings.ROOT_URLCONF = "tests.openapi.project"
    image = ContentFile(b"x", name="x.png")
    answer = await async_client.post("/api/photos/", {"image": image, "others": "x"})
    assert (answer.status_code, answer.json()) == (200, {"size": 1})
    answer = await async_client.post("/api/pay/", "{}", content_type="text/plain")
    assert answer.status_code == 415
