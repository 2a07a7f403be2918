#include "core/gemm.h"

#include <algorithm>

#include "cuda/gemm.h"
#include "cuda/gemm_narrow.h"
#include "cuda/gemm_outer.h"
#include "cuda/gemm_product.h"
#include "cuda/gemm_result.h"
#include "cuda/offer.h"

// Products of matrices, by the main loops of gemm_tile.h and, on tensor cores, of gemm_tensor.h and gemm_warpgroup.h.
namespace dd2424::cuda {
namespace {

template <class T>
struct GemmPart {
  const Gemm<T>& g;
  T* c;
  Matrix<T> a, b;
  Index columns;
  bool dense, simple_epilogue;
  using Element = T;

  __device__ bool is_dense() const { return dense; }
  __device__ T* line(Index row) const { return c + row * g.c_row; }
  // The usual sums: a bias and relu at most.
  __device__ bool is_simple() const { return simple_epilogue; }
  __device__ const Computed<T>* bias() const { return g.bias; }
  __device__ bool has_relu() const { return g.epilogue == Activation::relu; }
  __device__ T result(const T* line, Index column, Computed<T> sum) const {
    return gemm_result(g, line[column * g.c_column], column, sum);
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
  bool dense, simple_epilogue;

  __device__ GemmPart<T> part(Index item) const {
    const Places<3> place = g.batch.ndim > 0 ? places(g.batch, item) : Places<3>{};
    GemmPart<T> part{g, g.c + place.at[0], a, b, columns, dense, simple_epilogue};
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

// The same product with its operands as boxes, where their places allow it: with at most one dimension of a batch.
template <class T>
bool make_operand_boxes(Boxes& boxes, const Matrix<T>& x, const Strided<3>& batch, int operand, bool& is_batch) {
  const Index along = x.k_first ? x.k_stride : x.row_stride, across = x.k_first ? x.row_stride : x.k_stride;
  const Index inner = x.k_first ? x.steps : x.rows, outer = x.k_first ? x.rows : x.steps;
  constexpr Index most = Index{1} << 31, farthest = Index{1} << 39, bytes = sizeof(T);
  const Index items = batch.ndim > 0 ? batch.shape[0] : 1, apart = batch.ndim > 0 ? batch.strides[operand][0] : 0;
  is_batch = items > 1 && apart != 0;
  const Index next = is_batch ? apart : outer * across;
  if (batch.ndim > 1 || (along != 1 && inner > 1) || inner == 0 || inner >= most || outer >= most || items >= most ||
      across < inner || next <= 0 || across * bytes >= farthest || next * bytes >= farthest ||
      !can_load(x.data, kChunk<T>, across, next))
    return false;
  return make_boxes(boxes, x.data, {inner, outer, is_batch ? items : 1}, {across * bytes, next * bytes});
}
template <class T>
Plan boxed_plan(const GemmProblem<T>& p) {
  return warpgroup_plan<T>(p.rows, p.columns, p.steps, p.count, p.limits);
}
// On tensor cores. Warpgroups take tfloat32 along k alone.
template <class T>
Status run_tensor_product(const Context& context, const GemmProblem<T>& problem) {
  Boxed<GemmProblem<T>> boxed{problem};
  const Strided<3>& batch = problem.g.batch;
  if (uses_warpgroups<T>() && problem.steps > 0 && problem.count > 0 &&
      (kIsShort<T> || (problem.a.k_first && problem.b.k_first)) &&
      make_operand_boxes(boxed.a_boxes, problem.a, batch, 1, boxed.a_is_batch) &&
      make_operand_boxes(boxed.b_boxes, problem.b, batch, 2, boxed.b_is_batch))
    return run_warpgroups<T>(context, boxed, boxed_plan(problem));
  return run_product<T>(context, problem);
}

template <class T>
GemmProblem<T> problem_of(const Gemm<T>& g) {
  const Index steps = steps_of(g);
  const int unit = unit_of<T>();
  GemmProblem<T> problem{.g = g,
                         .a = matrix(g.a, unit, g.m, steps, g.a_row, g.a_column),
                         .b = matrix(g.b, unit, g.n, steps, g.b_column, g.b_row),
                         .rows = g.m,
                         .columns = g.n,
                         .steps = steps,
                         .count = items_of(g.batch),
                         .simple_epilogue = g.alpha == 1 && g.beta == 0 &&
                                            (g.epilogue == Activation::none || g.epilogue == Activation::relu)};
  problem.a.vector = problem.a.vector && allows_units(g, unit, g.a, 1);
  problem.b.vector = problem.b.vector && allows_units(g, unit, g.b, 2);
  problem.dense =
      g.c_column == 1 && g.n % kUnit == 0 && can_load(g.c, kUnit, g.c_row) && allows_units<T>(g, kUnit, g.c, 0);
  return problem;
}

}  // namespace

template <class T>
Status gemm(const Context& context, const Gemm<T>& g) {
  const GemmProblem<T> problem = problem_of(g);
  if (is_outer(g.m, g.n, problem.steps)) return run_outer<T>(context, problem);
  if (is_narrow<T>(g.m, g.n, problem.steps)) return run_narrow<T>(context, problem);
  if constexpr (std::is_same_v<T, float>)
    if (may_round(g.allows_tf32)) return run_tensor_product(context, problem_of(rounding(g)));
  if constexpr (kIsShort<T>) return run_tensor_product(context, problem);
  else return run_product<T>(context, problem);
}

template <class T>
std::size_t gemm_workspace(const Gemm<T>& g) {
  if (is_outer(g.m, g.n, steps_of(g))) return 0;
  if (is_narrow<T>(g.m, g.n, steps_of(g))) return narrow_workspace<T>(g.m, g.n, g.k, items_of(g.batch));
  if constexpr (std::is_same_v<T, float>) {
    if (may_round(g.allows_tf32)) {
      const GemmProblem<tfloat32> p = problem_of(rounding(g));
      const std::size_t boxed = plan_workspace<tfloat32>(boxed_plan(p), p.rows, p.columns, p.count);
      return std::max(boxed, product_workspace<tfloat32>(p.rows, p.columns, p.steps, p.count, p.limits));
    }
  }
  return product_workspace<T>(g.m, g.n, steps_of(g), items_of(g.batch), GemmProblem<T>::limits);
}

template Status gemm(const Context&, const Gemm<float>&);
template Status gemm(const Context&, const Gemm<double>&);
template Status gemm(const Context&, const Gemm<bfloat16>&);
template Status gemm(const Context&, const Gemm<float16>&);
template std::size_t gemm_workspace(const Gemm<float>&);
template std::size_t gemm_workspace(const Gemm<double>&);
template std::size_t gemm_workspace(const Gemm<bfloat16>&);
template std::size_t gemm_workspace(const Gemm<float16>&);

namespace {
template <class T>
constexpr GemmKernels<T> kGemm{.gemm = gemm<T>, .gemm_workspace = gemm_workspace<T>};
}

void offer_gemm(DeviceTables& tables) {
  offer(tables, kGemm<float>);
  offer(tables, kGemm<double>);
  offer(tables, kGemm<bfloat16>);
  offer(tables, kGemm<float16>);
}

}  // namespace dd2424::cuda
