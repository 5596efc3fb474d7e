"""The project with a document, to be served: those of the suite, its URLs, and a strict policy."""

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE as DEFAULT

ROOT_URLCONF = "tests.openapi.project"
ASGI_APPLICATION = "tests.openapi.asgi.application"
MIDDLEWARE = ["tests.openapi.asgi.content_security_policy", *DEFAULT]
CSRF_FAILURE_VIEW = "asyncviews.problems.csrf_failure"
CSRF_COOKIE_HTTPONLY = True
