"""Serving in one process or in several: the parent of workers replaces, restarts, drains them."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from typing import cast

import django

from asyncviews.server import (
    KEEP_ALIVE_TIMEOUT,
    PROCESS_GRACE,
    RESTART_SIGNAL,
    STOP_SIGNALS,
    Action,
    Options,
    ServerError,
    Signals,
    Stop,
    check_certificate,
    hasten_exit,
    log_to_stderr,
    serve_process,
)

logger = logging.getLogger("asyncviews.server")

# Seconds
WORKER_GRACE = 0.9  # after the deadline of a drain, when a worker is killed
SHORT_LIFE = 10.0  # each worker in turn that ends sooner is replaced later
LONGEST_DELAY = 30.0  # between such workers
# From when a worker takes no more connections until it drains: the idle ones have been closed by
# then, and each of the others with a response.
RETIREMENT = KEEP_ALIVE_TIMEOUT + 0.5

# What a parent and its worker tell each other, line by line. Other lines of a worker say in JSON
# why it failed. The end of the stream is the end of the other process.
READY = b"ready\n"
RETIRE = b"retire\n"
DRAIN = b"drain\n"
HURRY = b"hurry\n"


def serve(options: Options, sockets: Sequence[socket.socket], *, ready: Action) -> int:
    """Serve on these sockets until SIGTERM, SIGINT or SIGHUP, and drain; return the exit code.

    SIGUSR2 replaces the workers, one after the other. After the drain the caller's process has to
    end, for it is ended when the deadline passes. `ready` is called when the application has
    started, in all workers.

    Raises:
        ServerError: the application did not start, or did not drain in time.
    """
    log_to_stderr()
    try:
        if options.workers > 1:
            return asyncio.run(_Supervisor(options, sockets, ready).run())
        stop = Stop(options.drain_timeout)
        signals = dict.fromkeys(STOP_SIGNALS, stop.set_or_hurry) | _on_restart(_refuse_restart)
        serve_process(options, sockets, stop, ready, signals)
        return 0
    finally:
        hasten_exit()


def _on_restart(action: Action) -> dict[signal.Signals, Action]:
    return {} if RESTART_SIGNAL is None else {RESTART_SIGNAL: action}


def _refuse_restart() -> None:
    logger.error("There are no workers to restart: SIGUSR2 needs --workers 2 or more.")


def _work(options: Options, sockets: Sequence[socket.socket], parent: socket.socket) -> None:
    """Be a worker process: serve until the parent says otherwise or is gone."""
    parent.set_inheritable(False)
    stop = Stop(options.drain_timeout)
    threading.Thread(target=_obey, args=(parent, stop), daemon=True).start()
    # What a terminal sends reaches workers, too, but the parent decides. So may SIGTERM.
    ignored: Signals = dict.fromkeys(STOP_SIGNALS, lambda: None) | _on_restart(lambda: None)
    signals = {**ignored, signal.SIGTERM: stop.set}
    try:
        django.setup()
        log_to_stderr()
        if options.certfile:  # it may have changed since the parent looked at it
            check_certificate(options.certfile, options.keyfile or options.certfile)
        serve_process(options, sockets, stop, partial(_tell, parent, READY), signals)
    except Exception as exc:  # noqa: BLE001 - the parent says it
        known = isinstance(exc, ServerError)
        reason = str(exc) if known else "".join(traceback.format_exception(exc))
        _tell(parent, json.dumps(reason[-8000:]).encode() + b"\n")
        sys.exit(1)
    finally:
        hasten_exit()


def _obey(parent: socket.socket, stop: Stop) -> None:
    actions = {RETIRE: stop.retire, DRAIN: stop.set, HURRY: stop.hurry}
    with parent.makefile("rb") as orders:
        for order in orders:
            actions.get(order, stop.set)()
    if not stop.requested:
        logger.error("The parent of worker %d is gone: it drains and ends, too.", os.getpid())
    stop.set()


def _tell(parent: socket.socket, line: bytes) -> None:
    with suppress(OSError):  # the parent is gone
        parent.sendall(line)


class _Worker:
    """A worker process, seen from its parent, on whose event loop it is started."""

    def __init__(self, options: Options, sockets: Sequence[socket.socket]) -> None:
        self.ready = False
        self.settled = asyncio.Event()
        """Set when it is ready, or has ended without ever being so."""
        self.reason = ""
        self.birth = time.monotonic()
        self.is_replaced = True
        """Whether another one takes its place when it ends."""
        self._ours, theirs = socket.socketpair()
        process = multiprocessing.get_context("spawn").Process(
            target=_work, args=(options, sockets, theirs)
        )
        # Blocked in the worker until it has handlers.
        blocked = [*STOP_SIGNALS, *_on_restart(lambda: None)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self.process: BaseProcess = process

    async def watch(self, on_ready: Action) -> int:
        """Wait until the worker has ended; return its exit code."""
        reader, writer = await asyncio.open_connection(sock=self._ours)
        with suppress(ConnectionError, ValueError):
            async for line in reader:
                if line == READY:
                    self.ready = True
                    self.settled.set()
                    on_ready()
                else:
                    self.reason = json.loads(line)
        writer.close()
        self.process.join(1)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        _forget_gauges(cast("int", self.process.pid))
        self.settled.set()
        return cast("int", self.process.exitcode)

    def tell(self, order: bytes) -> None:
        _tell(self._ours, order)

    def __str__(self) -> str:
        return f"Worker {self.process.pid}"


def _forget_gauges(pid: int) -> None:
    """Do as Prometheus' client demands of who has workers: their gauges end with them."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        with suppress(ImportError):
            from prometheus_client import multiprocess

            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


class _Supervisor:
    """The parent of workers: replaces those that end, restarts them, and ends them all."""

    def __init__(
        self, options: Options, sockets: Sequence[socket.socket], on_ready: Action
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._on_ready = on_ready
        self._missing = options.workers
        self._workers: set[_Worker] = set()
        self._keepers: set[asyncio.Task[int]] = set()
        self._restart_asked = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        actions = dict.fromkeys(STOP_SIGNALS, self._drain_or_hurry)
        for signum, action in {**actions, **_on_restart(self._restart_asked.set)}.items():
            loop.add_signal_handler(signum, action)
        for _ in range(self._options.workers):
            self._keep(self._start_worker())
        restarter = loop.create_task(self._restart_when_asked())
        ended: list[asyncio.Task[int]] = []
        while self._keepers:
            done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
            self._keepers -= done
            ended += done
            if any(keeper.exception() for keeper in done):
                self._drain()
        restarter.cancel()
        await asyncio.gather(restarter, return_exceptions=True)
        if errors := [error for keeper in ended if (error := keeper.exception())]:
            raise errors[0]
        return int(any(keeper.result() for keeper in ended))

    def _start_worker(self) -> _Worker:
        worker = _Worker(self._options, self._sockets)
        self._workers.add(worker)
        return worker

    def _keep(self, worker: _Worker) -> None:
        keeper = asyncio.get_running_loop().create_task(self._keep_worker(worker))
        self._keepers.add(keeper)

    async def _keep_worker(self, worker: _Worker) -> int:
        """Replace a worker whenever it ends, until the stop; return the last one's exit code.

        That of one whose place another has taken is 0, for it has been logged.
        """
        short_lives = 0
        may_fail = False
        while True:
            code = await worker.watch(self._note_ready)
            self._workers.remove(worker)
            end = f"{worker} has ended with {_describe(code)}. {worker.reason}".rstrip()
            if self._stopping.is_set() or not worker.is_replaced:
                if code:
                    logger.error("%s", end)
                return code if self._stopping.is_set() else 0
            if not worker.ready and not may_fail:
                raise ServerError(worker.reason or end)
            may_fail = True
            lived = time.monotonic() - worker.birth
            short_lives = short_lives + 1 if lived < SHORT_LIFE else 0
            delay = min(0.25 * 2**short_lives, LONGEST_DELAY) if short_lives else 0
            logger.error("%s Another is started in %g s.", end, delay)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
                return 0
            worker = self._start_worker()

    def _note_ready(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._on_ready()

    # A restart

    async def _restart_when_asked(self) -> None:
        while await self._restart_asked.wait():
            self._restart_asked.clear()
            try:
                if await self._restart(time.monotonic()):
                    logger.info("All workers have been restarted.")
            except OSError:
                logger.exception("The restart has failed: no process can be started.")

    async def _restart(self, began: float) -> bool:
        """Replace each worker by one that is ready, until one fails; tell whether all are new."""
        while old := self._older_than(began):
            new = self._start_worker()
            new.is_replaced = False
            self._keep(new)
            await new.settled.wait()
            if self._stopping.is_set():
                return False
            if not new.ready:
                logger.error("The restart has failed, and the old workers go on. %s", new.reason)
                return False
            if old in self._workers:
                old.is_replaced, new.is_replaced = False, True
                self._retire(old)
            else:  # it has ended meanwhile, and was replaced
                self._retire(new)
        return True

    def _older_than(self, began: float) -> _Worker | None:
        """Return a worker that is to be restarted."""
        old = (w for w in self._workers if w.birth < began and w.ready and w.is_replaced)
        return next(old, None)

    def _retire(self, worker: _Worker) -> None:
        logger.info("%s takes no more connections, and drains.", worker)
        worker.tell(RETIRE)
        loop = asyncio.get_running_loop()
        loop.call_later(RETIREMENT, worker.tell, DRAIN)
        limit = RETIREMENT + self._options.drain_timeout + WORKER_GRACE
        loop.call_later(limit, self._kill, worker)

    # The end

    def _drain_or_hurry(self) -> None:
        if not self._stopping.is_set():
            self._drain()
            return
        self._tell_all(HURRY)
        asyncio.get_running_loop().call_later(PROCESS_GRACE, self._kill_all)

    def _drain(self) -> None:
        if not self._stopping.is_set():
            self._stopping.set()
            for sock in self._sockets:
                sock.close()
            self._tell_all(DRAIN)
            limit = self._options.drain_timeout + WORKER_GRACE
            asyncio.get_running_loop().call_later(limit, self._kill_all)

    def _tell_all(self, order: bytes) -> None:
        for worker in self._workers:
            worker.tell(order)

    def _kill_all(self) -> None:
        for worker in list(self._workers):
            self._kill(worker)

    def _kill(self, worker: _Worker) -> None:
        if worker in self._workers:
            logger.error("%s has not stopped in time and is killed.", worker)
            worker.process.kill()


def _describe(exit_code: int) -> str:
    if exit_code < 0:
        return f"signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"exit code {exit_code}"
