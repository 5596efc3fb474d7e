"""The thread of a process that fetches durable tasks for its runner, and writes how they ended."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from math import inf

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import connections
from django.db.models import QuerySet
from django.utils import timezone

from asyncviews import health
from asyncviews.background import BackgroundQueueFull, State, runner
from asyncviews.background.policy import policy_of
from asyncviews.conf import get_settings
from asyncviews.durable import store
from asyncviews.durable.capacity import Capacity
from asyncviews.durable.models import Status, StoredTask
from asyncviews.durable.options import DurableOptions
from asyncviews.durable.outbox import Outbox
from asyncviews.durable.results import announce, import_task
from asyncviews.durable.store import Outcome
from asyncviews.durable.task import MAX_MISSES, DurableTask, failure, missed
from asyncviews.durable.watch import LoopPulse, Watch
from asyncviews.tasks.enqueued import new_worker_id

logger = logging.getLogger("asyncviews.durable")

PRUNE_INTERVAL = 60.0
"""Seconds between two searches for results that are too old."""

RETRY_INTERVAL = 1.0
"""Seconds until a database that could not be reached is tried again."""

CLOSE_TIMEOUT = 5.0
"""Seconds that the database has, at the end, to take what is still to be written."""

GIVE_BACK_TIMEOUT = 0.4
"""Seconds that it has when the process is told to end at once."""

_workers: dict[str, DurableWorker] = {}


def wake(alias: str) -> None:
    """Have this process look for tasks now, if it runs those of a backend."""
    if (worker := _workers.get(alias)) is not None:
        worker.look()


class DurableWorker:
    """Runs the tasks of one `DurableBackend` in this process, as many as there is room for.

    It is made on the event loop on which the tasks run.
    """

    def __init__(
        self, alias: str, queues: set[str], options: DurableOptions, *, sender: type
    ) -> None:
        self.alias = alias
        self.options = options
        self.sender = sender
        """Of the signals: the backend's class."""
        self.id = new_worker_id()
        limits = {name: options.of_queue(name).max_running for name in queues}
        self._queue_limits = {name: most for name, most in limits.items() if most is not None}
        self._functions: dict[str, int | None] = {}
        self._next_search: dict[str, float] = {}
        self._live: dict[str, DurableTask] = {}
        self._beginning: deque[tuple[DurableTask, asyncio.Future[None]]] = deque()
        self._outbox = Outbox(max_interruptions=options.max_interruptions, probe=self._probe)
        self._loop = asyncio.get_running_loop()
        self._pulse = LoopPulse(self._loop)
        self._watch = Watch(options.lease)
        self._next_beat = self._next_prune = self._next_cancel = 0.0
        self._next_retry = inf
        self._begins = True
        """Whether what is claimed now begins at once."""
        self._claiming = True
        self._closing = False
        self._reachable = self._sure = self._responsive = True
        self._blocked = False
        self._failing_since: float | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"asyncviews-durable-{alias}")
        self._thread.daemon = True

    def start(self) -> None:
        """Register, and begin to run tasks.

        Raises:
            ImproperlyConfigured: the database cannot be used.
        """
        try:
            store.register(self.id, self.alias)
        except DatabaseError as exc:
            reason = str(exc).partition("\n")[0]
            raise ImproperlyConfigured(
                f'TASKS["{self.alias}"]: the database "{store.database()}" cannot hold durable '
                f"tasks ({reason}). Is it there, and migrated?"
            ) from exc
        finally:
            connections[store.database()].close()
        _workers[self.alias] = self
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def look(self) -> None:
        """Look for tasks of every kind now: there are new ones."""
        self._next_search.clear()
        self.wake()

    def stop_claiming(self) -> None:
        """Take no more tasks; what runs keeps its lease until it ends."""
        self._claiming = False

    def close(self) -> None:
        """Write what is to be written, give back what has not ended, and leave."""
        _workers.pop(self.alias, None)
        self._close(CLOSE_TIMEOUT + RETRY_INTERVAL)

    def give_back(self) -> None:
        """Do the same for a process that ends at once, and so what still runs in it."""
        self._close(GIVE_BACK_TIMEOUT)

    def _close(self, timeout: float) -> None:
        self._claiming, self._closing = False, True
        self.wake()
        self._thread.join(timeout)

    # What its tasks call

    async def begin(self, task: DurableTask) -> None:
        """Return when the database has noted that a task begins."""
        noted = asyncio.get_running_loop().create_future()
        self._beginning.append((task, noted))
        self.wake()
        await noted

    def ended(self, outcome: Outcome) -> None:
        """Take what became of a task, in any thread."""
        self._outbox.add(outcome)  # first: a task is in one of the two until it is written
        self._live.pop(outcome.task_id, None)
        if outcome.values and (due := outcome.values.get("retry_at")):
            pause = (due - timezone.now()).total_seconds()
            self._next_retry = min(self._next_retry, time.monotonic() + pause)
        self.wake()

    # In the thread

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as exc:
            logger.exception("The worker of durable tasks has ended.")
            health.fail(self._part, repr(exc), restart=True)
        finally:
            connections.close_all()

    def _work(self) -> None:
        while not self._closing:
            self._try(self._step)
            self._wake.wait(self._pause())
            self._wake.clear()
        deadline = time.monotonic() + CLOSE_TIMEOUT
        while not self._try(self._leave) and time.monotonic() < deadline:
            time.sleep(RETRY_INTERVAL / 4)
        for outcome in self._outbox:
            logger.error(
                "How task %s ended could not be written; it will run again.", outcome.task_id
            )

    def _pause(self) -> float:
        """Return the seconds until there is something to do, if nothing happens."""
        if not self._reachable:
            return min(RETRY_INTERVAL, self.options.lease / 6)
        until_retry = self._next_retry - time.monotonic()
        if until_retry <= 0:
            self._next_retry = inf
        return min(self.options.poll_interval, max(until_retry, 0.0))

    def _try(self, step: Callable[[], None]) -> bool:
        """Do something with the database; return whether it was there."""
        try:
            step()
        except DatabaseError as exc:
            if self._reachable:
                logger.error("The database of the tasks cannot be used: %s", exc)  # noqa: TRY400 - it comes back
            self._reachable, self._sure = False, False
            self._watch.interrupt()
            connections.close_all()
            self._note_failure(f"the database cannot be used: {exc}", restart=False)
            return False
        except Exception as exc:
            logger.exception("The worker of durable tasks failed, and goes on.")
            self._note_failure(repr(exc), restart=True)
            return False
        if not self._reachable:
            logger.warning("The database of the tasks can be used again.")
        self._reachable, self._failing_since = True, None
        health.recover(self._part)
        return True

    @property
    def _part(self) -> str:
        return f'The worker of TASKS["{self.alias}"]'

    def _note_failure(self, reason: str, *, restart: bool) -> None:
        """Say that this process is not what it should be, when that lasts as long as a lease."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if now - self._failing_since >= self.options.lease:
            health.fail(self._part, reason, restart=restart)

    def _step(self) -> None:
        self._outbox.write()
        self._note_begun()
        now = time.monotonic()
        self._look_at_loop()
        if now >= self._next_beat and self._responsive:
            self._show_life()
            self._bury_the_dead()
            self._next_beat = now + self.options.lease / 6
        if now >= self._next_prune:
            store.prune(self.alias, self.options.history_age)
            self._next_prune = now + PRUNE_INTERVAL
        if not self._sure:
            self._find_lost_claims()
        if self._live and now >= self._next_cancel:
            self._cancel_requested()
            self._next_cancel = now + self.options.poll_interval
        while self._claiming and self._responsive and self._claim():
            self._outbox.write()
            self._note_begun()

    def _probe(self) -> None:
        """Write something else than outcomes, by a new connection."""
        connections[store.database()].close()
        store.show_life(self.id)

    def _leave(self) -> None:
        self._outbox.write()
        for task in list(self._live.values()):
            self._outbox.add(Outcome(task.id, task.worker_id, None))
            self._live.pop(task.id, None)
        self._outbox.write()
        store.unregister(self.id)

    def _cancel_requested(self) -> None:
        for task_id in store.cancel_requests(self.id):
            if task := self._live.get(task_id):
                task.cancel()

    # Leases

    def _look_at_loop(self) -> None:
        """Show no life while the event loop does not run: then tasks do not, either."""
        silence, lease = self._pulse.silence(), self.options.lease
        self._responsive = silence < lease / 6
        if silence >= lease / 3 and not self._blocked:
            logger.warning(
                "The event loop has been blocked for %.1f s. When it is for %g s, other processes "
                "take over the tasks of worker %s.",
                silence, lease, self.id,
            )  # fmt: skip
        self._blocked = silence >= lease / 3

    def _show_life(self) -> None:
        if store.show_life(self.id):
            return
        old, new = self.id, new_worker_id()
        store.register(new, self.alias)
        live = list(self._live.values())
        kept = store.adopt([task.id for task in live], old=old, new=new)
        self.id = new
        for task in live:
            if task.id in kept:
                task.worker_id = new
        lost = [task for task in live if task.id not in kept]
        logger.error(
            "Worker %s was taken for dead, %s tasks of it too; it goes on as %s.",
            old, len(lost), new,
        )  # fmt: skip
        for task in lost:
            self._drop(task)

    def _drop(self, task: DurableTask) -> None:
        """Stop a task that is no longer leased to this process."""
        self._live.pop(task.id, None)
        task.abandoned = True
        task.cancel()

    def _bury_the_dead(self) -> None:
        beats = store.beats(self.alias)
        beats.pop(self.id, None)
        for worker, beat in self._watch.look(beats):
            held = store.bury(worker, beat, max_interruptions=self.options.max_interruptions)
            if held is None:  # another process was first
                continue
            failed = [task for task in held if task.status == Status.FAILED]
            logger.warning(
                "Worker %s has ended without a word; %s tasks of it are run again.",
                worker, len(held) - len(failed),
            )  # fmt: skip
            for task in failed:
                logger.error("Task %s was interrupted too often, and has failed.", task)
            announce({task.id for task in failed})
            self._next_search.clear()

    # Beginning

    def _note_begun(self) -> None:
        """Have the database note which tasks begin, and let them."""
        while self._beginning:
            beginning = [self._beginning[number] for number in range(len(self._beginning))]
            by_worker: dict[str, list[str]] = {}
            for task, _ in beginning:
                by_worker.setdefault(task.worker_id, []).append(task.id)
            begun = set().union(*(store.begin(worker, ids) for worker, ids in by_worker.items()))
            for _ in beginning:
                self._beginning.popleft()
            for task, _ in beginning:
                if task.id in begun:
                    task.begun = True
                else:
                    self._drop(task)
            noted = [future for task, future in beginning if task.id in begun]
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(_resolve, noted)

    # Claiming

    def _claim(self) -> bool:
        """Give the runner what it has room for; return whether there may be more.

        What was interrupted, and so may be what ends its processes, begins only where nothing else
        has just begun, and until it has shown that it does no harm, nothing else begins. Its last
        chance it has in a process that runs nothing else, up to its end.
        """
        live = list(self._live.values())
        if any(self._is_to_be_alone(task) for task in live):
            return False
        capacity = self._capacity(live)
        if capacity.slots <= 0:
            return False
        due = store.due(self.alias)
        fresh = due.filter(interruptions=0)
        if (suspect := self._first_suspect(due, capacity, live)) is not None:
            fresh = store.before(fresh, suspect)
        claimed = self._fetch(fresh, capacity)
        if suspect is None or claimed:
            return claimed and not capacity.slots
        if not any(task.is_on_probation for task in live):
            capacity.slots = 1
            self._fetch(due.filter(id=suspect.id), capacity)
        return False

    def _capacity(self, live: list[DurableTask]) -> Capacity:
        """Return what the runner would start now; one task always may wait there for its turn.

        Those whose end is not written yet keep their place: a kill has them run again, too.
        """
        settings, pool = get_settings(), runner.threads
        ours = [task for task in live if task.needs_thread]
        # What begins or ends meanwhile is counted twice rather than not at all.
        others = runner.stats().running - sum(task.state is State.RUNNING for task in live)
        slots = settings.max_running - len(live) - max(others, 0)
        others = pool.busy + pool.waiting - sum(task.has_thread for task in ours)
        threads = settings.background_threads - len(ours) - max(others, 0)
        unwritten = len(self._outbox)
        slots, threads = slots - unwritten, threads - unwritten
        self._begins = True
        if slots <= 0 and not live and not unwritten:
            slots, self._begins = 1, False
        if threads <= 0 and not ours and not unwritten:
            threads, self._begins = 1, False
        return Capacity(
            slots=max(min(slots, runner.room), 0), threads=max(threads, 0),
            queues=self._queue_limits, functions=self._functions, live=live,
        )  # fmt: skip

    def _is_to_be_alone(self, task: DurableTask) -> bool:
        last_chance = task.interruptions >= self.options.max_interruptions - 1
        return task.interruptions > 0 and (last_chance or task.is_on_probation)

    def _first_suspect(
        self, due: QuerySet[StoredTask], capacity: Capacity, live: list[DurableTask]
    ) -> StoredTask | None:
        """Return the interrupted task whose turn it is, if it pays to wait until it can be alone."""
        if not self._pays("suspects"):
            return None
        suspects = due.filter(interruptions__gt=0)
        if not all(task.is_on_probation for task in live):
            suspects = suspects.filter(interruptions__lt=self.options.max_interruptions - 1)
        first = store.in_turn(capacity.remaining(suspects)).first()
        self._note_search("suspects", found=first is not None)
        return first

    def _fetch(self, due: QuerySet[StoredTask], capacity: Capacity) -> bool:
        """Claim and hand over what fits; return whether that is anything."""
        fetched = False
        while capacity.slots and self._claiming:
            for_threads = capacity.threads > 0
            if not for_threads and not self._pays("async"):
                break
            claimed = store.claim(
                self.id,
                capacity.remaining(due),
                capacity.most,
                lambda rows: (
                    capacity.choose(rows) if self._claiming else []
                ),  # it may end meanwhile
                begun=self._begins,
            )
            for path in capacity.unknown:
                self._functions[path] = _limit_of(path)
            for stored in claimed:
                self._hand_over(stored)
            fetched = fetched or bool(claimed)
            if not for_threads:
                self._note_search("async", found=bool(claimed))
            if capacity.exhausted:
                break
        return fetched

    def _pays(self, search: str) -> bool:
        """Whether to search for what is rare: not if it was in vain within the poll interval."""
        return time.monotonic() >= self._next_search.get(search, 0.0)

    def _note_search(self, search: str, *, found: bool) -> None:
        pause = 0.0 if found else self.options.poll_interval
        self._next_search[search] = time.monotonic() + pause

    def _find_lost_claims(self) -> None:
        """Run what was claimed for this process by a commit whose answer never came."""
        leased = store.leased(self.id)
        known = {*list(self._live), *(outcome.task_id for outcome in self._outbox)}
        for stored in leased:
            if stored.id not in known:
                self._hand_over(stored)
        self._sure = True

    def _hand_over(self, stored: StoredTask) -> None:
        if stored.cancel_requested:  # it ended its last process meanwhile
            values = failure(stored.errors, asyncio.CancelledError())
            self._outbox.add(Outcome(stored.id, self.id, values, unannounced=True))
            return
        try:
            task = DurableTask(stored, self)
        except BaseException as exc:  # noqa: BLE001 - importing it may end in anything, SystemExit included
            self._outbox.add(self._missed(stored, exc))
            return
        if runner.task(task.id) is not None:  # its first run here has lost its lease
            self._outbox.add(Outcome(stored.id, self.id, None))
            return
        self._live[task.id] = task
        try:
            runner.accept(task)
        except BackgroundQueueFull:
            self._live.pop(task.id, None)
            self._outbox.add(Outcome(stored.id, self.id, None))
        else:
            runner.start([task])

    def _missed(self, stored: StoredTask, exc: BaseException) -> Outcome:
        """Leave a task that cannot be imported to another process."""
        if (again := missed(stored.misses)) is None:
            logger.error("Task %s cannot be run.", stored, exc_info=exc)
            values = failure(stored.errors, exc)
            return Outcome(stored.id, self.id, values, unannounced=True)
        logger.warning(
            "Task %s cannot be run by this process, and goes back; it fails if that is so %s "
            "times: %r",
            stored, MAX_MISSES, exc,
        )  # fmt: skip
        return Outcome(stored.id, self.id, again)


def _limit_of(path: str) -> int | None:
    """Return how many calls of a task's function run at once."""
    try:
        return policy_of(import_task(path).func).max_running
    except BaseException:  # noqa: BLE001 - whoever is to run it says so
        return None


def _resolve(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
