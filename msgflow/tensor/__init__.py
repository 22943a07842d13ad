"""Tensors on numpy or a GPU, with gradients. `import msgflow.tensor as mt`.

The types of numbers are here at once, everything else is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from msgflow._lazy import lazy as _lazily
from msgflow.tensor.dtypes import DType, bfloat16, bool_, float16, float32, float64, int8, int32, int64, uint8
from msgflow.tensor.dtypes import bfloat16 as bf16
from msgflow.tensor.dtypes import bool_ as bool
from msgflow.tensor.dtypes import float16 as fp16
from msgflow.tensor.dtypes import float16 as half
from msgflow.tensor.dtypes import float32 as float
from msgflow.tensor.dtypes import float32 as fp32
from msgflow.tensor.dtypes import float64 as double
from msgflow.tensor.dtypes import float64 as fp64
from msgflow.tensor.dtypes import int32 as int
from msgflow.tensor.dtypes import int64 as long
from msgflow.tensor.dtypes import uint8 as byte

if TYPE_CHECKING:
    from msgflow.tensor.activations import gelu, leaky_relu, relu, sigmoid, silu, softplus, tanh
    from msgflow.tensor.attention import scaled_dot_product_attention
    from msgflow.tensor.backward import enable_grad, no_grad
    from msgflow.tensor.conversion import convert_state_dict
    from msgflow.tensor.convolution import conv1d
    from msgflow.tensor.creation import (
        arange,
        empty,
        eye,
        from_dlpack,
        full,
        ones,
        ones_like,
        tensor,
        zeros,
        zeros_like,
    )
    from msgflow.tensor.elementwise import (
        abs,
        add,
        bitwise_and,
        bitwise_not,
        bitwise_or,
        bitwise_xor,
        ceil,
        clip,
        cos,
        divide,
        equal,
        erf,
        exp,
        expm1,
        floor,
        floor_divide,
        greater,
        greater_equal,
        isfinite,
        isnan,
        less,
        less_equal,
        log,
        log1p,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        maximum,
        minimum,
        multiply,
        negative,
        not_equal,
        power,
        remainder,
        round,
        rsqrt,
        sign,
        sin,
        sqrt,
        square,
        subtract,
        where,
    )
    from msgflow.tensor.gradients import grad, gradcheck, value_and_grad
    from msgflow.tensor.indexing import embedding, gather, one_hot, take
    from msgflow.tensor.initialisers import glorot_normal, glorot_uniform, he_normal, he_uniform, normal, uniform
    from msgflow.tensor.losses import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        info_nce,
        l1_loss,
        mse_loss,
        triplet_loss,
    )
    from msgflow.tensor.noise import dropout
    from msgflow.tensor.normalising import cosine_similarity, layernorm, log_softmax, normalize, rmsnorm, softmax
    from msgflow.tensor.products import matmul
    from msgflow.tensor.randomness import manual_seed
    from msgflow.tensor.reductions import (
        all,
        any,
        argmax,
        argmin,
        cumsum,
        logsumexp,
        max,
        mean,
        min,
        prod,
        std,
        sum,
        var,
    )
    from msgflow.tensor.runtime import Plan, Runtime
    from msgflow.tensor.searching import argsort, sort, topk
    from msgflow.tensor.shaping import (
        broadcast_to,
        chunk,
        concat,
        flatten,
        pad,
        permute,
        reshape,
        split,
        squeeze,
        stack,
        transpose,
        tril,
        triu,
        unsqueeze,
    )
    from msgflow.tensor.tensors import Tensor

__all__ = [
    "DType",
    "Plan",
    "Runtime",
    "Tensor",
    "abs",
    "add",
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "bf16",
    "bfloat16",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "bool",
    "bool_",
    "broadcast_to",
    "byte",
    "ceil",
    "chunk",
    "clip",
    "concat",
    "conv1d",
    "convert_state_dict",
    "cos",
    "cosine_similarity",
    "cross_entropy",
    "cumsum",
    "divide",
    "double",
    "dropout",
    "embedding",
    "empty",
    "enable_grad",
    "equal",
    "erf",
    "exp",
    "expm1",
    "eye",
    "flatten",
    "float",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fp16",
    "fp32",
    "fp64",
    "from_dlpack",
    "full",
    "gather",
    "gelu",
    "glorot_normal",
    "glorot_uniform",
    "grad",
    "gradcheck",
    "greater",
    "greater_equal",
    "half",
    "he_normal",
    "he_uniform",
    "info_nce",
    "int",
    "int8",
    "int32",
    "int64",
    "isfinite",
    "isnan",
    "l1_loss",
    "layernorm",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "long",
    "manual_seed",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "multiply",
    "negative",
    "no_grad",
    "normal",
    "normalize",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "permute",
    "power",
    "prod",
    "relu",
    "remainder",
    "reshape",
    "rmsnorm",
    "round",
    "rsqrt",
    "scaled_dot_product_attention",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "take",
    "tanh",
    "tensor",
    "topk",
    "transpose",
    "tril",
    "triplet_loss",
    "triu",
    "uint8",
    "uniform",
    "unsqueeze",
    "value_and_grad",
    "var",
    "where",
    "zeros",
    "zeros_like",
]

_PLACES = {
    "activations": "gelu leaky_relu relu sigmoid silu softplus tanh",
    "attention": "scaled_dot_product_attention",
    "backward": "enable_grad no_grad",
    "conversion": "convert_state_dict",
    "convolution": "conv1d",
    "creation": "arange empty eye from_dlpack full ones ones_like tensor zeros zeros_like",
    "elementwise": (
        "abs add bitwise_and bitwise_not bitwise_or bitwise_xor ceil clip cos divide equal erf exp expm1 "
        "floor floor_divide greater greater_equal isfinite isnan less less_equal log log1p logical_and "
        "logical_not logical_or logical_xor maximum minimum multiply negative not_equal power remainder "
        "round rsqrt sign sin sqrt square subtract where"
    ),
    "gradients": "grad gradcheck value_and_grad",
    "indexing": "embedding gather one_hot take",
    "initialisers": "glorot_normal glorot_uniform he_normal he_uniform normal uniform",
    "losses": (
        "binary_cross_entropy binary_cross_entropy_with_logits cross_entropy info_nce l1_loss mse_loss triplet_loss"
    ),
    "noise": "dropout",
    "normalising": "cosine_similarity layernorm log_softmax normalize rmsnorm softmax",
    "products": "matmul",
    "randomness": "manual_seed",
    "reductions": "all any argmax argmin cumsum logsumexp max mean min prod std sum var",
    "runtime": "Plan Runtime",
    "searching": "argsort sort topk",
    "shaping": (
        "broadcast_to chunk concat flatten pad permute reshape split squeeze stack transpose tril triu unsqueeze"
    ),
    "tensors": "Tensor",
}

__getattr__ = _lazily(__name__, {name: module for module, names in _PLACES.items() for name in names.split()})


def __dir__() -> list[str]:
    return __all__
