"""The kitchen's project, whose tasks leave a line in a journal at each step."""

import os

from tests.live.kitchen import settings as kitchen
from tests.live.kitchen.settings import *  # noqa: F403

ROOT_URLCONF = "tests.faults.project.urls"
INSTALLED_APPS = [*kitchen.INSTALLED_APPS, "tests.faults.project"]
FAULTS_SECONDS = float(os.environ["FAULTS_SECONDS"])
if kitchen.HOME == "durable":
    TASKS["default"]["OPTIONS"] |= {"MAX_INTERRUPTIONS": 3}  # noqa: F405
