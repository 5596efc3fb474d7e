"""What ``manage.py serve`` does: serve in this process, or be the parent of workers."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from asyncviews import health
from asyncviews.pid_file import held
from asyncviews.process_title import set_title
from asyncviews.pulse import BEATS, Repeated, Silence, beat
from asyncviews.server import (
    STOP_SIGNALS,
    Hooks,
    Options,
    hasten_exit,
    log_to_stderr,
    serve_process,
)
from asyncviews.stop import Action, Stop
from asyncviews.systemd import Notifier
from asyncviews.workers import TITLE, Supervisor, on_restart, say_ready

logger = logging.getLogger("asyncviews.server")


def serve(options: Options, sockets: Sequence[socket.socket], *, ready: Action) -> int:
    """Serve on these sockets until SIGTERM, SIGINT or SIGHUP, and drain; return the exit code.

    SIGUSR2 replaces the workers, one after the other. After the drain the caller's process has to
    end, for it is ended when the deadline passes. `ready` is called when the application has
    started, in all workers.

    Raises:
        ServerError: the application did not start, or did not drain in time.
        PidFileError: its file cannot be written, or another process holds it.
    """
    log_to_stderr()
    set_title(f"{TITLE} {options.application}")
    notifier = Notifier()
    if notifier.watchdog and not faulthandler.is_enabled():
        faulthandler.enable()  # systemd sends SIGABRT to what gives no sign of life
    try:
        with ExitStack() as stack:
            remove = stack.enter_context(held(path)) if (path := options.pid_file) else _nothing
            if options.workers > 1:
                return asyncio.run(Supervisor(options, sockets, ready, notifier).run())
            stop = Stop(options.drain_timeout)
            stop.before_force = remove
            _serve_alone(
                options, sockets, stop, partial(_start_alone, ready, notifier, stop, options)
            )
        return 0
    finally:
        hasten_exit()


def _nothing() -> None:
    pass


def _serve_alone(
    options: Options, sockets: Sequence[socket.socket], stop: Stop, ready: Action
) -> None:
    signals = dict.fromkeys(STOP_SIGNALS, stop.set_or_hurry) | on_restart(_refuse_restart)
    with health.replacing(stop.fail):
        serve_process(options, sockets, stop, Hooks(ready=ready, signals=signals))


def _refuse_restart() -> None:
    logger.error("There are no workers to restart: SIGUSR2 needs --workers 2 or more.")


def _start_alone(ready: Action, notifier: Notifier, stop: Stop, options: Options) -> None:
    """Be ready, on the event loop, and have a thread watch that loop."""
    ready()
    say_ready(notifier, options)
    _announcements.add(asyncio.get_running_loop().create_task(_announce_stop(notifier, stop)))
    if hang_timeout := options.hang_timeout:
        silence = Silence(hang_timeout / BEATS)
        beat(silence.end, hang_timeout / BEATS)
        watch = (silence, stop, hang_timeout)
        threading.Thread(
            target=_end_when_silent, args=watch, name="asyncviews-pulse", daemon=True
        ).start()


_announcements: set[asyncio.Task[None]] = set()  # which the event loop does not hold


async def _announce_stop(notifier: Notifier, stop: Stop) -> None:
    await stop.wait()
    notifier.stopping()


def _end_when_silent(silence: Silence, stop: Stop, hang_timeout: float) -> None:
    def look() -> None:
        if silence.look() >= hang_timeout and not stop.requested:
            stop.end_hung(hang_timeout)

    watch = Repeated(look, "The watch over the event loop", logger)
    while not stop.requested:
        time.sleep(hang_timeout / BEATS)
        watch()
