"""How a listening socket ends, so that no connection is reset which the kernel has made for it.

The kernel answers clients on its own. When the last process closes the socket, it resets what has
not been accepted, though its clients have long sent their requests. Accepting everything just
before is not enough, for between that and the end there is time for more. So new ones have to be
kept away first.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from contextlib import suppress

_SO_ATTACH_FILTER = 26
"""Linux, see socket(7) and <asm-generic/socket.h>; Python has no name for it."""

_ONLY_OLD = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the byte of the TCP header that has the flags
        (0x54, 0, 0, 0x12),  # leave SYN and ACK
        (0x15, 0, 1, 0x02),  # if that is SYN alone, which asks for a connection,
        (0x06, 0, 0, 0),  # drop it
        (0x06, 0, 0, 0xFFFF),  # else take the packet
    )
)
"""A program of the classic BPF, see the kernel's Documentation/networking/filter.rst."""


def refuse(fileno: int) -> None:
    """Have the kernel make no more connections for a listening socket, in all processes that have it.

    What has been made, or is just being made, can still be accepted. A client that asks from now on
    gets no answer; it asks again a second later, and is refused if the socket is closed by then.
    This is for TCP on Linux, and does nothing elsewhere.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_ONLY_OLD)
    value = struct.pack("@HP", len(_ONLY_OLD) // 8, ctypes.addressof(program))
    with socket.socket(fileno=os.dup(fileno)) as listener, suppress(OSError):  # gVisor, say
        if listener.family in {socket.AF_INET, socket.AF_INET6}:
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, value)
