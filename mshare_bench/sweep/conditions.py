"""Conditions on cells, `processes * region <= 1TiB and mechanism != 'thp'`: a small language of its own, nothing is executed.

Names are coordinates (sizes in bytes); literals are numbers, sizes (`64MiB`), texts in quotes and lists in brackets; operators
are `+ - * / // %`, comparisons (chained, `in`, `not in`), `and`, `or`, `not` and parentheses.
"""

import ast
import difflib
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from mshare_bench.domain.cell import Cell
from mshare_bench.domain.units import parse_size
from mshare_bench.errors import ConfigError

__all__ = ["NAMES", "Condition", "cell_names", "parse_condition", "selection"]

Condition = Callable[[Mapping[str, Any]], bool]
"""Says whether it holds for the names of a cell."""

_Value = Callable[[Mapping[str, Any]], Any]
_LONGEST = 2000

_NAMES: dict[str, Callable[[Cell], Any]] = {
    "workload": lambda cell: cell.point.workload.name,
    "processes": lambda cell: cell.point.workload.processes,
    "region": lambda cell: cell.point.workload.region_bytes,
    "mechanism": lambda cell: cell.point.mechanism,
    "variant": lambda cell: cell.point.variant,
    "page": lambda cell: cell.point.page,
    "offset": lambda cell: cell.point.offset,
    "access": lambda cell: cell.point.access.kind,
    "write_fraction": lambda cell: cell.point.write_fraction,
    "populate": lambda cell: cell.point.populate,
    "engine": lambda cell: cell.engine,
    "topology": lambda cell: cell.point.topology,
    "placement": lambda cell: cell.point.placement,
    "host": lambda cell: cell.host,
    "cost": lambda cell: cell.cost,
    "mmu": lambda cell: "" if cell.mmu is None else cell.mmu.label,
}
NAMES = tuple(_NAMES)
"""Names that a condition can use."""

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_SIZE = re.compile(r"(?<![\w.'\"])(\d+(?:\.\d+)?[KMGTP]i?B)\b")
_QUOTED = re.compile(r"('[^']*'|\"[^\"]*\")")


def cell_names(cell: Cell) -> dict[str, Any]:
    """Values of `NAMES` for a cell."""
    return {name: value(cell) for name, value in _NAMES.items()}


def parse_condition(key: str, text: str) -> Condition:
    """Parse a condition.

    Parameters
    ----------
    key
        Configuration key that holds it, named in errors.
    text
        See the module.

    Raises
    ------
    ConfigError
        For what the language does not have, unknown names among it. The condition itself raises it for values that do not go
        together (`mechanism < 3`).
    """
    where = f"{key}={text}"
    if len(text) > _LONGEST:
        raise ConfigError(f"{key}: a condition of more than {_LONGEST} characters")
    sized = "".join(part if index % 2 else _with_bytes(part) for index, part in enumerate(_QUOTED.split(text)))
    try:
        tree = ast.parse(sized.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ConfigError(f"{where}: not a condition such as processes * region <= 1TiB") from None
    value = _build(tree.body, where)

    def holds(names: Mapping[str, Any]) -> bool:
        try:
            return bool(value(names))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            raise ConfigError(f"{where}: {error}") from None

    return holds


def selection(where: str | None, exclude: str | None) -> Callable[[Cell], bool] | None:
    """Make one condition on cells of `sweep.where` and `sweep.exclude`; None where both are.

    Raises
    ------
    ConfigError
        As `parse_condition` does.
    """
    if where is None and exclude is None:
        return None
    wanted = parse_condition("sweep.where", where) if where is not None else None
    unwanted = parse_condition("sweep.exclude", exclude) if exclude is not None else None

    def chosen(cell: Cell) -> bool:
        names = cell_names(cell)
        return (wanted is None or wanted(names)) and not (unwanted is not None and unwanted(names))

    return chosen


def _with_bytes(text: str) -> str:
    return _SIZE.sub(lambda match: str(parse_size(match[1])), text)


def _build(node: ast.expr, where: str) -> _Value:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as constant):
            return lambda _names: constant
        case ast.Name(id=name):
            return _name(name, where)
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            built = [_build(part, where) for part in parts]
            return lambda names: [part(names) for part in built]
        case ast.BoolOp(op=op, values=parts):
            built = [_build(part, where) for part in parts]
            combine = all if isinstance(op, ast.And) else any
            return lambda names: combine(part(names) for part in built)
        case ast.UnaryOp(op=ast.Not(), operand=part):
            inner = _build(part, where)
            return lambda names: not inner(names)
        case ast.UnaryOp(op=ast.USub(), operand=part):
            inner = _build(part, where)
            return lambda names: -inner(names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            apply, one, other = _ARITHMETIC[type(op)], _build(left, where), _build(right, where)
            return lambda names: apply(_number(one(names)), _number(other(names)))
        case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in _COMPARISONS for op in ops):
            return _comparison([_build(part, where) for part in (left, *rest)], [_COMPARISONS[type(op)] for op in ops])
    raise ConfigError(f"{where}: {ast.unparse(node)} can't be in a condition")


def _name(name: str, where: str) -> _Value:
    if name not in _NAMES:
        close = difflib.get_close_matches(name, NAMES, n=3)
        raise ConfigError(
            f"{where}: there is no {name}; "
            + (f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(NAMES)}")
        )
    return lambda names: names[name]


def _number(value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _comparison(parts: list[_Value], operators: list[Callable[[Any, Any], Any]]) -> _Value:
    def compare(names: Mapping[str, Any]) -> bool:
        left = parts[0](names)
        for apply, part in zip(operators, parts[1:], strict=True):
            right = part(names)
            if not apply(left, right):
                return False
            left = right
        return True

    return compare
