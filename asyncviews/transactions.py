"""Transactions: a block of synchronous code, as Django's are, or an asynchronous one where that can be."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import transaction

from asyncviews import async_database

P = ParamSpec("P")
R = TypeVar("R")


class InTransaction(Protocol):
    """What ``in_transaction(using=...)`` returns: `in_transaction()` with these options."""

    @overload
    def __call__(
        self, func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...

    @overload
    def __call__(
        self, func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]: ...


@overload
def in_transaction(
    func: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, R]: ...


@overload
def in_transaction(
    func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
) -> Coroutine[Any, Any, R]: ...


@overload
def in_transaction(
    *, using: str | None = ..., savepoint: bool = ..., durable: bool = ...
) -> InTransaction: ...


def in_transaction(func: Any = None, /, *args: Any, **kwargs: Any) -> Any:
    """Call ``func(*args, **kwargs)`` on the request's thread, in a transaction; return its result.

    An exception rolls the transaction back. Once begun it runs to its end, even if whoever awaits
    it is cancelled.

    It is that of the default database. The options of Django's ``transaction.atomic()`` come first,
    since all other arguments are those of `func`: ``await in_transaction(using="archive")(func, 1)``.

    With django-async-backend `func` may be a coroutine function, which is awaited in an asynchronous
    transaction on a connection of that. A cancellation, like an exception, rolls it back.

    Raises:
        TypeError: `func` is a coroutine function, which Django's own transactions cannot hold.
    """
    if func is None:
        transaction.atomic(**kwargs)  # or it says now which of them it does not have
        return partial(_call, kwargs)
    return _call({}, func, *args, **kwargs)


markcoroutinefunction(in_transaction)


async def _call(options: dict[str, Any], func: Any, /, *args: Any, **kwargs: Any) -> Any:
    if not iscoroutinefunction(func):
        return await sync_to_async(transaction.atomic(**options)(func))(*args, **kwargs)
    if not async_database.is_used():
        name = getattr(func, "__qualname__", repr(func))
        raise TypeError(
            f"in_transaction() takes a plain function, and {name}() is a coroutine function: "
            "write it as `def`, with the ORM's synchronous methods."
        )
    async with async_database.async_atomic(**options):
        return await func(*args, **kwargs)
