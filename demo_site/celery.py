"""The demo's Celery application, for ``DEMO_TASKS=celery``: ``python -m demo_site worker``."""

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from celery.signals import setup_logging
from django.core.exceptions import ImproperlyConfigured
from django_tasks_fennel.app import app
from kombu.exceptions import OperationalError

from asyncviews import resource

__all__ = ["app", "broker"]


def leave_logging_to_django(**kwargs: object) -> None:
    """Connected, it keeps Celery from adding handlers of its own."""


setup_logging.connect(leave_logging_to_django)


@resource
async def broker() -> AsyncIterator[None]:
    """Find out at the start, and not with the first request, that there is no broker."""
    await sync_to_async(require_broker, thread_sensitive=False)()
    yield


def require_broker() -> None:
    """Connect to the broker.

    Raises:
        ImproperlyConfigured: it cannot be reached.
    """
    with app.connection_for_write() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
        except OperationalError as exc:
            message = f"There is no broker at {connection.as_uri()} ({exc}): see DEMO_BROKER_URL."
            raise ImproperlyConfigured(message) from exc
