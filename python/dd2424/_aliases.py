"""The dtypes, and second names that PyTorch gives to operations: names of the compiled module."""

from dd2424._core import (
    absolute,
    arccos,
    arcsin,
    arctan,
    arctan2,
    bfloat16,
    bool,
    clip,
    concat,
    concatenate,
    divide,
    fix,
    float16,
    float32,
    float64,
    greater,
    greater_equal,
    int8,
    int16,
    int32,
    int64,
    less,
    less_equal,
    multiply,
    negative,
    not_equal,
    subtract,
    swapaxes,
    swapdims,
    true_divide,
    uint8,
)

float, double, half = float32, float64, float16
int, long, short = int32, int64, int16

__all__ = [
    "absolute", "arccos", "arcsin", "arctan", "arctan2", "clip", "concat", "concatenate", "divide", "fix", "greater",
    "greater_equal", "less", "less_equal", "multiply", "negative", "not_equal", "subtract", "swapaxes", "swapdims",
    "true_divide", "bfloat16", "bool", "double", "float", "float16", "float32", "float64", "half", "int", "int8",
    "int16", "int32", "int64", "long", "short", "uint8",
]  # fmt: skip
