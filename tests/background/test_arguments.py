"""Arguments as a reader may see them: secrets stay hidden, however a function is called."""

from __future__ import annotations

import asyncio
import functools
import logging
from contextlib import ContextDecorator, suppress

import pytest
from django.core.exceptions import ImproperlyConfigured

from asyncviews import BackgroundTask, add_background_task, background_task
from asyncviews.background import runner
from asyncviews.background.arguments import shown
from tests.conftest import until

SECRET = "hunter-2"


@background_task(secrets=["token"])
def plain(user, token, *rest): ...


@background_task(secrets=["token"])
def positional_only(user, token, /, **options): ...


@background_task(secrets=["token"])
def keyword_only(user, *, token="unsaid"): ...


@background_task(secrets=["tokens"])
def of_any_number(user, *tokens): ...


@background_task(secrets=["options"])
def options_are_secret(user, **options): ...


@background_task(secrets=["token"])
def one_of_the_options(user, *rest, **options): ...


@background_task(secrets=["user", "token"])
def two(user, token): ...


class Service:
    @background_task(secrets=["token"])
    def method(self, user, token): ...

    @classmethod
    @background_task(secrets=["token"])
    def of_the_class(cls, user, token): ...

    @background_task(secrets=["token"])
    def __call__(self, user, token): ...


class Block(ContextDecorator):
    def __enter__(self): ...

    def __exit__(self, *exc_info): ...


def with_client(function):
    """As many decorators do: the wrapped function gets one argument more."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        return function("client", *args, **kwargs)

    return call


@with_client
@background_task(secrets=["token"])
def injected(client, token="", *rest): ...


@Block()
@background_task(secrets=["token"])
def within_a_block(user, token): ...


@pytest.mark.parametrize(
    ("func", "args", "kwargs", "expected"),
    [
        (plain, ("anne", SECRET), {}, "user='anne', token=****"),
        (plain, ("anne",), {"token": SECRET}, "user='anne', token=****"),
        (plain, ("anne", SECRET, 1, 2), {}, "user='anne', token=****, 1, 2"),
        (plain, (SECRET,), {}, "****"),
        (plain, ("anne", SECRET), {"password": SECRET}, "****"),
        (positional_only, ("anne", SECRET), {"n": 1}, "user='anne', token=****, n=1"),
        (positional_only, ("anne", 1), {"token": SECRET}, "user='anne', token=****, token=****"),
        (keyword_only, ("anne",), {"token": SECRET}, "user='anne', token=****"),
        (keyword_only, ("anne",), {}, "user='anne'"),
        (of_any_number, ("anne", SECRET, SECRET), {}, "user='anne', ****, ****"),
        (options_are_secret, ("anne",), {"pin": SECRET}, "user='anne', pin=****"),
        (one_of_the_options, ("anne",), {"token": SECRET, "n": 1}, "user='anne', token=****, n=1"),
        (one_of_the_options, ("anne", SECRET), {}, "user='anne', ****"),
        (two, (SECRET, SECRET), {}, "user=****, token=****"),
        (Service().method, ("anne", SECRET), {}, "user='anne', token=****"),
        (Service.of_the_class, ("anne", SECRET), {}, "user='anne', token=****"),
        (Service.method, (None, "anne", SECRET), {}, "self=None, user='anne', token=****"),
        (functools.partial(plain, "anne"), (SECRET,), {}, "token=****"),
        (functools.partial(plain, "anne", SECRET), (), {}, ""),
        (functools.partial(plain, "anne", token=SECRET), (), {}, ""),
        (functools.partial(plain, token=SECRET), ("anne",), {"token": SECRET}, "user='anne', token=****"),
        (functools.partial(Service().method, "anne"), (SECRET,), {}, "token=****"),
        (injected, (SECRET,), {}, "****"),
        (injected, (), {"token": SECRET, "n": 1}, "token=****, n=1"),
        (within_a_block, ("anne", SECRET), {}, "****, ****"),
        (within_a_block, (), {"user": "anne", "token": SECRET}, "user='anne', token=****"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_however_a_function_is_called(func, args, kwargs, expected):
    task = BackgroundTask(func, args, kwargs)
    assert task.arguments() == expected
    assert SECRET not in task.full_text()


@pytest.mark.parametrize(
    ("args", "kwargs", "leading", "expected"),
    [
        (("anne", SECRET), {}, 1, "user='anne', token=****"),
        (("anne", SECRET, 1), {}, 1, "user='anne', token=****, 1"),
        ((), {"user": "anne", "token": SECRET}, 1, "user='anne', token=****"),
        ((), {"token": SECRET}, 2, "token=****"),
    ],
)
def test_arguments_that_the_caller_puts_before_them_are_counted(args, kwargs, leading, expected):
    def with_context(context, user, token="", *rest): ...

    hidden = shown(with_context, args, kwargs, secrets={"token"}, leading=leading)
    assert hidden == expected


def test_those_before_may_go_into_any_number():
    def takes_any(*args): ...

    assert shown(takes_any, ("anne",), {}, secrets={"other"}, leading=1) == "****"
    assert shown(takes_any, ("anne",), {}, secrets={"args"}, leading=1) == "****"


def test_what_has_no_signature_shows_nothing():
    assert shown(type, ("anne",), {}, secrets={"token"}) == "****"


def test_without_secrets_all_is_shown():
    assert shown(type, ("anne",), {"n": 1}, secrets=()) == "'anne', n=1"


def test_a_secret_among_any_keywords_need_not_be_a_parameter():
    with pytest.raises(ImproperlyConfigured, match="secrets that are no parameters"):

        @background_task(secrets=["token"])
        def takes_no_keywords(*args): ...


@pytest.mark.parametrize("how", ["succeeds", "fails", "times out", "is cancelled", "is abandoned"])
@pytest.mark.parametrize("call", ["positional", "keyword", "partial", "method", "wrong"])
async def test_no_ending_shows_a_secret(app_lifespan, caplog, how, call):
    """Neither the log nor the runner, whatever the task is called with."""
    caplog.set_level(logging.DEBUG)

    async def ends(user: str, token: str) -> None:
        if how == "fails":
            raise ValueError("burned")
        if how != "succeeds":
            await asyncio.Event().wait()

    class Owner:
        async def ends(self, user: str, token: str) -> None:
            await ends(user, token)

    options = background_task(secrets=["token"], timeout=0.01 if how == "times out" else None)
    ends, Owner.ends = options(ends), options(Owner.ends)
    task = {
        "positional": lambda: add_background_task(ends, "anne", SECRET),
        "keyword": lambda: add_background_task(ends, "anne", token=SECRET),
        "partial": lambda: add_background_task(functools.partial(ends, "anne", token=SECRET)),
        "method": lambda: add_background_task(Owner().ends, "anne", SECRET),
        "wrong": lambda: add_background_task(ends, SECRET),
    }[call]()
    before = [repr(task), str(task), str(task.info())]
    await until(lambda: task.done() or task.started)
    if how == "is abandoned":
        task.log_abandoned()
    if how.startswith("is "):
        task.cancel()
    with suppress(ValueError, TimeoutError, TypeError, asyncio.CancelledError):
        await task
    logged = [*caplog.messages, caplog.text, *(str(vars(record)) for record in caplog.records)]
    seen = [*before, repr(task), str(task), str(task.info()), str(runner.get(task.id)), *logged]
    assert [text for text in seen if SECRET in text] == []
