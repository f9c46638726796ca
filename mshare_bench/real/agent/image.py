"""Lays out the control memory of one process tree: programs, page lists and placements in, results out."""

__all__ = ["Binding", "ControlImage", "Layout", "encode"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mshare_bench.errors import ConfigError
from mshare_bench.real.agent import ops as o
from mshare_bench.real.agent import protocol as p

_RECORDS_ALIGNMENT = 2 << 20


@dataclass(frozen=True, slots=True)
class Binding:
    """Where an agent may run and where its memory goes, in force before its first mapping.

    Parameters
    ----------
    cpus
        CPUs of ``sched_setaffinity``; None leaves them as they are.
    mode
        Mode of ``set_mempolicy`` with its flags (0 default, 1 preferred, 2 bind, 3 interleave, ...); None leaves it.
    nodes
        Nodes of ``set_mempolicy``.
    """

    cpus: frozenset[int] | None = None
    mode: int | None = None
    nodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and places that the control memory gives to phases and ops.

    ``phases`` are all phase names in order, "launch" first and "exit" last; ``op_base`` and ``op_count`` say which op
    results belong to each.
    """

    phases: tuple[str, ...]
    op_base: tuple[int, ...]
    op_count: tuple[int, ...]
    record: np.dtype[np.void]


@dataclass(frozen=True, slots=True)
class ControlImage:
    """The bytes that stand before the records, and how large the whole is."""

    prefix: bytes
    records_offset: int
    total_bytes: int
    layout: Layout


def _flags(op: o.Op, listed: bool = False) -> p.Flag:
    flags = p.Flag.GUARDED if op.guarded else p.Flag(0)
    if listed:
        flags |= p.Flag.LIST
    if isinstance(op, o.Touch):
        flags |= (p.Flag.WRITE if op.write else p.Flag(0)) | (p.Flag.ADD_AGENT if op.add_agent else p.Flag(0))
        flags |= p.Flag.NUMBER if op.number else p.Flag(0)
    if isinstance(op, o.Fork) and op.stay:
        flags |= p.Flag.STAY
    return flags


class _Lists:
    """The page lists, one copy per array object."""

    def __init__(self) -> None:
        self.arrays: list[NDArray[np.uint32]] = []
        self.words = 0
        self._places: dict[int, int] = {}

    def place(self, pages: NDArray[np.uint32]) -> int:
        if id(pages) not in self._places:
            if pages.dtype != np.uint32 or pages.ndim != 1:
                raise ConfigError(f"pages: a flat uint32 array is needed, not {pages.dtype} of shape {pages.shape}")
            self._places[id(pages)] = self.words
            self.arrays.append(pages)
            self.words += len(pages)
        return self._places[id(pages)]


# One op as the fields of protocol.OP, in their order.
_Row = tuple[int, ...]


def _row(
    kind: p.OpKind,
    flags: int,
    address: int = 0,
    length: int = 0,
    prot: int = 0,
    mmap_flags: int = 0,
    fd: int = -1,
    number: int = 0,
    offset: int = 0,
    pages: tuple[int, int, int, int] = (0, 0, 0, 0),
    value: int = 0,
) -> _Row:
    return (kind, flags, address, length, prot, mmap_flags, fd, number, offset, *pages, value)


def _rows(op: o.Op, phases: Mapping[str, int], lists: _Lists) -> list[_Row]:
    """Rows of one op: one, and one more per advice of a mapping."""
    kind = p.OpKind
    match op:
        case o.Map():
            fixed = o.MAP_FIXED_NOREPLACE if op.address else 0
            rows = [
                _row(kind.MAP, _flags(op), op.address, op.length, op.prot, op.flags | fixed, op.fd, offset=op.offset)
            ]
        case o.AttachSegment():
            rows = [_row(kind.SHMAT, _flags(op), op.address, op.length, op.prot, number=op.shmid)]
        case o.Touch() | o.Checksum():
            listed = op.pages is not None
            count = op.count if op.pages is None else len(op.pages)
            return [
                _row(
                    kind.TOUCH if isinstance(op, o.Touch) else kind.CHECKSUM,
                    _flags(op, listed),
                    op.address,
                    offset=0 if op.pages is None else lists.place(op.pages),
                    pages=(op.first, op.step, count, op.stride),
                    value=op.value if isinstance(op, o.Touch) else 0,
                )
            ]
        case o.Protect():
            return [_row(kind.PROTECT, _flags(op), op.address, op.length, op.prot)]
        case o.Advise():
            pages = (0, 0, op.count, op.stride)
            return [_row(kind.ADVISE, _flags(op), op.address, op.length, number=op.advice, pages=pages)]
        case o.Unmap():
            return [_row(kind.UNMAP, _flags(op), op.address, op.length)]
        case o.Fork():
            if op.child not in phases:
                raise ConfigError(f"Fork: no phase {op.child!r} in the program; there are {', '.join(phases)}")
            return [_row(kind.FORK, _flags(op), number=phases[op.child])]
        case o.Join():
            return [_row(kind.JOIN, _flags(op))]
        case o.Exec():
            return [_row(kind.EXEC, _flags(op))]
        case o.Exit():
            return [_row(kind.EXIT, _flags(op), number=op.code)]
    for advice in op.advice:
        rows.append(_row(kind.ADVISE, _flags(op), op.address, op.length, number=advice, pages=(0, 0, 1, 0)))
    return rows


def _mask(bits: frozenset[int], what: str) -> NDArray[np.uint64]:
    words = np.zeros(p.MASK_WORDS, dtype=np.uint64)
    for bit in bits:
        if not 0 <= bit < 64 * p.MASK_WORDS:
            raise ConfigError(f"{what}: {bit} is not within 0..{64 * p.MASK_WORDS - 1}")
        words[bit // 64] |= np.uint64(1 << (bit % 64))
    return words


def _encode_bindings(bindings: Sequence[Binding]) -> NDArray[np.void]:
    table = np.zeros(len(bindings), dtype=p.PLACEMENT)
    for entry, binding in zip(table, bindings, strict=True):
        entry["set_cpus"] = binding.cpus is not None
        entry["cpus"] = _mask(binding.cpus or frozenset(), "cpus")
        entry["nodes"] = _mask(binding.nodes, "nodes")
        entry["mode"] = -1 if binding.mode is None else binding.mode
    return table


def _phase_names(programs: Sequence[o.Program]) -> tuple[str, ...]:
    names = dict.fromkeys(name for program in programs for name in program)
    for reserved in ("launch", "exit"):
        if reserved in names:
            raise ConfigError(f"program: the phase {reserved!r} takes no ops; it is run by the zygote")
    return ("launch", *names, "exit")


def encode(programs: Sequence[o.Program], bindings: Sequence[Binding], agents: int) -> ControlImage:
    """Lay out the control memory for `agents` agents and the zygote, whose record comes last.

    Raises
    ------
    ConfigError
        If a program names a phase that does not exist, or needs more room than a record may have.
    """
    phases = _phase_names(programs)
    numbers = {name: number for number, name in enumerate(phases)}
    lists = _Lists()
    rows: list[_Row] = []
    spans = np.zeros((len(programs), len(phases)), dtype=p.SPAN)
    for program, row_spans in zip(programs, spans, strict=True):
        for number, name in enumerate(phases):
            first = len(rows)
            for op in program.get(name, ()):
                rows.extend(_rows(op, numbers, lists))
            row_spans[number] = (first, len(rows) - first)
    op_count = spans["count"].max(axis=0)
    op_base = np.concatenate(([0], np.cumsum(op_count)[:-1])).astype(np.uint32)
    op_slots = int(op_count.sum())

    used = p.RECORD_HEAD.itemsize + len(phases) * p.PHASE_RESULT.itemsize + op_slots * p.OP_RESULT.itemsize
    record_bytes = 1 << (used - 1).bit_length()  # a power of two: no record lies in two page tables
    if record_bytes > _RECORDS_ALIGNMENT:
        raise ConfigError(
            f"program: {len(phases)} phases with {op_slots} ops need {used} bytes per agent; at most 2 MiB"
        )
    record = np.dtype(
        {
            "names": ["head", "phases", "ops"],
            "formats": [p.RECORD_HEAD, (p.PHASE_RESULT, (len(phases),)), (p.OP_RESULT, (op_slots,))],
            "offsets": [
                0,
                p.RECORD_HEAD.itemsize,
                p.RECORD_HEAD.itemsize + len(phases) * p.PHASE_RESULT.itemsize,
            ],
            "itemsize": record_bytes,
        }
    )

    parts: list[tuple[str, NDArray[np.generic]]] = [
        ("turns_offset", np.zeros(agents, dtype=np.uint32)),
        ("spans_offset", spans),
        ("bases_offset", op_base),
        ("ops_offset", np.array(rows, dtype=p.OP) if rows else np.zeros(0, dtype=p.OP)),
        ("placements_offset", _encode_bindings(bindings)),
        ("lists_offset", np.concatenate(lists.arrays) if lists.arrays else np.zeros(0, dtype=np.uint32)),
    ]
    header = np.zeros(1, dtype=p.HEADER)
    at = p.HEADER.itemsize
    chunks = []
    for name, array in parts:
        at = -(-at // 64) * 64
        header[name] = at
        chunks.append((at, array))
        at += array.nbytes
    records_offset = -(-at // _RECORDS_ALIGNMENT) * _RECORDS_ALIGNMENT
    # The memory begins 256 MiB into the address space, so the boundary holds for addresses too.
    total = records_offset + (agents + 1) * record_bytes
    _fill_header(header, agents, len(phases), record_bytes, op_slots, records_offset, total)
    prefix = bytearray(at)
    prefix[: p.HEADER.itemsize] = header.tobytes()
    for place, array in chunks:
        prefix[place : place + array.nbytes] = array.tobytes()
    layout = Layout(phases, tuple(op_base.tolist()), tuple(op_count.tolist()), record)
    return ControlImage(bytes(prefix), records_offset, total, layout)


def _fill_header(
    header: NDArray[np.void], agents: int, phases: int, record_bytes: int, op_slots: int, records: int, total: int
) -> None:
    values = {
        "magic": p.MAGIC,
        "version": p.VERSION,
        "header_bytes": p.HEADER.itemsize,
        "op_bytes": p.OP.itemsize,
        "record_head_bytes": p.RECORD_HEAD.itemsize,
        "phase_result_bytes": p.PHASE_RESULT.itemsize,
        "op_result_bytes": p.OP_RESULT.itemsize,
        "placement_bytes": p.PLACEMENT.itemsize,
        "agents": agents,
        "phases": phases,
        "record_bytes": record_bytes,
        "op_slots": op_slots,
        "records_offset": records,
        "total_bytes": total,
    }
    for name, value in values.items():
        header[name] = value
