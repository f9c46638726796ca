"""Small values that are sent to other processes by the thousand."""

import operator
from dataclasses import fields
from typing import Any, TypeVar

__all__ = ["sent_by_fields"]

_Class = TypeVar("_Class", bound=type)


def sent_by_fields(cls: _Class) -> _Class:
    """Pickle a frozen dataclass as its class and its fields, those aside that its `__init__` does not take.

    What `dataclasses` does for frozen classes with slots asks for the names of the fields again for every object, which takes ten
    times as long.
    """
    names = [one.name for one in fields(cls) if one.init]
    get = operator.attrgetter(*names)

    def reduce(self: Any) -> tuple[Any, ...]:
        return cls, get(self) if len(names) > 1 else (get(self),)

    cls.__reduce__ = reduce  # type: ignore[assignment]
    return cls
