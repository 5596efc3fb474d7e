"""The demo's settings are safe by default, and follow the environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import override_settings

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("home", ["memory", "durable", "celery"])
def test_the_project_passes_djangos_checks(home, tmp_path):
    """Those of the backend of its tasks among them."""
    command = [sys.executable, "-m", "demo_site", "check", "--fail-level", "WARNING"]
    variables = {"DEMO_TASKS": home, "DEMO_VAR": str(tmp_path)}
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "demo_site.settings", **variables}
    checked = subprocess.run(
        command, check=False, env=environment, cwd=PROJECT, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr


def test_a_home_for_tasks_that_does_not_exist_is_refused(demo_settings):
    with pytest.raises(ImproperlyConfigured, match="memory, durable or celery, not 'redis'"):
        demo_settings(DEMO_TASKS="redis")


def test_no_model_lacks_a_migration(django_db_blocker):
    with django_db_blocker.unblock():
        call_command("makemigrations", "--check", "--dry-run", verbosity=0)


def test_without_debug_there_is_no_default_key(demo_settings):
    from django.conf import settings

    chosen = demo_settings(DEMO_DEBUG="0")
    assert chosen.DEBUG is False
    with (
        override_settings(SECRET_KEY=chosen.SECRET_KEY),
        pytest.raises(ImproperlyConfigured, match="SECRET_KEY"),
    ):
        settings.SECRET_KEY  # noqa: B018


def test_only_this_machine_is_an_allowed_host_unless_told_otherwise(demo_settings, monkeypatch):
    assert demo_settings(DEMO_ALLOWED_HOSTS="a.test,b.test").ALLOWED_HOSTS == ["a.test", "b.test"]
    monkeypatch.delenv("DEMO_ALLOWED_HOSTS")
    assert demo_settings().ALLOWED_HOSTS == ["localhost", "127.0.0.1", "[::1]"]


def test_a_step_takes_a_second_unless_told_otherwise(demo_settings, monkeypatch):
    assert demo_settings(DEMO_STEP_SECONDS="0.25").DEMO_STEP_SECONDS == 0.25
    monkeypatch.delenv("DEMO_STEP_SECONDS")
    assert demo_settings().DEMO_STEP_SECONDS == 1


def test_everything_it_writes_is_below_one_directory(demo_settings, tmp_path):
    chosen = demo_settings(DEMO_VAR=str(tmp_path / "new"))
    assert chosen.DEMO_VAR.is_dir()
    assert chosen.DATABASES["default"]["NAME"] == tmp_path / "new" / "db.sqlite3"
