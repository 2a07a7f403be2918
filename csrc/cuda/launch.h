#pragma once
#include <cuda_runtime.h>

#include <bit>
#include <cstddef>
#include <type_traits>

#include "core/types.h"
#include "cuda/value.h"

// How kernels are started and what they share. Nothing here, or in any .cu file, knows whether the GPU is a real one or
// that of tests/cuda_host.
namespace dd2424::cuda {

constexpr int kWarp = 32;
constexpr int kThreads = 256;           // of a block, where a kernel has no reason for another number
constexpr Index kMostBlocks = 1 << 16;  // of a grid whose threads walk on by its size

Status checked(cudaError_t error);  // keeps the reason for last_error()
int compute_capability();           // of the GPU in use, 90 for 9.0
template <class T>
bool uses_tensor_cores() {
  return kIsForTensorCores<T> && compute_capability() >= 80;
}

// Float32 that may be rounded, where there are tensor cores for it, and what a kernel is given then.
inline bool may_round(bool is_allowed) { return is_allowed && uses_tensor_cores<tfloat32>(); }
template <template <class> class Arguments>
Arguments<tfloat32> rounding(const Arguments<float>& a) {
  return std::bit_cast<Arguments<tfloat32>>(a);  // they differ in what pointers are said to lead to
}

// Runs kernel(args...) on the context's stream.
template <class... Params, class... Args>
Status launch(const Context& context, dim3 blocks, dim3 threads, void (*kernel)(Params...), Args... args) {
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.stream = static_cast<cudaStream_t>(context.stream);
  return checked(cudaLaunchKernelEx(&config, kernel, args...));
}

// The same with so many bytes of shared memory that the kernel asks for (cooperative.h); at once: its blocks wait for
// each other, and are no more than `blocks_at_once`.
template <class... Params, class... Args>
Status launch_asking(const Context& context, dim3 blocks, dim3 threads, std::size_t bytes, bool at_once,
                     void (*kernel)(Params...), Args... args) {
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error != cudaSuccess) return checked(error);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = at_once;
  cudaLaunchConfig_t config{};
  config.gridDim = blocks;
  config.blockDim = threads;
  config.dynamicSmemBytes = bytes;
  config.stream = static_cast<cudaStream_t>(context.stream);
  config.attrs = &attribute;
  config.numAttrs = 1;
  return checked(cudaLaunchKernelEx(&config, kernel, args...));
}
inline int device_attribute(cudaDeviceAttr attribute) {
  int device = 0, value = 0;
  return cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&value, attribute, device) == cudaSuccess
             ? value
             : 0;
}
// How many blocks of a kernel the GPU can run at once.
template <class... Params>
Index blocks_at_once(dim3 threads, std::size_t bytes, void (*kernel)(Params...)) {
  int blocks = 0;
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)) !=
          cudaSuccess ||
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, static_cast<int>(threads.x), bytes) != cudaSuccess)
    blocks = 0;
  cudaGetLastError();  // a refusal is an answer
  return Index{blocks} * device_attribute(cudaDevAttrMultiProcessorCount);
}

// The same with a thread for each of n items, n > 0: a kernel that takes them by `for_each_item`.
template <class... Params, class... Args>
Status launch_items(const Context& context, Index n, void (*kernel)(Params...), Args... args) {
  const Index blocks = (n + kThreads - 1) / kThreads;
  return launch(context, dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(kThreads),
                kernel, args...);
}
template <class F>
__device__ inline void for_each_item(Index n, const F& f) {
  const Index step = static_cast<Index>(gridDim.x) * blockDim.x;
  for (Index i = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

// a / b for 0 <= a, 0 < b: in 32 bits, several times as fast, where both fit.
__device__ inline Index quotient(Index a, Index b) {
  return ((a | b) >> 32) == 0 ? static_cast<Index>(static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b))
                              : a / b;
}

// Where element i of the index space lies in each operand.
template <int N>
struct Places {
  Index at[N];
};
template <int N>
__device__ inline Places<N> places(const Strided<N>& space, Index i) {
  Places<N> found{};
  for (int d = space.ndim - 1; d > 0; --d) {
    const Index rest = quotient(i, space.shape[d]), place = i - rest * space.shape[d];
    for (int k = 0; k < N; ++k) found.at[k] += place * space.strides[k][d];
    i = rest;
  }
  for (int k = 0; k < N; ++k) found.at[k] += i * space.strides[k][0];
  return found;
}
template <int N>
inline Index items(const Strided<N>& space) {
  Index n = 1;
  for (int d = 0; d < space.ndim; ++d) n *= space.shape[d];
  return n;
}

}  // namespace dd2424::cuda
