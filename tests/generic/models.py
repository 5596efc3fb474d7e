"""Models for tests of generic views; a new database gets their tables without migrations."""

from __future__ import annotations

from django.db import models
from django.urls import reverse


class Author(models.Model):
    name = models.CharField(max_length=40, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=20, unique=True)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Article(models.Model):
    title = models.CharField(max_length=40)
    slug = models.SlugField(unique=True)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="articles")
    tags = models.ManyToManyField(Tag, blank=True)
    published_on = models.DateField()
    changed_at = models.DateTimeField()
    cover = models.FileField(upload_to="covers", blank=True)
    template = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ("published_on", "pk")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("article", kwargs={"pk": self.pk})
