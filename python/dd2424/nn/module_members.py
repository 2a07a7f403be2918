"""What a module owns: registration of parameters, buffers and submodules, and the walks over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Any, TypeVar

from dd2424._core import Tensor
from dd2424.nn.parameter import Buffer, Parameter

PARAMETER, BUFFER, TRANSIENT, MODULE = "parameter", "buffer", "transient buffer", "child module"
_EXPECTED = {PARAMETER: "nn.Parameter", BUFFER: "Tensor", TRANSIENT: "Tensor", MODULE: "nn.Module"}
_FAMILY = {PARAMETER: PARAMETER, BUFFER: BUFFER, TRANSIENT: BUFFER, MODULE: MODULE, None: ""}
M = TypeVar("M", bound="Members")


class MembersOfKind(MutableMapping[str, Any]):
    """The members of some kinds by name: a live view, so that nothing is stored twice."""

    def __init__(self, owner: Members, *kinds: str) -> None:
        self._owner, self._kinds = owner, kinds

    def __getitem__(self, name: str) -> Any:
        if self._owner._kinds.get(name) not in self._kinds:
            raise KeyError(name)
        return self._owner.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._owner._register(name, value, self._owner._kinds.get(name, self._kinds[0]))

    def __delitem__(self, name: str) -> None:
        self[name]
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, kind in self._owner._kinds.items() if kind in self._kinds])

    def __len__(self) -> int:
        return sum(kind in self._kinds for kind in self._owner._kinds.values())

    def __repr__(self) -> str:
        return repr(dict(self))


class Members:
    """Named parameters, buffers and submodules. They are plain attributes, so that reading one costs a look-up;
    `_kinds` says which attributes are members, in the order in which they came."""

    _kinds: dict[str, str]

    def __init__(self) -> None:
        self.__dict__["_kinds"] = {}

    def __setattr__(self, name: str, value: object) -> None:
        kinds = self.__dict__.get("_kinds")
        is_member = isinstance(value, Parameter | Buffer | Members)
        if kinds is None:
            if is_member:
                raise AttributeError("cannot assign members before Module.__init__() call")
            object.__setattr__(self, name, value)
        elif is_member:
            self._register(name, value, _kind_of(value, kinds.get(name)))
        elif name in kinds:
            self._register(name, value, kinds[name])
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if self._kinds.pop(name, None) is None:
            object.__delattr__(self, name)
        else:
            del self.__dict__[name]

    def __getattr__(self, name: str) -> Any:  # only where nothing was found
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name.isidentifier()]

    def _register(self, name: str, value: object, kind: str) -> None:
        fits = {PARAMETER: Parameter, MODULE: Members}.get(kind, Tensor)
        if value is not None and not isinstance(value, fits):
            raise TypeError(f"cannot assign '{type(value).__name__}' object to {kind} '{name}' "
                            f"({_EXPECTED[kind]} or None expected)")  # fmt: skip
        if self._kinds.get(name, kind) != kind:
            del self._kinds[name]
        self._kinds[name] = kind
        self.__dict__[name] = value

    def _register_new(self, name: str, value: object, kind: str) -> None:
        if "_kinds" not in self.__dict__:
            raise AttributeError("cannot assign members before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string, got {type(name).__name__}")
        if not name or "." in name:
            raise KeyError(f"{kind} name must not be empty or contain a dot, got '{name}'")
        if hasattr(self, name) and _FAMILY.get(self._kinds.get(name)) != _FAMILY[kind]:
            raise KeyError(f"attribute '{name}' already exists")
        self._register(name, value, kind)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Own a parameter under this name; None stands for one that is left out."""
        if isinstance(param, Tensor) and param.grad_fn is not None:
            raise ValueError(f"register_parameter: '{name}' must be a leaf, got the result of an operation")
        self._register_new(name, param, PARAMETER)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Own a tensor that is state but not learned; it is in the `state_dict` where `persistent`."""
        self._register_new(name, tensor, BUFFER if persistent else TRANSIENT)

    def add_module(self, name: str, module: Members | None) -> None:
        """Own a submodule under this name."""
        self._register_new(name, module, MODULE)

    def register_module(self, name: str, module: Members | None) -> None:
        """Alias of `add_module`."""
        self.add_module(name, module)

    @property
    def _parameters(self) -> MembersOfKind:
        return MembersOfKind(self, PARAMETER)

    @property
    def _buffers(self) -> MembersOfKind:
        return MembersOfKind(self, BUFFER, TRANSIENT)

    @property
    def _modules(self) -> MembersOfKind:
        return MembersOfKind(self, MODULE)

    def _members(self, *kinds: str) -> list[tuple[str, Any]]:
        values = self.__dict__
        return [(name, values[name]) for name, kind in self._kinds.items() if kind in kinds]

    def named_children(self: M) -> Iterator[tuple[str, M]]:
        """Direct submodules with their names, each once."""
        seen: set[Members] = set()
        for name, module in self._members(MODULE):
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self: M) -> Iterator[M]:
        """Direct submodules."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self: M, memo: set[M] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, M]]:
        """This module and all below it, depth first, with their dotted names."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._members(MODULE):
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self: M) -> Iterator[M]:
        """This module and all below it, depth first."""
        for _, module in self.named_modules():
            yield module

    def _named_tensors(
        self, kinds: tuple[str, ...], prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        modules: Iterable[tuple[str, Members]] = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        )
        seen: set[int] = set()
        for path, module in modules:
            for name, tensor in module._members(*kinds):
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield f"{path}.{name}" if path else name, tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted names, each once."""
        return self._named_tensors((PARAMETER,), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters of this module and, with `recurse`, of all below it."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted names, each once."""
        return self._named_tensors((BUFFER, TRANSIENT), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers of this module and, with `recurse`, of all below it."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self: M, target: str) -> M:
        """The submodule with this dotted name; "" is the module itself. Raises: AttributeError if there is none."""
        module = self
        for name in target.split(".") if target else ():
            found = module.__dict__.get(name)
            if not isinstance(found, Members):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}` that is an nn.Module")
            module = found  # type: ignore[assignment]
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with this dotted name. Raises: AttributeError if there is none."""
        return self._get_member(target, PARAMETER)  # type: ignore[no-any-return]

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with this dotted name. Raises: AttributeError if there is none."""
        return self._get_member(target, BUFFER, TRANSIENT)  # type: ignore[no-any-return]

    def _get_member(self, target: str, *kinds: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if module._kinds.get(name) not in kinds:
            raise AttributeError(f"{type(module).__name__} has no {kinds[0]} `{name}`")
        return module.__dict__[name]

    def apply(self: M, fn: Callable[[M], object]) -> M:
        """Call `fn` on every submodule, then on this module: for initialisation."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self


def _kind_of(value: object, before: str | None) -> str:
    if isinstance(value, Members):
        return MODULE
    if isinstance(value, Parameter):
        return PARAMETER
    if before in (BUFFER, TRANSIENT):
        return before
    return BUFFER if getattr(value, "persistent", True) else TRANSIENT
