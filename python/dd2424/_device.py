"""Where a tensor's memory is."""

from __future__ import annotations

from typing import Any

_TYPES = ("cpu", "cuda")


class device:
    """A place for tensors: device("cpu"), device("cuda"), device("cuda:1"), device("cuda", 1).

    Raises: RuntimeError for another name. That a GPU is missing is said when one is asked to do something.
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __new__(cls, device: Any, index: int | None = None) -> Any:
        made = super().__new__(cls)
        if isinstance(device, cls):
            kind, place = device.type, device.index if index is None else index
        elif isinstance(device, int):
            kind, place = "cuda", device
        else:
            kind, colon, number = str(device).partition(":")
            if kind not in _TYPES or (colon and not number.isdigit()) or (colon and index is not None):
                raise RuntimeError(f'device: device must be "cpu", "cuda" or "cuda:<index>", got "{device}"')
            place = int(number) if colon else index
        object.__setattr__(made, "type", kind)
        object.__setattr__(made, "index", place)
        return made

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("device: attributes cannot be set")

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type='{self.type}'" + (")" if self.index is None else f", index={self.index})")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)


CPU, GPU = device("cpu"), device("cuda", 0)
