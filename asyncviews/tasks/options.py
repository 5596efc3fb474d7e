"""``OPTIONS`` of a backend in ``TASKS``: how the tasks of its queues run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from asyncviews.background.policy import Policy, Seconds, policy_of, require_stamina
from asyncviews.conf import problems
from asyncviews.tasks.compat import InvalidTaskBackend, Task

O = TypeVar("O", bound="Options")  # noqa: E741 - as in OPTIONS


class QueueOptions(BaseModel):
    """What holds for every task of a queue whose function says nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=str.upper)

    timeout: Seconds | None = None
    attempts: int = Field(default=1, ge=1)
    backoff: Seconds = 1.0
    max_running: int | None = Field(default=None, ge=1)
    """How many tasks of the queue run at once in this process."""

    def model_post_init(self, context: object, /) -> None:
        if self.attempts > 1:
            require_stamina()


class Options(QueueOptions):
    """For all queues, and in ``QUEUES`` what is different for some."""

    queues: dict[str, QueueOptions] = {}

    def of_queue(self, name: str) -> QueueOptions:
        if (special := self.queues.get(name)) is None:
            return self
        common = {key: getattr(self, key) for key in QueueOptions.model_fields}
        return QueueOptions.model_construct(
            **common | special.model_dump(include=special.model_fields_set)
        )

    def policy_of(self, task: Task[..., Any]) -> Policy:
        """Return how a task runs: as its function says, then as its queue does."""
        policy = policy_of(task.func)
        queue = self.of_queue(task.queue_name)
        said = policy.model_fields_set
        defaults = {
            key: getattr(queue, key)
            for key in ("timeout", "attempts", "backoff")
            if key not in said
        }
        return policy.model_copy(update={"name": policy.name or task.module_path} | defaults)


def errors_in(read: Callable[[], Options]) -> Iterator[checks.CheckMessage]:
    """Yield what a backend's check has to say of its ``OPTIONS``, which are parsed when asked for.

    Not when the backend is made: ``@task`` makes it, and what imports a task would fail, the
    checks included.
    """
    try:
        read()
    except ImproperlyConfigured as exc:
        yield checks.Error(str(exc), id="asyncviews.E004")


def parse(model: type[O], alias: str, options: dict[str, Any], queues: set[str]) -> O:
    """Validate what a project's ``TASKS`` holds.

    Raises:
        InvalidTaskBackend: it cannot be used; all that is wrong with it at once.
    """
    label = f'TASKS["{alias}"]["OPTIONS"]'
    try:
        parsed = model.model_validate(options)
    except ValidationError as exc:
        raise InvalidTaskBackend(
            f"{label}: {problems(exc, map(str.upper, model.model_fields))}."
        ) from exc
    if queues and (unknown := sorted(parsed.queues.keys() - queues)):
        raise InvalidTaskBackend(f'{label}: QUEUES that are not in "QUEUES": {unknown}.')
    return parsed
