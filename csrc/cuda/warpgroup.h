#pragma once
#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "cuda/tensor_core.h"

// What compute capability 9.0a adds, as functions: products of warpgroups (four warps) whose operands lie in shared
// memory, barriers that count arrivals and bytes, and copies of whole boxes. tests/cuda_host has this file's namesake
// for the emulated GPU. The PTX ISA says how they work: "wgmma", "mbarrier", "cp.async.bulk.tensor".
namespace dd2424::cuda {

#if defined(DD2424_HAS_90A)
constexpr bool kHasWarpgroups = true;
#else
constexpr bool kHasWarpgroups = false;  // compiled for other GPUs only
#endif

constexpr int kWarpgroup = 128;           // threads
constexpr std::uint32_t kSwizzle = 1024;  // bytes of a pattern of eight lines of 128: where one may begin

// A barrier in shared memory. A phase of it ends when all have arrived and all bytes are there that were announced.
using Barrier = std::uint64_t;

__device__ inline void start_barrier(Barrier& barrier, int arrivals) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(&barrier)), "r"(arrivals) : "memory");
#endif
}
__device__ inline void show_barriers() {  // to copies of boxes
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
__device__ inline void arrive(Barrier& barrier) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(&barrier)) : "memory");
#endif
}
__device__ inline void arrive_and_announce(Barrier& barrier, int bytes) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(&barrier)), "r"(bytes)
               : "memory");
#endif
}
// Until the phase of this parity has ended; before its first phase has, a barrier is as after one of parity 1.
__device__ inline void wait_for_phase(Barrier& barrier, unsigned parity) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  for (unsigned done = 0; !done;) {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
                 : "=r"(done)
                 : "r"(shared_address(&barrier)), "r"(parity)
                 : "memory");
  }
#endif
}

// All warps of a warpgroup leave registers to others, or take what others left: so many for each thread from here on.
template <int registers>
__device__ void give_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}
template <int registers>
__device__ void take_registers() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
#endif
}

// What this thread has written into shared memory, tensor cores see that are told so later.
__device__ inline void show_to_tensor_cores() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Where an operand of a warpgroup's product lies: lines of 128 bytes, whose eight chunks of 16 bytes stand at
// chunk ^ line % 8. A line is a row with 64 steps (32 of tfloat32) or, transposed, a step with 64 rows: then 64 lines
// further on come the next rows.
constexpr int kBlockLines = 64, kBlockBytes = kBlockLines * 128;
// `memory` from where such patterns may begin, of at least kSwizzle bytes more than are needed.
__device__ inline std::byte* first_block(unsigned char* memory) {
  const std::uint32_t past = shared_address(memory) % kSwizzle;
  return reinterpret_cast<std::byte*>(memory) + (kSwizzle - past) % kSwizzle;
}
__device__ inline std::uint64_t described(const std::byte* lines) {
  return std::uint64_t{(shared_address(lines) & 0x3ffff) >> 4} | std::uint64_t{kBlockBytes >> 4} << 16 |
         std::uint64_t{kSwizzle >> 4} << 32 | std::uint64_t{1} << 62;
}
// The same, as many products' steps further on.
template <bool transposed>
__device__ std::uint64_t steps_on(std::uint64_t description, int products) {
  return description + static_cast<unsigned>(products * ((transposed ? 16 * 128 : 32) >> 4));
}

// The operands of wgmma that are sums: how they are numbered, and what they are.
#define DD2424_NUMBERS_32                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
  "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define DD2424_NUMBERS_64                                                              \
  DD2424_NUMBERS_32                                                                    \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define DD2424_NUMBERS_128                                                                 \
  DD2424_NUMBERS_64                                                                        \
  ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, "     \
  "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, "       \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, " \
  "%111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, "   \
  "%125, %126, %127"
#define DD2424_SUMS_8(i)                                                                                      \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), \
      "+f"(d[i + 7])
#define DD2424_SUMS_32(i) DD2424_SUMS_8(i), DD2424_SUMS_8(i + 8), DD2424_SUMS_8(i + 16), DD2424_SUMS_8(i + 24)
#define DD2424_SUMS_64(i) DD2424_SUMS_32(i), DD2424_SUMS_32(i + 32)
#define DD2424_SUMS_128(i) DD2424_SUMS_64(i), DD2424_SUMS_64(i + 64)
// A product of n columns, and so half as many sums of a thread; `descriptions` are the numbers of a's and b's.
#define DD2424_SHORT_PRODUCT(n, sums, descriptions, type)                                                \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" n "k16.f32." type "." type " {" DD2424_NUMBERS_##sums \
               "}, " descriptions ";"                                                                    \
               : DD2424_SUMS_##sums(0)                                                                   \
               : "l"(a), "l"(b), "n"(a_transposed), "n"(b_transposed)                                    \
               : "memory")
#define DD2424_PRODUCT(n, sums, of_a, of_b, a_turned, b_turned)                                                        \
  if constexpr (std::is_same_v<T, bfloat16>)                                                                           \
    DD2424_SHORT_PRODUCT(n, sums, of_a ", " of_b ", 1, 1, 1, " a_turned ", " b_turned, "bf16");                        \
  else if constexpr (std::is_same_v<T, float16>)                                                                       \
    DD2424_SHORT_PRODUCT(n, sums, of_a ", " of_b ", 1, 1, 1, " a_turned ", " b_turned, "f16");                         \
  else                                                                                                                 \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" n "k8.f32.tf32.tf32 {" DD2424_NUMBERS_##sums "}, " of_a ", " of_b \
                                                                                                  ", 1, 1, 1;"         \
                 : DD2424_SUMS_##sums(0)                                                                               \
                 : "l"(a), "l"(b)                                                                                      \
                 : "memory")

// A warpgroup starts d += a b: a is 64 by 16 (by 8, along k, of tfloat32) and b has two columns for each element of d.
// Thread 32 w + 4 g + t has of row 16 w + g columns 8 j + 2 t and the next, as d[4 j] and d[4 j + 1]; of row
// 16 w + g + 8 as d[4 j + 2] and d[4 j + 3].
template <class T, bool a_transposed, bool b_transposed, int count>
__device__ void start_product(float (&d)[count], std::uint64_t a, std::uint64_t b) {
  static_assert(count == 32 || count == 64 || count == 128);
  static_assert(kIsShort<T> || (!a_transposed && !b_transposed));
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  if constexpr (count == 32) {
    DD2424_PRODUCT("64", 32, "%32", "%33", "%34", "%35");
  } else if constexpr (count == 64) {
    DD2424_PRODUCT("128", 64, "%64", "%65", "%66", "%67");
  } else {
    DD2424_PRODUCT("256", 128, "%128", "%129", "%130", "%131");
  }
#endif
}
#undef DD2424_PRODUCT
#undef DD2424_SHORT_PRODUCT
#undef DD2424_SUMS_128
#undef DD2424_SUMS_64
#undef DD2424_SUMS_32
#undef DD2424_SUMS_8
#undef DD2424_NUMBERS_128
#undef DD2424_NUMBERS_64
#undef DD2424_NUMBERS_32
__device__ inline void open_products() {  // before the first, of those that use what registers hold now
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void close_products() {  // those that were started become a group
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until all but the last `groups` groups have ended.
template <int groups, int blocks, int count>
__device__ void wait_for_products(float (&d)[blocks][count]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(groups) : "memory");
#pragma unroll
  for (int block = 0; block < blocks; ++block)
#pragma unroll
    for (int i = 0; i < count; ++i) asm volatile("" : "+f"(d[block][i])::"memory");
#endif
}

// A matrix, or a batch of them, of which boxes of 64 lines by 128 bytes can be copied: elements (x, y, z), of which x
// lie side by side. There is nothing but zeros beyond its edges.
struct Boxes {
  CUtensorMap map;
};
// Strides in bytes, which like the address are multiples of 16. Whether the driver has made them. What is copied of
// tfloat32 is rounded to it on the way, ties to even.
template <class T>
bool make_boxes(Boxes& boxes, const T* data, const std::int64_t (&size)[3], const std::int64_t (&stride)[2]) {
  constexpr auto type = std::is_same_v<T, bfloat16>  ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                        : std::is_same_v<T, float16> ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
                                                     : CU_TENSOR_MAP_DATA_TYPE_TFLOAT32;
  using Encode = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                              const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                              CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);
  static const Encode encode = [] {  // the driver's, which nothing is linked to
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
#if CUDART_VERSION >= 12050
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000, cudaEnableDefault, &result);
#else
    cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &found, cudaEnableDefault, &result);
#endif
    return result == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(found) : nullptr;
  }();
  if (!encode) return false;
  const cuuint64_t sizes[3] = {static_cast<cuuint64_t>(size[0]), static_cast<cuuint64_t>(size[1]),
                               static_cast<cuuint64_t>(size[2])};
  const cuuint64_t strides[2] = {static_cast<cuuint64_t>(stride[0]), static_cast<cuuint64_t>(stride[1])};
  const cuuint32_t box[3] = {128 / sizeof(T), kBlockLines, 1}, all[3] = {1, 1, 1};
  return encode(&boxes.map, type, 3, const_cast<T*>(data), sizes, strides, box, all, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}
__device__ inline void start_box(std::byte* lines, const Boxes& boxes, int x, int y, int z, Barrier& barrier) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(shared_address(lines)),
      "l"(&boxes.map), "r"(shared_address(&barrier)), "r"(x), "r"(y), "r"(z)
      : "memory");
#endif
}

}  // namespace dd2424::cuda
