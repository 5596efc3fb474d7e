"""What ``startproject`` writes, for production, with PostgreSQL and persistent connections.

BENCHMARK_DATABASE names the database, and BENCHMARK_CONN_MAX_AGE how long connections are kept, in
seconds; BENCHMARK_ASYNC_BACKEND has django-async-backend connect to it.
"""

import os

ALLOWED_HOSTS = ["127.0.0.1"]
SECRET_KEY = "benchmarks"
USE_TZ = True

INSTALLED_APPS = [
    "asyncviews",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler", "level": "ERROR"}},
    "root": {"handlers": ["console"]},
}
ROOT_URLCONF = "tests.benchmarks.site.urls"
ASGI_APPLICATION = "tests.benchmarks.site.asgi.application"
STATIC_URL = "static/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "127.0.0.1",
        "USER": "postgres",
        "NAME": os.environ["BENCHMARK_DATABASE"],
        "CONN_MAX_AGE": int(os.environ.get("BENCHMARK_CONN_MAX_AGE", "60")),
    }
}
if "BENCHMARK_ASYNC_BACKEND" in os.environ:
    INSTALLED_APPS.append("django_async_backend")
    # It closes what a request has connected; only its pool keeps connections, and only with 0.
    DATABASES["default"] |= {
        "ENGINE": "django_async_backend.db.backends.postgresql",
        "CONN_MAX_AGE": 0,
        "OPTIONS": {"pool": {"min_size": 16, "max_size": 16}},
    }
