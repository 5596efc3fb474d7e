"""A module that cannot be imported."""

import not_installed

application = not_installed.application
