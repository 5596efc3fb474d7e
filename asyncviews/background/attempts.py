"""How often a background task is tried, and how long a time it has."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from inspect import iscoroutine
from typing import Any, TypeVar

from asyncviews.background.policy import Policy, require_stamina
from asyncviews.background.task import BackgroundTask, TaskTimedOut

R = TypeVar("R")

logger = logging.getLogger("asyncviews.background")

MAX_BACKOFF = 300.0
"""Seconds between two attempts, at most, without the random part."""


async def until_done(task: BackgroundTask[R], attempt: Callable[[], Awaitable[R]]) -> R:
    """Call `attempt` as often as the task's policy allows, until it succeeds."""
    for _ in range(1, task.policy.attempts):
        try:
            return await attempt()
        except Exception as exc:
            pause = next_pause(task, exc, task.policy)
            if pause is None:
                raise
        await asyncio.sleep(pause)
    return await attempt()


def next_pause(task: BackgroundTask[Any], exc: Exception, policy: Policy) -> float | None:
    """Return the seconds from a failed attempt to the next one, None if there is to be no other.

    stamina's switches decide, too: whether it is active, and its test mode, which does not wait. Its
    loop is not used, for that has hooks which log each retry once more.
    """
    if task.attempts >= policy.attempts or not require_stamina().is_active():
        return None
    again = _reporting(task, policy, _worth_another(policy))(exc)
    if again is False or again is None:
        return None
    return 0.0 if require_stamina().is_testing() else _seconds(again, policy, task.attempts)


def _seconds(again: float | timedelta, policy: Policy, attempts: int) -> float:
    """Return what stamina would wait after so many attempts."""
    if again is True:
        jitter = random.uniform(0, policy.backoff)  # noqa: S311 - no secret
        longest = max(MAX_BACKOFF, policy.backoff)
        return min(longest, policy.backoff * 2.0 ** min(attempts - 1, 100) + jitter)
    return again.total_seconds() if isinstance(again, timedelta) else float(again)


async def in_time(
    seconds: float | None,
    call: Callable[[Callable[[], None] | None], Awaitable[R]],
    is_stuck: Callable[[], bool],
) -> R:
    """Await ``call(start)``, for `seconds` at most from when it calls ``start()``, in any thread.

    Raises:
        TaskTimedOut: it took longer; `is_stuck` tells whether a thread still works for it.
    """
    if seconds is None:
        return await call(None)
    try:
        async with asyncio.timeout(None) as scope:
            return await call(partial(_limit, scope, asyncio.get_running_loop(), seconds))
    except TimeoutError:
        if not scope.expired():  # the function's own
            raise
    raise TaskTimedOut(seconds, stuck=is_stuck())  # without a context, which has its frames


def _limit(scope: asyncio.Timeout, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Have a block on `loop` end in so many seconds. Thread-safe."""
    deadline = loop.time() + seconds
    with suppress(RuntimeError):  # the loop has been closed
        loop.call_soon_threadsafe(_reschedule, scope, deadline)


def _reschedule(scope: asyncio.Timeout, deadline: float) -> None:
    with suppress(RuntimeError):  # it was cancelled meanwhile
        scope.reschedule(deadline)


Decide = Callable[[Exception], bool | float | timedelta]


def _worth_another(policy: Policy) -> Decide:
    retry_on: Any = policy.retry_on
    if isinstance(retry_on, (type, tuple)):
        return lambda exc: isinstance(exc, retry_on)
    return lambda exc: _decision(retry_on(exc), exc)


def _decision(decision: Any, exc: Exception) -> bool | float | timedelta:
    """Return what a project's function has decided, unless it is something else that is true."""
    if decision is None:
        return False
    if isinstance(decision, (bool, float, int, timedelta)):
        return decision
    if iscoroutine(decision):
        decision.close()
    raise TypeError(
        "retry_on must return whether, or after how many seconds, to try again: a bool, a number "
        f"or a timedelta, not {decision!r}."
    ) from exc


def _reporting(task: BackgroundTask[Any], policy: Policy, decide: Decide) -> Decide:
    def retry(exc: BaseException) -> bool | float | timedelta:
        if not isinstance(exc, Exception) or (isinstance(exc, TaskTimedOut) and exc.stuck):
            return False
        again = decide(exc)
        if again is not False and task.attempts < policy.attempts:
            logger.warning(
                "Background task %s failed at attempt %s of %s and is tried again: %r",
                task, task.attempts, policy.attempts, exc, extra=task.log_fields(),
            )  # fmt: skip
        return again

    return retry
