"""Real packages behave under our handler as they do under Django's."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.packages import table
from tests.packages.comparison import compare, cost, served
from tests.packages.site import NOT_INSTALLED, SITES, load, why_not

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "packages.md"
DOCUMENTED = {row.package: row for row in table.parse(PAGE.read_text())}


@pytest.mark.live
@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", SITES)
async def test_a_package_works_as_under_djangos_handler(name: str) -> None:
    site = load(name)
    if reason := why_not(site):
        if "PACKAGES" in os.environ and reason == NOT_INSTALLED:
            pytest.fail(reason)
        pytest.skip(reason)
    with served(name) as urls:
        django, ours = await cost(site, urls, requests=5)
        await compare(site, urls)
    assert ours.hops <= django.hops
    documented = DOCUMENTED[site.package]
    if documented.version == version(site.package):
        assert ours.hops <= int(documented.ours)


def test_the_documented_table_has_each_package_and_all_of_them_work() -> None:
    sites = [load(name) for name in SITES]
    assert DOCUMENTED.keys() == {site.package for site in sites}
    for site in sites:
        row = DOCUMENTED[site.package]
        assert (row.works, row.remarks) == ("yes", site.remarks)
        assert int(row.ours) <= int(row.django)


def test_what_is_printed_can_be_read_again() -> None:
    row = table.Row("django-x", "1.0", "yes", "12", "0", "0.05", "")
    assert list(table.parse(f"Before.\n\n{table.HEAD}\n{row}\n\nAfter.")) == [row]
    with pytest.raises(ValueError, match="no table with the columns package, version"):
        list(table.parse("| package |"))
