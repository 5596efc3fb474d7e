"""``python -m tests.packages``: compare each package under both handlers; print the table.

Exit code 1 if one does not work as under Django's handler.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib.metadata import version

from tests.packages.comparison import compare, cost, served
from tests.packages.site import SITES, load, why_not
from tests.packages.table import HEAD, Row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.packages", description=__doc__)
    parser.add_argument("--site", nargs="+", choices=SITES, default=SITES)
    parser.add_argument("--requests", type=int, default=200, help="that are measured, of each")
    options = parser.parse_args()
    print(HEAD, flush=True)
    complaints = []
    for name in sorted(options.site, key=lambda name: (name != "none", load(name).package)):
        site = load(name)
        if reason := why_not(site):
            print(f"{site.package}: not run. {reason}", file=sys.stderr)
            continue
        row, complaint = asyncio.run(measure(name, options.requests))
        print(row, flush=True)
        complaints += complaint
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    return int(bool(complaints))


async def measure(name: str, requests: int) -> tuple[Row, list[str]]:
    """Return the row of a site, and why it does not work, if it does not."""
    site = load(name)
    complaints = []
    with served(name) as urls:
        django, ours = await cost(site, urls, requests=requests)
        try:
            await compare(site, urls)
        except AssertionError as exc:
            complaints.append(f"{site.package}: {exc}")
    row = Row(
        site.package,
        version(site.package),
        "no" if complaints else "yes",
        str(django.hops),
        str(ours.hops),
        f"{ours.seconds / django.seconds:.2f}",
        site.remarks,
    )
    return row, complaints


if __name__ == "__main__":
    sys.exit(main())
