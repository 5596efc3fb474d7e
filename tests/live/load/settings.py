"""The project of the load test: everything on PostgreSQL, few threads, all kinds of middleware."""

import os

SECRET_KEY = "load"
ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "tests.live.load.asgi.application"
ROOT_URLCONF = "tests.live.load.urls"
USE_TZ = USE_I18N = True
LANGUAGES = [("en", "English"), ("de", "German"), ("fr", "French")]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "asyncviews",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "tests.live.load",
]
MIDDLEWARE = [
    "tests.live.load.middleware.context",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tests.live.load.middleware.third_party",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "tests.live.load.middleware.urlconf",
]
SILENCED_SYSTEM_CHECKS = ["asyncviews.W001"]  # the thread is deliberate
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": os.environ["LOAD_DATABASE"],
        "CONN_MAX_AGE": int(os.environ["LOAD_CONN_MAX_AGE"]),
        "OPTIONS": {"application_name": os.environ["LOAD_DATABASE"]},
    }
}
ASYNCVIEWS = {
    "REQUEST_THREADS": 8,
    "REQUEST_THREADS_QUEUE": int(os.environ.get("LOAD_QUEUE", "1000")),
    "BACKGROUND_THREADS": 4,
    "DRAIN_TIMEOUT": 5,
    "MAX_WAITING": 100_000,
    "HISTORY_COUNT": 100,
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
