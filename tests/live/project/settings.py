"""A project to start real servers with. The environment says what a test wants of it."""

import os
from pathlib import Path

SECRET_KEY = "live"
DEBUG = os.environ.get("LIVE_DEBUG") == "1"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = os.environ.get("LIVE_APPLICATION", "project.asgi.application") or None
USE_TZ = True
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = os.environ.get("LIVE_APPS", "asyncviews django.contrib.staticfiles").split()
STATIC_URL = "static/"
STATICFILES_DIRS = [Path(__file__).parent / "static"]
ASYNCVIEWS = {
    "DRAIN_TIMEOUT": float(os.environ.get("LIVE_DRAIN_TIMEOUT", "3")),
    "HANG_TIMEOUT": float(os.environ.get("LIVE_HANG_TIMEOUT", "60")),
    "SLOW_CLIENT_TIMEOUT": float(os.environ.get("LIVE_SLOW_CLIENT_TIMEOUT", "60")),
    "METRICS": os.environ.get("LIVE_METRICS") == "1",
    "RESOURCES": os.environ.get("LIVE_RESOURCES", "project.resources.journal").split(),
}
