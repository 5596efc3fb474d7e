"""Startproject's middleware and nothing else: what the others are compared with."""

from tests.packages.site import Site


class Nothing(Site):
    package = "django"


site = Nothing()
