"""Whether operations are recorded on the tape: each is a context manager and a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from types import TracebackType
from typing import Any, TypeVar, cast

from dd2424 import _core

F = TypeVar("F", bound=Callable[..., Any])


class GradMode:
    """Sets whether operations are recorded, for the length of a `with` block or of every call of a function."""

    _enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []  # a stack, so that one object may be entered again inside itself

    def __enter__(self) -> None:
        self._before.append(_core.is_grad_enabled())
        _core.set_grad_enabled(self._enabled)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _core.set_grad_enabled(self._before.pop())

    def _again(self) -> GradMode:  # a fresh one for each call of a decorated function
        return type(self)()

    def __call__(self, function: F) -> F:
        if inspect.isgeneratorfunction(function):
            return cast(F, self._wrap_generator(function))

        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return cast(F, in_mode)

    def _wrap_generator(self, function: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
        @functools.wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            resume: Callable[[], Any] = functools.partial(next, generator)
            while True:
                try:
                    with self._again():
                        item = resume()
                except StopIteration as end:
                    return end.value
                try:
                    resume = functools.partial(generator.send, (yield item))  # outside: the caller's own mode holds
                except GeneratorExit:
                    with self._again():
                        generator.close()
                    raise
                except BaseException as error:
                    resume = functools.partial(generator.throw, error)

        return in_mode


class no_grad(GradMode):
    """Nothing is recorded; results need no gradient."""

    _enabled = False

    def __new__(cls, function: F | None = None) -> Any:
        mode = super().__new__(cls)
        if function is None:
            return mode
        mode.__init__()  # type: ignore[misc]
        return mode(function)

    def __init__(self, function: F | None = None) -> None:
        super().__init__()


class enable_grad(no_grad):
    """Operations are recorded, also inside `no_grad`."""

    _enabled = True


class inference_mode(GradMode):
    """As `no_grad`; mode=False does nothing. Tensors made inside may be used for training later."""

    def __new__(cls, mode: bool | F = True) -> Any:
        made = super().__new__(cls)
        if isinstance(mode, bool):
            return made
        made.__init__(True)  # type: ignore[misc]
        return made(mode)

    def __init__(self, mode: bool = True) -> None:
        super().__init__()
        self._mode = mode
        self._enabled = False

    def __enter__(self) -> None:
        if self._mode:
            super().__enter__()
        else:
            self._before.append(_core.is_grad_enabled())

    def _again(self) -> GradMode:
        return inference_mode(self._mode)  # type: ignore[no-any-return]


class set_grad_enabled(GradMode):
    """Sets the mode at once; as a context manager, puts the old one back at the end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self._enabled = bool(mode)
        self._outside = _core.is_grad_enabled()
        _core.set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        self._before.append(self._outside)
        _core.set_grad_enabled(self._enabled)

    def __call__(self, function: F) -> F:
        _core.set_grad_enabled(self._outside)  # decorating a function is no reason to change the mode around it
        return super().__call__(function)

    def _again(self) -> GradMode:
        return set_grad_enabled(self._enabled)


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded."""
    return _core.is_grad_enabled()


def is_inference_mode_enabled() -> bool:
    """Always False: `inference_mode` leaves ordinary tensors behind."""
    return False
