#include "core/gemm.h"

#include "cuda/elementwise_functions.h"
#include "cuda/gemm.h"
#include "cuda/gemm_product.h"
#include "cuda/offer.h"

// Products of matrices, by the main loops of gemm_tile.h and, on tensor cores, of gemm_tensor.h.
namespace dd2424::cuda {
namespace {

template <class C>
__device__ C activated(Activation activation, C y) {
  switch (activation) {
    case Activation::none: return y;
    case Activation::relu: return apply(UnaryOp::relu, y, C(0), C(0));
    case Activation::gelu: return apply(UnaryOp::gelu, y, C(0), C(0));
    case Activation::tanh: return apply(UnaryOp::tanh, y, C(0), C(0));
    case Activation::sigmoid: return apply(UnaryOp::sigmoid, y, C(0), C(0));
    case Activation::gelu_tanh: return apply(UnaryOp::gelu_tanh, y, C(0), C(0));
    default: return apply(UnaryOp::silu, y, C(0), C(0));
  }
}

template <class T>
struct GemmPart {
  const Gemm<T>& g;
  T* c;
  Matrix<T> a, b;
  Index columns;
  bool dense;
  using Element = T;

  __device__ bool is_dense() const { return dense; }
  __device__ T* line(Index row) const { return c + row * g.c_row; }
  __device__ T result(const T* line, Index column, Computed<T> sum) const {
    using C = Computed<T>;
    C y = sum * static_cast<C>(g.alpha);
    if (g.beta != 0) y = fma(static_cast<C>(g.beta), value(line[column * g.c_column]), y);
    if (g.bias) y += g.bias[column];
    return element<T>(activated(g.epilogue, y));
  }
  __device__ void store(T* line, Index column, Computed<T> sum) const {
    line[column * g.c_column] = result(line, column, sum);
  }
};

template <class T>
struct GemmProblem {
  static constexpr Limits limits{};
  Gemm<T> g;
  Matrix<T> a, b;  // of the first of the batch
  Index rows, columns, steps, count;
  bool dense;

  __device__ GemmPart<T> part(Index item) const {
    const Places<3> place = g.batch.ndim > 0 ? places(g.batch, item) : Places<3>{};
    GemmPart<T> part{g, g.c + place.at[0], a, b, columns, dense};
    part.a.data += place.at[1];
    part.b.data += place.at[2];
    return part;
  }
};

Index items_of(const Strided<3>& batch) { return batch.ndim > 0 ? items(batch) : 1; }
template <class T>
Index steps_of(const Gemm<T>& g) {
  return g.alpha == 0 ? 0 : g.k;
}

// Do all matrices of the batch, of the operand of this number, begin where units can be loaded or stored?
template <class T>
bool allows_units(const Gemm<T>& g, int unit, const T* data, int operand) {
  bool all = true;
  for (int d = 0; d < g.batch.ndim; ++d) all = all && can_load(data, unit, g.batch.strides[operand][d]);
  return all;
}

}  // namespace

template <class T>
Status gemm(const Context& context, const Gemm<T>& g) {
  const Index steps = steps_of(g);
  const int unit = unit_of<T>();
  GemmProblem<T> problem{.g = g,
                         .a = matrix(g.a, unit, g.m, steps, g.a_row, g.a_column),
                         .b = matrix(g.b, unit, g.n, steps, g.b_column, g.b_row),
                         .rows = g.m,
                         .columns = g.n,
                         .steps = steps,
                         .count = items_of(g.batch)};
  problem.a.vector = problem.a.vector && allows_units(g, unit, g.a, 1);
  problem.b.vector = problem.b.vector && allows_units(g, unit, g.b, 2);
  problem.dense =
      g.c_column == 1 && g.n % kUnit == 0 && can_load(g.c, kUnit, g.c_row) && allows_units<T>(g, kUnit, g.c, 0);
  return run_product<T>(context, problem);
}

template <class T>
std::size_t gemm_workspace(const Gemm<T>& g) {
  return product_workspace<T>(g.m, g.n, steps_of(g), items_of(g.batch), GemmProblem<T>::limits);
}

template Status gemm(const Context&, const Gemm<float>&);
template Status gemm(const Context&, const Gemm<double>&);
template Status gemm(const Context&, const Gemm<bfloat16>&);
template std::size_t gemm_workspace(const Gemm<float>&);
template std::size_t gemm_workspace(const Gemm<double>&);
template std::size_t gemm_workspace(const Gemm<bfloat16>&);

namespace {
template <class T>
constexpr GemmKernels<T> kGemm{.gemm = gemm<T>, .gemm_workspace = gemm_workspace<T>};
}

void offer_gemm(DeviceTables& tables) {
  offer(tables, kGemm<float>);
  offer(tables, kGemm<double>);
  offer(tables, kGemm<bfloat16>);
}

}  // namespace dd2424::cuda
