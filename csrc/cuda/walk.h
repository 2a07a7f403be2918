#pragma once
#include "cuda/launch.h"
#include "cuda/pack.h"

// How kernels walk through elements. A thread has a few packs of neighbouring ones, all of which it loads before it
// computes: so enough of memory is under way. Places have 32 bits, and no division is the machine's.
namespace dd2424::cuda {

// n / divisor for n < 2^31 by a multiplication (Granlund and Montgomery, "Division by Invariant Integers", PLDI 1994).
struct Divider {
  std::uint32_t divisor, factor, shift;
  Divider() = default;
  explicit Divider(Index d) : divisor(static_cast<std::uint32_t>(d)), shift(0) {
    while (Index{1} << shift < d) ++shift;
    factor = static_cast<std::uint32_t>((((Index{1} << shift) - d) << 32) / d + 1);
  }
  __device__ std::uint32_t quotient(std::uint32_t n) const {
    return (static_cast<std::uint32_t>(std::uint64_t{n} * factor >> 32) + n) >> shift;
  }
};

// Where a pack begins in each operand, and how many elements of it there are.
template <int N>
struct Spot {
  std::int32_t at[N];
  int count;
};

template <int N>
struct Walk {
  std::uint32_t elements;
  int ndim;
  Divider sizes[kMaxDims];  // here the first dimension is the one that varies fastest
  std::int32_t strides[N][kMaxDims];

  explicit Walk(const Strided<N>& space) : elements(static_cast<std::uint32_t>(items(space))), ndim(space.ndim) {
    for (int d = 0; d < ndim; ++d) {
      if (d + 1 < ndim) sizes[d] = Divider(space.shape[ndim - 1 - d]);  // the last takes what is left
      for (int k = 0; k < N; ++k) strides[k][d] = static_cast<std::int32_t>(space.strides[k][ndim - 1 - d]);
    }
  }
  template <int W>
  __device__ Spot<N> spot(std::uint32_t pack) const {
    std::uint32_t i = pack * W;
    Spot<N> found{};
    found.count = i >= elements ? 0 : elements - i < W ? static_cast<int>(elements - i) : W;
#pragma unroll 1
    for (int d = 0; d + 1 < ndim; ++d) {
      const std::uint32_t rest = sizes[d].quotient(i);
      const auto place = static_cast<std::int32_t>(i - rest * sizes[d].divisor);
#pragma unroll
      for (int k = 0; k < N; ++k) found.at[k] += place * strides[k][d];
      i = rest;
    }
#pragma unroll
    for (int k = 0; k < N; ++k) found.at[k] += static_cast<std::int32_t>(i) * strides[k][ndim - 1];
    return found;
  }
  // What operand k has there; a number that stands for many is read once.
  template <int W, class T>
  __device__ Pack<T, W> load(const T* p, const Spot<N>& spot, int k) const {
    p += spot.at[k];
    if (spot.count == W && (W == 1 || strides[k][0] == 1)) return load_pack<W>(p, true);
    Pack<T, W> x{};
    if (spot.count == 0) return x;
    const T first = *p;
#pragma unroll
    for (int w = 0; w < W; ++w) x.of[w] = strides[k][0] == 0 || w >= spot.count ? first : p[w];
    return x;
  }
  template <int W, class T>
  __device__ void store(T* p, const Spot<N>& spot, const Pack<T, W>& x) const {  // to operand 0
    p += spot.at[0];
    if (spot.count == W) return store_pack<W>(p, x, true);
#pragma unroll
    for (int w = 0; w < W; ++w)
      if (w < spot.count) p[w] = x.of[w];
  }
};

// Packs of a thread of such a kernel: the block's lie one after the other.
constexpr int packs_at_once(int width) { return width == 1 ? 4 : 2; }
template <int kPacks>
__device__ inline std::uint32_t pack_of(int k) {
  return (blockIdx.x * kPacks + static_cast<unsigned>(k)) * blockDim.x + threadIdx.x;
}
template <int W, int kPacks, class... Params, class... Args>
Status launch_packs(const Context& context, Index n, void (*kernel)(Params...), Args... args) {
  constexpr Index each = Index{W} * kPacks * kThreads;
  return launch(context, dim3(static_cast<unsigned>((n + each - 1) / each)), dim3(kThreads), kernel, args...);
}

// Calls run(part of the space, where it begins in each operand): the parts' places fit in 32 bits.
template <int N, class F>
Status in_parts(const Strided<N>& space, const F& run, Places<N> start = {}) {
  constexpr Index most = Index{1} << 31, even = 64;  // parts begin where packs may
  bool fits = items(space) < most;
  for (int k = 0; k < N; ++k) {
    Index span = 0;
    for (int d = 0; d < space.ndim; ++d)
      span += (space.shape[d] - 1) * (space.strides[k][d] < 0 ? -space.strides[k][d] : space.strides[k][d]);
    fits = fits && span < most;
  }
  if (fits) return run(space, start);
  int widest = 0;
  for (int d = 1; d < space.ndim; ++d)
    if (space.shape[d] > space.shape[widest]) widest = d;
  Strided<N> part = space;
  const Index half = space.shape[widest] / 2;
  part.shape[widest] = half > even ? half / even * even : half;
  const Status status = in_parts(part, run, start);
  if (status != Status::ok) return status;
  for (int k = 0; k < N; ++k) start.at[k] += part.shape[widest] * space.strides[k][widest];
  part.shape[widest] = space.shape[widest] - part.shape[widest];
  return in_parts(part, run, start);
}

// Whether W elements may be read and written together: they lie side by side, or are one, in every operand.
struct Operand {
  const void* p;
  std::size_t bytes;  // of an element
};
template <int N>
bool are_packs(const Strided<N>& space, Index W, const Operand (&operands)[N]) {
  const int last = space.ndim - 1;
  if (space.strides[0][last] != 1 || (last > 0 && space.shape[last] % W != 0)) return false;
  for (int k = 0; k < N; ++k) {
    if (space.strides[k][last] == 0) continue;
    if (space.strides[k][last] != 1) return false;
    for (int d = 0; d < last; ++d)
      if (space.strides[k][d] % W != 0) return false;
    if (reinterpret_cast<std::uintptr_t>(operands[k].p) % (static_cast<std::size_t>(W) * operands[k].bytes) != 0)
      return false;
  }
  return true;
}

}  // namespace dd2424::cuda
