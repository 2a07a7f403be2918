#pragma once
#include <cuda_runtime.h>

#include <initializer_list>

#include "core/types.h"

// Neighbouring elements that are read and written together.
namespace dd2424::cuda {

// W neighbouring elements; `aligned` tells whether one load may read them.
template <class T>
constexpr int kPack = sizeof(T) == 8 ? 2 : 4;
template <class T, int W>
struct alignas(W * sizeof(T)) Pack {
  T of[W];
};
template <int W, class T>
__device__ inline Pack<T, W> load_pack(const T* p, bool aligned) {
  if (aligned) return *reinterpret_cast<const Pack<T, W>*>(p);
  Pack<T, W> x;
#pragma unroll
  for (int w = 0; w < W; ++w) x.of[w] = p[w];
  return x;
}
template <int W, class T>
__device__ inline void store_pack(T* p, const Pack<T, W>& x, bool aligned) {
  if (aligned) {
    *reinterpret_cast<Pack<T, W>*>(p) = x;
    return;
  }
#pragma unroll
  for (int w = 0; w < W; ++w) p[w] = x.of[w];
}
inline bool are_aligned(std::initializer_list<const void*> pointers) {  // null is
  for (const void* p : pointers)
    if (reinterpret_cast<std::uintptr_t>(p) % 16 != 0) return false;
  return true;
}

}  // namespace dd2424::cuda
