"""Where and how cells run: the keys that do not change what runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from mshare_bench.config.keys import require_choice
from mshare_bench.domain.units import parse_count, parse_duration, parse_size
from mshare_bench.errors import ConfigError

__all__ = ["ClusterSettings", "GuestSettings", "RealSettings", "Settings", "settings_of"]


@dataclass(frozen=True, slots=True)
class RealSettings:
    """How real cells run.

    Attributes
    ----------
    reserve_bytes
        Memory that the guard leaves free.
    timeout_ns
        Longest wait for a phase.
    parallel
        Processes that run at a time, on as many CPUs; None for as many as there are CPUs.
    scale
        `full`, or `small` where a check must end quickly.
    samples
        `all`, `quantiles` or `none`: how much of the raw times is kept.
    warmups
        Runs of a cell before those that count.
    """

    reserve_bytes: int = 4 << 30
    timeout_ns: int = 120 * 10**9
    parallel: int | None = None
    scale: str = "full"
    samples: str = "quantiles"
    warmups: int = 0


@dataclass(frozen=True, slots=True)
class GuestSettings:
    """What guests of `host=guest` are made of.

    Attributes
    ----------
    kernel
        Path of an image, or name of a Debian package of a kernel; None for Debian's stable cloud kernel.
    files
        A file or folder that is copied into the guest, to `/extra`.
    init
        Shell line that runs there before the first cell: `insmod mine.ko`.
    """

    kernel: str | None = None
    files: Path | None = None
    init: str = ""


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which machines run cells.

    Attributes
    ----------
    address
        Of a Ray cluster; None for this machine.
    silence_ns
        A machine that says nothing for so long is given up.
    labels
        Ray's labels of the machines that are used, each a `value`, `!value`, `in(a,b)` or `!in(a,b)`.
    """

    address: str | None = None
    silence_ns: int = 30 * 10**9
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """Where and how.

    Attributes
    ----------
    name
        Of the run.
    out
        Folder of the store; None for a new one.
    executor
        `auto`, `inline` or `ray`.
    repeats
        Of every real cell; a simulated one gives the same every time and runs once.
    seed
        Of everything random that is no coordinate.
    report
        Whether `report.html` is written after the run.
    tracking
        `mlflow` or `none`.
    tracking_uri, tracking_experiment
        Where MLflow is, None for a file beside the results, and the experiment's name.
    """

    name: str = "run"
    out: str | None = None
    executor: Literal["auto", "inline", "ray"] = "auto"
    repeats: int = 1
    seed: int = 0
    report: bool = True
    tracking: str = "mlflow"
    tracking_uri: str | None = None
    tracking_experiment: str = "mshare-bench"
    real: RealSettings = field(default_factory=RealSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    guest: GuestSettings = field(default_factory=GuestSettings)


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Read them from composed values.

    Raises
    ------
    ConfigError
        Naming the key and the value that is wrong.
    """
    tracking = _text("tracking", values.get("tracking.kind")) or "none"
    return Settings(
        name=_name(values),
        out=_text("out", values.get("out")),
        executor=cast(Literal["auto", "inline", "ray"], require_choice("executor", values.get("executor"))),
        repeats=parse_count(values["repeats"], "repeats", at_least=1),
        seed=parse_count(values["seed"], "seed"),
        report=_flag("report", values.get("report"), tracking != "none"),
        tracking=tracking,
        tracking_uri=_text("tracking.uri", values.get("tracking.uri")),
        tracking_experiment=_text("tracking.experiment", values.get("tracking.experiment")) or "mshare-bench",
        real=RealSettings(
            reserve_bytes=parse_size(values["guard.reserve"], "guard.reserve"),
            timeout_ns=parse_duration(values["real.timeout"], "real.timeout"),
            parallel=None
            if (parallel := values.get("real.parallel")) is None
            else parse_count(parallel, "real.parallel", 1),
            scale=require_choice("real.scale", values["real.scale"]),
            samples=require_choice("samples", values["samples"]),
            warmups=parse_count(values["warmups"], "warmups"),
        ),
        guest=_guest(values),
        cluster=_cluster(values),
    )


def _cluster(values: Mapping[str, Any]) -> ClusterSettings:
    address = _text("cluster.address", values.get("cluster.address"))
    if (whole := values.get("cluster.labels")) not in (None, {}):
        raise ConfigError(f"cluster.labels={whole}: must be a mapping such as {{zone:a}}")
    prefix = "cluster.labels."
    given = {key: value for key, value in values.items() if key.startswith(prefix)}
    labels = {key.removeprefix(prefix): text for key, value in given.items() if (text := _text(key, value)) is not None}
    if labels and address is None:
        raise ConfigError(f"cluster.labels={labels}: chooses machines of a cluster; say cluster.address as well")
    silence = parse_duration(values["cluster.silence"], "cluster.silence")
    if silence <= 0:
        raise ConfigError(f"cluster.silence={values['cluster.silence']}: must be more than nothing")
    return ClusterSettings(address, silence, labels)


def _guest(values: Mapping[str, Any]) -> GuestSettings:
    files = _text("guest.files", values.get("guest.files"))
    if files is not None and not Path(files).expanduser().exists():
        raise ConfigError(f"guest.files={files}: there is no such file or folder")
    return GuestSettings(
        _text("guest.kernel", values.get("guest.kernel")),
        None if files is None else Path(files).expanduser(),
        _text("guest.init", values.get("guest.init")) or "",
    )


def _name(values: Mapping[str, Any]) -> str:
    name = _text("name", values.get("name"))
    if name is None:
        return str(values.get("workload.name") or "run")
    if "/" in name or name.startswith(".") or not name.isprintable():
        raise ConfigError(f"name={name}: becomes part of a folder's name; use letters, digits, - and _")
    return name


def _flag(key: str, value: object, default: bool) -> bool:
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: must be true, false or null")
    return value


def _text(key: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict | list) or not str(value).strip():
        raise ConfigError(f"{key}={value!r}: must be a text")
    return str(value)
