"""What the front page says about the endpoints."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter of the query that the front page lets its reader fill in."""

    name: str
    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    name: str
    """Of its URL pattern."""
    shows: str
    then: str
    """What its reader can watch in the terminal."""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    title: str
    endpoints: tuple[Endpoint, ...]


GROUPS = (
    Group(
        title="One HTTP call, three ways",
        endpoints=(
            Endpoint(
                name="async",
                shows="An async view that answers before it works: the call is a background task.",
                then="Five steps, one second apart, then the response to the call.",
            ),
            Endpoint(
                name="sync",
                shows="Its blocking twin, a synchronous view of Django: it works, then answers.",
                then="The same lines, but the answer comes last, after five seconds.",
            ),
            Endpoint(
                name="sync_to_async",
                shows="Blocking code is no reason to wait: the task is a synchronous function, "
                "and runs in a thread.",
                then="The same lines again, after the answer.",
            ),
        ),
    ),
    Group(
        title="Smoking by link",
        endpoints=(
            Endpoint(
                name="smoke_some_meats",
                shows="A typed query. An empty field has a default; a flavor of more than 60 "
                "characters is answered without bothering the view. The smoking is a task of "
                "Django's: DEMO_TASKS=durable keeps it in the database, DEMO_TASKS=celery gives "
                "it to a worker.",
                then="Each item smoked, sauced and announced.",
                fields=(
                    Field(name="to_smoke", label="To smoke", value="ribs, brisket"),
                    Field(name="flavor", label="Flavor", value="Sweet Baby Ray's"),
                ),
            ),
            Endpoint(
                name="burn_some_meats",
                shows="A mistake: blocking code in an async view stops the whole worker. Start "
                "/async/ while this one runs, and wait for both.",
                then="One line, after five seconds in which nothing else moves.",
            ),
        ),
    ),
    Group(
        title="More work for the background",
        endpoints=(
            Endpoint(
                name="send_an_email",
                shows="Django's mail backends are synchronous. Here, nobody waits for them.",
                then="The directory in which the e-mail lies, as a file.",
            ),
            Endpoint(
                name="call_an_api",
                shows="A third-party API, through the one HTTP client that the application "
                "shares; pydantic checks what comes back.",
                then="The weather in Memphis.",
            ),
            Endpoint(
                name="write_a_file",
                shows="A line for the guest book, written in a thread.",
                then="The path of the guest book.",
                fields=(Field(name="name", label="Your name", value=""),),
            ),
        ),
    ),
)
