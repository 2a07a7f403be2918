"""The dtypes, under every name that PyTorch gives them."""

from dd2424._core import bfloat16, bool, float16, float32, float64, int8, int16, int32, int64, uint8

float, double, half = float32, float64, float16
int, long, short = int32, int64, int16

__all__ = [
    "bfloat16", "bool", "double", "float", "float16", "float32", "float64", "half", "int", "int8", "int16", "int32",
    "int64", "long", "short", "uint8",
]  # fmt: skip
