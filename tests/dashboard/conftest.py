from __future__ import annotations

from tests.site_database import migrated_directory, site_alias, site_database

__all__ = ["migrated_directory", "site_alias", "site_database"]  # fixtures
