"""The tables of durable tasks and of the processes that run them."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Status(models.TextChoices):
    """Those of a ``TaskResult``."""

    READY = "READY", _("Ready")
    RUNNING = "RUNNING", _("Running")
    FAILED = "FAILED", _("Failed")
    SUCCESSFUL = "SUCCESSFUL", _("Successful")


class StoredTask(models.Model):
    """One enqueued task and, later, its result."""

    id = models.CharField(primary_key=True, max_length=32)
    backend = models.CharField(_("backend"), max_length=100)
    queue_name = models.CharField(_("queue"), max_length=100)
    task_path = models.CharField(_("task"), max_length=255)
    args = models.JSONField(_("arguments"))
    kwargs = models.JSONField(_("keyword arguments"))
    priority = models.SmallIntegerField(_("priority"))
    run_after = models.DateTimeField(_("run after"), null=True)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.READY)
    enqueued_at = models.DateTimeField(_("enqueued"))
    started_at = models.DateTimeField(_("started"), null=True)
    last_attempted_at = models.DateTimeField(_("last attempted"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True, db_index=True)
    return_value = models.JSONField(_("return value"), null=True)
    errors = models.JSONField(_("errors"), default=list)
    worker_ids = models.JSONField(_("workers"), default=list)
    leased_by = models.CharField(_("runs in"), max_length=100, blank=True, default="")
    needs_thread = models.BooleanField(_("synchronous"), default=True, db_default=True)
    """Whether its function runs in a thread, of which a process has few."""
    begun = models.BooleanField(_("begun"), default=False, db_default=False)
    """Whether it runs in the process that has claimed it, and does not only wait there."""
    interruptions = models.SmallIntegerField(_("interruptions"), default=0)
    """How often a process ended while it ran."""
    attempts = models.IntegerField(_("attempts"), default=0, db_default=0)
    """How often its function was called to the end, since it was enqueued or last run again."""
    misses = models.SmallIntegerField(_("misses"), default=0, db_default=0)
    """How often a process could not import its function."""
    retry_at = models.DateTimeField(_("next attempt"), null=True)
    origin = models.CharField(
        _("enqueued by"), max_length=255, blank=True, default="", db_default=""
    )
    """The method and path of the request that enqueued it, if one did."""
    cancel_requested = models.BooleanField(_("to be cancelled"), default=False)

    class Meta:
        verbose_name = _("task")
        verbose_name_plural = _("tasks")
        indexes = (
            # In this order tasks are claimed.
            models.Index(
                fields=("status", "-priority", "enqueued_at"), name="asyncviews_durable_claim"
            ),
            models.Index(
                fields=("-priority", "enqueued_at"),
                condition=models.Q(status=Status.READY, interruptions__gt=0),
                name="asyncviews_durable_suspects",
            ),
            models.Index(
                fields=("-priority", "enqueued_at"),
                condition=models.Q(status=Status.READY, needs_thread=False),
                name="asyncviews_durable_async",
            ),
        )

    def __str__(self) -> str:
        return f"{self.task_path} ({self.id})"


class Worker(models.Model):
    """A process that runs durable tasks, while it lives: what it has claimed is leased to it."""

    id = models.CharField(primary_key=True, max_length=100)
    backend = models.CharField(max_length=100)
    beat = models.BigIntegerField(default=0)
    """Counts its signs of life. A number, not a time: clocks differ, and jump."""
    started_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.id
