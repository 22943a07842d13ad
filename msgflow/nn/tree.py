"""The tree of modules, and the parameters and buffers in it: walking it, and finding one by its dotted name."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from msgflow._frozen import thaw
from msgflow.nn.parameter import Buffer, Parameter, TensorAttribute

if TYPE_CHECKING:
    from msgflow.nn.module import Module

T = TypeVar("T")


class Tree:
    """What Module inherits.

    A tensor that was assigned to an attribute is a parameter while it requires a gradient, and a buffer while not.
    """

    _parameters: dict[str, Parameter]
    _buffers: dict[str, Buffer]
    _modules: dict[str, "Module"]

    def named_modules(
        self, memo: set["Module"] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, "Module"]]:
        """This module and all below it, parents first; a shared one once, under its first name."""
        memo = set() if memo is None else memo
        module = cast("Module", self)
        if module in memo:
            return
        if remove_duplicate:
            memo.add(module)
        yield prefix, module
        for name, child in tuple(self._modules.items()):
            yield from child.named_modules(memo, join(prefix, name), remove_duplicate)

    def modules(self) -> Iterator["Module"]:
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, "Module"]]:
        children = tuple(self._modules.items())
        first = {module: name for name, module in reversed(children)}
        yield from ((name, module) for name, module in children if first[module] == name)

    def children(self) -> Iterator["Module"]:
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, own first; a shared one once, under its first name."""
        seen: set[Parameter] = set()
        for path, module in self._walk(prefix, recurse, remove_duplicate):
            for name, parameter in module._own_parameters():
                if parameter not in seen:
                    if remove_duplicate:
                        seen.add(parameter)
                    yield join(path, name), parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Buffers with dotted names, persistent or not, own first."""
        for path, module in self._walk(prefix, recurse, remove_duplicate):
            for name, cell in module._own_buffers():
                yield join(path, name), thaw(cell.value)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        return (value for _, value in self.named_buffers(recurse=recurse))

    def _own_parameters(self) -> list[tuple[str, Parameter]]:
        held = self._parameters.items()
        return [
            (name, each) for name, each in tuple(held) if not isinstance(each, TensorAttribute) or each.requires_grad
        ]

    def _own_buffers(self) -> list[tuple[str, Parameter | Buffer]]:
        held = self._parameters.items()
        idle = [
            (name, each) for name, each in tuple(held) if isinstance(each, TensorAttribute) and not each.requires_grad
        ]
        return [*idle, *self._buffers.items()]

    def _walk(self, prefix: str, recurse: bool, remove_duplicate: bool = True) -> Iterator[tuple[str, "Module"]]:
        if recurse:
            return self.named_modules(None, prefix, remove_duplicate)
        return iter([(prefix, cast("Module", self))])

    def get_submodule(self, target: str) -> "Module":
        """The module at a dotted path; "" is this one. Raises AttributeError that names the part that is missing."""
        module = cast("Module", self)
        for name in target.split(".") if target else ():
            if name not in module._modules:
                known = ", ".join(module._modules) or "none"
                raise AttributeError(
                    f"{type(module).__name__} has no submodule {name!r} of {target!r}; it has: {known}"
                )
            module = module._modules[name]
        return module

    def set_submodule(self, target: str, module: "Module") -> None:
        """Put a module at a dotted path whose parent exists."""
        parent, _, name = target.rpartition(".")
        self.get_submodule(parent).register_module(name, module)

    def get_parameter(self, target: str) -> Parameter:
        path, _, name = target.rpartition(".")
        return self._found(dict(self.get_submodule(path)._own_parameters()), "parameter", name, target)

    def get_buffer(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        return thaw(self._found(dict(self.get_submodule(path)._own_buffers()), "buffer", name, target).value)

    def _found(self, table: dict[str, T], kind: str, name: str, target: str) -> T:
        if name not in table:
            known = ", ".join(table) or "none"
            raise AttributeError(f"{type(self).__name__} has no {kind} {target!r}; it has: {known}")
        return table[name]

    def apply(self, fn: Callable[["Module"], None]) -> Self:
        """Call `fn` on every module below, then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(cast("Module", self))
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze every parameter, or let it be optimised again. What never was a parameter does not become one."""
        for parameter in self._all_parameters():
            if parameter.can_be_trained:
                parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters, frozen ones too."""
        for parameter in self._all_parameters():
            parameter.grad = None

    def _all_parameters(self) -> set[Parameter]:
        return {parameter for module in self.modules() for parameter in tuple(module._parameters.values())}


def join(prefix: str, name: str) -> str:
    """A dotted name."""
    return f"{prefix}.{name}" if prefix else name
