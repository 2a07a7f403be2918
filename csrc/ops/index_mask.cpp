#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"

namespace dd2424::ops {
namespace {

struct Counted {  // a contiguous mask and how many of it are true
  Tensor mask;
  Answer<Index, kMaxChunks + 1> before;
  Index total;
  explicit Counted(const Tensor& mask) : mask(mask), before(mask.device()) {
    if (mask.device() != Device::cpu) check_not_capturing("nonzero", "a mask must not decide the size of a result");
    run("nonzero", kernels<IndexKernels>(mask.device()).count_true, mask.numel(), 0, of());
    total = before.read()[kMaxChunks];
  }
  MaskCount of() const { return {mask.data<bool>(), mask.numel(), before.data()}; }
};

}  // namespace

Tensor select_true(const Tensor& input, const Tensor& over) {
  check_device("masked_select", {&input, &over});
  const Tensor x = contiguous(input), mask = contiguous(over);
  const Counted counted(mask);
  Shape shape{counted.total};
  for (int d = mask.ndim(); d < x.ndim(); ++d) shape.push_back(x.size(d));
  const Tensor y = empty(shape, x.dtype(), x.device());
  if (y.numel() == 0) return y;
  run("index", kernels<IndexKernels>(x.device()).select_true, x.numel(), 0,
      MaskSelect{counted.of(), x->data, y->data, x.numel() / mask.numel() * item_bytes(x.dtype())});
  return y;
}

Tensor nonzero(const Tensor& x) {
  const GradMode off(false);
  const Tensor mask = contiguous(x.dtype() == DType::bool_ ? x : compare(CompareOp::ne, x, Scalar(0)));
  const Counted counted(mask);
  const Tensor y = empty({counted.total, x.ndim()}, DType::int64, x.device());
  if (y.numel() == 0) return y;
  MaskPlaces places{.of = counted.of(), .y = y.data<Index>(), .ndim = x.ndim(), .shape = {}};
  std::copy(x.shape().begin(), x.shape().end(), places.shape);
  run("nonzero", kernels<IndexKernels>(x.device()).find_true, mask.numel(), 0, places);
  return y;
}

}  // namespace dd2424::ops
