"""The OpenAPI document of a project, from the signatures of its handlers, and a page that shows it."""

from asyncviews.openapi.views import OpenAPI

__all__ = ["OpenAPI"]
