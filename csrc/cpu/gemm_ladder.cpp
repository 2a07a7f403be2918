#include "cpu/gemm_ladder.h"

#include "core/float_mode.h"
#include "core/table.h"
#include "cpu/gemm_batch.h"
#include "cpu/gemm_output.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
Matrices<T> matrices_of(const Gemm<T>& g, const BatchItem& at) {
  return {.a = g.a + at.a,
          .b = g.b + at.b,
          .c = g.c + at.c,
          .m = g.m,
          .n = g.n,
          .k = g.alpha == 0 ? 0 : g.k,
          .a_row = g.a_row,
          .a_column = g.a_column,
          .b_row = g.b_row,
          .b_column = g.b_column,
          .c_row = g.c_row,
          .c_column = g.c_column,
          .alpha = T(g.alpha)};
}

template <class T, class F>
void for_each_element(const Matrices<T>& x, const F& f) {
  for (Index i = 0; i < x.m; ++i)
    for (Index j = 0; j < x.n; ++j) f(x.c[i * x.c_row + j * x.c_column], j);
}

template <class T, auto kMultiply>
Status gemm(const Context&, const Gemm<T>& g) {
  const FloatMode mode;
  for (Index item = 0; item < items(g); ++item) {
    const Matrices<T> x = matrices_of(g, BatchItem(g.batch, item));
    for_each_element(x, [&](T& c, Index) { c = g.beta == 0 ? 0 : T(g.beta) * c; });
    kMultiply(x);
    for_each_element(x, [&](T& c, Index j) {
      if (g.bias) c += g.bias[j];
      activate(&c, 1, g.epilogue);
    });
  }
  return Status::ok;
}

template <class T, auto kMultiply>
constexpr GemmKernels<T> kTable{.gemm = gemm<T, kMultiply>,
                                .gemm_workspace = [](const Gemm<T>&) -> std::size_t { return 0; }};

template <class T>
const GemmKernels<T>* rung_of(Rung rung) {
  switch (rung) {
    case Rung::naive: return &kTable<T, multiply_naive<T>>;
    case Rung::blocked: return &kTable<T, multiply_blocked<T>>;
    case Rung::vectorised: return &kTable<T, multiply_vectorised<T>>;
    default: return &kTable<T, multiply_threaded<T>>;
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
template <>
const GemmKernels<float>* cpu::rung_of<GemmKernels<float>, cpu::DD2424_ISA::Level>(Rung rung) {
  return cpu::DD2424_ISA::rung_of<float>(rung);
}
template <>
const GemmKernels<double>* cpu::rung_of<GemmKernels<double>, cpu::DD2424_ISA::Level>(Rung rung) {
  return cpu::DD2424_ISA::rung_of<double>(rung);
}
}  // namespace dd2424
