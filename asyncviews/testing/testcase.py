"""`AsyncViewTestMixin`: the lifespan and background tasks in Django's test cases."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar
from unittest import TestCase

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import ImproperlyConfigured

from asyncviews.testing.background import Background
from asyncviews.testing.client import AsyncClient, Client


class AsyncViewTestMixin:
    """Stands before a test case of Django's, and gives it `background`, a `Background`.

    Each async test method runs within the application's lifespan: the project's resources are
    open, and background tasks run on the test's event loop.

    Raises:
        ImproperlyConfigured: when a class is created in which it stands behind the test case.
    """

    eager: ClassVar[bool] = False
    """Whether background tasks run with the next response, or when the test waits for them, and
    share the test's database connection. `django.test.TestCase` needs that where they use the
    database, for what it does is seen by no other connection."""

    client_class = Client
    async_client_class = AsyncClient
    background: Background
    _testMethodName: str  # noqa: N815 - unittest's

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__mro__[: cls.__mro__.index(AsyncViewTestMixin)]:
            if issubclass(base, TestCase) and not issubclass(base, AsyncViewTestMixin):
                raise ImproperlyConfigured(
                    f"{cls.__qualname__}: AsyncViewTestMixin stands before {base.__qualname__} in "
                    "the list of bases, as in `class SmokeTests(AsyncViewTestMixin, TestCase)`."
                )

    def setUp(self) -> None:
        super().setUp()  # type: ignore[misc]
        self.background = self.enterContext(Background(eager=self.eager))  # type: ignore[attr-defined]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._open_lifespan()
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def debug(self) -> None:
        self._open_lifespan()
        super().debug()  # type: ignore[misc]

    def _open_lifespan(self) -> None:
        """Have the test method run within the lifespan, if it is async."""
        method = getattr(self, self._testMethodName)
        if iscoroutinefunction(method):
            setattr(self, self._testMethodName, within_lifespan(method))


def within_lifespan(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """Return an async test that runs within a lifespan."""

    async def test_within_lifespan(*args: Any, **kwargs: Any) -> None:
        async with AsyncClient():
            await test(*args, **kwargs)

    return test_within_lifespan
