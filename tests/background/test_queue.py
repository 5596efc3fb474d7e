"""The order in which tasks start: priorities, times, limits."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from asyncviews.background import BackgroundTask, State
from asyncviews.background.queue import Queue


class Task(BackgroundTask):
    def __init__(self, name: str, *limits: tuple[str, int], **options):
        super().__init__(print, (name,), **options)
        self.label = name
        self._limits = limits

    limits = property(lambda self: self._limits)

    def __repr__(self) -> str:
        return self.label


@pytest.fixture
def queue() -> Queue:
    return Queue()


def put(queue: Queue, *tasks: Task) -> None:
    for task in tasks:
        queue.put(task)


def take_all(queue: Queue, now: float = 0) -> list[str]:
    taken = []
    while task := queue.take(now):
        task._state = State.RUNNING
        taken.append(task.label)
    return taken


def cancel(queue: Queue, task: Task) -> None:
    task._state = State.CANCELLED
    queue.discard(task)


def test_higher_priorities_first_and_of_equal_ones_the_earlier(queue):
    put(
        queue,
        Task("a"),
        Task("b", priority=5),
        Task("c"),
        Task("d", priority=5),
        Task("e", priority=-5),
    )
    assert take_all(queue) == ["b", "d", "a", "c", "e"]


def test_a_deferred_task_waits_for_its_time_and_then_for_its_turn(queue):
    put(queue, Task("later", run_after=20.0, priority=9), Task("soon", run_after=10.0), Task("now"))
    assert queue.next_due() == 10
    assert take_all(queue, 9.9) == ["now"]
    assert take_all(queue, 10.0) == ["soon"]
    put(queue, Task("plain"))
    assert take_all(queue, 20.0) == ["later", "plain"]
    assert queue.next_due() is None


def test_a_full_limit_holds_up_its_own_only(queue):
    tasks = [Task(f"a{number}", ("a", 1)) for number in range(3)]
    put(queue, *tasks, Task("b"))
    assert take_all(queue) == ["a0", "b"]
    queue.release((("a", 1),))
    assert take_all(queue) == ["a1"]
    queue.release((("a", 1),))
    assert take_all(queue) == ["a2"]
    queue.release((("a", 1),))
    assert queue._limits == {}


def test_of_those_that_wait_at_a_limit_priority_decides(queue):
    low, high = Task("low", ("a", 1)), Task("high", ("a", 1), priority=1)
    put(queue, Task("first", ("a", 1)))
    assert take_all(queue) == ["first"]
    put(queue, low, high)
    assert take_all(queue) == []
    queue.release((("a", 1),))
    assert take_all(queue) == ["high"]


def test_who_waits_at_one_limit_does_not_block_the_other(queue):
    """The place at `b` that it cannot use yet goes to the next."""
    put(queue, Task("b0", ("b", 1)), Task("a0", ("a", 1)))
    assert take_all(queue) == ["b0", "a0"]
    put(queue, Task("both", ("b", 1), ("a", 1)), Task("b1", ("b", 1)))
    assert take_all(queue) == []
    queue.release((("b", 1),))
    assert take_all(queue) == ["b1"]


def test_a_cancelled_task_passes_its_place_on(queue):
    next_one, last = Task("next", ("a", 1)), Task("last", ("a", 1))
    put(queue, Task("first", ("a", 1)))
    assert take_all(queue) == ["first"]
    put(queue, next_one, last)
    assert take_all(queue) == []
    queue.release((("a", 1),))  # `next` is to start, but has not yet
    cancel(queue, next_one)
    assert take_all(queue) == ["last"]


def test_cancelled_tasks_do_not_pile_up(queue):
    put(queue, Task("first", ("a", 1)))
    take_all(queue)
    for number in range(1000):
        tasks = [Task("x"), Task("y", ("a", 1)), Task("z", run_after=9e9)]
        put(queue, *tasks)
        if number % 3 == 0:
            take_all(queue)
        for task in tasks:
            if task.state is State.QUEUED:
                cancel(queue, task)
    waiting = sum(len(limit.waiting) for limit in queue._limits.values())
    assert len(queue._ready) + len(queue._deferred) + waiting < 20


@pytest.mark.parametrize("seed", range(30))
def test_at_random_nothing_is_lost_and_no_limit_exceeded(queue, seed):
    rng = random.Random(seed)
    most = {"a": 1, "b": 2, "c": 3}
    running: list[Task] = []
    counts: Counter[str] = Counter()
    waiting, ended = [], 0
    for step in range(600):
        action = rng.random()
        if action < 0.45 and step < 400:
            keys = rng.sample(sorted(most), rng.choice([0, 1, 1, 2, 3]))
            task = Task(
                str(step),
                *((key, most[key]) for key in keys),
                priority=rng.randint(-2, 2),
                run_after=step + rng.randint(0, 20) if rng.random() < 0.2 else None,
            )
            waiting.append(task)
            queue.put(task)
        elif action < 0.55 and waiting:
            task = waiting.pop(rng.randrange(len(waiting)))
            cancel(queue, task)
            ended += 1
        elif running:
            task = running.pop(rng.randrange(len(running)))
            counts.subtract(key for key, _ in task.limits)
            queue.release(task.limits)
            ended += 1
        while len(running) < 5 and (task := queue.take(step)):
            assert task.state is State.QUEUED
            task._state = State.RUNNING
            waiting.remove(task)
            running.append(task)
            counts.update(key for key, _ in task.limits)
            assert all(counts[key] <= most[key] for key in most)
    while running:
        task = running.pop()
        queue.release(task.limits)
        while task := queue.take(9e9):
            task._state = State.RUNNING
            waiting.remove(task)
            running.append(task)
    assert waiting == []
    assert queue._limits == {}
    assert queue._cancelled == len(queue._ready) + len(queue._deferred)
