"""The protocol between a worker and its spawner: requests with descriptors, and messages back."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import struct

LENGTH = struct.Struct("!I")
MESSAGE_MAX = 2 << 20
"""Bytes of the longest message to a worker: a returned value of ``interpreter.RESULT_MAX``, and little more."""

_FDS_MAX = 4
_SPACE = socket.CMSG_SPACE(_FDS_MAX * array.array("i").itemsize)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def receive_descriptors(server: socket.socket, flags: int = 0) -> list[int] | None:
    """
    The control socket, pipes and more of the next request; None at the end of file, [] when there is none (now).

    A request whose descriptors exceed this process's limit is dropped: its worker sees the control socket closed.
    """
    try:
        data, ancillary, received, _ = server.recvmsg(1, _SPACE, _CLOEXEC | flags)
    except BlockingIOError:
        return []
    except ConnectionError:
        return None
    fds = array.array("i")
    for _level, _kind, payload in ancillary:
        fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
    if not _CLOEXEC:
        for fd in fds:
            os.set_inheritable(fd, False)
    if data and (len(fds) < 3 or received & socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        return []
    return list(fds) if data else None


def send(control: socket.socket, message: dict[str, object]) -> None:
    """Send one message to the worker; nothing happens when it is gone."""
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    with contextlib.suppress(OSError):
        control.sendall(LENGTH.pack(len(body)) + body)


def split_message(data: bytes, most: int | None = None) -> tuple[bytes | None, bytes]:
    """
    The first whole message in *data* (None: incomplete) and the rest.

    Raises ValueError for a message of more than *most* bytes.
    """
    if len(data) < LENGTH.size:
        return None, data
    size = LENGTH.unpack_from(data)[0]
    if most is not None and size > most:
        raise ValueError(f"a message of {size} bytes")
    end = LENGTH.size + size
    return (data[LENGTH.size : end], data[end:]) if len(data) >= end else (None, data)
