"""Every exception of msgflow.

    MsgflowError
    ├── StateError
    │   ├── NotJson (TypeError)              a value that no state file can hold
    │   ├── StateDictError (ValueError)      a state that does not fit its module
    │   ├── StaleState (RuntimeError)        training inside a call, which would not see its own steps
    │   └── StateFileError (ValueError)      a file or value that cannot be saved or loaded exactly
    │       └── StateFileMissing (FileNotFoundError)
    ├── SchemaError (TypeError)              a signature, tool or type that has no JSON Schema
    ├── ModelError                           .model, .retryable, .retry_after_s
    │   ├── UnknownModel (LookupError)       no such provider or embedded model
    │   ├── MissingKey                       the API key's variable is not set
    │   ├── ModelUnreachable (ConnectionError)
    │   ├── ModelTimeout (TimeoutError)
    │   ├── ModelRefused                     .status: 4xx, the request is at fault
    │   ├── ModelOverloaded                  .status: 429 or 5xx, worth another try
    │   ├── BadModelResponse (ValueError)    not the protocol: malformed JSON, a truncated stream
    │   ├── ModelFileError (OSError)         weights that are missing or damaged
    │   └── ScriptError (AssertionError)     a scripted model ran dry or was not used up
    ├── AgentError
    │   ├── OutputError (ValueError)         .text: what the model wrote does not fit the output type
    │   ├── ToolArgumentsError (TypeError)   .tool, .arguments
    │   ├── ToolError                        .tool, .arguments; __cause__ is what the tool raised
    │   └── MaxTurnsError                    .turns
    ├── FlowError                            a flow that cannot be run
    │   ├── FlowStructureError (ValueError)  a cycle, a name that is taken or unknown, a step that is none
    │   ├── InputMismatch (ValueError)       .inputs, .branches
    │   ├── NoMatch (LookupError)            .value: no case of a Switch fits it
    │   ├── LoopLimit (RuntimeError)         .steps
    │   ├── RefError (LookupError)           .name: no result of that name
    │   ├── BarrierTimeout (TimeoutError)    .arrived, .expected
    │   └── ExpressionError (ValueError)     .expression, .line, .column
    ├── GuardRefused (ValueError)            .module, .on, .message; __cause__ is what its check raised
    ├── MessageError (ValueError)            .key: the path in a Message; no path, or a value that cannot be there
    │   ├── MessageKeyError (KeyError)       nothing is there
    │   ├── MessageFrozen (TypeError)        a change of what cannot be changed
    │   └── MessageConflict                  .branches: they changed the same, differently
    ├── DataError (ValueError)               a document folder or index that holds nothing usable
    ├── VersionError                         something about the version store
    │   ├── VersionNotFound (LookupError)    .ref, .near: no version or tag of that name
    │   ├── AmbiguousVersion (LookupError)   .ref, .candidates: several ids begin so
    │   ├── NothingToRollBack (LookupError)  .tag: it pointed at nothing before
    │   ├── TagNameError (ValueError)        .name
    │   ├── VersionDamaged (ValueError)      .id: another state is stored under it
    │   └── VersionStoreError (OSError)      no database of ours, out of reach, or locked for long
    ├── RegistryError                        a name that is taken, or that nothing can be registered under
    │   └── RegistryLookupError (AttributeError)  .wanted, .known: no group or thing of that name
    ├── DrawingError                         what cannot be found or drawn, or a picture that cannot be written
    ├── TensorError
    │   ├── ShapeError (ValueError)          .operation, .shapes: tensors whose shapes do not go together
    │   │   └── IndexOutOfRange (IndexError)
    │   ├── DTypeError (TypeError)           a type of number that an operation cannot use, or no tensor at all
    │   ├── DeviceError (RuntimeError)       a device that there is not, or tensors on different ones
    │   ├── GradientError (RuntimeError)     a gradient of something that has none
    │   └── RecordError (RuntimeError)       a Runtime in wrong use
    └── BridgeError (RuntimeError)           blocking where nothing could ever wake the caller

Each message says what came, what was expected and what to do next; the facts are attributes.
"""

from msgflow.errors.agents import AgentError, MaxTurnsError, OutputError, ToolArgumentsError, ToolError
from msgflow.errors.flows import (
    BarrierTimeout,
    ExpressionError,
    FlowError,
    FlowStructureError,
    InputMismatch,
    LoopLimit,
    NoMatch,
    RefError,
)
from msgflow.errors.messages import MessageConflict, MessageError, MessageFrozen, MessageKeyError
from msgflow.errors.models import (
    BadModelResponse,
    MissingKey,
    ModelError,
    ModelFileError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    ScriptError,
    UnknownModel,
)
from msgflow.errors.others import (
    BridgeError,
    DataError,
    DrawingError,
    GuardRefused,
    RegistryError,
    RegistryLookupError,
    SchemaError,
)
from msgflow.errors.root import MsgflowError, _rebuilt
from msgflow.errors.state import NotJson, StaleState, StateDictError, StateError, StateFileError, StateFileMissing
from msgflow.errors.tensors import (
    DeviceError,
    DTypeError,
    GradientError,
    IndexOutOfRange,
    RecordError,
    ShapeError,
    TensorError,
)
from msgflow.errors.versions import (
    AmbiguousVersion,
    NothingToRollBack,
    TagNameError,
    VersionDamaged,
    VersionError,
    VersionNotFound,
    VersionStoreError,
)

__all__ = [
    "AgentError",
    "AmbiguousVersion",
    "BadModelResponse",
    "BarrierTimeout",
    "BridgeError",
    "DTypeError",
    "DataError",
    "DeviceError",
    "DrawingError",
    "ExpressionError",
    "FlowError",
    "FlowStructureError",
    "GradientError",
    "GuardRefused",
    "IndexOutOfRange",
    "InputMismatch",
    "LoopLimit",
    "MaxTurnsError",
    "MessageConflict",
    "MessageError",
    "MessageFrozen",
    "MessageKeyError",
    "MissingKey",
    "ModelError",
    "ModelFileError",
    "ModelOverloaded",
    "ModelRefused",
    "ModelTimeout",
    "ModelUnreachable",
    "MsgflowError",
    "NoMatch",
    "NotJson",
    "NothingToRollBack",
    "OutputError",
    "RecordError",
    "RefError",
    "RegistryError",
    "RegistryLookupError",
    "SchemaError",
    "ScriptError",
    "ShapeError",
    "StaleState",
    "StateDictError",
    "StateError",
    "StateFileError",
    "StateFileMissing",
    "TagNameError",
    "TensorError",
    "ToolArgumentsError",
    "ToolError",
    "UnknownModel",
    "VersionDamaged",
    "VersionError",
    "VersionNotFound",
    "VersionStoreError",
]

# Wherever they are written down, they are known, printed and pickled by this name.
for _error in (*map(globals().__getitem__, __all__), _rebuilt):
    _error.__module__ = __name__
