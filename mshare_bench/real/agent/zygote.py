"""The zygote process as Python holds it: started, spoken to packet by packet, and gone when it is closed."""

__all__ = ["Packet", "Zygote"]

import contextlib
import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mshare_bench.errors import CapabilityError
from mshare_bench.real.agent.protocol import MESSAGE, MessageKind

_LOOK_SECONDS = 1.0
_CLOSE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Packet:
    """A reply: its kind and three numbers; kind None stands for the agents' tick."""

    kind: MessageKind | None
    a: int = 0
    b: int = 0
    c: int = 0


class Zygote:
    """The process, our end of its socket, and the event that agents tick when a command is done.

    Parameters
    ----------
    path
        The agent's binary.
    control, control_bytes
        The control memory.
    fds
        Further descriptors that the agents need, under the same numbers.

    Raises
    ------
    CapabilityError
        If the binary can't be started.
    """

    def __init__(self, path: Path, control: int, control_bytes: int, fds: Sequence[int]) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The parent-death signal follows the thread that forked; only the main one lives as long as the process does.
        in_main = threading.current_thread() is threading.main_thread()
        arguments = [control, control_bytes, theirs.fileno(), self._event, os.getpid(), int(in_main)]
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [str(path), *map(str, arguments)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    pass_fds=[control, theirs.fileno(), self._event, *fds],
                    start_new_session=True,
                )
            except OSError as error:
                self._socket.close()
                os.close(self._event)
                raise CapabilityError(f"the agent {path} can't be started: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send(self, kind: MessageKind, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> None:
        """Send a command; ConnectionError if the zygote has gone."""
        self._socket.send(MESSAGE.pack(kind, a, b, c, d))

    def receive(self, seconds: float) -> Packet:
        """Wait for a reply or a tick; replies come first where both are there.

        Raises
        ------
        TimeoutError
            If neither came in time.
        ConnectionError
            If the zygote has gone.
        """
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(self._event, select.POLLIN)
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready = {fd for fd, _ in poll.poll(1000 * min(left, _LOOK_SECONDS))}
            if self._socket.fileno() in ready:
                packet = self._socket.recv(MESSAGE.size)
                if not packet:
                    raise ConnectionError
                kind, a, b, c, _ = MESSAGE.unpack(packet)
                return Packet(MessageKind(kind), a, b, c)
            if ready:
                os.eventfd_read(self._event)
                return Packet(None)
            # Its end of the socket is held by the agents too, and a stopped one keeps it open for a while.
            if self._process.poll() is not None:
                raise ConnectionError

    def exit_code(self) -> int | None:
        """Exit code (negative: the signal) of a zygote that has gone; None if it hangs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(5)
        return None

    def close(self, seconds: float = _CLOSE_SECONDS) -> None:
        """Have it kill and reap its agents, then see that it and they are gone, by force if need be."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self.send(MessageKind.QUIT)
            self._process.wait(seconds)
        self._process.kill()
        self._process.wait()
        # The zygote's end is every agent's too, and every child's: it hangs up when the last of them has gone.
        poll = select.poll()
        poll.register(self._socket, 0)
        poll.poll(1000 * _CLOSE_SECONDS)
        self._socket.close()
        os.close(self._event)
