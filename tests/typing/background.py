"""What type checkers say of background tasks: each comment is what is expected of its line."""

from typing import reveal_type

from asyncviews import BackgroundTask, add_background_task, background_task


@background_task(timeout=5, attempts=3)
async def weigh(kilograms: float, *, times: int = 1) -> float:
    return kilograms * times


@background_task
def burn(meat: str) -> None: ...


async def handler() -> None:
    task = add_background_task(weigh, 1.5, times=2)
    reveal_type(task)  # note: asyncviews.background.task.BackgroundTask[float]
    reveal_type(await task)  # note: float
    reveal_type(await weigh(1.5))  # note: float
    reveal_type(add_background_task(burn, "ribs"))  # note: BackgroundTask[None]
    add_background_task(weigh, "ribs")  # error: call-overload
    add_background_task(weigh, 1.5, time=2)  # error: call-arg
    add_background_task(burn)  # error: call-overload
    wrong: BackgroundTask[str] = add_background_task(weigh, 1.5)  # error: call-overload
    wrong.cancel()
    await weigh("ribs")  # error: arg-type
    background_task(timeout="5")  # error: call-overload
