"""The project's manage.py: ``python -m demo_site runserver``."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_site.settings")
    execute_from_command_line(["python -m demo_site", *sys.argv[1:]])


if __name__ == "__main__":
    main()
