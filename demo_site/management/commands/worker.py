"""``python -m demo_site worker``: a Celery worker, and the beat that starts what is scheduled."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Start a Celery worker for the demo's tasks; with DEMO_TASKS=celery only."

    def handle(self, *args: object, **options: object) -> None:
        if settings.DEMO_TASKS != "celery":
            raise CommandError(
                f"DEMO_TASKS is {settings.DEMO_TASKS}: the tasks run in the processes of the site. "
                "Set it to celery, for the site and for the worker."
            )
        from demo_site.celery import app, require_broker

        try:
            require_broker()
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        app.worker_main(["worker", "--beat", "--concurrency=2", "--loglevel=INFO"])
