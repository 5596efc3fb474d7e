"""Serving in several processes: the parent of workers replaces, restarts, drains them."""

from __future__ import annotations

import asyncio
import faulthandler
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
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import cast

import django

from asyncviews import health
from asyncviews.backlog import refuse
from asyncviews.process_title import set_title
from asyncviews.pulse import BEATS, Repeated, Silence, beat
from asyncviews.server import (
    RESTART_SIGNAL,
    STOP_SIGNALS,
    Hooks,
    Options,
    ServerError,
    Signals,
    check_certificate,
    hasten_exit,
    log_to_stderr,
    serve_process,
)
from asyncviews.stop import PROCESS_GRACE, Action, Stop
from asyncviews.systemd import Notifier

logger = logging.getLogger("asyncviews.server")

TITLE = "asyncviews serve"

# Seconds
WORKER_GRACE = 0.9  # after the deadline of a drain, when a worker is killed
SHORT_LIFE = 10.0  # each worker in turn that ends sooner is replaced later
LONGEST_DELAY = 30.0  # between such workers
LAST_WORDS = 1.0  # for a worker that hangs to say what it does, before it is killed
# With the timeout of idle connections: from when a worker takes no more connections until it drains.
# The idle ones have been closed by then, and each of the others with a response.
RETIREMENT_GRACE = 0.5

# What a parent and its worker tell each other, line by line. Other lines of a worker say in JSON
# why it failed. The end of the stream is the end of the other process.
READY = b"ready\n"
ALIVE = b"alive\n"  # from its event loop
REPLACE = b"replace\n"  # a part of it has failed for good
WORN = b"worn\n"  # it has had `max_requests`
HUNG = b"hung\n"
RETIRE = b"retire\n"
DRAIN = b"drain\n"
HURRY = b"hurry\n"


def on_restart(action: Action) -> dict[signal.Signals, Action]:
    return {} if RESTART_SIGNAL is None else {RESTART_SIGNAL: action}


def say_ready(notifier: Notifier, options: Options) -> None:
    """Tell systemd, and give it signs of life from the running event loop."""
    notifier.ready(f"Serving {options.application}.")
    if notifier.watchdog:
        beat(notifier.alive, notifier.watchdog / BEATS)


def _work(options: Options, sockets: Sequence[socket.socket], parent: socket.socket) -> None:
    """Be a worker process: serve until the parent says otherwise or is gone."""
    parent.set_inheritable(False)
    stop = Stop(options.drain_timeout)
    orders = {
        RETIRE: stop.retire,
        DRAIN: stop.set,
        HURRY: stop.hurry,
        HUNG: partial(stop.end_hung, options.hang_timeout),
    }
    threading.Thread(target=_obey, args=(parent, orders, stop), daemon=True).start()
    if not faulthandler.is_enabled():
        faulthandler.enable()  # what cannot obey any more is sent SIGABRT, and says what it does
    # What a terminal sends reaches workers, too, but the parent decides. So may SIGTERM.
    ignored: Signals = dict.fromkeys(STOP_SIGNALS, lambda: None) | on_restart(lambda: None)
    hooks = Hooks(
        ready=partial(_start_work, parent, stop, options.hang_timeout),
        signals={**ignored, signal.SIGTERM: stop.set},
        worn=partial(_say, parent, WORN),
    )
    try:
        set_title(f"{TITLE} {options.application}, worker")
        django.setup()
        log_to_stderr()
        if options.certfile:  # it may have changed since the parent looked at it
            check_certificate(options.certfile, options.keyfile or options.certfile)
        with health.replacing(partial(_ask_for_another, parent, stop)):
            serve_process(options, sockets, stop, hooks)
    except Exception as exc:  # noqa: BLE001 - the parent says it
        known = isinstance(exc, ServerError)
        reason = str(exc) if known else "".join(traceback.format_exception(exc))
        _tell(parent, json.dumps(reason[-8000:]).encode() + b"\n")
        sys.exit(1)
    finally:
        hasten_exit()


def _start_work(parent: socket.socket, stop: Stop, hang_timeout: float) -> None:
    """Be ready, on the event loop, and have it give signs of life to the parent."""
    _tell(parent, READY)
    if hang_timeout:
        beat(partial(_sign, parent, stop), hang_timeout / BEATS)


def _sign(parent: socket.socket, stop: Stop) -> None:
    _say(parent, REPLACE if stop.failure else ALIVE)


def _say(parent: socket.socket, line: bytes) -> None:
    """Tell the parent what is told again, so that it may be lost."""
    with suppress(OSError):  # the parent is gone, or stopped: the loop must not wait for it
        parent.send(line, socket.MSG_DONTWAIT)


def _ask_for_another(parent: socket.socket, stop: Stop, reason: str) -> None:
    stop.failure = reason
    _sign(parent, stop)


def _obey(parent: socket.socket, orders: Mapping[bytes, Action], stop: Stop) -> None:
    with parent.makefile("rb") as lines:
        for line in lines:
            orders.get(line, stop.set)()
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
        self.hung = False
        self.failed = False
        self.worn = False
        self.short_lives = 0
        self.silence = Silence(options.hang_timeout / BEATS)
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
        blocked = [*STOP_SIGNALS, *on_restart(lambda: None)]
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self.process: BaseProcess = process

    async def watch(self, on_ready: Action, on_failure: Action, on_worn: Action) -> int:
        """Wait until the worker has ended; return its exit code."""
        reader, writer = await asyncio.open_connection(sock=self._ours)
        with suppress(ConnectionError, ValueError):
            async for line in reader:
                self.silence.end()
                if line == READY:
                    self.ready = True
                    self.settled.set()
                    on_ready()
                elif line == REPLACE and not self.failed:
                    self.failed = True
                    on_failure()
                elif line == WORN and not self.worn:
                    self.worn = True
                    on_worn()
                elif line not in {ALIVE, REPLACE, WORN}:
                    self.reason = json.loads(line)
        writer.close()
        self.process.join(1)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        _forget_gauges(cast("int", self.process.pid))
        self.settled.set()
        return cast("int", self.process.exitcode)

    def count_short_lives(self) -> tuple[int, float]:
        """Return how many workers in turn have lived shortly, if it ends now, and when the next starts.

        That is in seconds.
        """
        count = self.short_lives + 1 if time.monotonic() - self.birth < SHORT_LIFE else 0
        return count, min(0.25 * 2**count, LONGEST_DELAY) if count else 0

    def is_stopped(self) -> bool:
        """Whether SIGSTOP or a debugger keeps the process from running; False where unknown."""
        with suppress(OSError):
            stat = Path(f"/proc/{self.process.pid}/stat").read_bytes()
            return stat.rpartition(b")")[2].split()[0] in {b"T", b"t"}
        return False

    def abort(self) -> None:
        os.kill(cast("int", self.process.pid), signal.SIGABRT)

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


class Supervisor:
    """The parent of workers: replaces those that end, restarts them, and ends them all."""

    def __init__(
        self,
        options: Options,
        sockets: Sequence[socket.socket],
        on_ready: Action,
        notifier: Notifier,
    ) -> None:
        self._options = options
        self._sockets = sockets
        self._on_ready = on_ready
        self._notifier = notifier
        self._missing = options.workers
        self._workers: set[_Worker] = set()
        self._keepers: set[asyncio.Task[int]] = set()
        self._helpers: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()
        self._restart_asked = asyncio.Event()
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        actions = dict.fromkeys(STOP_SIGNALS, self._drain_or_hurry)
        for signum, action in {**actions, **on_restart(self._restart_asked.set)}.items():
            loop.add_signal_handler(signum, action)
        for _ in range(self._options.workers):
            self._keep(self._start_worker())
        self._help(self._restart_when_asked())
        if self._options.hang_timeout:
            self._help(self._watch_loops())
        ended: list[asyncio.Task[int]] = []
        while self._keepers:
            done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
            self._keepers -= done
            ended += done
            if any(keeper.exception() for keeper in done):
                self._drain()
        for helper in self._helpers:
            helper.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        if errors := [error for keeper in ended if (error := keeper.exception())]:
            raise errors[0]
        return int(any(keeper.result() for keeper in ended))

    def _start_worker(self, *, short_lives: int = 0) -> _Worker:
        worker = _Worker(self._options, self._sockets)
        worker.short_lives = short_lives
        self._workers.add(worker)
        return worker

    def _help(self, work: Coroutine[None, None, None]) -> None:
        helper = asyncio.get_running_loop().create_task(work)
        self._helpers.add(helper)
        helper.add_done_callback(self._helpers.discard)

    def _keep(self, worker: _Worker) -> None:
        keeper = asyncio.get_running_loop().create_task(self._keep_worker(worker))
        self._keepers.add(keeper)

    async def _keep_worker(self, worker: _Worker) -> int:
        """Replace a worker whenever it ends, until the stop; return the last one's exit code.

        That of one whose place another has taken, or that had failed before, is 0, for that has been
        logged.
        """
        may_fail = False
        while True:
            code = await worker.watch(
                self._note_ready,
                partial(self._note_failure, worker),
                partial(self._note_worn, worker),
            )
            self._workers.remove(worker)
            end = f"{worker} has ended with {_describe(code)}. {worker.reason}".rstrip()
            if self._stopping.is_set() or not worker.is_replaced:
                if code:
                    logger.error("%s", end)
                return code if self._stopping.is_set() and not worker.failed else 0
            if not worker.ready and not may_fail:
                raise ServerError(worker.reason or end)
            may_fail = True
            lives, delay = worker.count_short_lives()
            logger.error("%s Another is started in %g s.", end, delay)
            if await self._stops_within(delay):
                return 0
            worker = self._start_worker(short_lives=lives)

    async def _stops_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()

    def _note_ready(self) -> None:
        self._missing -= 1
        if self._missing == 0:
            self._on_ready()
            say_ready(self._notifier, self._options)

    # A restart

    async def _restart_when_asked(self) -> None:
        while await self._restart_asked.wait():
            self._restart_asked.clear()
            self._notifier.reloading()
            try:
                if await self._restart(time.monotonic()):
                    logger.info("All workers have been restarted.")
            except Exception:
                logger.exception("The restart has failed, and the old workers go on.")
            if not self._stopping.is_set():
                self._notifier.ready()

    async def _restart(self, began: float) -> bool:
        """Replace each worker by one that is ready, until one fails; tell whether all are new."""
        while not self._stopping.is_set():
            async with self._replacing:
                old = self._older_than(began)
                if old is None:
                    return True
                new = await self._replace(old)
            if not new.ready and not self._stopping.is_set():
                logger.error("The restart has failed, and the old workers go on. %s", new.reason)
                return False
        return False

    async def _replace(self, old: _Worker, *, short_lives: int = 0) -> _Worker:
        """Start a worker; once it is ready, it takes the place of the old one, which retires."""
        new = self._start_worker(short_lives=short_lives)
        new.is_replaced = False
        self._keep(new)
        await new.settled.wait()
        if new.ready and not self._stopping.is_set():
            if old in self._workers:
                old.is_replaced, new.is_replaced = False, True
                self._retire(old)
            else:  # it has ended meanwhile, and was replaced
                self._retire(new)
        return new

    def _older_than(self, began: float) -> _Worker | None:
        """Return a worker that is to be restarted."""
        old = (w for w in self._workers if w.birth < began and w.ready and w.is_replaced)
        return next(old, None)

    def _retire(self, worker: _Worker) -> None:
        logger.info("%s takes no more connections, and drains.", worker)
        worker.tell(RETIRE)
        loop = asyncio.get_running_loop()
        retirement = self._options.keep_alive_timeout + RETIREMENT_GRACE
        loop.call_later(retirement, worker.tell, DRAIN)
        limit = retirement + self._options.drain_timeout + WORKER_GRACE
        loop.call_later(limit, self._kill, worker)

    # Workers that have failed, have had their requests, or hang

    def _note_failure(self, worker: _Worker) -> None:
        lives, delay = worker.count_short_lives()
        logger.error("A part of %s has failed. It is replaced in %g s.", worker, delay)
        self._help(self._replace_in(worker, delay, lives))

    def _note_worn(self, worker: _Worker) -> None:
        logger.info("%s has had --max-requests, and is replaced.", worker)
        self._help(self._replace_in(worker, 0, 0))

    async def _replace_in(self, old: _Worker, delay: float, lives: int) -> None:
        """Replace a worker that serves as soon as another one starts, in `delay` seconds or later."""
        while not await self._stops_within(delay):
            async with self._replacing:
                if old not in self._workers or not old.is_replaced or self._stopping.is_set():
                    return
                new = await self._replace(old, short_lives=lives)
            if new.ready or self._stopping.is_set():
                return
            delay = min(max(2 * delay, 1.0), LONGEST_DELAY)
            logger.error("%s goes on, for no other starts. The next try is in %g s.", old, delay)

    async def _watch_loops(self) -> None:
        """End each worker whose event loop has given no sign of life for too long."""
        watch = Repeated(self._end_silent_workers, "The watch over the workers", logger)
        while not await self._stops_within(self._options.hang_timeout / BEATS):
            watch()

    def _end_silent_workers(self) -> None:
        for worker in [w for w in self._workers if w.ready and not w.hung]:
            if worker.silence.look() >= self._options.hang_timeout:
                self._end_silent(worker)

    def _end_silent(self, worker: _Worker) -> None:
        worker.silence.end()
        if worker.is_stopped():  # somebody wants that
            return
        worker.hung = True
        logger.error(
            "%s does not answer: its event loop has been held for %g s. It cannot drain, and is ended.",
            worker,
            self._options.hang_timeout,
        )
        worker.tell(HUNG)
        asyncio.get_running_loop().call_later(LAST_WORDS, self._abort, worker)

    def _abort(self, worker: _Worker) -> None:
        """Have a worker that does not obey print what its threads do, and make sure that it ends."""
        if worker in self._workers:
            worker.abort()
            asyncio.get_running_loop().call_later(LAST_WORDS, self._kill, worker)

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
            self._notifier.stopping()
            for sock in self._sockets:
                refuse(sock.fileno())
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
