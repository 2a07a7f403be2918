// Every tile of products on warpgroups, on the emulated GPU: see tests/test_cuda_tensor_core.py.
#include <cstdio>
#include <vector>

#include "cuda/gemm_product.h"

using namespace dd2424;
using namespace dd2424::cuda;

namespace dd2424::cuda {  // of library.cu
Status checked(cudaError_t error) { return error == cudaSuccess ? Status::ok : Status::device_error; }
int compute_capability() { return 90; }
}  // namespace dd2424::cuda

namespace {

template <class T>
struct Part {
  Matrix<T> a, b;
  T* c;
  Index columns;
  bool dense;
  using Element = T;
  bool is_dense() const { return dense; }
  T* line(Index row) const { return c + row * columns; }
  T result(const T*, Index, float sum) const { return element<T>(sum); }
  void store(T* line, Index column, float sum) const { line[column] = result(line, column, sum); }
};
template <class T>
struct Problem {
  static constexpr Limits limits{};
  Part<T> only;
  Matrix<T> a, b;
  Index rows, columns, steps, count;
  Part<T> part(Index) const { return only; }
};

int value_of(Index line, Index k, int by) { return static_cast<int>((line * by + k * (by + 2)) % 5) - 2; }
template <class T>
T* on_gpu(const std::vector<T>& x) {
  void* y = nullptr;
  cudaMalloc(&y, x.size() * sizeof(T));
  cudaMemcpyAsync(y, x.data(), x.size() * sizeof(T), cudaMemcpyHostToDevice, nullptr);
  return static_cast<T*>(y);
}
// The values, line by line along k or turned, with `pad` elements between: one that is no multiple of 8 for no vectors.
template <class T>
Matrix<T> operand(Index lines, Index steps, bool k_first, Index pad, int by) {
  const Index wide = k_first ? steps : lines, apart = (wide + 7) / 8 * 8 + pad;
  std::vector<T> x(static_cast<std::size_t>(apart * (k_first ? lines : steps)), element<T>(NAN));
  for (Index line = 0; line < lines; ++line)
    for (Index k = 0; k < steps; ++k)
      x[static_cast<std::size_t>(k_first ? line * apart + k : k * apart + line)] =
          element<T>(static_cast<float>(value_of(line, k, by)));
  return matrix(static_cast<const T*>(on_gpu(x)), kChunk<T>, lines, steps, k_first ? apart : 1, k_first ? 1 : apart);
}

template <class T, class Main>
bool is_right(Index m, Index n, Index k, bool a_along_k, bool b_along_k, bool boxed, Index pad) {
  const auto a = operand<T>(m, k, a_along_k, pad, 3), b = operand<T>(n, k, b_along_k, pad, 1);
  T* c = on_gpu(std::vector<T>(static_cast<std::size_t>(m * n)));
  const Problem<T> problem{{a, b, c, n, n % kUnit == 0}, a, b, m, n, k, 1};
  const Tiles tiles{static_cast<unsigned>(ceil_div(m, Main::rows)), static_cast<unsigned>(ceil_div(n, Main::columns))};
  cudaLaunchConfig_t launch{};
  launch.gridDim = dim3(2), launch.blockDim = dim3(Main::threads), launch.dynamicSmemBytes = Main::shared_bytes;
  const Cut whole{1, k};
  float* const partial = nullptr;
  if (boxed) {
    Boxed<Problem<T>> with_boxes{problem};
    const auto make = [](Boxes& boxes, const Matrix<T>& x) {
      const Index apart = static_cast<Index>(sizeof(T)) * (x.k_first ? x.row_stride : x.k_stride);
      return make_boxes(boxes, x.data, {x.k_first ? x.steps : x.rows, x.k_first ? x.rows : x.steps, 1}, {apart, apart});
    };
    if (!make(with_boxes.a_boxes, a) || !make(with_boxes.b_boxes, b)) return false;
    cudaLaunchKernelEx(&launch, warpgroup_kernel<Main, Boxed<Problem<T>>>, with_boxes, tiles, whole, partial);
  } else {
    cudaLaunchKernelEx(&launch, warpgroup_kernel<Main, Problem<T>>, problem, tiles, whole, partial);
  }
  std::vector<T> y(static_cast<std::size_t>(m * n));
  cudaMemcpyAsync(y.data(), c, y.size() * sizeof(T), cudaMemcpyDeviceToHost, nullptr);
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j < n; ++j) {
      int sum = 0;
      for (Index p = 0; p < k; ++p) sum += value_of(i, p, 3) * value_of(j, p, 1);
      if (value(y[static_cast<std::size_t>(i * n + j)]) == static_cast<float>(sum)) continue;
      std::printf("%d by %d, boxes %d, along k %d %d: (%d, %d)\n", Main::rows, Main::columns, boxed, a_along_k,
                  b_along_k, static_cast<int>(i), static_cast<int>(j));
      return false;
    }
  return true;
}
template <class Main>
bool all_right(Index m, Index n) {
  bool right = true;
  for (int way = 0; way < 4; ++way)
    for (const bool boxed : {false, true})
      right = right && is_right<bfloat16, Main>(m, n, 72, way & 1, way & 2, boxed, 0);
  return right && is_right<bfloat16, Main>(m + 1, n + 1, 67, true, false, false, 3) &&
         is_right<bfloat16, Main>(m, n + 1, 67, false, true, true, 8);
}

}  // namespace

int main() {
  const bool right = all_right<WarpgroupLoop<bfloat16, 128, 64>>(136, 72) &&
                     all_right<WarpgroupLoop<bfloat16, 128, 128>>(264, 228) &&
                     all_right<WarpgroupLoop<bfloat16, 128, 256>>(136, 264) &&
                     all_right<WarpgroupLoop<bfloat16, 256, 128>>(200, 136) &&
                     is_right<float16, WarpgroupLoop<float16, 128, 128>>(136, 72, 72, true, false, true, 0) &&
                     is_right<tfloat32, WarpgroupLoop<tfloat32, 128, 128>>(136, 136, 68, true, true, true, 0) &&
                     is_right<tfloat32, WarpgroupLoop<tfloat32, 128, 64>>(130, 67, 37, true, true, true, 8);
  std::puts(right ? "right" : "wrong");
}
