"""A Ray to run on: one on this machine alone, or a cluster that is there.

The local one is lean, on loopback, with no usage reports, and is put away again with all that it wrote.

Ray listens on loopback only where it takes the machine for one that can't be a cluster, and reads that switch, like all the
others here, from the environment when it is imported. A token of its own keeps it from writing one into the user's home.
"""

import functools
import ipaddress
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mshare_bench.errors import CapabilityError, ConfigError

__all__ = ["auth_mode", "joined_ray", "local_ray", "remove_orphans"]

_ANSWER_SECONDS = 5.0
_STARTS = 2  # a busy machine may miss the half minute that Ray gives itself
_OBJECT_STORE_BYTES = 128 << 20
_PREFIX = "mshare-ray-"
_LONGEST_FOLDER = 40  # a Unix socket's path holds 107 bytes, Ray's own part of it is about 60

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Children of a worker would inherit nice 15 and an oom_score_adj of 1000.
    "RAY_worker_niceness": "0",
    "RAY_worker_oom_score_adjustment": "0",
    # Our own guard holds; Ray's counts the whole machine and kills workers whose children use much.
    "RAY_memory_monitor_refresh_ms": "0",
    # Ray answers its driver only when the first worker is there: one that is killed before keeps the driver waiting for ever.
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def local_ray(
    cpus: int | None = None, object_store: int = _OBJECT_STORE_BYTES, folder: Path | None = None
) -> Iterator[Any]:
    """Start Ray and give its module; one that the caller has started already is used and left alone.

    Parameters
    ----------
    cpus
        Of this machine; None for those that this process may use.
    object_store
        Bytes of its object store.
    folder
        For its files, short enough for a socket's name; one of its own by default. Removed at the end.

    Raises
    ------
    CapabilityError
        When Ray does not start.
    """
    started = sys.modules.get("ray")
    if started is not None and started.is_initialized():
        yield started
        return
    with _environment({**_ENVIRONMENT, "RAY_AUTH_TOKEN": _token()}):
        folder = folder or _folder()
        try:
            import ray

            if started is not None:
                _read_environment_again(ray, cluster=False)
            _start(ray, cpus or len(os.sched_getaffinity(0)), object_store, folder)
            yield ray
        finally:
            ray_module = sys.modules.get("ray")
            if ray_module is not None:
                ray_module.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def _start(ray: Any, cpus: int, object_store: int, folder: Path) -> None:
    for attempt in range(_STARTS):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=object_store,
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
                message = f"executor=ray: Ray does not start here ({_reason(error)}); executor=inline does"
                raise CapabilityError(message) from error


@contextmanager
def joined_ray(address: str) -> Iterator[Any]:
    """Join a cluster and give Ray's module; the cluster is left as it was.

    Token authentication is on wherever the address is not loopback, unless `RAY_AUTH_MODE=disabled` says that there is none.

    Parameters
    ----------
    address
        `host:port` of its head.

    Raises
    ------
    ConfigError
        When that is no address, nothing answers there, it does not take us, or this machine is none of its.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"cluster.address={address}: must be host:port")
    try:
        peer = socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS)
    except OSError as error:
        raise ConfigError(f"cluster.address={address}: nothing answers there ({error.strerror or error})") from error
    with peer:
        loopback = ipaddress.ip_address(peer.getpeername()[0].partition("%")[0]).is_loopback
    started = sys.modules.get("ray")
    if started is not None and started.is_initialized():
        yield started
        return
    with _environment({"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": auth_mode(address, loopback)}):
        import ray

        if started is not None:
            _read_environment_again(ray, cluster=True)
        here = _local_node(ray, address.removeprefix("ray://"))
        try:
            ray.init(
                address=address.removeprefix("ray://"),
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                _node_ip_address=here,
            )
        except Exception as error:  # Ray raises whatever its parts raise
            raise ConfigError(f"cluster.address={address}: {_reason(error)}") from error
        try:
            yield ray
        finally:
            ray.shutdown()


def auth_mode(address: str, loopback: bool) -> str:
    """How to show who we are: what `RAY_AUTH_MODE` says; else by token off loopback, and wherever there is one.

    Raises
    ------
    ConfigError
        When a token is needed and there is none (Ray would abort the process).
    """
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    files = [Path(path)] if path else [Path.home() / ".ray" / "auth_token"]
    found = bool(os.environ.get("RAY_AUTH_TOKEN")) or any(one.is_file() and one.stat().st_size for one in files)
    mode = os.environ.get("RAY_AUTH_MODE") or ("disabled" if loopback and not found else "token")
    if mode == "token" and not found:
        raise ConfigError(
            f"cluster.address={address}: its token is missing (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token; "
            "RAY_AUTH_MODE=disabled for a cluster without one)"
        )
    return mode


def _local_node(ray: Any, address: str) -> str:
    """Ask the head which of its machines is this one: its address is ours, and its raylet answers on its socket here.

    The socket alone does not tell: it has the same path on every machine.
    """
    import psutil

    own = {one.address for addresses in psutil.net_if_addrs().values() for one in addresses}
    try:
        with _no_stderr():  # what Ray's C++ prints comes as an exception too
            client = ray._raylet.GcsClient(address=address)
            nodes = [node for node in client.get_all_node_info().values() if not node.state]  # 0 is ALIVE
    except Exception as error:  # Ray raises whatever its parts raise
        if type(error).__name__ == "AuthenticationError":
            told = "it does not take our token" if os.environ["RAY_AUTH_MODE"] == "token" else "it wants its token"
            which = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the one that it was started with"
            raise ConfigError(f"cluster.address={address}: {told}; {which}") from error
        raise ConfigError(f"cluster.address={address}: {_reason(error)}") from error
    for node in nodes:
        with socket.socket(socket.AF_UNIX) as raylet:
            if node.node_manager_address in own and raylet.connect_ex(node.raylet_socket_name) == 0:
                return str(node.node_manager_address)
    names = ", ".join(sorted(node.node_manager_address for node in nodes)) or "none is left"
    raise ConfigError(
        f"cluster.address={address}: this machine is none of that cluster ({names}); run it on one of them"
    )


@contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing that libraries print to standard error gets through meanwhile."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables, and leave the environment as it was: Ray sets some of its own."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


def _read_environment_again(ray: Any, cluster: bool) -> None:
    """Somebody has imported Ray before: make it take the switches that it reads on import."""
    compiled = ray._raylet
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = cluster
    compiled.Config.initialize("")
    compiled.AuthenticationTokenLoader.instance().reset_cache()


@functools.cache
def _token() -> str:
    """One per process: Ray reads it once, and a second cluster of this process is entered with the first one's."""
    return secrets.token_hex(32)


def _folder() -> Path:
    base = tempfile.gettempdir()
    base = base if len(base) <= _LONGEST_FOLDER else "/tmp"
    remove_orphans(Path(base))
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))


def remove_orphans(base: Path) -> None:
    """Remove what runs left that were killed: their Ray died with them, its folder did not."""
    for folder in base.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists() and folder.stat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
