"""What the smokehouse keeps in its database."""

from decimal import Decimal
from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse
from django.utils import timezone

from demo_site.schemas import MEATS


class Order(models.Model):
    """What a customer wants smoked, and when it is fetched."""

    class Status(models.TextChoices):
        OPEN = "open"
        SMOKING = "smoking"
        READY = "ready"
        FETCHED = "fetched"

    customer = models.CharField(max_length=60)
    meat = models.CharField(max_length=20, choices=[(meat, meat.capitalize()) for meat in MEATS])
    kilograms = models.DecimalField(
        max_digits=5, decimal_places=1, validators=[MinValueValidator(Decimal("0.1"))]
    )
    pickup_on = models.DateField()
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    note = models.TextField(max_length=500, blank=True)
    placed_at = models.DateTimeField(auto_now_add=True)
    taken_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="orders",
    )

    class Meta:
        ordering = ("pickup_on", "id")
        constraints = (
            models.UniqueConstraint(
                fields=["customer", "meat", "pickup_on"],
                name="one_order_a_day",
                violation_error_message="This customer has ordered that for this day already.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kilograms} kg of {self.get_meat_display().lower()} for {self.customer}"

    def get_absolute_url(self) -> str:
        return reverse("order", kwargs={"pk": self.pk})


class Batch(models.Model):
    """What lies in the smoker: one meat, whose task reports here how far it is."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        SMOKING = "smoking"
        DONE = "done"
        CANCELLED = "cancelled"
        FAILED = "failed"
        LOST = "lost"
        """Its task ended with its process."""

    UNFINISHED = (Status.WAITING, Status.SMOKING)
    STAGES = (
        "Rubbing in salt and pepper", "Lighting the oak", "Smoking", "Turning", "Smoking",
        "Applying the sauce", "Glazing", "Resting",
    )  # fmt: skip

    meat = models.CharField(max_length=20, choices=[(meat, meat.capitalize()) for meat in MEATS])
    flavor = models.CharField(max_length=60)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    step = models.PositiveSmallIntegerField(default=0)
    task_id = models.CharField(max_length=64, blank=True, editable=False)
    photo = models.FileField(upload_to="photos/", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(default=timezone.now, editable=False)
    """When its task last showed a sign of life."""
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return f"{self.get_meat_display()} with {self.flavor}"

    @property
    def steps(self) -> int:
        return len(self.STAGES)

    @property
    def percent(self) -> int:
        return 100 * self.step // self.steps

    @property
    def unfinished(self) -> bool:
        return self.status in self.UNFINISHED

    @property
    def stage(self) -> str:
        """What is being done to it, or has become of it."""
        if self.status == self.Status.SMOKING:
            return self.STAGES[min(self.step, self.steps - 1)]
        return OUTCOMES[self.Status(self.status)]

    @property
    def photo_url(self) -> str | None:
        return reverse("api_batch_photo", kwargs={"pk": self.pk}) if self.photo else None

    async def areport(self, status: str, step: int | None = None) -> bool:
        """Write how it is; False if somebody has cancelled or removed it meanwhile."""
        now = timezone.now()
        values: dict[str, Any] = {"status": status, "seen_at": now}
        values["ended_at"] = None if status in self.UNFINISHED else now
        if step is not None:
            values["step"] = step
        row = Batch.objects.filter(pk=self.pk).exclude(status=self.Status.CANCELLED)
        return bool(await row.aupdate(**values))

    async def acancel(self) -> bool:
        """Take it out of the smoker; False if it is out already. Its task ends at its next step."""
        row = Batch.objects.filter(pk=self.pk, status__in=self.UNFINISHED)
        return bool(await row.aupdate(status=self.Status.CANCELLED, ended_at=timezone.now()))

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete its photo with it."""
        photo = self.photo.name
        deleted = super().delete(*args, **kwargs)
        if photo:
            self.photo.storage.delete(photo)
        return deleted


OUTCOMES = {
    Batch.Status.WAITING: "Waiting for its turn",
    Batch.Status.DONE: "Ready to eat",
    Batch.Status.CANCELLED: "Taken out before it was ready",
    Batch.Status.FAILED: "Something went wrong; the log says what",
    Batch.Status.LOST: "Lost: the server ended while it smoked",
}
