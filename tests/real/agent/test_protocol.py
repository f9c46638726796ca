import re
from pathlib import Path

import numpy as np
import pytest

from mshare_bench.real.agent import build
from mshare_bench.real.agent import protocol as p

HEADER_FILE = (Path(build.__file__).parent / "protocol.h").read_text()
SIZES = {"u8": 1, "char": 1, "u32": 4, "i32": 4, "u64": 8, "i64": 8}
STRUCTS = {
    "header": p.HEADER,
    "span": p.SPAN,
    "op": p.OP,
    "placement": p.PLACEMENT,
    "phase_result": p.PHASE_RESULT,
    "op_result": p.OP_RESULT,
    "record": p.RECORD_HEAD,
}


def constants() -> dict[str, int]:
    return {
        name: int(value.rstrip("u"), 0)
        for name, value in re.findall(r"#define (\w+) (0?x?[0-9a-f]+)u?l?\n", HEADER_FILE)
    }


def c_fields(name: str) -> list[tuple[str, str, int]]:
    """Fields of a struct as (name, C type, number of elements)."""
    body = re.search(rf"struct {name} \{{(.*?)\n\}};", HEADER_FILE, re.DOTALL).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL)
    fields = []
    for kind, names in re.findall(r"(\w+) ([^;]+);", body):
        for field in names.split(","):
            match = re.fullmatch(r"\s*(\w+)(?:\[(\w+)\])?\s*", field)
            count = match.group(2)
            fields.append((match.group(1), kind, int(constants().get(count, 0) or count) if count else 1))
    return fields


@pytest.mark.parametrize("name", STRUCTS)
def test_structs_have_the_same_fields_at_the_same_places(name: str) -> None:
    dtype = STRUCTS[name]
    at = 0
    fields = c_fields(name)
    assert [field for field, _, _ in fields] == list(dtype.names)
    for field, kind, count in fields:
        at = -(-at // SIZES[kind]) * SIZES[kind]
        base = dtype.fields[field][0]
        assert dtype.fields[field][1] == at, field
        assert base.itemsize == SIZES[kind] * count, field
        if kind != "char":
            assert (base.base if base.subdtype else base) == np.dtype(f"{kind[0]}{SIZES[kind]}"), field
        at += SIZES[kind] * count
    assert dtype.itemsize == -(-at // 8) * 8 if name != "span" else at


@pytest.mark.parametrize(
    ("c_name", "members", "prefix"),
    [
        ("spawn", p.Spawn, "SPAWN_"),
        ("op_kind", p.OpKind, "OP_"),
        ("op_flag", p.Flag, "FLAG_"),
        ("message_kind", p.MessageKind, "MSG_"),
        ("step", p.Step, "STEP_"),
    ],
)
def test_enums_have_the_same_members(c_name: str, members: type, prefix: str) -> None:
    body = re.search(rf"enum {c_name} \{{(.*?)\}};", HEADER_FILE, re.DOTALL).group(1)
    assert dict(re.findall(rf"{prefix}(\w+) = (\d+)", body)) == {m.name: str(m.value) for m in members}


def test_constants_are_the_same() -> None:
    found = constants()
    assert found["PROTOCOL_MAGIC"] == p.MAGIC
    assert found["PROTOCOL_VERSION"] == p.VERSION
    assert found["CONTROL_ADDRESS"] == p.CONTROL_ADDRESS
    assert found["PATH_BYTES"] == p.PATH_BYTES
    assert found["MASK_WORDS"] == p.MASK_WORDS
    assert p.MESSAGE.size == 24
