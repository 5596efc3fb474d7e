"""A handler's return annotation is the schema of its response: what is sent, and as what.

Models, dataclasses, ``TypedDict``, lists and whatever else pydantic serializes are JSON; ``None`` is
204; an async iterator of `ServerSentEvent` is an event stream, one of anything else JSON lines. What
a handler returns is checked against what it declares, so that a wrong answer is an error of the
server's and not the client's.
"""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Union, get_args, get_origin

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from asyncviews.annotations import evaluate, members, signature_of
from asyncviews.errors import serialization_summary, summary
from asyncviews.problems import NotAcceptable, says_what_it_accepts
from asyncviews.sources import JSON
from asyncviews.streaming import (
    EVENT_STREAM,
    JSON_LINES,
    EventStreamResponse,
    JSONLinesResponse,
    ServerSentEvent,
)
from asyncviews.validators import require_sync


@dataclass(frozen=True, slots=True, eq=False)  # hashable: unions want that of their members
class Status:
    """Annotates what is returned with its status: ``-> Annotated[Order, Status(201)]``."""

    code: int
    description: str = field(default="", kw_only=True)
    """When it is so, for the documentation."""
    headers: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """What comes in ``AsyncView.headers`` with it, each with a description."""


OK = Status(HTTPStatus.OK)
NO_CONTENT = Status(HTTPStatus.NO_CONTENT)

_WITHOUT_CONTENT = {HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED}
"""RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5."""


class UnexpectedResult(TypeError):
    """A handler returned something else than its annotation says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a handler may return with one status."""

    status: Status
    media_type: str | None
    """None if there is no content."""
    adapter: TypeAdapter[Any]
    """Of the value, or of each item of a stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Returns:
    """What a handler may return."""

    where: str
    answers: tuple[Answer, ...]
    is_open: bool
    """Whether it may also return responses, of which nothing is known."""
    undeclared: str = ""
    """Why nothing but a response may be returned, if that is so."""

    def require_acceptable(self, request: HttpRequest) -> None:
        """Refuse what the client would not accept the answer to.

        Raises:
            NotAcceptable: see RFC 9110, section 15.5.7.
        """
        accept = request.META.get("HTTP_ACCEPT", "*/*")
        if accept == "*/*" or self.is_open or not says_what_it_accepts(request):
            return
        media_types = [answer.media_type for answer in self.answers if answer.media_type]
        if media_types and not any(map(request.accepts, media_types)):
            raise NotAcceptable(media_types)

    def response(self, result: Any, request: HttpRequest) -> HttpResponseBase:
        """Make a response of what the handler has returned.

        Raises:
            UnexpectedResult: it is not what the handler declares.
        """
        if isinstance(result, HttpResponseBase):
            return result
        if not self.answers:
            raise UnexpectedResult(
                f"{self.where} must return an HttpResponse, not {type(result).__qualname__}"
                f"{self.undeclared or '.'}"
            )
        if isinstance(result, AsyncIterable):  # a QuerySet is one, too
            return self._stream(result, request)
        if result is None and (answer := self._without_content()):
            response = HttpResponse(status=answer.status.code)
            del response.headers["Content-Type"]
            return response
        return self._json(result)

    def _without_content(self) -> Answer | None:
        return next((answer for answer in self.answers if answer.media_type is None), None)

    def _json(self, result: Any) -> HttpResponse:
        answers = [answer for answer in self.answers if answer.media_type == JSON]
        for answer in answers[:-1]:  # of several, the first that it is exactly
            try:
                answer.adapter.validate_python(result, strict=True)
            except ValidationError:
                continue
            return self._content(answer, result)
        if answers:
            return self._content(answers[-1], result)
        raise UnexpectedResult(f"{self.where} must not return a {type(result).__qualname__}.")

    def _content(self, answer: Answer, result: Any) -> HttpResponse:
        content = self._dump(answer, result)
        return HttpResponse(content, content_type=JSON, status=answer.status.code)

    def _dump(self, answer: Answer, result: Any) -> bytes:
        return self._dump_valid(answer, self._validate(answer, result))

    def _validate(self, answer: Answer, result: Any) -> Any:
        try:
            return answer.adapter.validate_python(result)
        except ValidationError as exc:
            raise self._unexpected(result, summary(exc)) from None  # it holds the values

    def _dump_valid(self, answer: Answer, result: Any) -> bytes:
        try:
            return answer.adapter.dump_json(result, by_alias=True, warnings="error")
        except PydanticSerializationError as exc:  # it holds values too, but not what caused it
            reason = f"it cannot be serialized: {serialization_summary(exc)}"
            raise self._unexpected(result, reason) from exc.__cause__

    def _unexpected(self, result: Any, reason: str) -> UnexpectedResult:
        return UnexpectedResult(
            f"{self.where} returned a {type(result).__qualname__} that is not what it declares: "
            f"{reason}."
        )

    def _stream(self, items: AsyncIterable[Any], request: HttpRequest) -> HttpResponseBase:
        answer = next((a for a in self.answers if a.media_type in (EVENT_STREAM, JSON_LINES)), None)
        if answer is None:
            raise UnexpectedResult(
                f"{self.where} must not return an async iterator; for a list of its items use "
                "[item async for item in ...]."
            )
        if request.method == "HEAD":
            items = _nothing()
        status = answer.status.code
        if answer.media_type == EVENT_STREAM:
            return EventStreamResponse(items, encode=partial(self._encode, answer), status=status)
        return JSONLinesResponse(items, dump=partial(self._dump, answer), status=status)

    def _encode(self, answer: Answer, event: Any) -> bytes:
        if not isinstance(event, ServerSentEvent):
            raise self._unexpected(event, "the items are events")
        sent: ServerSentEvent[Any] = event
        if sent.data is not None:
            data = self._validate(answer, sent.data)
            if not isinstance(data, str):
                data = self._dump_valid(answer, data).decode()
            sent = replace(sent, data=data)
        return sent.encode()


async def _nothing() -> AsyncIterator[Any]:
    return
    yield


# From the annotation


def read_returns(owner: type, handler: Callable[..., Any]) -> Returns:
    """Return what `handler`, a method of `owner`, may return.

    Raises:
        ImproperlyConfigured: something that cannot be serialized; the message names class and method.
    """
    where = f"{owner.__qualname__}.{handler.__name__}()"
    function = inspect.unwrap(handler)
    annotation = signature_of(function).return_annotation
    if annotation is inspect.Signature.empty:
        hint = ": its return annotation does not say what else."
        return Returns(where=where, answers=(), is_open=True, undeclared=hint)
    try:
        declared = evaluate(where, function, "return", annotation)
    except ImproperlyConfigured as exc:
        # Most likely a response, imported for checkers only.
        return Returns(where=where, answers=(), is_open=True, undeclared=f": {exc}")
    arms = list(members(declared))
    values = [arm for arm in arms if not _is_response(arm)]
    return Returns(
        where=where, answers=tuple(_answers(where, values)), is_open=len(values) < len(arms)
    )


def _is_response(hint: Any) -> bool:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    return isinstance(plain, type) and issubclass(plain, HttpResponseBase)


def _answers(where: str, arms: list[Any]) -> Iterator[Answer]:
    by_kind: dict[tuple[int, str | None], tuple[Status, list[Any]]] = {}
    for arm in arms:
        status, type_, media_type = _read_arm(arm)
        _require_possible(where, status, type_)
        by_kind.setdefault((status.code, media_type), (status, []))[1].append(type_)
    for (_, media_type), (status, types) in by_kind.items():
        adapter = _adapter(where, Union[tuple(types)])  # noqa: UP007 - of any number
        yield Answer(status=status, media_type=media_type, adapter=adapter)


def _require_possible(where: str, status: Status, type_: Any) -> None:
    """Refuse a status that no final response has, and content where RFC 9110 allows none."""
    code: object = status.code
    if not (isinstance(code, int) and 200 <= code <= 599):
        raise ImproperlyConfigured(
            f"{where}: the status of a response must be a number from 200 to 599, not {code!r}."
        )
    if code in _WITHOUT_CONTENT and type_ is not type(None):
        raise ImproperlyConfigured(
            f"{where}: a response with status {code:d} has no content. Declare "
            f"Annotated[None, Status({code:d})], or another status for what is returned."
        )


def _read_arm(arm: Any) -> tuple[Status, Any, str | None]:
    """Return the status, the type of the value or of the items, and the media type."""
    statuses: list[Status] = []
    if get_origin(arm) is Annotated:
        arm, *metadata = get_args(arm)
        statuses = [item for item in metadata if isinstance(item, Status)]
        if others := [item for item in metadata if not isinstance(item, Status)]:
            arm = Annotated[(arm, *others)]
    if arm in (None, type(None)):
        return (statuses or [NO_CONTENT])[0], type(None), None
    status = (statuses or [OK])[0]
    if get_origin(arm) not in (AsyncIterator, AsyncIterable, AsyncGenerator):
        return status, arm, JSON
    item = get_args(arm)[0]
    if (get_origin(item) or item) is ServerSentEvent:
        return status, (*get_args(item), Any)[0], EVENT_STREAM
    return status, item, JSON_LINES


def _adapter(where: str, type_: Any) -> TypeAdapter[Any]:
    try:
        adapter = TypeAdapter(type_)
    except PydanticUserError as exc:
        raise ImproperlyConfigured(
            f"{where} returns what pydantic cannot serialize, {type_!r}: {exc.message}"
        ) from exc
    require_sync(where, adapter)
    return adapter
