"""A number of several cells at once: an array that stands where code expects one number.

A formula that is written for one cell then computes all of them. Where it asks a question (`if`, `min`, `sorted`), an array
answers for all elements if they agree; if not, `Divided` says how they part, and whoever put the cells together parts them and
computes again. So a cell goes the same way alone and among others. What is no arithmetic at all is done one element at a time
(`each`).
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

import numpy as np
import numpy.typing as npt

__all__ = ["Divided", "Many", "alone", "distinct", "each", "each_once", "larger", "many", "remembered", "smaller"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Divided(Exception):
    """The elements do not go one way.

    Attributes
    ----------
    labels
        Of each element something that tells its way from the others'; broadcast to the shape of the numbers.
    """

    def __init__(self, labels: npt.NDArray[Any]) -> None:
        super().__init__("the cells of a group go different ways")
        self.labels = labels


class _Unhashed(TypeError):
    """An array is no key of a dictionary."""


class Many(np.ndarray[Any, np.dtype[Any]]):
    """One number per element, all of them on the same way through the code."""

    def __bool__(self) -> bool:
        true = np.count_nonzero(self)
        if 0 < true < self.size:
            raise Divided(np.asarray(self) != 0)
        return bool(true)

    def __index__(self) -> int:
        first = self.flat[0]
        if not (np.asarray(self) == first).all():
            raise Divided(np.asarray(self))
        return int(first)

    def __hash__(self) -> NoReturn:  # type: ignore[override]
        raise _Unhashed("arrays are no keys")

    # What `a += b` changes must not be somebody else's number: it makes a new one, as with any number.
    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        return self + other

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]
        return self - other

    def __imul__(self, other: Any) -> Any:  # type: ignore[misc]
        return self * other


def many(values: Any) -> Any:
    """Numbers as one; just the number where all are equal."""
    array = np.asarray(values)
    first = array.flat[0]
    return first.item() if (array == first).all() else array.view(Many)


def larger(one: Any, other: Any) -> Any:
    """The larger of two numbers, element by element."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.maximum(one, other)
    return max(one, other)


def smaller(one: Any, other: Any) -> Any:
    """The smaller of two numbers, element by element."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.minimum(one, other)
    return min(one, other)


def distinct(values: Iterable[_T]) -> list[_T]:
    """Values in their order, none twice."""
    known = list(values)
    try:
        return list(dict.fromkeys(known))
    except _Unhashed:
        found: list[_T] = []
        for value in known:
            if not any(value is one or value == one for one in found):
                found.append(value)
        return found


def each(function: Callable[..., Any], *values: Any) -> Any:
    """Call a function of plain numbers for every element, and make its results one value: numbers, or a frozen dataclass of them.

    `values` may be numbers, tuples and dataclasses that hold numbers. Where no array is inside, it is just called.
    """
    arrays = _arrays(values, [])
    if not arrays:
        return function(*values)
    shape = np.broadcast_shapes(*(one.shape for one in arrays))
    found = list(map(function, *(_elements(value, shape) for value in values)))
    return _together(found, shape)


class _Held:
    """A value as a key of a cache: an array by its numbers, what else has arrays inside by its identity."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self.key = (value.shape, value.tobytes()) if isinstance(value, Many) else id(value)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held) and self.key == other.key


def each_once(function: Callable[..., Any], *values: Any) -> Any:
    """The same for values that come again, as page sets of a sweep do with the next mechanism: computed once."""
    if not _arrays(values, []):
        return function(*values)
    return _each_once(function, *(_Held(value) if _arrays(value, []) else value for value in values))


# As many as 40 regions have for a few spans each, of a few groups of cells.
@functools.lru_cache(maxsize=1 << 12)
def _each_once(function: Callable[..., Any], *values: Any) -> Any:
    return each(function, *(value.value if isinstance(value, _Held) else value for value in values))


def alone(*values: Any) -> None:
    """Part the elements, each for itself, where there are several."""
    arrays = _arrays(values, [])
    if arrays:
        shape = np.broadcast_shapes(*(one.shape for one in arrays))
        raise Divided(np.arange(math.prod(shape)).reshape(shape))


@functools.cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Fields of a dataclass, in the order in which it is made of them; of anything else none."""
    return tuple(field.name for field in fields(kind) if field.init) if is_dataclass(kind) else ()


def _arrays(value: Any, found: list[Many]) -> list[Many]:
    """Add the arrays inside of a value."""
    kind: Any = type(value)
    if kind is Many:
        found.append(value)
    elif kind is tuple:
        for one in value:
            if type(one) is not int:
                _arrays(one, found)
    elif kind is not int:
        for name in _field_names(kind):
            one = getattr(value, name)
            if type(one) is not int:
                _arrays(one, found)
    return found


def _elements(value: Any, shape: tuple[int, ...]) -> Iterable[Any]:
    """The value of every element."""
    if isinstance(value, Many):
        column: list[Any] = np.broadcast_to(np.asarray(value), shape).ravel().tolist()
        return column
    if not _arrays(value, []):
        return itertools.repeat(value, math.prod(shape))
    if isinstance(value, tuple):
        return zip(*(_elements(one, shape) for one in value), strict=True)
    return map(type(value), *(_elements(getattr(value, name), shape) for name in _field_names(cast(Any, type(value)))))


def _together(found: list[Any], shape: tuple[int, ...]) -> Any:
    """Values of all elements as one; what is None must be so for all."""
    first = found[0]
    names = _field_names(cast(Any, type(first)))
    if names:
        return type(first)(*(_together([getattr(one, name) for one in found], shape) for name in names))
    missing = [one is None for one in found]
    if any(missing):
        if not all(missing):
            raise Divided(np.array(missing).reshape(shape))
        return None
    return many(np.array(found).reshape(shape))


def remembered(maxsize: int) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Make a cache as `functools.lru_cache` does, past which arguments with arrays go."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        cached = functools.lru_cache(maxsize)(function)

        @functools.wraps(function)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            try:  # suppressing takes longer than most of what is remembered
                return cached(*args, **kwargs)  # type: ignore[arg-type]
            except _Unhashed:
                pass
            return function(*args, **kwargs)

        return call

    return decorate
