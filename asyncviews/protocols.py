"""Hypercorn's connections, with limits that it does not have itself.

It closes a connection on which no request begins within `keep_alive_timeout`, and leaves all others
open for as long as their clients like. Here a client that falls behind, with the body of a request or
in taking a response, is cut off; and HTTP/2 without TLS has to be asked for.

What is subclassed here was read in Hypercorn 0.18, which offers no other way.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import Any

import h2.errors
import h2.events
import h2.exceptions
import h11
import hypercorn.asyncio.run
import hypercorn.asyncio.tcp_server
import hypercorn.config
import hypercorn.protocol
from h2.stream import StreamState
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Sockets
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.http_stream import HTTPStream

logger = logging.getLogger("asyncviews.server")

LEAST_RATE = 500.0
"""Bytes per second that a client has to send, or to take, on average while it is its turn."""

MOST_RESETS = 100
"""Requests of HTTP/2 that a client may take back on a connection, or half of them if that is more."""

TLS_HANDSHAKE_TIMEOUT = 10.0  # seconds


class Config(hypercorn.config.Config):
    """Hypercorn's configuration, with limits for slow clients, and the connections that are open."""

    cleartext_h2 = False
    """Whether connections without TLS may speak HTTP/2."""

    slow_client_timeout = 0.0
    """Seconds by which a client may be late before it is cut off; 0 is for ever."""

    shares_sockets = False
    """Whether other processes accept connections from the same sockets."""

    ssl_handshake_timeout = TLS_HANDSHAKE_TIMEOUT

    def __init__(self) -> None:
        super().__init__()
        self.open_connections: set[Connection] = set()
        self._sockets: Sockets | None = None

    def create_sockets(self) -> Sockets:
        self._sockets = super().create_sockets()
        return self._sockets

    def close_sockets(self) -> None:
        """Close what it is bound to, which Hypercorn leaves open when it does not come to serve."""
        sockets = self._sockets or self.create_sockets()
        for sock in (*sockets.secure_sockets, *sockets.insecure_sockets):
            sock.close()


class Pace:
    """How far a client has fallen behind, in one direction."""

    def __init__(self) -> None:
        self._late = 0.0
        self._moved = 0

    def late(self, moved: int, seconds: float, *, due: bool) -> float:
        """Return by how many seconds the client is late, `seconds` after the last call.

        `moved` are the bytes that have been moved so far. Time in which nothing is `due` does not count.
        """
        gained = (moved - self._moved) / LEAST_RATE
        self._moved = moved
        self._late = max(0.0, self._late + seconds - gained) if due else 0.0
        return self._late


class Sweeper:
    """Cuts clients off that are too late, whenever it is called: several times in `timeout` seconds."""

    def __init__(self, config: Config, timeout: float) -> None:
        self._config = config
        self._timeout = timeout
        self._swept = time.monotonic()

    def __call__(self) -> None:
        now = time.monotonic()
        # Clients could do nothing in time in which this process did not run.
        elapsed, self._swept = min(now - self._swept, self._timeout / 2), now
        for connection in list(self._config.open_connections):
            if connection.late(elapsed) >= self._timeout:
                connection.cut()


class Connection(TCPServer):
    """A connection that knows how late its client is."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.is_new = True
        """Whether no request has begun on it."""
        self._written = 0
        self._sending, self._taking = Pace(), Pace()

    async def run(self) -> None:
        if not isinstance(self.config, Config):  # another server in this process
            await super().run()
            return
        self.config.open_connections.add(self)
        try:
            await super().run()
        except Exception:  # see Protocol.handle()
            logger.debug("A connection has ended.", exc_info=True)
        finally:
            self.config.open_connections.remove(self)

    async def protocol_send(self, event: Event) -> None:
        if isinstance(event, RawData):
            self._written += len(event.data)
        await super().protocol_send(event)
        if isinstance(event, Updated) and not event.idle:
            self.is_new = False  # before anything else runs, the application has its request

    async def _close(self) -> None:
        with suppress(OSError):  # as when a client of TLS goes on to send
            await super()._close()

    def late(self, seconds: float) -> float:
        """Return by how many seconds the client is late, `seconds` after the last call."""
        protocol: Protocol | None = getattr(self, "protocol", None)
        if protocol is None:  # it has just been opened
            return 0
        unsent = self._count_unsent()
        return max(
            self._sending.late(protocol.received, seconds, due=protocol.waits_for_body()),
            self._taking.late(
                self._written - unsent, seconds, due=unsent > 0 or protocol.has_unsent()
            ),
        )

    def _count_unsent(self) -> int:
        try:
            return self.writer.transport.get_write_buffer_size()
        except AttributeError:  # TLS has just ended
            return 0

    def cut(self) -> None:
        self.writer.transport.abort()


class Protocol(ProtocolWrapper):
    """HTTP/1 or HTTP/2 on a connection; it counts what it is given."""

    received = 0
    _busy = False

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            self.received += len(event.data)
        self._busy = True  # the application takes its time: nothing is read meanwhile
        try:
            await super().handle(event)
        except Exception as exc:  # a client can cause several; what it has asked for is cancelled
            logger.warning("A connection is ended: Hypercorn cannot go on with it: %r", exc)
            raise
        finally:
            self._busy = False

    def waits_for_body(self) -> bool:
        """Whether it is the client's turn to send the body of a request."""
        if self._busy:
            return False
        if isinstance(self.protocol, H11Protocol):
            return self.protocol.connection.their_state is h11.SEND_BODY
        states = self.protocol.connection.streams
        return any(
            isinstance(stream, HTTPStream)
            and number in states
            and states[number].state_machine.state is StreamState.OPEN
            for number, stream in self.protocol.streams.items()
        )

    def has_unsent(self) -> bool:
        """Whether the client's flow control keeps something from being sent."""
        return isinstance(self.protocol, H2Protocol) and any(
            buffer.buffer for buffer in self.protocol.stream_buffers.values()
        )


class HTTP1(H11Protocol):
    """HTTP/1, which becomes HTTP/2 only where that is allowed."""

    async def _check_protocol(self, event: h11.Request) -> None:
        if not isinstance(self.config, Config) or self.config.cleartext_h2:
            await super()._check_protocol(event)

    async def _create_stream(self, request: h11.Request) -> None:
        if request.http_version < b"2":
            await super()._create_stream(request)
        else:
            await self._send_error_response(505)
            await self.send(Closed())


class HTTP2(H2Protocol):
    """HTTP/2 that starts nothing for a request which is reset at once, and bears few of those.

    A body that is not wanted any more does no harm to other requests.
    """

    _requests = 0
    _resets = 0

    async def _handle_events(self, events: list[h2.events.Event]) -> None:
        reset = {event.stream_id for event in events if isinstance(event, h2.events.StreamReset)}
        self._resets += len(reset)
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                self._requests += 1
                if event.stream_id in reset:
                    continue
            if isinstance(event, h2.events.DataReceived) and event.stream_id not in self.streams:
                await self._stop_body(event)
            else:
                await super()._handle_events([event])
        if self._resets > MOST_RESETS and self._resets > self._requests / 2:
            self.connection.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            await self._flush()
            await self.send(Closed())

    async def _stop_body(self, event: h2.events.DataReceived) -> None:
        """Tell the client that its request has been answered, see RFC 9113, section 8.1."""
        with suppress(h2.exceptions.ProtocolError):  # it knows already
            self.connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.connection.reset_stream(event.stream_id, h2.errors.ErrorCodes.NO_ERROR)
        await self._flush()


for module, name, ours in (
    (hypercorn.asyncio.run, "TCPServer", Connection),
    (hypercorn.asyncio.tcp_server, "ProtocolWrapper", Protocol),
    (hypercorn.protocol, "H11Protocol", HTTP1),
    (hypercorn.protocol, "H2Protocol", HTTP2),
):
    setattr(module, name, ours)
