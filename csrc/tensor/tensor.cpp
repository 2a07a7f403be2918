#include "tensor/tensor.h"

#include <vector>

namespace dd2424 {
namespace {

bool dense_in_order(const Shape& shape, const Shape& strides) {
  Index expected = 1;
  for (int d = shape.size() - 1; d >= 0; --d) {
    if (shape[d] == 1) continue;
    if (strides[d] != expected) return false;
    expected *= shape[d];
  }
  return true;
}

Tensor make(Ref<Storage> storage, std::byte* data, const Shape& shape, const Shape& strides, DType dtype) {
  auto impl = make_ref<TensorImpl>();
  impl->storage = std::move(storage);
  impl->data = data;
  impl->shape = shape;
  impl->strides = strides;
  impl->dtype = dtype;
  impl->numel = product(shape);
  impl->is_contiguous = impl->numel == 0 || dense_in_order(shape, strides);
  return Tensor(std::move(impl));
}

// The dimensions of x from the largest stride to the smallest; of equal strides the larger dimension comes first.
Shape memory_order(const Tensor& x) {
  Shape order;
  for (int d = 0; d < x.ndim(); ++d) order.push_back(d);
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
    const int i = static_cast<int>(a), j = static_cast<int>(b);
    return x.strides()[i] != x.strides()[j] ? x.strides()[i] > x.strides()[j] : x.size(i) > x.size(j);
  });
  return order;
}

}  // namespace

void Taped::destroy(Taped* taped) {
  // While one is being deleted, those that it owned wait for their turn.
  static thread_local bool deleting = false;
  static thread_local std::vector<Taped*> waiting;
  if (deleting) return waiting.push_back(taped);
  deleting = true;
  delete taped;
  while (!waiting.empty()) {
    Taped* next = waiting.back();
    waiting.pop_back();
    delete next;
  }
  deleting = false;
}

TensorImpl::~TensorImpl() {
  if (leaf) leaf->forget(this);
}
void TensorImpl::drop_leaf() {
  if (leaf) leaf->forget(this);
  leaf = nullptr;
}

void Tensor::refuse_undefined() { throw TypeError("a tensor must be given, got None"); }

Index Tensor::offset() const {
  const TensorImpl& t = held();
  return (t.data - static_cast<std::byte*>(t.storage->data)) / item_bytes(t.dtype);
}

Tensor empty(const Shape& shape, DType dtype, Device device) {
  auto impl = make_ref<TensorImpl>();
  impl->numel = checked_numel("empty", shape);
  impl->storage = make_ref<Storage>(static_cast<std::size_t>(impl->numel * item_bytes(dtype)), device);
  impl->data = static_cast<std::byte*>(impl->storage->data);
  impl->shape = shape;
  impl->strides = contiguous_strides(shape);
  impl->dtype = dtype;
  return Tensor(std::move(impl));
}

namespace {

// Whether dimension a varies slower (1) or faster (-1) than b, by the first operand that moves along both; where
// strides are equal the longer one does. 0: none tells.
int slowness(int a, int b, const Shape& shape, std::initializer_list<const Tensor*> operands) {
  for (const Tensor* t : operands) {
    const int shift = t ? shape.size() - t->ndim() : shape.size();
    if (a < shift || b < shift) continue;
    const auto stride = [&](int d) { return t->size(d - shift) == 1 && shape[d] != 1 ? 0 : t->strides()[d - shift]; };
    const Index first = stride(a), second = stride(b);
    if (first == 0 || second == 0) continue;
    if (first != second) return first > second ? 1 : -1;
    if (shape[a] > shape[b]) return 1;
  }
  return 0;
}

}  // namespace

Tensor empty_following(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> operands) {
  Device device = Device::cpu;
  for (const Tensor* t : operands)
    if (t) device = t->device();
  return empty_following(shape, dtype, operands, device);
}
Tensor empty_following(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> operands, Device device) {
  bool all_flat = true;
  for (const Tensor* t : operands) {
    if (!t) continue;
    all_flat &= t->is_contiguous() && (t->ndim() == 0 || t->shape() == shape);
  }
  const Tensor y = empty(shape, dtype, device);
  if (all_flat) return y;
  int order[kMaxDims];  // fastest first
  for (int d = 0; d < shape.size(); ++d) {
    order[d] = shape.size() - 1 - d;
    int place = d;
    for (int other = d - 1; other >= 0; --other) {
      const int slower = slowness(order[other], order[place], shape, operands);
      if (slower < 0) break;
      if (slower > 0) std::swap(order[other], order[std::exchange(place, other)]);
    }
  }
  Index stride = 1;
  for (int d = 0; d < shape.size(); ++d) {
    y->strides[order[d]] = stride;
    stride *= shape[order[d]];
  }
  y->is_contiguous = product(shape) == 0 || dense_in_order(shape, y.strides());
  return y;
}
Tensor empty_like(const Tensor& x, DType dtype) { return empty_like(x, dtype, x.device()); }
Tensor empty_like(const Tensor& x, DType dtype, Device device) {
  return x.is_contiguous() ? empty(x.shape(), dtype, device) : empty_following(x.shape(), dtype, {&x}, device);
}
Tensor empty_like(const Tensor& x) { return empty_like(x, x.dtype()); }

Tensor alias(const Tensor& x, const Shape& shape, const Shape& strides, Index offset) {
  auto* data = static_cast<std::byte*>(x->storage->data) + offset * item_bytes(x.dtype());
  return make(x->storage, data, shape, strides, x.dtype());
}
Tensor alias(const Tensor& x) {
  auto impl = make_ref<TensorImpl>();
  impl->storage = x->storage;
  impl->data = x->data;
  impl->shape = x.shape();
  impl->strides = x.strides();
  impl->dtype = x.dtype();
  impl->numel = x.numel();
  impl->is_contiguous = x.is_contiguous();
  return Tensor(std::move(impl));
}

Tensor independent_alias(const Tensor& x) {
  Storage* lender = x->storage.get();
  lender->retain();
  const auto give_back = [](void* storage) {
    Ref<Storage> last(static_cast<Storage*>(storage));
    last->release();
  };
  auto storage = make_ref<Storage>(lender->data, lender->bytes, lender->writable, +give_back, lender, x.device());
  return make(std::move(storage), x->data, x.shape(), x.strides(), x.dtype());
}

Tensor from_blob(void* data, const Shape& shape, const Shape& strides, DType dtype, bool writable,
                 void (*give_back)(void*), void* lender, Device device) {
  Index span = product(shape) == 0 ? 0 : 1;
  for (int d = 0; span > 0 && d < shape.size(); ++d) span += (shape[d] - 1) * strides[d];
  const auto bytes = static_cast<std::size_t>(span * item_bytes(dtype));
  return make(make_ref<Storage>(data, bytes, writable, give_back, lender, device), static_cast<std::byte*>(data), shape,
              strides, dtype);
}

bool overlaps_itself(const Tensor& x) {
  if (x.is_contiguous() || x.numel() <= 1) return false;
  const Shape order = memory_order(x);
  Index reach = 0;  // the furthest element that the inner dimensions touch
  for (int i = x.ndim() - 1; i >= 0; --i) {
    const int d = static_cast<int>(order[i]);
    if (x.size(d) == 1) continue;
    if (x.strides()[d] <= reach) return true;
    reach += x.strides()[d] * (x.size(d) - 1);
  }
  return false;
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  if (a.numel() == 0 || b.numel() == 0) return false;
  const auto range = [](const Tensor& x) {
    Index low = 0, high = 0;
    for (int d = 0; d < x.ndim(); ++d) (x.strides()[d] < 0 ? low : high) += x.strides()[d] * (x.size(d) - 1);
    return std::pair(x->data + low * item_bytes(x.dtype()), x->data + (high + 1) * item_bytes(x.dtype()));
  };
  const auto [a_begin, a_end] = range(a);
  const auto [b_begin, b_end] = range(b);
  return a_begin < b_end && b_begin < a_end;
}

bool in_same_place(const Tensor& a, const Tensor& b) {
  return a->data == b->data && a.shape() == b.shape() && a.strides() == b.strides() &&
         item_bytes(a.dtype()) == item_bytes(b.dtype());
}

bool view_strides(const Tensor& x, const Shape& shape, Shape& strides) {
  strides = contiguous_strides(shape);
  if (x.numel() == 0 || x.ndim() == 0 || x.strides() == contiguous_strides(x.shape())) return true;
  // Runs of x's dimensions that lie in memory like one are matched, from the last, with runs of the new dimensions.
  int d = shape.size() - 1;
  Index run_size = 1, run_stride = x.strides().back(), taken = 1;
  for (int i = x.ndim() - 1; i >= 0; --i) {
    run_size *= x.size(i);
    const bool ends = i == 0 || (x.size(i - 1) != 1 && x.strides()[i - 1] != run_size * run_stride);
    if (!ends) continue;
    while (d >= 0 && (taken < run_size || shape[d] == 1)) {
      strides[d] = taken * run_stride;
      taken *= shape[d--];
    }
    if (taken != run_size) return false;
    run_size = taken = 1;
    if (i > 0) run_stride = x.strides()[i - 1];
  }
  return d < 0;
}

}  // namespace dd2424
