"""`Background`: the background tasks of this process, in the hands of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from asgiref.sync import async_to_sync

from asyncviews.background import BackgroundTask, State, runner
from asyncviews.background.arguments import bind, shown
from asyncviews.background.policy import policy_of
from asyncviews.background.task import qualified_name

E = TypeVar("E", bound=BaseException)

TIMEOUT = 10.0
"""Seconds that tasks have to end, unless a test says otherwise."""


async def drain(timeout: float = TIMEOUT) -> None:
    """Wait until all background tasks have ended, also those that they add.

    Tasks that are deferred to a later time are left alone.

    Raises:
        AssertionError: some have not ended within `timeout` seconds; the message names them.
    """
    with _loop_for_eager_tasks():
        runner.start(runner.unfinished())  # those, too, whose request nobody closed
        await runner.wait(timeout, _is_due)
        if late := [task for task in runner.unfinished() if _is_due(task)]:
            raise AssertionError(f"Not ended within {timeout:g} s: {_listed(late)}")


def _loop_for_eager_tasks() -> AbstractContextManager[None]:
    if runner.in_tests.eager and not runner.is_attached:
        return runner.attached(asyncio.get_running_loop())
    return nullcontext()


def _is_due(task: BackgroundTask[Any]) -> bool:
    return task.run_after is None or task.run_after <= runner.time()


def _listed(tasks: list[BackgroundTask[Any]]) -> str:
    return "; ".join(f"{task.full_text()}, {task.state}" for task in tasks)


@dataclass(frozen=True, slots=True)
class _Call:
    """A task, with what it was to call, which the task itself forgets."""

    task: BackgroundTask[Any]
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def has(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether it has these arguments, in whatever way they were passed."""
        if not args and not kwargs:
            return True
        try:
            leading = len(self.task.leading_arguments)
            own = bind(self.func, self.args, self.kwargs, leading=leading)
            wanted = bind(self.func, args, kwargs, leading=leading)
        except (TypeError, ValueError):  # they do not fit, or a built-in function has none
            return (self.args, dict(self.kwargs)) == (args, dict(kwargs))
        own.apply_defaults()
        wanted.apply_defaults()
        return own.arguments == wanted.arguments

    @property
    def counts(self) -> bool:
        """Whether it is not one that a handler added before it raised."""
        return not (self.task.state is State.CANCELLED and self.task.started is None)


class Background:
    """Notes the background tasks that are accepted within a ``with`` block, and says how they run.

    Within the block nobody waits between two attempts of a task: its ``backoff`` is over at once,
    while the number of attempts is what it is. `advance()` moves the time of deferred tasks.

    With ``eager=True`` a task runs when the test waits for it, with `drain()` or `wait()`, or with
    the next response of an `AsyncClient` or a `Client`; and the synchronous part of it, database
    queries included, runs where the test's own does, in its transaction.

    At the end of the block tasks that have not ended are cancelled.

    Raises:
        AssertionError: at the end of the block, when tasks have not ended that could have.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self.eager = eager
        self._calls: list[_Call] = []
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        in_tests = runner.in_tests
        self._undo.callback(_restore, in_tests.eager, in_tests.time_ahead)
        in_tests.eager = in_tests.eager or self.eager
        runner.on_accept.append(self._note)
        self._undo.callback(runner.on_accept.remove, self._note)
        self._undo.enter_context(_no_backoff())
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        left = [task for task in self.tasks if not task.done()]
        due = [task for task in left if _is_due(task)]
        text = _listed(due)
        for task in left:
            task.cancel()
        self._undo.close()
        if due and exc_type is None:
            raise AssertionError(
                f"The test leaves background tasks behind: {text}. Let it wait for them, with "
                "`await background.drain()` or, if it is synchronous, `background.wait()`."
            )

    def _note(self, task: BackgroundTask[Any]) -> None:
        self._calls.append(_Call(task, *task.invocation))

    @property
    def tasks(self) -> list[BackgroundTask[Any]]:
        """The handles of the tasks, the oldest first."""
        return [call.task for call in self._calls if call.counts]

    # Time

    async def drain(self, timeout: float = TIMEOUT) -> None:
        """Wait until all background tasks have ended, also those that they add.

        How they end is no matter here. Tasks that are deferred to a later time are left alone.

        Raises:
            AssertionError: some have not ended within `timeout` seconds; the message names them.
        """
        await drain(timeout)

    def wait(self, timeout: float = TIMEOUT) -> None:
        """Do what `drain()` does, in a synchronous test."""
        async_to_sync(drain)(timeout)

    def advance(self, seconds: float) -> None:
        """Make it `seconds` later for tasks that are deferred, by ``run_after``."""
        runner.advance(seconds)

    # What has happened

    def assert_scheduled(self, func: Any, /, *args: Any, **kwargs: Any) -> BackgroundTask[Any]:
        """Return the last task that calls `func`, a function or a task of ``django.tasks``.

        With arguments, it is one that has exactly these; `unittest.mock.ANY` fits everything.

        Raises:
            AssertionError: there is none.
        """
        for call in reversed(self._calls_of(func)):
            if call.has(args, kwargs):
                return call.task
        others = "; ".join(task.full_text() for task in self.tasks) or "nothing"
        raise AssertionError(
            f"{_shown_call(func, args, kwargs)} was not scheduled. What was: {others}."
        )

    def assert_not_scheduled(self, func: Any = None, /) -> None:
        """Raise AssertionError if a task calls `func` or, without one, if there is any task."""
        tasks = self.tasks if func is None else [call.task for call in self._calls_of(func)]
        if tasks:
            raise AssertionError(f"This was scheduled: {_listed(tasks)}.")

    def assert_succeeded(self, func: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Return what the task that `assert_scheduled()` finds has returned.

        Raises:
            AssertionError: there is none, it has not ended, or it has failed, which is the cause.
        """
        task = _ended(self.assert_scheduled(func, *args, **kwargs))
        if task.state is not State.SUCCEEDED:
            raise AssertionError(f"{task} ended as {_outcome(task)}.") from _error(task)
        return task.result()

    def assert_failed(self, func: Any, exception: type[E], /, *args: Any, **kwargs: Any) -> E:
        """Return the exception of the task that `assert_scheduled()` finds.

        One that took too long has failed with `TimeoutError`.

        Raises:
            AssertionError: there is no such task, it has not ended, or has not failed in this way.
        """
        task = _ended(self.assert_scheduled(func, *args, **kwargs))
        error = _error(task)
        if not isinstance(error, exception):
            raise AssertionError(  # noqa: TRY004 - of a test
                f"{task} ended as {_outcome(task)}, not failed with {exception.__qualname__}."
            ) from error
        return error

    def _calls_of(self, func: Any) -> list[_Call]:
        wanted = _function(func)
        return [call for call in self._calls if call.counts and call.func == wanted]


def _function(func: Any) -> Any:
    """Return what a task of ``django.tasks`` calls, and a function as it is.

    Raises:
        TypeError: it is neither.
    """
    found = func if callable(func) else getattr(func, "func", None)
    if not callable(found):
        raise TypeError(f"Ask for the function of a task, or the task itself, not for {func!r}.")
    return found


def _shown_call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    function = _function(func)
    arguments = shown(
        function,
        args,
        kwargs,
        secrets=policy_of(function).secrets,
        leading=int(getattr(func, "takes_context", False)),
    )
    return f"{qualified_name(function)}({arguments or '...'})"


def _ended(task: BackgroundTask[Any]) -> BackgroundTask[Any]:
    if not task.done():
        raise AssertionError(
            f"{task} has not ended, but is {task.state}. Wait for it, with "
            "`await background.drain()` or, in a synchronous test, `background.wait()`."
        )
    return task


def _error(task: BackgroundTask[Any]) -> BaseException | None:
    try:
        return task.exception()
    except asyncio.CancelledError as exc:
        return exc


def _outcome(task: BackgroundTask[Any]) -> str:
    error = _error(task)
    return f"{task.state}: {error!r}" if isinstance(error, Exception) else str(task.state)


def _restore(eager: bool, time_ahead: float) -> None:
    runner.in_tests.eager, runner.in_tests.time_ahead = eager, time_ahead


def _no_backoff() -> AbstractContextManager[object]:
    """Have stamina try again at once, as often as each task says; for the length of a block."""
    try:
        import stamina
    except ImportError:  # then nothing is tried again
        return nullcontext()
    return cast(
        "AbstractContextManager[object]", stamina.set_testing(True, attempts=10**9, cap=True)
    )
