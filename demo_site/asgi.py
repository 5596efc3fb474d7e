"""The application that an ASGI server runs: ``hypercorn demo_site.asgi:application``."""

import os

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.handlers.asgi import ASGIHandler

from asyncviews.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")

application: ASGIHandler = get_asgi_application()

if settings.DEBUG:
    # runserver brings the static files along; this is for any other server during development.
    application = ASGIStaticFilesHandler(application)
