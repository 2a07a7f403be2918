// What the emulated GPU makes of the instructions around tensor cores: see tests/test_cuda_tensor_core.py.
#include <cstdio>
#include <string_view>

#include "cuda/tensor_core.h"

using namespace dd2424::cuda;

namespace {

constexpr int kSize = 16;
using Square = std::uint16_t[kSize][kSize];

std::uint16_t bfloat16_of(int x) {
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(x)) >> 16);
}

// The first eight columns of a b, by one warp.
__global__ void multiply(const Square* a, const Square* b, float (*c)[8], bool waits) {
  alignas(16) __shared__ Square left, right;
  const int lane = static_cast<int>(threadIdx.x);
  start_copy(&left[lane / 2][lane % 2 * 8], &(*a)[lane / 2][lane % 2 * 8], true);
  start_copy(&right[lane / 2][lane % 2 * 8], &(*b)[lane / 2][lane % 2 * 8], true);
  close_copies();
  if (waits) wait_for_copies<0>();
  else wait_for_copies<1>();
  __syncthreads();
  std::uint32_t x[4], y[4];
  load_matrices<false>(x, &left[lane % 16][lane / 16 * 8]);
  load_matrices<true>(y, &right[lane % 16][lane / 16 * 8]);
  float sums[4] = {};
  multiply_add<dd2424::bfloat16>(sums[0], sums[1], sums[2], sums[3], x, y[0], y[1]);
  for (int i = 0; i < 4; ++i) c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = sums[i];
  wait_for_copies<0>();
}

template <class T>
T* on_gpu(const T& x) {
  T* y = nullptr;
  cudaMalloc(reinterpret_cast<void**>(&y), sizeof x);
  cudaMemcpyAsync(y, &x, sizeof x, cudaMemcpyHostToDevice, nullptr);
  return y;
}

}  // namespace

int main(int, char** arguments) {
  Square a, b;
  float c[kSize][8] = {};
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < kSize; ++j) a[i][j] = bfloat16_of(i * 5 + j * 3 - 40), b[i][j] = bfloat16_of(i * 7 - j * 11);
  auto* result = on_gpu(c);
  cudaLaunchConfig_t warp{};
  warp.blockDim = dim3(32);
  const bool waits = std::string_view(arguments[1]) == "waits";
  cudaLaunchKernelEx(&warp, multiply, static_cast<const Square*>(on_gpu(a)), static_cast<const Square*>(on_gpu(b)),
                     *result + 0, waits);
  cudaMemcpyAsync(&c, result, sizeof c, cudaMemcpyDeviceToHost, nullptr);
  for (int i = 0; i < kSize; ++i)
    for (int j = 0; j < 8; ++j) {
      int sum = 0;
      for (int k = 0; k < kSize; ++k) sum += (i * 5 + k * 3 - 40) * (k * 7 - j * 11);
      if (!(c[i][j] == static_cast<float>(sum))) return std::puts("wrong");
    }
  std::puts("right");
}
