from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings
from openapi_spec_validator import validate

from asyncviews.openapi import OpenAPI
from tests.test_urlconf import root_urlconf


@pytest.fixture
def documented() -> Callable[..., dict[str, Any]]:
    """Return the valid document of some patterns."""

    def build(*patterns: Any, settings: dict[str, Any] | None = None, **options: Any) -> Any:
        with root_urlconf(*patterns), override_settings(**(settings or {})):
            document = OpenAPI(**options).document()
        validate(document)
        return document

    return build
