"""What happens while a Runtime records: every operation is noted, and computed as ever.

A recording holds no result: what dies during the forward is an intermediate, what somebody still holds at launch is an
output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import ref

from msgflow._frozen import FrozenDict
from msgflow.errors import RecordError
from msgflow.tensor.backends import Array, device_of, has_places_for_results, namespace
from msgflow.tensor.dtypes import stored_as
from msgflow.tensor.operations import Operand, Operation
from msgflow.tensor.rules.converting import DETACH
from msgflow.tensor.runtime.graph import Graph
from msgflow.tensor.runtime.program import Input, Kind, Program, Recorded, Source, described, number

if TYPE_CHECKING:
    from msgflow.tensor.tensors import Tensor


class Origin:
    """A tensor that no recorded operation made: where its numbers are found at each run.

    `looked_at` are numbers that the forward has looked at, so that what was recorded may depend on them.
    """

    __slots__ = ("_cell", "_constant", "_tensor", "library", "looked_at", "shape", "storage")

    def __init__(self, tensor: Operand) -> None:
        self._cell = tensor.cell
        self._tensor = tensor if self._cell is None else None
        self._constant: Array = None
        self.looked_at: Array = None
        self.library, self.shape, self.storage = type(tensor.array), tuple(tensor.array.shape), tensor.array.dtype

    def array(self) -> Array:
        """The numbers of now; those of a module's state of the version that is read here."""
        if self._cell is not None:
            return getattr(self._cell.value, "array", None)
        return self._constant if self._tensor is None else self._tensor.array

    def source(self) -> Source:
        """What is known of it. One that nobody holds any more can be given no other numbers: it is constant."""
        if self._tensor is not None:
            self._constant, watched = self._tensor.array, ref(self._tensor)
            self._tensor = None
            self._tensor = watched()
        kind: Kind = "state" if self._cell is not None else "constant" if self._tensor is None else "placeholder"
        return Source(kind, self.shape, stored_as(self.storage).name)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a recorded operation made, and from what."""

    number: int
    operation: Operation
    inputs: tuple[Any, ...]  # of Made, Origins and numbers
    settings: Mapping[str, Any]
    shape: tuple[int, ...]
    dtype: str
    is_view: bool
    tensor: "ref[Tensor]"
    array: int  # by its id


class Recording:
    """The Recorder of one `with runtime:` block; several threads may record into it at once."""

    def __init__(self) -> None:
        self.is_open = True
        self._next = count().__next__
        self._made: dict[int, Made] = {}
        self._by_tensor: dict[int, Made] = {}
        self._origins: dict[int, Origin] = {}
        self._places: set[tuple[str, str]] = set()

    # --- while it records ------------------------------------------------------------------------------------------

    def record(self, operation: Operation, inputs: tuple[Any, ...], settings: dict[str, Any], output: "Tensor") -> None:
        if not self.is_open:  # what goes on in a task that was begun in the block
            return
        array = output.array
        made = Made(
            self._next(),
            operation,
            tuple(self._known(given) if isinstance(given, Operand) else given for given in inputs),
            settings,
            tuple(array.shape),
            stored_as(array.dtype).name,
            _is_view(array, inputs),
            ref(output),
            id(array),
        )
        self._places |= {_place(given) for given in (output, *inputs) if isinstance(given, Operand)}
        self._made[made.number] = self._by_tensor[id(output)] = made

    def asked(self, tensor: "Tensor") -> None:
        if not self.is_open:
            return
        known = self._known(tensor)
        while isinstance(known, Made) and known.operation is DETACH:
            (known,) = known.inputs
        if isinstance(known, Made):
            raise RecordError(
                f"the numbers of a result of {known.operation.name} are asked for while a Runtime records (by item, "
                "to_numpy or if, or to be kept in a module's state), and every run will have others. Choose between "
                "numbers with mt.where, look at them after run(), and build modules before the block"
            )
        known.looked_at = tensor.array

    def _known(self, tensor: Operand) -> Made | Origin:
        made = self._by_tensor.get(id(tensor))
        if made is not None and made.tensor() is tensor:
            if id(tensor.array) != made.array:
                raise RecordError(
                    f"a result of {made.operation.name} was given other numbers by from_numpy while a Runtime records, "
                    "which no run would do; give numbers to what the forward takes"
                )
            return made
        key = id(tensor if tensor.cell is None else tensor.cell)
        return self._origins.setdefault(key, Origin(tensor))  # which holds it, so that the key stays its own

    # --- afterwards ------------------------------------------------------------------------------------------------

    def looked_at(self) -> list[Origin]:
        """Those whose numbers the forward has looked at."""
        return [origin for origin in self._origins.values() if origin.looked_at is not None]

    def forward(self) -> "Forward":
        """What was recorded, for the results that somebody holds now."""
        if not self._made:
            raise RecordError("nothing was recorded; call a module or operations in `with runtime:`, then launch()")
        if len(self._places) != 1:
            places = " and ".join(f"{library} on {device}" for library, device in sorted(self._places))
            raise RecordError(f"a Runtime runs in one place, and this forward uses {places}; bring all of it to one")
        made = [self._made[number] for number in sorted(self._made)]
        held = [(one, tensor) for one in made if (tensor := one.tensor()) is not None]
        if not held:
            raise RecordError("nobody holds a result; keep what the forward returns (`out = block(x)`) until launch()")
        origins = list(dict.fromkeys(given for one in made for given in one.inputs if isinstance(given, Origin)))
        names: dict[Any, str] = {value: f"%{number}" for number, value in enumerate([*origins, *made])}
        ((library, device),) = self._places
        program = Program(
            library,
            device,
            tuple(origin.source() for origin in origins),
            tuple(_described(one, names) for one in made),
            tuple(names[one] for one, _ in held),
        )
        return Forward(
            Graph(
                program,
                tuple(one.operation for one in made),
                tuple(one.settings for one in made),
                tuple(one.is_view for one in made),
            ),
            tuple(origins),
            tuple(tensor for _, tensor in held),
        )


@dataclass(frozen=True, slots=True)
class Forward:
    """A recorded program, where its values from outside are found, and the tensors that its results are for."""

    graph: Graph
    origins: tuple[Origin, ...]
    outputs: "tuple[Tensor, ...]"


def _is_view(array: Array, inputs: tuple[Any, ...]) -> bool:
    """Whether the only tensor among the inputs is looked at in another way."""
    arrays = [given.array for given in inputs if isinstance(given, Operand)]
    if len(arrays) != 1 or not has_places_for_results(array):
        return False
    return bool(namespace(array).may_share_memory(array, arrays[0]))


def _place(tensor: Operand) -> tuple[str, str]:
    """The library and the device of a tensor."""
    return type(tensor.array).__module__.partition(".")[0], device_of(tensor.array)


def _described(made: Made, names: Mapping[Any, str]) -> Recorded:
    inputs: list[Input] = [names[given] if isinstance(given, Made | Origin) else number(given) for given in made.inputs]
    settings = FrozenDict({name: described(made.settings[name]) for name in sorted(made.settings)})
    return Recorded(made.operation.name, tuple(inputs), settings, made.shape, made.dtype)
