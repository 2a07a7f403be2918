#include "ops/common.h"

#include "core/blocking.h"
#include "core/float_mode.h"
#include "ops/copy.h"
#include "ops/shape.h"

namespace dd2424::ops {

__attribute__((tls_model("initial-exec"))) thread_local Mode* detail::active_mode = nullptr;
__attribute__((tls_model("initial-exec"))) thread_local Index detail::kernels_run = 0;

Mode::Mode() : outer_(std::exchange(detail::active_mode, this)) {}
Mode::~Mode() { detail::active_mode = outer_; }

Tensor through_door(const Call& call) {
  struct Outside {  // while a mode handles a call, the one around it is active
    Mode* mode = detail::active_mode;
    Outside() { detail::active_mode = mode->outer_; }
    ~Outside() { detail::active_mode = mode; }
  } outside;
  return outside.mode->handle(call);
}

void throw_status(const char* op, Status status) {
  if (status == Status::unsupported)
    throw NotImplementedError(message(op, ": not supported for this dtype on this device"));
  throw_device_error(op);
}

void check_same_device(const char* op, std::initializer_list<const Tensor*> operands) {
  const Tensor* first = nullptr;
  for (const Tensor* t : operands) {
    if (!t || !t->defined()) continue;
    if (!first) first = t;
    check(t->device() == first->device(), op, ": operands must be on one device, got ", first->device(), " (shape ",
          first->shape(), ") and ", t->device(), " (shape ", t->shape(), ")");
  }
}

void run_guarded(const char* op, Index work, const std::function<Status()>& kernel) {
  Status status;
  {
    const Unlocked unlocked(work >= kUnlockWork);
    const FloatMode mode;
    status = kernel();
  }
  if (status != Status::ok) throw_status(op, status);
}

namespace {

// The strides of t in an index space of `shape`, to whose last dimensions its own belong.
void broadcast_strides(const Tensor* t, const Shape& shape, Index* strides) {
  const int shift = t ? shape.size() - t->ndim() : shape.size();
  for (int d = 0; d < shape.size(); ++d)
    strides[d] = d < shift || t->size(d - shift) == 1 ? 0 : t->strides()[d - shift];
}

template <int N>
bool all_flat(const Shape& shape, const std::array<const Tensor*, N>& operands) {
  for (const Tensor* t : operands)
    if (t && !(t->is_contiguous() && t->shape() == shape)) return false;
  return true;
}

}  // namespace

template <int N>
Strided<N> strided(const Shape& shape, const std::array<const Tensor*, N>& operands) {
  Strided<N> at;
  at.ndim = 1;
  if (all_flat<N>(shape, operands)) {
    at.shape[0] = product(shape);
    for (int i = 0; i < N; ++i) at.strides[i][0] = operands[i] ? 1 : 0;
    return at;
  }
  Index strides[N][kMaxDims];
  for (int i = 0; i < N; ++i) broadcast_strides(operands[i], shape, strides[i]);
  int order[kMaxDims], dims = 0;  // from the largest stride of the first operand to the smallest
  for (int d = 0; d < shape.size(); ++d) {
    if (shape[d] == 1) continue;
    int at_order = dims++;
    for (; at_order > 0 && strides[0][order[at_order - 1]] < strides[0][d]; --at_order)
      order[at_order] = order[at_order - 1];
    order[at_order] = d;
  }
  at.shape[0] = 1;
  for (int i = 0; i < N; ++i) at.strides[i][0] = 0;
  for (int k = 0; k < dims; ++k) {
    const int d = order[k], last = at.ndim - 1;
    bool merges = true;
    for (int i = 0; i < N; ++i) merges &= at.strides[i][last] == strides[i][d] * shape[d];
    const int target = k == 0 || merges ? last : at.ndim++;
    at.shape[target] = target == last && k > 0 ? at.shape[last] * shape[d] : shape[d];
    for (int i = 0; i < N; ++i) at.strides[i][target] = strides[i][d];
  }
  return at;
}
template Strided<1> strided<1>(const Shape&, const std::array<const Tensor*, 1>&);
template Strided<2> strided<2>(const Shape&, const std::array<const Tensor*, 2>&);
template Strided<3> strided<3>(const Shape&, const std::array<const Tensor*, 3>&);
template Strided<4> strided<4>(const Shape&, const std::array<const Tensor*, 4>&);

void check_inplace(const char* op, const Tensor& self) {
  check(self->storage->writable, op, ": the tensor written in place must be writable, got one over read-only memory");
  check(!overlaps_itself(self), op,
        ": the tensor written in place must have one place in memory per element, got an "
        "expanded one (shape ",
        self.shape(), ", strides ", self.strides(), "); clone() it first");
  check_tape(op, self);
}

void check_tape(const char* op, const Tensor& self) {
  if (!grad_enabled()) return;
  check(!self->requires_grad, op,
        ": a leaf that requires a gradient must not be written in place while recording; use "
        "no_grad()");
  const Tensor base(self->base);
  check(!base.defined() || !base->requires_grad, op,
        ": a view of a leaf that requires a gradient must not be written in "
        "place while recording; use no_grad()");
  check(!self->is_no_grad_view || !base.defined() || !needs_grad(base), op,
        ": a view made under no_grad() of a tensor that requires a gradient must not be written in place while "
        "recording");
}

namespace {

struct IdentityNode final : Node {
  const char* name() const override { return "copy"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {grads[0]}; }
};

// base with the elements under a view replaced by another tensor's: what a write through a view makes of its base.
struct ViewWriteNode final : Node {
  Shape base_shape, base_strides, shape, strides;
  Index base_offset = 0, offset = 0;

  const char* name() const override { return "copy_slices"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    Index span = grads[0].numel() == 0 ? 0 : 1;
    for (int d = 0; d < base_shape.size(); ++d) span += (base_shape[d] - 1) * base_strides[d];
    const Tensor memory = zeros({std::max<Index>(span, 0)}, grads[0].dtype(), grads[0].device());
    const Tensor dense = alias(memory, base_shape, base_strides, 0);  // dy in the base's own strides
    copy_into(dense, grads[0]);
    record<IdentityNode>(dense, {&grads[0]});
    Tensor window = as_strided(dense, shape, strides, offset - base_offset);
    const Tensor dvalue = needs[1] ? clone(window) : Tensor();
    if (needs[0]) fill_(window, Scalar(0));
    return {needs[0] ? dense : Tensor(), dvalue};
  }
};

}  // namespace

void assign(const Tensor& self, const Tensor& y) {
  const bool shares_base = self->base && self->base->storage == self->storage;  // not since `.data` of it was set
  const Tensor base = shares_base ? Tensor(self->base) : Tensor();
  const bool recorded = grad_enabled() && (needs_grad(y) || needs_grad(self) || (base.defined() && needs_grad(base)));
  Edge value_edge = recorded ? edge_to(y) : Edge();
  Edge base_edge = recorded && base.defined() ? edge_to(base) : Edge();
  copy_into(self, y);
  count_write(self);
  if (!recorded) return;
  if (!base.defined()) {
    if (value_edge && !value_edge.to_leaf) return set_node(self, Ref<Node>(value_edge.node()), value_edge.index);
    auto node = make_ref<IdentityNode>();
    node->edges.push_back(std::move(value_edge));
    return set_node(self, node);
  }
  rebase(self, std::move(base_edge), std::move(value_edge));
}

void rebase(const Tensor& view, Edge base_edge, Edge value_edge) {
  const Tensor base(view->base);
  auto node = make_ref<ViewWriteNode>();
  node->edges = {std::move(base_edge), std::move(value_edge)};
  node->base_shape = base.shape();
  node->base_strides = base.strides();
  node->base_offset = base.offset();
  node->shape = view.shape();
  node->strides = view.strides();
  node->offset = view.offset();
  set_node(base, node);
}

Tensor before_write(const Tensor& self, bool is_saved) {
  const Edge edge = edge_to(self);
  Tensor before;
  {
    const GradMode off(false);
    before = is_saved ? clone(self) : alias(self);
  }
  if (edge && !edge.to_leaf) set_node(before, Ref<Node>(edge.node()), edge.index);
  return before;
}

}  // namespace dd2424::ops
