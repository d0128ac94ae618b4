"""Constructors that take the parameters of a base class as well, without repeating them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

Init = Callable[..., None]


def with_parameters_of(base: type[Any]) -> Callable[[Init], Init]:
    """Decorate an ``__init__`` whose ``**others`` go to that of a base class: its signature names them all.

    scikit-learn reads the parameters of an estimator from this signature. A parameter that both have, has the
    default of the decorated one.

    Examples
    --------
    >>> class Base:
    ...     def __init__(self, size=2, *, rate=0.1): ...
    >>> class Other(Base):
    ...     @with_parameters_of(Base)
    ...     def __init__(self, size=3, *, share=0.5, **others): ...
    >>> inspect.signature(Other)
    <Signature (size=3, *, rate=0.1, share=0.5)>
    """

    def decorate(init: Init) -> Init:
        own = dict(inspect.signature(init).parameters)
        others = [name for name, each in own.items() if each.kind is inspect.Parameter.VAR_KEYWORD]
        for name in others:
            del own[name]
        every = {**inspect.signature(base.__init__).parameters, **own}
        init.__signature__ = inspect.Signature([*every.values()])  # type: ignore[attr-defined]
        return init

    return decorate
