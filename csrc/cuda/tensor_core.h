#pragma once
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "cuda/value.h"

// The instructions that tensor cores are fed by, from compute capability 8.0 on, as functions. tests/cuda_host has this
// file's namesake for the emulated GPU. Where elements stand in registers is the PTX ISA's matter ("Matrix fragments
// for mma.m16n8k16" and "mma.m16n8k8", "ldmatrix"); gemm_tensor.h keeps to it.
namespace dd2424::cuda {

__device__ inline std::uint32_t shared_address(const void* shared) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
}

// Starts to copy 4, 8 or 16 bytes into shared memory, or zeros if `has` is false. What a thread has started becomes a
// group when it calls close_copies; wait_for_copies<n> returns when all but the last n groups are there, of this
// thread. GPUs before 8.0 copy at once.
template <int bytes = 16>
__device__ void start_copy(void* shared, const void* global, bool has) {
#if __CUDA_ARCH__ >= 800
  if constexpr (bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(has ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(shared)), "l"(global), "n"(bytes),
                 "r"(has ? bytes : 0)
                 : "memory");
#else
  struct alignas(bytes) Bytes {
    unsigned char at[bytes];
  };
  *static_cast<Bytes*>(shared) = has ? *static_cast<const Bytes*>(global) : Bytes{};
#endif
}
__device__ inline void close_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int groups>
__device__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(groups) : "memory");
#endif
}

// A warp reads four matrices of 8 lines by 8 16-bit elements; its lane i says where line i % 8 of matrix i / 8 begins.
// Of each matrix it then has elements 2 (lane % 4) and the next of line lane / 4; transposed, of that column.
template <bool transposed>
__device__ void load_matrices(std::uint32_t (&y)[4], const void* line) {
#if __CUDA_ARCH__ >= 750
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(y[0]), "=r"(y[1]), "=r"(y[2]), "=r"(y[3])
                 : "r"(shared_address(line))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(y[0]), "=r"(y[1]), "=r"(y[2]), "=r"(y[3])
                 : "r"(shared_address(line))
                 : "memory");
#endif
}

// The bits of a float32 with 10 bits of its mantissa, to the nearest, ties away from zero.
__device__ inline std::uint32_t rounded_to_tfloat32(std::uint32_t x) {
#if __CUDA_ARCH__ >= 800
  std::uint32_t y;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(__uint_as_float(x)));
  return y;
#else
  return x;
#endif
}

// c += a b of a warp: a is 16 by 16 and b 16 by 8 of a short type, or 16 by 8 and 8 by 8 of tfloat32; c 16 by 8 float.
template <class T>
__device__ void multiply_add(float& c0, float& c1, float& c2, float& c3, const std::uint32_t (&a)[4], std::uint32_t b0,
                             std::uint32_t b1) {
#if __CUDA_ARCH__ >= 800
#define DD2424_MULTIPLY_ADD(shape)                                                                          \
  asm volatile("mma.sync.aligned." shape " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" \
               : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))
  if constexpr (std::is_same_v<T, bfloat16>) DD2424_MULTIPLY_ADD("m16n8k16.row.col.f32.bf16.bf16.f32");
  else if constexpr (std::is_same_v<T, float16>) DD2424_MULTIPLY_ADD("m16n8k16.row.col.f32.f16.f16.f32");
  else DD2424_MULTIPLY_ADD("m16n8k8.row.col.f32.tf32.tf32.f32");
#undef DD2424_MULTIPLY_ADD
#endif
}

}  // namespace dd2424::cuda
