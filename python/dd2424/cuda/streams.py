"""Streams: queues of work that the GPU does side by side, each in its order. Events order one behind another.

Memory knows the stream it was made on. A tensor used on another one must not be freed before that work is done: freeing
it on that stream, `wait_stream` before it is freed, or `Tensor.record_stream` see to it.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from dd2424 import _core
from dd2424._core import CudaEvent, CudaStream
from dd2424._device import GPU, device as _device
from dd2424.cuda.devices import check_device


class Stream:
    """A queue of work. Backward runs on the stream that the forward pass ran on.

        with dd2424.cuda.stream(s):
            y = model(x)

    Args: priority: lower numbers go first; -1 is above the usual 0.
    Raises: RuntimeError where there is no GPU.
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        check_device("Stream", device)
        self._handle = CudaStream(priority)
        self._entered: list[Stream] = []

    @classmethod
    def _of(cls, handle: CudaStream) -> Stream:
        made = Stream.__new__(Stream)
        made._handle, made._entered = handle, []
        return made

    @property
    def cuda_stream(self) -> int:
        """CUDA's own name of it, for other libraries; 0 for the default stream."""
        return self._handle.pointer

    @property
    def device(self) -> _device:
        """The GPU it belongs to."""
        place: _device = GPU
        return place

    @property
    def priority(self) -> int:
        """As it was asked for."""
        return self._handle.priority

    def wait_stream(self, stream: Stream) -> None:
        """Let what comes next here wait for all that the other stream has been asked."""
        self._handle.wait_stream(stream._handle)

    def wait_event(self, event: Event) -> None:
        """Let what comes next here wait for the event."""
        event.wait(self)

    def record_event(self, event: Event | None = None) -> Event:
        """An event for all that this stream has been asked."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def query(self) -> bool:
        """Whether all that it was asked is done."""
        return self._handle.query()

    def synchronize(self) -> None:
        """Wait until all that it was asked is done."""
        self._handle.synchronize()

    def __enter__(self) -> Stream:
        self._entered.append(current_stream())
        set_stream(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        set_stream(self._entered.pop())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and self.cuda_stream == other.cuda_stream

    def __hash__(self) -> int:
        return hash(self.cuda_stream)

    def __repr__(self) -> str:
        return f"<dd2424.cuda.Stream device={GPU} cuda_stream={self.cuda_stream:#x}>"


class ExternalStream(Stream):
    """A stream that another library made, by CUDA's name of it; it must outlive its use here."""

    def __init__(self, stream_ptr: int, device: Any = None) -> None:
        check_device("ExternalStream", device)
        self._handle = CudaStream.at(stream_ptr)
        self._entered = []


class Event:
    """A place in a stream's work, to wait for or to take the time at.

    Args: enable_timing: whether `elapsed_time` will be asked. The others are accepted and have no effect.
    Raises: RuntimeError where there is no GPU.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        check_device("Event")
        self._handle = CudaEvent(enable_timing)

    @property
    def cuda_event(self) -> int:
        """CUDA's own name of it."""
        return self._handle.pointer

    def record(self, stream: Stream | None = None) -> None:
        """Stand for all that the stream (the current one) has been asked."""
        self._handle.record((current_stream() if stream is None else stream)._handle)

    def wait(self, stream: Stream | None = None) -> None:
        """Let what comes next on the stream (the current one) wait for this."""
        self._handle.wait((current_stream() if stream is None else stream)._handle)

    def query(self) -> bool:
        """Whether it has been reached; so it is before it is recorded."""
        return self._handle.query()

    def synchronize(self) -> None:
        """Wait until it is reached."""
        self._handle.synchronize()

    def elapsed_time(self, end_event: Event) -> float:
        """The time from this event to a later one. Units: milliseconds.

        Raises: RuntimeError unless both were made with enable_timing, recorded, and are reached.
        """
        return self._handle.elapsed_time(end_event._handle)


class StreamContext:
    """What `stream` returns."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream
        self._entered: list[Stream] = []

    def __enter__(self) -> None:
        if self.stream is not None:
            self._entered.append(current_stream())
            set_stream(self.stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._entered:
            set_stream(self._entered.pop())


def stream(stream: Stream | None) -> StreamContext:
    """In a `with` block, this thread's work goes to the stream; None changes nothing. CuPy's goes there as well."""
    return StreamContext(stream)


def set_stream(stream: Stream) -> None:
    """Let this thread's work go to the stream from now on; CuPy's as well."""
    stream._handle.make_current()
    if "cupy" in sys.modules:
        sys.modules["cupy"].cuda.ExternalStream(stream.cuda_stream).use()


def current_stream(device: Any = None) -> Stream:
    """The stream that this thread's work goes to. Raises: RuntimeError where there is no GPU."""
    check_device("current_stream", device)
    return Stream._of(CudaStream.current())


def default_stream(device: Any = None) -> Stream:
    """CUDA's default stream. Raises: RuntimeError where there is no GPU."""
    check_device("default_stream", device)
    return Stream._of(CudaStream.at(0))


def is_current_stream_capturing() -> bool:
    """Whether this thread's work goes into a graph instead of being done."""
    return _core.cuda_is_capturing()
