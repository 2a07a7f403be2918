#include "ops/copy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/copy.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct ToNode final : Node {
  DType from;
  explicit ToNode(DType from) : from(from) {}
  const char* name() const override { return "to"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {to(grads[0], from)}; }
};

struct MoveNode final : Node {
  Device from;
  explicit MoveNode(Device from) : from(from) {}
  const char* name() const override { return "to"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {to(grads[0], from)}; }
};

struct CloneNode final : Node {
  const char* name() const override { return "clone"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {grads[0]}; }
};

Tensor cloned(const Tensor& x, const Tensor& y) {
  copy_into(y, x);
  record<CloneNode>(y, {&x});
  return y;
}

// The other device is given x's elements as they lie, one after the other; what else is to change, y's device does.
void copy_across(const Tensor& y, const Tensor& x, bool non_blocking = false) {
  const Tensor source = contiguous(detach(x));
  const bool fits = y.dtype() == x.dtype() && y.is_contiguous() && y.shape() == x.shape();
  const Tensor target = fits ? y : empty(x.shape(), x.dtype(), y.device());
  copy_bytes(y.device(), target->data, x.device(), source->data,
             static_cast<std::size_t>(x.numel() * item_bytes(x.dtype())),
             non_blocking && is_pinned(y.device() == Device::cpu ? target : source));
  if (!fits) copy_into(y, target);
}

}  // namespace

void copy_into(const Tensor& y, const Tensor& x) {
  if (y.numel() == 0 || (y.dtype() == x.dtype() && in_same_place(y, x))) return;
  if (y.device() != x.device()) [[unlikely]]
    return copy_across(y, x);
  if (y.device() == Device::cpu && y.dtype() == x.dtype() && y.is_contiguous() && x.is_contiguous() &&
      y.shape() == x.shape() && y.numel() * item_bytes(y.dtype()) <= 4096) {
    std::memmove(y->data, x->data, static_cast<std::size_t>(y.numel() * item_bytes(y.dtype())));
    ++detail::kernels_run;
    return;
  }
  const Tensor source = may_overlap(y, x) ? clone_contiguous(detach(x)) : x;
  run("copy_", kernels<CopyKernels>(y.device()).copy, y.numel(), 0,
      Copy{source->data, y->data, source.dtype(), y.dtype(), strided<2>(y.shape(), {&y, &source})});
}

void fill_into(const Tensor& y, const Scalar& value) {
  if (y.numel() == 0) return;
  const Element element = to_element(value, y.dtype());
  run("fill_", kernels<CopyKernels>(y.device()).fill, y.numel(), 0,
      Fill{y->data, y.dtype(), strided<1>(y.shape(), {&y}), &element});
}

Tensor clone(const Tensor& x) { return cloned(x, empty_like(x)); }
Tensor clone_contiguous(const Tensor& x) { return cloned(x, empty(x.shape(), x.dtype(), x.device())); }

Tensor to(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  const Tensor y = empty_like(x, dtype);
  copy_into(y, x);
  if (is_floating(dtype) && is_floating(x.dtype())) record<ToNode>(y, {&x}, x.dtype());
  return y;
}

bool is_pinned(const Tensor& x) { return x->storage->give_back == static_cast<void (*)(void*)>(release_pinned); }

namespace {

Tensor pinned_like(const Tensor& x) {
  void* block = allocate_pinned(static_cast<std::size_t>(std::max<Index>(x.numel(), 1) * item_bytes(x.dtype())));
  return from_blob(block, x.shape(), empty_like(x, x.dtype(), Device::cpu).strides(), x.dtype(), true, release_pinned,
                   block);
}

}  // namespace

Tensor pin_memory(const Tensor& x) {
  check(x.device() == Device::cpu, "pin_memory: input must be in the host's memory, got one on ", x.device());
  if (is_pinned(x)) return x;
  return cloned(x, pinned_like(x));
}

Tensor to(const Tensor& x, Device device, bool non_blocking) {
  if (x.device() == device) return x;
  const bool lands_pinned = non_blocking && device == Device::cpu;
  const Tensor y = lands_pinned ? pinned_like(x) : empty_like(x, x.dtype(), device);
  if (x.numel() > 0) {
    const Tensor dense = x.strides() == y.strides() ? x : empty_like(x);  // as y lies
    copy_into(dense, x);
    copy_bytes(device, y->data, x.device(), dense->data, static_cast<std::size_t>(x.numel() * item_bytes(x.dtype())),
               lands_pinned || (non_blocking && is_pinned(dense)));
  }
  record<MoveNode>(y, {&x}, x.device());
  return y;
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone_contiguous(x); }

Tensor& copy_(Tensor& self, const Tensor& x, bool non_blocking) {
  check_inplace("copy_", self);
  check(broadcast_shapes("copy_", self.shape(), x.shape()) == self.shape(), "copy_: input must broadcast to ",
        self.shape(), ", got ", x.shape());
  const bool recorded = grad_enabled() && (needs_grad(x) || needs_grad(self));
  if (non_blocking && !recorded && self.device() != x.device() && self.shape() == x.shape() && x.numel() > 0) {
    copy_across(self, x, true);
    count_write(self);
    return self;
  }
  assign(self, recorded ? expand(to(x, self.dtype()), self.shape()) : x);
  return self;
}

Tensor& fill_(Tensor& self, const Scalar& value) {
  check_inplace("fill_", self);
  if (grad_enabled() && (needs_grad(self) || (self->base && needs_grad(Tensor(self->base))))) {
    assign(self, full(self.shape(), value, self.dtype(), self.device()));
  } else {
    fill_into(self, value);
    count_write(self);
  }
  return self;
}

Tensor detach(const Tensor& x) { return alias(x); }

Tensor full(const Shape& shape, const Scalar& value, DType dtype, Device device) {
  checked_numel("full", shape);
  const Tensor y = empty(shape, dtype, device);
  fill_into(y, value);
  return y;
}
Tensor zeros(const Shape& shape, DType dtype, Device device) { return full(shape, Scalar(0), dtype, device); }
Tensor full_like(const Tensor& x, const Scalar& value) {
  const Tensor y = empty_like(x);
  fill_into(y, value);
  return y;
}
Tensor scalar_tensor(const Scalar& value, DType dtype, Device device) {
  if (device != Device::cpu) return full({}, value, dtype, device);
  const Tensor y = empty({}, dtype);
  const Element element = to_element(value, dtype);
  std::memcpy(y->data, &element, static_cast<std::size_t>(item_bytes(dtype)));
  return y;
}

namespace {

double arange_length(const Scalar& start, const Scalar& end, const Scalar& step) {
  const bool has_floats =
      start.kind == Scalar::Kind::floating || end.kind == Scalar::Kind::floating || step.kind == Scalar::Kind::floating;
  std::int64_t span;
  if (has_floats || __builtin_sub_overflow(end.integer, start.integer, &span) || span == INT64_MIN)
    return std::ceil((end.floating - start.floating) / step.floating);
  const std::int64_t whole = span / step.integer, rest = span % step.integer;  // exact, as doubles above 2^53 are not
  return static_cast<double>(rest != 0 && (rest < 0) == (step.integer < 0) ? whole + 1 : whole);
}

}  // namespace

Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, DType dtype, Device device) {
  check<RuntimeError>(!step.is_zero(), "arange: step must not be 0");
  const double length = arange_length(start, end, step);
  check(std::isfinite(length) && length >= 0, "arange: end must lie from start in the direction of step, got start ",
        start.floating, ", end ", end.floating, ", step ", step.floating);
  check(length < 0x1p55, "arange: must have fewer than 2^55 elements, got start ", start.floating, ", end ",
        end.floating, ", step ", step.floating);
  const Tensor y = empty({static_cast<Index>(length)}, dtype, device);
  if (y.numel() > 0) {
    run("arange", kernels<CopyKernels>(y.device()).arange, y.numel(), 0,
        Arange{y->data, dtype, y.numel(), start.floating, step.floating, start.integer, step.integer});
  }
  return y;
}

Scalar item(const Tensor& x) {
  check(x.numel() == 1, "item: the tensor must have one element, got shape ", x.shape());
  if (x.device() != Device::cpu) return item(to(detach(x), Device::cpu));
  if (x.dtype() == DType::float64) return Scalar(*x.data<double>());
  if (x.dtype() == DType::float32) return Scalar(static_cast<double>(*x.data<float>()));
  if (x.dtype() == DType::bool_) return Scalar(*x.data<bool>());
  const GradMode off(false);
  if (is_floating(x.dtype())) return item(to(x, DType::float64));
  if (x.dtype() == DType::int64) return Scalar(*x.data<std::int64_t>());
  return item(to(x, DType::int64));
}

}  // namespace dd2424::ops
