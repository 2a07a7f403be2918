#include "cuda/launch.h"
#include "cuda/offer.h"

// What the chip can do, for benchmarks to compare with: loops that do nothing else.
namespace dd2424::cuda {
namespace {

constexpr int kBlocks = 8 * 132;  // some for each multiprocessor of the largest chip there is

// Each thread has four 128-bit loads under way.
template <bool reads, bool writes>
__global__ void walk_kernel(const float4* x, float4* y, Index n) {
  const Index threads = static_cast<Index>(gridDim.x) * blockDim.x;
  const Index first = static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x;
  float sum = 0;
  for (Index i = first; i < n; i += 4 * threads) {
    float4 v[4]{};
    for (int k = 0; k < 4; ++k)
      if (reads && i + k * threads < n) v[k] = x[i + k * threads];
    for (int k = 0; k < 4; ++k) {
      if (writes && i + k * threads < n) y[i + k * threads] = v[k];
      if (!writes) sum += v[k].x + v[k].y + v[k].z + v[k].w;
    }
  }
  if (!writes && sum == 1e-38f) const_cast<float4*>(x)->x = 0;  // never, which the compiler does not know
}
Status walk_memory(const void* x, void* y, std::size_t bytes, void* stream) {
  const Index n = static_cast<Index>(bytes / sizeof(float4));
  if (n == 0) return Status::ok;
  const Context context{.stream = stream};
  const Index enough = (n + 4 * kThreads - 1) / (4 * kThreads);
  const dim3 blocks(static_cast<unsigned>(enough < kMostBlocks ? enough : kMostBlocks));
  const auto* from = static_cast<const float4*>(x);
  auto* to = static_cast<float4*>(y);
  if (!y) return launch(context, blocks, dim3(kThreads), walk_kernel<true, false>, from, to, n);
  if (!x) return launch(context, blocks, dim3(kThreads), walk_kernel<false, true>, from, to, n);
  return launch(context, blocks, dim3(kThreads), walk_kernel<true, true>, from, to, n);
}

constexpr int kChains = 8;  // that do not wait for each other, in each thread

__global__ void multiply_adds_kernel(Index rounds, float factor, float* never) {
  float sum[kChains];
  for (int k = 0; k < kChains; ++k) sum[k] = factor + static_cast<float>(k);
  for (Index i = 0; i < rounds; ++i)
    for (float& s : sum) s = fmaf(s, factor, 1e-3f);
  float all = 0;
  for (const float s : sum) all += s;
  if (all == 1e-38f) *never = all;
}

// d += a b of 16 x 8 x 16 numbers of bfloat16, by a warp.
__device__ inline void multiply_tile(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDA_ARCH__
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
#else
  for (float& each : d) each += static_cast<float>(a[0] & b[0]);  // not what it computes: only its time is asked for
#endif
}
__global__ void multiply_tiles_kernel(Index rounds, unsigned bits, float* never) {
  float d[kChains][4]{};
  const unsigned a[4]{bits, bits, bits, bits}, b[2]{bits, bits};
  for (Index i = 0; i < rounds; ++i)
    for (float (&tile)[4] : d) multiply_tile(tile, a, b);
  float all = 0;
  for (const float (&tile)[4] : d) all += tile[0] + tile[1] + tile[2] + tile[3];
  if (all == 1e-38f) *never = all;
}

Status multiply_adds(bool by_tensor_cores, Index rounds, void* stream, double* operations) {
  const Context context{.stream = stream};
  const double threads = static_cast<double>(kBlocks) * kThreads, steps = static_cast<double>(rounds * kChains);
  float* const never = nullptr;
  if (by_tensor_cores) {
    *operations = 2.0 * 16 * 8 * 16 * threads / kWarp * steps;
    return launch(context, dim3(kBlocks), dim3(kThreads), multiply_tiles_kernel, rounds, 0u, never);
  }
  *operations = 2 * threads * steps;
  return launch(context, dim3(kBlocks), dim3(kThreads), multiply_adds_kernel, rounds, 1.0f, never);
}

__global__ void nothing() {}

}  // namespace

void offer_machine(DeviceServices& services) {
  services.walk_memory = walk_memory;
  services.multiply_adds = multiply_adds;
  services.launch_nothing = [](void* stream) { return launch({.stream = stream}, dim3(1), dim3(kWarp), nothing); };
}

}  // namespace dd2424::cuda
