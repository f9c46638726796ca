"""A Redis connection over a unix socket: commands as lists of words, replies as Python values (RESP 2).

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import socket
from pathlib import Path

from mshare_bench.errors import CellFailed

__all__ = ["Redis"]


class Redis:
    """One connection.

    Parameters
    ----------
    path
        The server's socket.
    timeout
        Seconds that a reply may take.

    Raises
    ------
    CellFailed
        When nobody listens there.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise CellFailed(f"redis: {path.name}: {error.strerror}") from error
        self._file = self._socket.makefile("rb")

    def __call__(self, *words: str | int) -> str:
        """Send a command and give its reply as text.

        Raises
        ------
        CellFailed
            When the server reports an error, hangs up or takes too long.
        """
        parts = [str(word).encode() for word in words]
        text = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        try:
            self._socket.sendall(text)
            return self._reply()
        except OSError as error:
            raise CellFailed(f"redis: {words[0]}: {error}") from error

    def info(self, section: str) -> dict[str, str]:
        """Give a section of INFO by its keys."""
        lines = self("INFO", section).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()

    def _reply(self) -> str:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise CellFailed("redis: the server has closed the connection")
        kind, rest = line[:1], line[1:-2].decode("utf-8", "replace")
        if kind == b"-":
            raise CellFailed(f"redis: {rest}")
        if kind != b"$":
            return rest
        length = int(rest)
        return self._file.read(length + 2)[:-2].decode("utf-8", "replace") if length >= 0 else ""
