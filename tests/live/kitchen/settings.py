"""The project of the fault tests: tasks that leave a line, in whichever home the test says."""

import json
import os

SECRET_KEY = "kitchen"
ALLOWED_HOSTS = ["*"]
ASGI_APPLICATION = "tests.live.kitchen.asgi.application"
ROOT_URLCONF = "tests.live.kitchen.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["asyncviews", "asyncviews.durable"]
DATABASES = {"default": json.loads(os.environ["KITCHEN_DATABASE"])}
ASYNCVIEWS = json.loads(os.environ.get("KITCHEN_ASYNCVIEWS", "{}"))
KITCHEN_LEDGER = os.environ["KITCHEN_LEDGER"]

HOME = os.environ["KITCHEN_HOME"]
KITCHEN_PAUSE = 0.02 if HOME == "celery" else 0.1  # few tasks are then enough to be interrupted
BACKENDS = {
    "memory": "asyncviews.tasks.AsyncioBackend",
    "durable": "asyncviews.tasks.DurableBackend",
    "celery": "django_tasks_fennel.CeleryBackend",
    "django-tasks-db": "django_tasks_db.DatabaseBackend",  # for the benchmarks
}
OPTIONS = {"durable": {"LEASE": 3, "POLL_INTERVAL": 0.1}}
KITCHEN_QUEUE = os.environ.get("KITCHEN_QUEUE", "default")
TASKS = {
    "default": {
        "BACKEND": BACKENDS[HOME],
        "QUEUES": [KITCHEN_QUEUE],
        "OPTIONS": OPTIONS.get(HOME, {}),
    }
}
if HOME == "django-tasks-db":
    INSTALLED_APPS += ["django_tasks_db"]
if HOME == "celery":
    INSTALLED_APPS += ["django_tasks_fennel"]
    CELERY_BROKER_URL = os.environ["KITCHEN_BROKER"]
    CELERY_RESULT_BACKEND = os.environ["KITCHEN_RESULTS"]
    CELERY_RESULT_EXTENDED = True
    CELERY_TASK_QUEUES = {KITCHEN_QUEUE: {}}
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}
    CELERY_TASK_ACKS_LATE = True
    CELERY_TASK_REJECT_ON_WORKER_LOST = True
    CELERY_WORKER_PREFETCH_MULTIPLIER = 1
    CELERY_TASK_DEFAULT_PRIORITY = 4
    CELERY_BEAT_SCHEDULE_FILENAME = f"{KITCHEN_LEDGER}.beat"
    CELERY_BEAT_SCHEDULE = {
        "every second": {
            "task": "django_tasks:tests.live.kitchen.tasks.tick",
            "schedule": 1.0,
            "options": {"queue": KITCHEN_QUEUE},
        }
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"celery": {"level": "INFO"}, "django.tasks": {"level": "ERROR"}},
}
