from django.core.handlers.asgi import ASGIHandler

from asyncviews.asgi import get_asgi_application

application = get_asgi_application()
django_application = ASGIHandler()
