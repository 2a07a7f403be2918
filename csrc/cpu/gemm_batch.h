#pragma once
// The items of a batch of products.
#include "core/gemm.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Walks the batch: `at` counts items, its offsets are those of c, a and b.
struct BatchItem {
  Index c = 0, a = 0, b = 0;
  BatchItem(const Strided<3>& batch, Index at) {
    for (int d = batch.ndim - 1; d >= 0; --d) {
      const Index i = at % batch.shape[d];
      at /= batch.shape[d];
      c += i * batch.strides[0][d], a += i * batch.strides[1][d], b += i * batch.strides[2][d];
    }
  }
};
template <class T>
Index items(const Gemm<T>& g) {
  Index count = 1;
  for (int d = 0; d < g.batch.ndim; ++d) count *= g.batch.shape[d];
  return count;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
