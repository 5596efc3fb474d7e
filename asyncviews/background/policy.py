"""`@background_task`: how a function is to be run, said where it is defined."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from datetime import timedelta
from inspect import Parameter
from typing import Annotated, Any, TypeAlias, TypeVar, overload

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from asyncviews.annotations import signature_of
from asyncviews.conf import problems

F = TypeVar("F", bound=Callable[..., Any])

RetryOn: TypeAlias = (
    type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool | float | timedelta]
)


def is_async(func: Callable[..., Any]) -> bool:
    """Return whether a call gives a coroutine, as far as the callable itself tells."""
    if iscoroutinefunction(func):
        return True
    call = getattr(func, "__call__", None)  # noqa: B004 - an instance with an async __call__()
    return iscoroutinefunction(call)


def is_django_task(func: Any) -> bool:
    """Whether ``@task`` of ``django.tasks`` has made it.

    By its method: which package that is depends on Django's version, and it need not be installed.
    """
    return not callable(func) and callable(getattr(func, "aenqueue", None))


def _decides_at_once(retry_on: Any) -> Any:
    if not isinstance(retry_on, type) and is_async(retry_on):
        raise ValueError("it is called, not awaited, and must be a plain `def`")
    classes = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    if any(isinstance(cls, type) and not issubclass(cls, Exception) for cls in classes):
        raise ValueError("only subclasses of Exception can be retried")
    return retry_on


_ATTRIBUTE = "_asyncviews_policy"

Seconds = Annotated[float, Field(gt=0)]


class Policy(BaseModel):
    """The options of `@background_task`, which describes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    timeout: Seconds | None = None
    attempts: int = Field(default=1, ge=1)
    backoff: Seconds = 1.0
    retry_on: Annotated[RetryOn, AfterValidator(_decides_at_once)] = Exception
    name: str | None = Field(default=None, min_length=1)
    max_running: int | None = Field(default=None, ge=1)
    secrets: frozenset[str] = frozenset()

    def model_post_init(self, context: object, /) -> None:
        if self.attempts > 1:
            require_stamina()


DEFAULT = Policy()


def policy_of(func: Callable[..., Any]) -> Policy:
    """Return the policy that `@background_task` gave a function, also one that is bound."""
    while isinstance(func, functools.partial):
        func = func.func
    policy = getattr(func, _ATTRIBUTE, DEFAULT)
    return policy if isinstance(policy, Policy) else DEFAULT


def require_stamina() -> Any:
    """Return the module that retries.

    Raises:
        ImproperlyConfigured: it is not installed.
    """
    try:
        import stamina
    except ImportError as exc:
        raise ImproperlyConfigured(
            "More than one attempt needs stamina: pip install 'asyncviews[retry]'"
        ) from exc
    return stamina


@overload
def background_task(func: F, /) -> F: ...


@overload
def background_task(
    *,
    timeout: float | None = ...,
    attempts: int = ...,
    backoff: float = ...,
    retry_on: RetryOn = ...,
    name: str | None = ...,
    max_running: int | None = ...,
    secrets: Collection[str] = ...,
) -> Callable[[F], F]: ...


def background_task(func: Any = None, /, **options: Any) -> Any:
    """Say how a function runs in the background; called directly, it is what it was.

    Args:
        timeout: seconds after which one attempt is ended with `TimeoutError`; without it, never.
            They begin when the function is called: the wait for a thread to call it does not count.
            What a synchronous function does in its thread cannot be stopped: it goes on there,
            unheard, is logged and counted as stuck, and is not tried again.
        attempts: how often it is tried, the first time included. More than one needs the extra
            ``asyncviews[retry]``. A cancellation is never retried.
        backoff: seconds before the second attempt; doubled for each further one, at most five
            minutes, and a random part of as much is added.
        retry_on: what is worth another attempt: exception classes, or a function that is given the
            exception and returns whether, or after how many seconds, to try again.
        name: what logs and inspection call it; by default, module and qualified name.
        max_running: how many calls of it run at once in this process.
        secrets: names of parameters whose values logs and inspection do not show. Of a wrapper that
            takes ``*args``, as decorators make them, no positional argument is shown then.

    Raises:
        ImproperlyConfigured: an option that cannot be used; all of them at once.
    """
    if func is None:
        return functools.partial(_decorate, options=options)
    return _decorate(func, options)


def _outer_decorator(func: Any) -> str | None:
    """Return the name of a decorator that was applied already, and has made no function."""
    if is_django_task(func):
        return "task"
    return type(func).__name__ if isinstance(func, (staticmethod, classmethod)) else None


def _decorate(func: Any, options: dict[str, Any]) -> Any:
    if outer := _outer_decorator(func):
        inner = func.func if outer == "task" else func.__func__
        raise ImproperlyConfigured(
            f"@background_task of {inner.__qualname__} stands above @{outer}: it says how the "
            f"function runs, so write it below @{outer}, next to the `def`."
        )
    label = f"@background_task of {getattr(func, '__qualname__', func)}"
    try:
        policy = Policy.model_validate(options)
    except ValidationError as exc:
        raise ImproperlyConfigured(f"{label}: {problems(exc, Policy.model_fields)}.") from exc
    if policy.secrets:
        known = signature_of(func).parameters
        takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())
        unknown = sorted(policy.secrets - known.keys())
        if unknown and not takes_any:
            raise ImproperlyConfigured(f"{label}: secrets that are no parameters: {unknown}.")
    try:
        setattr(func, _ATTRIBUTE, policy)
    except AttributeError:
        raise ImproperlyConfigured(
            f"{label}: nothing can be noted on {type(func).__name__} objects; wrap it in a function."
        ) from None
    return func
