"""What the smokehouse keeps in its database."""

from decimal import Decimal

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse

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
