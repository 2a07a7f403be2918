#include "ops/copy.h"
#include "ops/elementwise.h"

namespace dd2424::ops {
namespace {

constexpr const char* kCompareNames[] = {"eq", "ne",          "lt",         "le",         "gt",
                                         "ge", "logical_and", "logical_or", "logical_xor"};
constexpr const char* kTestNames[] = {"isnan", "isinf", "isfinite", "logical_not"};

struct WhereNode final : Node {
  Saved condition{this};
  Shape a_shape, b_shape;
  const char* name() const override { return "where"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor c = condition.get();
    return {needs[0] ? sum_to(where(c, Operand(grads[0]), Operand(0.0)), a_shape) : Tensor(),
            needs[1] ? sum_to(where(c, Operand(0.0), Operand(grads[0])), b_shape) : Tensor()};
  }
};

// A dtype that holds both a tensor's values and a number exactly: comparing an int tensor with 1.5 is done in floats.
DType common_type(const Operand& a, const Operand& b) { return result_type(a, b); }

Device device_of(const Operand& a, const Operand& b) {  // the GPU's, where one of the two is there
  const bool on_gpu =
      (a.tensor && a.tensor->device() != Device::cpu) || (b.tensor && b.tensor->device() != Device::cpu);
  return on_gpu ? Device::cuda : Device::cpu;
}

// A number, or a tensor without dimensions of the host's, goes where the other operand is.
Tensor operand_tensor(const Operand& x, DType dtype, Device device) {
  if (!x.tensor) return scalar_tensor(x.scalar, dtype, device);
  const Tensor converted = to(*x.tensor, dtype);
  return x.tensor->ndim() == 0 && x.tensor->device() == Device::cpu ? to(converted, device) : converted;
}

}  // namespace

Tensor compare(CompareOp op, const Operand& a, const Operand& b) {
  const char* name = kCompareNames[static_cast<int>(op)];
  const GradMode off(false);
  const DType dtype = common_type(a, b);
  const Device device = device_of(a, b);
  const Tensor left = operand_tensor(a, dtype, device), right = operand_tensor(b, dtype, device);
  check_device(name, {&left, &right});
  const Tensor y = empty_following(broadcast_shapes(name, left.shape(), right.shape()), DType::bool_, {&left, &right});
  if (y.numel() == 0) return y;
  dispatch_all(dtype, [&]<class T>(T) {
    run(name, kernels<ElementwiseKernels<T>>(y.device()).compare, y.numel(), 0, op,
        Compare<T>{left.data<T>(), right.data<T>(), y.data<bool>(), strided<3>(y.shape(), {&y, &left, &right})});
  });
  return y;
}

Tensor test(TestOp op, const Tensor& x) {
  const Tensor y = empty_like(x, DType::bool_);
  if (y.numel() == 0) return y;
  dispatch_all(x.dtype(), [&]<class T>(T) {
    run(kTestNames[static_cast<int>(op)], kernels<ElementwiseKernels<T>>(y.device()).test, y.numel(), 0, op,
        Test<T>{x.data<T>(), y.data<bool>(), strided<2>(y.shape(), {&y, &x})});
  });
  return y;
}

Tensor where(const Tensor& condition, const Operand& a, const Operand& b) {
  check(condition.dtype() == DType::bool_, "where: condition must be boolean, got ", condition.dtype());
  const DType dtype = result_type(a, b);
  const Device device = condition.device();
  const Tensor left = operand_tensor(a, dtype, device), right = operand_tensor(b, dtype, device);
  check_device("where", {&condition, &left, &right});
  const Shape shape =
      broadcast_shapes("where", broadcast_shapes("where", condition.shape(), left.shape()), right.shape());
  const Tensor y = empty_following(shape, dtype, {&condition, &left, &right});
  if (y.numel() > 0) {
    dispatch_all(dtype, [&]<class T>(T) {
      run("where", kernels<ElementwiseKernels<T>>(y.device()).where, y.numel(), 0,
          Where<T>{condition.data<bool>(), left.data<T>(), right.data<T>(), y.data<T>(),
                   strided<4>(shape, {&y, &condition, &left, &right})});
    });
  }
  if (auto* node = record<WhereNode>(y, {&left, &right})) {
    node->condition.save(condition);
    node->a_shape = left.shape();
    node->b_shape = right.shape();
  }
  return y;
}

}  // namespace dd2424::ops
