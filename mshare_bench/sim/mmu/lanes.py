"""One set of a set-associative array as a row of 32-bit lanes, kept in order of use, newest first.

A row is one or more vectors of 16 lanes. Keeping the row *in order of use* makes exact LRU a single vector operation:
find the key, then move every newer entry one lane to the right and put the key in lane 0. On a miss the shift runs to
the last way and the oldest entry falls off the end. No ages, no clock, no limit on the length of a run.

The vector step is plain LLVM (compare, shuffle, select), not a CPU's own instruction: LLVM lowers it to one AVX-512
register, two AVX2 ones or four SSE2/NEON ones. Lanes beyond the last way stay ``EMPTY`` for ever.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["EMPTY", "LANES", "agree", "drop_keys", "fetch_row", "touch"]

LANES = 16  # lanes of one vector: 64 bytes, one cache line of the host
EMPTY = 0xFFFFFFFF  # no valid entry has this key; validated when a scenario is laid out

_I32 = ir.IntType(32)
_I64 = ir.IntType(64)
_VECTOR = ir.VectorType(_I32, LANES)


def _constants(values: list[int]) -> Any:
    return ir.Constant(_VECTOR, values)


def _row_pointer(context: Any, builder: Any, array_type: Any, array: Any, start: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(builder.bitcast(data, ir.PointerType(_I32)), [start])


class _WholeStore(ir.instructions.StoreInstr):  # type: ignore[misc]
    """A volatile store: LLVM would make a masked one of it, from which the next load of the row can't be forwarded."""

    def descr(self, buf: list[str]) -> None:
        value, pointer = self.operands
        buf.append(
            f"store volatile {value.type} {value.get_reference()}, {pointer.type} {pointer.get_reference()}, align 4\n"
        )


@intrinsic  # type: ignore[untyped-decorator]
def _rotate(typingctx: Any, lanes: Any, start: Any, key: Any, front: Any, last: Any) -> Any:  # noqa: ARG001 - numba passes them to codegen
    """Search 16 lanes from `start` for `key`; shift the lanes up to it (or up to `last`) and put `front` in lane 0.

    Returns the lane where the key was, 16 where it was not.
    """
    signature = types.int64(lanes, types.int64, types.uint32, types.uint32, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, first, wanted, head, limit = args
        pointer = builder.bitcast(_row_pointer(context, builder, sig.args[0], array, first), ir.PointerType(_VECTOR))
        row = builder.load(pointer)
        row.align = 4
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        zeros = _constants([0] * LANES)

        def splat(value: Any) -> Any:
            return builder.shuffle_vector(
                builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, zeros
            )

        equal = builder.icmp_unsigned("==", row, splat(wanted))
        mask = builder.zext(builder.bitcast(equal, ir.IntType(LANES)), _I32)
        # bit 16 stands in for "not found", so that the count of trailing zeros needs no special case
        found = builder.cttz(builder.or_(mask, ir.Constant(_I32, 1 << LANES)), ir.Constant(ir.IntType(1), 1))
        end = builder.trunc(limit, _I32)
        upto = builder.select(builder.icmp_unsigned("<", found, end), found, end)
        shifted = builder.shuffle_vector(row, splat(head), _constants([LANES, *range(LANES - 1)]))
        moved = builder.icmp_unsigned("<=", _constants(list(range(LANES))), splat(upto))
        store = _WholeStore(builder.block, builder.select(moved, shifted, row), pointer)
        store.align = 4
        builder._insert(store)
        return builder.zext(found, _I64)

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def fetch_row(typingctx: Any, lanes: Any, start: Any) -> Any:  # noqa: ARG001 - as above
    """Ask the host for the cache line that holds lane `start`; changes nothing."""
    signature = types.void(lanes, types.int64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = builder.bitcast(
            _row_pointer(context, builder, sig.args[0], args[0], args[1]), ir.PointerType(ir.IntType(8))
        )
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(ir.IntType(8)), _I32, _I32, _I32])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [ir.PointerType(ir.IntType(8))], kind)
        builder.call(prefetch, [pointer, ir.Constant(_I32, 1), ir.Constant(_I32, 3), ir.Constant(_I32, 1)])
        return context.get_dummy_value()

    return signature, codegen


@intrinsic  # type: ignore[untyped-decorator]
def agree(typingctx: Any, values: Any, start: Any, like: Any, bits: Any) -> Any:  # noqa: ARG001 - as above
    """Whether the eight 64-bit values from `start` equal the one at `like` above their lowest `bits` bits."""
    signature = types.boolean(values, types.int64, types.int64, types.int64)
    vector = ir.VectorType(_I64, 8)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), ir.PointerType(vector))
        loaded = builder.load(pointer)
        loaded.align = 8
        zeros = ir.Constant(ir.VectorType(_I32, 8), [0] * 8)
        undefined = ir.Constant(vector, ir.Undefined)

        def splat(value: Any) -> Any:
            return builder.shuffle_vector(
                builder.insert_element(undefined, value, ir.Constant(_I32, 0)), undefined, zeros
            )

        model = splat(builder.load(builder.gep(data, [args[2]])))
        limit = builder.shl(ir.Constant(_I64, 1), args[3])
        apart = builder.icmp_unsigned(">=", builder.xor(loaded, model), splat(limit))
        return builder.icmp_unsigned("==", builder.bitcast(apart, ir.IntType(8)), ir.Constant(ir.IntType(8), 0))

    return signature, codegen


@njit(nogil=True, inline="never", error_model="numpy")  # type: ignore[untyped-decorator]
def _touch_wide(lanes: Any, start: int, ways: int, key: Any) -> bool:
    """More than one vector per row: carry the entry that falls off one vector into the next."""
    carry = key
    left = ways
    while left > 0:
        falls_off = lanes[start + LANES - 1]
        if _rotate(lanes, start, key, carry, min(left, LANES) - 1) < LANES:
            return True
        carry = falls_off
        start += LANES
        left -= LANES
    return False


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def touch(lanes: Any, start: int, ways: int, key: Any) -> Any:
    """Use `key` in the row at lane `start`: True if it was there; either way it is the newest entry afterwards."""
    if ways <= LANES:
        return _rotate(lanes, start, key, key, ways - 1) < LANES
    return _touch_wide(lanes, start, ways, key)


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator]
def drop_keys(lanes: Any, start: int, rows: int, width: int, shift: int, tag: int) -> None:
    """Remove the entries whose key carries `tag` from `rows` rows of `width` lanes; the others close up, in order."""
    for row in range(rows):
        begin = start + row * width
        kept = begin
        for lane in range(begin, begin + width):
            key = lanes[lane]
            if key != EMPTY and np.int64(key) >> shift == tag:
                continue
            lanes[kept] = key
            kept += 1
        for lane in range(kept, begin + width):
            lanes[lane] = EMPTY
