"""Transactions: a block of synchronous code, as Django's are."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import transaction

P = ParamSpec("P")
R = TypeVar("R")


async def in_transaction(func: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call ``func(*args, **kwargs)`` on the request's thread, in a transaction; return its result.

    An exception rolls the transaction back. Once begun it runs to its end, even if whoever awaits
    it is cancelled. It is that of the default database; for another one decorate `func` itself
    with ``transaction.atomic(using=...)``.

    Raises:
        TypeError: `func` is a coroutine function, which Django's transactions cannot hold.
    """
    if iscoroutinefunction(func):
        name = getattr(func, "__qualname__", repr(func))
        raise TypeError(
            f"in_transaction() takes a plain function, and {name}() is a coroutine function: "
            "write it as `def`, with the ORM's synchronous methods."
        )
    return await sync_to_async(transaction.atomic(func))(*args, **kwargs)
