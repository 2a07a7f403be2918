"""Kernels of dd2424 for NVIDIA GPUs, compiled by CUDA 12: the file _cuda.so, which `dd2424.cuda` finds and opens."""
