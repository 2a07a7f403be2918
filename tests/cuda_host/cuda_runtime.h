#pragma once
// A GPU on the processor, to test kernels where there is none: enough of CUDA's runtime for csrc/cuda, whose sources a
// C++ compiler then takes as they are. A block's threads are fibers that run in a shuffled order; what the rules of
// __syncthreads and of warps forbid ends the program with a message (emulator.cpp). Streams: streams.h.
#include <math.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <tuple>
#include <type_traits>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __forceinline__ inline
#define __restrict__ __restrict

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

// Of the thread that runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorNoDevice = 100,
  cudaErrorNotReady = 600,
  cudaErrorCooperativeLaunchTooLarge = 720,
  cudaErrorStreamCaptureUnsupported = 900
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
using cudaStream_t = struct CUstream_st*;
struct cudaDeviceProp {
  char name[256];
  int major, minor;
  int multiProcessorCount;
};
struct cudaFuncAttributes {};
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount = 16, cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
enum cudaLaunchAttributeID { cudaLaunchAttributeCooperative = 2 };
union cudaLaunchAttributeValue {
  int cooperative;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

cudaError_t cudaGetDeviceCount(int* count);
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
cudaError_t cudaRuntimeGetVersion(int* version);
cudaError_t cudaMalloc(void** block, std::size_t bytes);
cudaError_t cudaFree(void* block);
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes);
cudaError_t cudaMemcpyAsync(void* y, const void* x, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void* y, int byte, std::size_t bytes, cudaStream_t stream);
cudaError_t cudaDeviceSynchronize();
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t error);
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int bytes) {
  return bytes <= 227 << 10 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
template <class F>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, F*, int, std::size_t) {
  *blocks = 2;
  return cudaSuccess;
}
template <class F>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes*, F*) {
  return cudaSuccess;
}

#include "streams.h"

namespace cuda_host {

using Where = std::source_location;
using Body = void (*)(const void* arguments);
struct Grid {  // a launch
  dim3 blocks, threads;
  std::size_t shared_bytes;
  bool at_once;  // all blocks
  explicit Grid(const cudaLaunchConfig_t& config)
      : blocks(config.gridDim), threads(config.blockDim), shared_bytes(config.dynamicSmemBytes), at_once(false) {
    for (unsigned i = 0; i < config.numAttrs; ++i) at_once |= config.attrs[i].val.cooperative != 0;
  }
};
cudaError_t run_grid(const Grid& grid, Body body, const void* arguments);
int wait_for_block(bool vote, const Where& where);  // whether any of the block's threads voted for
void wait_for_grid(const Where& where);
void wait_for_signal(const Where& where);  // until another thread of the block gives one
void signal();
[[noreturn]] void refuse(const char* what);
unsigned char* asked_shared();  // of the block that runs
// Gives a warp's lanes each other's words: those of all lanes, for as long as this thread asks for no others.
const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Where& where);
int lane();

template <class T>
std::uint64_t word_of(T value) {
  static_assert(sizeof(T) <= 8);
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof value);
  return word;
}
template <class T>
T value_of(std::uint64_t word) {
  T value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
template <class T>
T from_lane(unsigned mask, T value, int source, const Where& where) {
  const std::uint64_t* words = exchange(mask, word_of(value), where);
  return source >= 0 && source < 32 ? value_of<T>(words[source]) : value;
}

}  // namespace cuda_host

template <class... Params, class... Args>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Params...), Args&&... args) {
  using Call = std::tuple<void (*)(Params...), Params...>;
  return cuda_host::submit(config->stream, [grid = cuda_host::Grid(*config), call = Call(kernel, args...)] {
    return cuda_host::run_grid(
        grid,
        [](const void* arguments) {
          std::apply([](auto run, auto... each) { run(each...); }, *static_cast<const Call*>(arguments));
        },
        &call);
  });
}

inline void __syncthreads(const cuda_host::Where& where = cuda_host::Where::current()) {
  cuda_host::wait_for_block(false, where);
}
inline int __syncthreads_or(int holds, const cuda_host::Where& where = cuda_host::Where::current()) {
  return cuda_host::wait_for_block(holds != 0, where);
}
inline void __syncwarp(unsigned mask = 0xffffffff, const cuda_host::Where& where = cuda_host::Where::current()) {
  cuda_host::exchange(mask, 0, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int = 32,
              const cuda_host::Where& where = cuda_host::Where::current()) {
  return cuda_host::from_lane(mask, value, source & 31, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned step, int = 32,
                   const cuda_host::Where& where = cuda_host::Where::current()) {
  return cuda_host::from_lane(mask, value, cuda_host::lane() + static_cast<int>(step), where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned step, int = 32,
                 const cuda_host::Where& where = cuda_host::Where::current()) {
  return cuda_host::from_lane(mask, value, cuda_host::lane() - static_cast<int>(step), where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int = 32,
                  const cuda_host::Where& where = cuda_host::Where::current()) {
  return cuda_host::from_lane(mask, value, cuda_host::lane() ^ bits, where);
}
inline unsigned __ballot_sync(unsigned mask, int holds, const cuda_host::Where& where = cuda_host::Where::current()) {
  const std::uint64_t* words = cuda_host::exchange(mask, holds != 0, where);
  unsigned votes = 0;
  for (int i = 0; i < 32; ++i) votes |= static_cast<unsigned>(words[i]) << i;
  return votes;
}
inline int __any_sync(unsigned mask, int holds, const cuda_host::Where& where = cuda_host::Where::current()) {
  return __ballot_sync(mask, holds, where) != 0;
}
inline int __all_sync(unsigned mask, int holds, const cuda_host::Where& where = cuda_host::Where::current()) {
  return __ballot_sync(mask, holds, where) == mask;
}

// Fibers change places only where they wait, so that a plain addition is atomic and what is written is seen.
inline void __threadfence() {}
template <class T>
T atomicAdd(T* sum, T term) {
  static_assert(std::is_integral_v<T>, "sums of floats by atomics have no fixed order");
  const T before = *sum;
  *sum = before + term;
  return before;
}
template <class T>
T atomicMin(T* least, T term) {
  const T before = *least;
  *least = term < before ? term : before;
  return before;
}
template <class T>
T atomicMax(T* most, T term) {
  const T before = *most;
  *most = term > before ? term : before;
  return before;
}
inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
