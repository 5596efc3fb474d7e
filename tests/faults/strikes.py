"""The faults: each strikes a site that has work, and returns when its recovery begins."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable

from tests.faults.sites import Site
from tests.live.server_process import until

LONG = 4.5  # seconds: one and a half times LEASE


def fill(site: Site) -> None:
    """Enqueue all tasks, and wait until a quarter of them has ended."""
    site.fill(site.count, requests=8)
    until(lambda: len(site.ended()) >= site.count / 4, site.server)


def kill(site: Site) -> float:
    """Kill a process that runs tasks."""
    fill(site)
    site.choose_victim()(signal.SIGKILL)
    return time.monotonic()


def terminate(site: Site) -> float:
    """Send SIGTERM to all of it, and start it again."""
    fill(site)
    site.stop()
    stopped = time.monotonic()
    site.start()
    return stopped


def freeze(site: Site) -> float:
    """Stop a process that runs tasks, for longer than LEASE, and have it go on."""
    fill(site)
    send = site.choose_victim()
    send(signal.SIGSTOP)
    frozen = time.monotonic()
    time.sleep(LONG)
    send(signal.SIGCONT)
    return frozen


def outage(site: Site) -> float:
    """Take away what stores the tasks, for longer than LEASE."""
    fill(site)
    with site.outage():
        time.sleep(LONG / 2)
        site.enqueue()
        time.sleep(LONG / 2)
    back = time.monotonic()
    until(site.enqueue, site.server, seconds=30)
    return back


def poison(site: Site) -> float:
    """Have a task end its process, with half as many healthy ones around it as elsewhere."""
    site.fill(site.count // 8, requests=5)
    assert site.enqueue(poison=True), site.output
    site.fill(site.count * 3 // 8, requests=15)
    steps = until(lambda: [s for s in site.steps() if s.number == site.poison], site.server)
    return steps[0].at


def restart(site: Site) -> float:
    """Replace all processes, one after the other, while tasks are enqueued."""
    restarting = threading.Thread(target=site.restart)
    restarting.start()
    while restarting.is_alive():
        site.enqueue(10)
        time.sleep(0.2)
    return time.monotonic()


FAULTS: dict[str, Callable[[Site], float]] = {
    "kill -9": kill,
    "SIGTERM": terminate,
    "SIGSTOP": freeze,
    "outage": outage,
    "poison": poison,
    "restart": restart,
}
