from typing import Any

from django.apps import AppConfig

from asyncviews.tasks.compat import signals
from tests.faults.project.journal import note


class FaultsConfig(AppConfig):
    name = "tests.faults.project"

    def ready(self) -> None:
        signals.task_finished.connect(note_end)


def note_end(task_result: Any, **kwargs: Any) -> None:
    note("finished", task_result.args[0], task_result.status)
