"""A PostgreSQL connection over a unix socket, as little of protocol version 3 as a benchmark needs: no password, simple queries.

https://www.postgresql.org/docs/15/protocol-message-formats.html
"""

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mshare_bench.errors import CellFailed

__all__ = ["Connection", "all_at_once"]

_VERSION = 196608


class Connection:
    """One connection, and with it one backend process.

    Attributes
    ----------
    pid
        Of the backend, known when the connection is ready.
    """

    def __init__(self, path: Path, user: str, database: str) -> None:
        self.pid = 0
        self._path, self._parameters = path, {"user": user, "database": database}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = b""

    def open(self) -> None:
        """Connect and ask for a session; `advance` until it is ready.

        Raises
        ------
        CellFailed
            When nobody listens.
        """
        try:
            self._socket.connect(str(self._path))
        except OSError as error:
            raise CellFailed(f"{self._path.name}: {error.strerror}") from error
        pairs = b"".join(f"{key}\0{value}\0".encode() for key, value in self._parameters.items())
        body = struct.pack("!i", _VERSION) + pairs + b"\0"
        self._socket.sendall(struct.pack("!i", len(body) + 4) + body)

    def ask(self, query: str) -> None:
        """Send a query; `advance` until it is done."""
        body = query.encode() + b"\0"
        self._socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)

    def advance(self) -> bool:
        """Read what has come; True when the server waits for the next query.

        Raises
        ------
        CellFailed
            With the server's message when it reports an error or hangs up.
        """
        data = self._socket.recv(1 << 16)
        if not data:
            raise CellFailed(f"backend {self.pid}: the server has closed the connection")
        self._received += data
        ready = False
        while len(self._received) >= 5:
            kind, length = self._received[:1], int.from_bytes(self._received[1:5], "big")
            if len(self._received) < length + 1:
                break
            body, self._received = self._received[5 : length + 1], self._received[length + 1 :]
            if kind == b"E":
                fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
                raise CellFailed(f"postgres: {fields.get(b'M', b'?').decode('utf-8', 'replace')}")
            if kind == b"K":
                self.pid = int.from_bytes(body[:4], "big")
            ready = kind == b"Z"
        return ready

    def query(self, text: str) -> None:
        """Send a query and wait for its end."""
        self.ask(text)
        while not self.advance():
            pass

    def fileno(self) -> int:
        """Descriptor, for a selector."""
        return self._socket.fileno()

    def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(OSError):
            self._socket.sendall(b"X\0\0\0\4")
        self._socket.close()


def all_at_once(
    connections: Sequence[Connection], begin: Callable[[Connection], None], timeout: float
) -> tuple[list[int], int]:
    """Let all connections begin something at the same time, and wait until the server is done with each.

    Returns
    -------
    tuple
        Nanoseconds of each from the common start, and of the last.

    Raises
    ------
    CellFailed
        When one fails, or all together take longer than `timeout` seconds.
    """
    start = time.perf_counter_ns()
    taken = dict.fromkeys(connections, 0)
    with selectors.DefaultSelector() as selector:
        for one in connections:
            begin(one)
            selector.register(one, selectors.EVENT_READ, one)
        left = len(connections)
        while left:
            ready = selector.select(max(0.0, timeout - (time.perf_counter_ns() - start) / 1e9))
            if not ready:
                raise CellFailed(f"{left} of {len(connections)} connections: not done after {timeout:.0f} s")
            for key, _ in ready:
                if key.data.advance():
                    taken[key.data] = time.perf_counter_ns() - start
                    selector.unregister(key.data)
                    left -= 1
    each = list(taken.values())
    return each, max(each)
