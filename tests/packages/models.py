from __future__ import annotations

from django.apps import apps
from django.db import models


class Meat(models.Model):
    name = models.CharField(max_length=50)
    owner = models.CharField(max_length=50)
    hours = models.IntegerField(default=1)

    if apps.is_installed("simple_history"):
        from simple_history.models import HistoricalRecords

        history = HistoricalRecords()

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.name
