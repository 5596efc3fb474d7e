"""The project's processes: what enqueues tasks, and what runs them."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

from tests.live.server_process import ServerProcess

PROJECT = Path(__file__).parents[3]
AT_ONCE = 20
"""How many tasks run at once in a process: no more than these, and one, run twice after a kill."""


class Kitchen:
    """A project with its database, its ledger, and the processes that work in it."""

    def __init__(self, directory: Path, database: dict[str, Any], home: str) -> None:
        self.ledger = directory / "ledger"
        self.ledger.touch()
        self.home = home
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.live.kitchen.settings",
            "PYTHONPATH": str(PROJECT),
            "KITCHEN_HOME": home,
            "KITCHEN_LEDGER": str(self.ledger),
            "KITCHEN_DATABASE": json.dumps(database),
            "KITCHEN_ASYNCVIEWS": json.dumps(
                {"MAX_RUNNING": AT_ONCE, "MAX_WAITING": 5000, "DRAIN_TIMEOUT": 2}
            ),
        }
        self._processes: list[ServerProcess] = []

    def use_broker(self, port: int = 5672) -> str:
        """Have Celery's messages go by that port; return the name of the queue."""
        queue = f"kitchen-{uuid.uuid4().hex[:8]}"
        self.environment |= {
            "KITCHEN_BROKER": f"amqp://guest:guest@127.0.0.1:{port}//",
            "KITCHEN_RESULTS": "redis://127.0.0.1:6379/9",
            "KITCHEN_QUEUE": queue,
        }
        return queue

    def run(self, *command: str, **environment: str) -> ServerProcess:
        process = ServerProcess(
            list(command), cwd=PROJECT, environment=self.environment | environment
        )
        self._processes.append(process)
        return process

    def serve(self, *options: str, **environment: str) -> ServerProcess:
        server = self.run("django", "serve", "127.0.0.1:0", *options, **environment)
        server.wait_for_output("Serving ")
        return server

    def celery_worker(self, *options: str) -> ServerProcess:
        name = f"{uuid.uuid4().hex[:8]}@%h"  # two of one name get into each other's way
        process = self.run(
            "celery", "-A", "django_tasks_fennel.app", "worker", "--hostname", name,
            "--concurrency", "2", "--loglevel", "INFO", "--without-gossip", "--without-mingle",
            *options,
        )  # fmt: skip
        process.wait_for_output("ready")
        return process

    def migrate(self) -> None:
        assert self.run("django", "migrate", "--verbosity", "0").process.wait(30) == 0

    def lines(self) -> Counter[str]:
        return Counter(self.ledger.read_text().splitlines())

    def wait_for_lines(self, count: int, process: ServerProcess, seconds: float = 60) -> None:
        """Wait until so many different tasks have ended."""
        deadline = time.monotonic() + seconds
        while len(self.lines()) < count:
            assert time.monotonic() < deadline, f"{len(self.lines())}:\n{process.output[-3000:]}"
            time.sleep(0.05)

    @property
    def output(self) -> str:
        """What all processes have printed."""
        return "\n".join(process.output for process in self._processes)

    def close(self) -> None:
        for process in self._processes:
            process.close()


def delete_queue(name: str) -> None:
    """Delete a queue of the broker, and what is in it."""
    from kombu import Connection

    with Connection("amqp://guest:guest@127.0.0.1:5672//") as connection:
        connection.default_channel.queue_delete(name)
