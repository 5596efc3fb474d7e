"""Settings of the demo: those of ``startproject``, and below them its own.

Environment variables change what should differ between machines; all of them start with DEMO_.
"""

import os
from pathlib import Path

import django
from django.core.exceptions import ImproperlyConfigured

DEMO_VAR = Path(os.environ.get("DEMO_VAR", Path(__file__).parent / "var"))
"""Whatever the running demo writes, its database included, is below this directory."""

DEMO_VAR.mkdir(parents=True, exist_ok=True)

DEBUG = os.environ.get("DEMO_DEBUG", "1") == "1"
# Without DEBUG there is no default: Django refuses to start with an empty key.
SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "django-insecure-demo" if DEBUG else "")
ALLOWED_HOSTS = os.environ.get("DEMO_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")

INSTALLED_APPS = [
    "asyncviews",  # before staticfiles, whose runserver it replaces
    "asyncviews.durable",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "drf_spectacular_sidecar",  # the files of the page with the API's documentation
    "demo_site",
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
ROOT_URLCONF = "demo_site.urls"
ASGI_APPLICATION = "demo_site.asgi.application"
CSRF_FAILURE_VIEW = "asyncviews.problems.csrf_failure"
STATIC_URL = "static/"
LOGIN_URL = "login"
MEDIA_ROOT = DEMO_VAR / "media"  # photos; nothing serves it but /api/batches/<id>/photo/
CSRF_FAILURE_VIEW = "asyncviews.problems.csrf_failure"
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
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DEMO_VAR / "db.sqlite3",
        # For several processes that write: wait for each other, and let others read meanwhile.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    },
}
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# E-mails become files that a text editor opens.
_MAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": _MAIL_BACKEND, "OPTIONS": {"file_path": DEMO_VAR / "mail"}}}
else:
    EMAIL_BACKEND = _MAIL_BACKEND
    EMAIL_FILE_PATH = DEMO_VAR / "mail"

# Each step of the background work is one line in the terminal.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "{asctime}.{msecs:03.0f} {levelname} {name}: {message}",
            "datefmt": "%H:%M:%S",
            "style": "{",
        },
    },
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "asyncviews": {"handlers": ["terminal"], "level": "INFO"},
        "celery": {"handlers": ["terminal"], "level": "INFO"},
        "demo_site": {"handlers": ["terminal"], "level": "INFO"},
        "django": {"handlers": ["terminal"], "level": "INFO"},
    },
}

# Where the meats are smoked: the same code in all three.
DEMO_TASKS = os.environ.get("DEMO_TASKS", "memory")
if DEMO_TASKS == "memory":
    TASKS = {"default": {"BACKEND": "asyncviews.tasks.AsyncioBackend"}}
elif DEMO_TASKS == "durable":
    TASKS = {"default": {"BACKEND": "asyncviews.tasks.DurableBackend"}}
elif DEMO_TASKS == "celery":
    try:
        from celery.schedules import crontab
    except ImportError as exc:
        message = "DEMO_TASKS=celery needs Celery: pip install 'asyncviews[celery]'"
        raise ImproperlyConfigured(message) from exc

    INSTALLED_APPS += ["django_tasks_fennel"]
    TASKS = {"default": {"BACKEND": "django_tasks_fennel.CeleryBackend"}}
    ASYNCVIEWS = {"RESOURCES": ["asyncviews.resources.http_client", "demo_site.celery.broker"]}
    CELERY_BROKER_URL = os.environ.get("DEMO_BROKER_URL", "amqp://guest:guest@127.0.0.1:5672//")
    CELERY_RESULT_BACKEND = os.environ.get("DEMO_RESULTS_URL", "redis://127.0.0.1:6379/0")
    CELERY_RESULT_EXTENDED = True
    # Whoever enqueues hears it when the broker has not taken the task.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
    # A task of a worker that is killed goes back to the broker, and to another worker.
    CELERY_TASK_ACKS_LATE = True
    CELERY_TASK_REJECT_ON_WORKER_LOST = True
    CELERY_WORKER_PREFETCH_MULTIPLIER = 1
    # The adapter needs one, and what beat starts has none of its own.
    CELERY_TASK_DEFAULT_PRIORITY = 4
    CELERY_BEAT_SCHEDULE_FILENAME = str(DEMO_VAR / "celerybeat-schedule")
    CELERY_BEAT_SCHEDULE = {
        "clean out the database every night": {
            "task": "django_tasks:demo_site.tasks.clean_out",
            "schedule": crontab(hour="3", minute="0"),
        },
    }
else:
    raise ImproperlyConfigured(f"DEMO_TASKS is memory, durable or celery, not {DEMO_TASKS!r}.")

DEMO_STEP_SECONDS = float(os.environ.get("DEMO_STEP_SECONDS", "1"))
"""How long one step of the work takes."""

DEMO_HTTP_URL = os.environ.get("DEMO_HTTP_URL", "")
"""What the HTTP calls fetch; empty: the front page of the demo itself, while it is served."""

DEMO_API_URL = os.environ.get("DEMO_API_URL", "")
"""The third-party API that tells the weather; empty: the one that the demo plays itself."""

DEMO_LOOK_SECONDS = 0.5
"""How often an event stream looks into the database for what has changed there."""
