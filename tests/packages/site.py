"""What a site with a package is."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tests.packages.visitor import Visitor

HERE = Path(__file__).parent


class Site:
    """The site of startproject, with nothing added; each package's site is a subclass.

    `visit()` runs where the tests do. All else runs in the server's process, which has the package.
    """

    package = ""
    """The name under which it is installed."""
    measured = "/"
    """The page of which hops are counted and time is taken, asked for by nobody who is signed in."""
    remarks = ""
    """What the table says of it."""

    def instrument(self) -> None:
        """Do what the package wants to be done before ``django.setup()``."""

    def configure(self, settings: dict[str, Any]) -> None:
        """Add what its documentation says to the settings of startproject."""

    def prepare(self) -> None:
        """Fill the database, which has users for all visitors."""

    def urls(self) -> list[Any]:
        return []

    def work(self, request: Any) -> str:
        """Return what a view finds of the user, while it answers another user, too."""
        return str(request.user)

    def effects(self, name: str) -> Any:
        """Return what the visits of a user have left behind, as JSON has it."""
        return None

    def application(self, application: Any) -> Any:
        """Return what the server runs, given the application of a handler."""
        return application

    async def visit(self, visitor: Visitor) -> None:
        """See what a user sees of the package; assert that it is there."""
        await visitor.sign_in()
        assert f"Hello {visitor.name}" in (await visitor.get("/")).text


SITES = sorted(path.stem for path in (HERE / "sites").glob("[a-z]*.py"))


NOT_INSTALLED = "the package is not installed: pip install 'asyncviews[packages]'"


def load(name: str) -> Site:
    site: Site = import_module(f"tests.packages.sites.{name}").site
    return site


def why_not(site: Site) -> str:
    """Return why a site cannot be served here; empty if it can."""
    import django
    from packaging.requirements import Requirement

    try:
        package, *_ = map(distribution, (site.package, "uvicorn", "websockets"))
    except ModuleNotFoundError:
        return NOT_INSTALLED
    for line in package.requires or []:
        needed = Requirement(line)
        counts = needed.name.lower() == "django" and (not needed.marker or needed.marker.evaluate())
        if counts and not needed.specifier.contains(django.__version__, prereleases=True):
            return f"{site.package} {package.version} needs {needed}"
    return ""


def after(middleware: list[str], known: str, *new: str) -> None:
    """Put middleware behind one that is there."""
    place = next(i for i, path in enumerate(middleware) if path.endswith(known)) + 1
    middleware[place:place] = new
