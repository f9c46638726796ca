"""A Ray to run on: one on this machine alone, or a cluster that is there.

The local one is lean, on loopback, with no usage reports, and is put away again with all that it wrote.

Ray listens on loopback only where it takes the machine for one that can't be a cluster, and reads that switch, like all the
others here, from the environment when it is imported. A token of its own keeps it from writing one into the user's home.
"""

import functools
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mshare_bench.errors import CapabilityError, ConfigError

__all__ = ["joined_ray", "local_ray"]

_ANSWER_SECONDS = 5.0
_STARTS = 2  # a busy machine may miss the half minute that Ray gives itself
_OBJECT_STORE_BYTES = 128 << 20
_LONGEST_FOLDER = 40  # a Unix socket's path holds 107 bytes, Ray's own part of it is about 60

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Children of a worker would inherit nice 15 and an oom_score_adj of 1000.
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    # Our own guard holds; Ray's counts the whole machine and kills workers whose children use much.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def local_ray(cpus: int | None = None) -> Iterator[Any]:
    """Start Ray and give its module; one that the caller has started already is used and left alone.

    Parameters
    ----------
    cpus
        Of this machine; None for those that this process may use.

    Raises
    ------
    CapabilityError
        When Ray does not start.
    """
    started = sys.modules.get("ray")
    if started is not None and started.is_initialized():
        yield started
        return
    before = dict(os.environ)
    os.environ.update(_ENVIRONMENT, RAY_AUTH_TOKEN=_token())
    folder = _folder()
    try:
        import ray

        if started is not None:
            _read_environment_again(ray)
        _start(ray, cpus or len(os.sched_getaffinity(0)), folder)
        yield ray
    finally:
        ray_module = sys.modules.get("ray")
        if ray_module is not None:
            ray_module.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
        for name in set(os.environ) - set(before):  # Ray sets some of its own
            del os.environ[name]
        os.environ.update(before)


def _start(ray: Any, cpus: int, folder: Path) -> None:
    for attempt in range(_STARTS):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                _temp_dir=str(folder),
            )
            return
        except Exception as error:  # Ray raises whatever its parts raise
            ray.shutdown()
            if attempt == _STARTS - 1:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                message = f"executor=ray: Ray does not start here ({reason}); executor=inline does"
                raise CapabilityError(message) from error


@contextmanager
def joined_ray(address: str) -> Iterator[Any]:
    """Join a cluster and give Ray's module; the cluster is left as it was.

    A cluster with token authentication takes those who have `RAY_AUTH_MODE=token` and its token in their environment.

    Parameters
    ----------
    address
        `host:port` of its head.

    Raises
    ------
    ConfigError
        When that is no address, nothing answers there, or it does not take us.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"cluster.address={address}: must be host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS).close()
    except OSError as error:
        raise ConfigError(f"cluster.address={address}: nothing answers there ({error.strerror or error})") from error
    started = sys.modules.get("ray")
    if started is not None and started.is_initialized():
        yield started
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False, logging_level=logging.ERROR)
    except Exception as error:  # Ray raises whatever its parts raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        token = (
            "" if os.environ.get("RAY_AUTH_MODE") == "token" else "; does it want RAY_AUTH_MODE=token and its token?"
        )
        raise ConfigError(f"cluster.address={address}: {reason}{token}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _read_environment_again(ray: Any) -> None:
    """Somebody has imported Ray before: make it take the switches that it reads on import."""
    compiled = ray._raylet
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()


@functools.cache
def _token() -> str:
    """One per process: Ray reads it once, and a second cluster of this process is entered with the first one's."""
    return secrets.token_hex(32)


def _folder() -> Path:
    base = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="mshare-ray-", dir=base if len(base) <= _LONGEST_FOLDER else "/tmp"))
