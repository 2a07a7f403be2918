#include "autograd/node.h"

#include "autograd/arithmetic.h"

namespace dd2424 {

__attribute__((tls_model("initial-exec"))) thread_local bool detail::recording = true;

namespace {
std::atomic<std::uint64_t> next_sequence{1};
}

Node::Node() : sequence(next_sequence.fetch_add(1, std::memory_order_relaxed)), stream(current_stream()) {}

void Leaf::visit_host_objects(void (*visit)(void* object, void* data), void* data) {
  for (const Hooks* list : {&hooks, &after_accumulate})
    for (const auto& [key, hook] : *list)
      if (hook->count() == 1) visit(hook->host_object(), data);
}

void Leaf::forget(const TensorImpl* dead) {
  if (owner != dead) return;
  owner = nullptr;
  const Tensor last = std::exchange(grad, Tensor());  // nobody can ask for it any more, and it may lead back here
}

void Node::visit_host_objects(void (*visit)(void* object, void* data), void* data) {
  if (!hooks) return;
  for (const auto& [output, list] : hooks->before)
    for (const auto& [key, hook] : list)
      if (hook->count() == 1) visit(hook->host_object(), data);
  for (const auto* list : {&hooks->prepare, &hooks->finish})
    for (const auto& [key, hook] : *list)
      if (hook->count() == 1) visit(hook->host_object(), data);
}

void Node::release_saved() {
  for (Saved* saved = first_saved_; saved; saved = saved->next_) {
    if (!saved->tensor_.defined()) continue;
    saved->tensor_ = Tensor();
    saved->released_ = true;
  }
}

Saved::Saved(Node* owner) : owner_(owner), next_(owner->first_saved_) { owner->first_saved_ = this; }

// A tensor's elements and its place on the tape, in a header of its own: the graph holds no tensor that a user sees. A
// write in place would give such a tensor, or the base of a view, a node that leads to the one which saves here, and
// backward with create_graph gives a leaf a gradient that does; the two would keep each other alive.
static Tensor apart(const Tensor& input) {
  const Tensor kept = alias(input);
  const Edge edge = edge_to(input);
  (edge.to_leaf ? kept->leaf : kept->node) = edge.to;
  kept->requires_grad = edge.to_leaf;
  kept->output_index = edge.index;
  return kept;
}

void Saved::save(const Tensor& input) {
  if (!input.defined()) return;
  tensor_ = apart(input);
  version_ = input->storage->version.load(std::memory_order_relaxed);
}

void Saved::save_output(const Tensor& output) {
  save(alias(output));
  output_index_ = output->output_index;
  is_output_ = true;
}

Tensor Saved::original() const {
  const Tensor t = get();
  if (!t.defined() || !t->leaf) return t;
  TensorImpl* owner = leaf_of(t).owner;
  return owner && owner->data == t->data ? Tensor(owner) : t;
}

Tensor Saved::get() const {
  check(!released_,
        "backward: the graph must still be whole, got one whose saved tensors were freed by an earlier backward "
        "(specify retain_graph=True the first time)");
  if (!tensor_.defined()) return tensor_;
  const std::uint32_t now = tensor_->storage->version.load(std::memory_order_relaxed);
  check(now == version_, "backward: a tensor saved by ", owner_->name(), ", of shape ", tensor_.shape(),
        ", has been modified by an in-place operation: it is at version ", now, ", expected version ", version_);
  if (!is_output_ || !grad_enabled()) return tensor_;
  const Tensor output = alias(tensor_);
  output->node = Ref<Taped>(owner_);
  output->output_index = output_index_;
  return output;
}

// A view whose storage was written since its node was made speaks through its base's new node; one made where nothing
// records stays the constant that it was.
static void refresh_view(const Tensor& view) {
  if (view->is_no_grad_view) return;
  const std::uint32_t version = view->storage->version.load(std::memory_order_relaxed);
  const Tensor base(view->base);
  if (view->node_version == version || view->storage != base->storage || !needs_grad(base)) return;
  view->node = arithmetic.view_node(base, view);
  view->output_index = 0;
  view->node_version = version;
}

bool needs_grad(const Tensor& t) {
  if (t->base) refresh_view(t);
  return t->requires_grad || t->node;
}

Node* grad_node(const Tensor& t) {
  if (t->base) refresh_view(t);
  return static_cast<Node*>(t->node.get());
}

Edge edge_to(const Tensor& t) {
  if (!needs_grad(t)) return {};
  if (t->node) return {.to = t->node, .to_leaf = false, .index = t->output_index};
  leaf_of(t);
  return {.to = t->leaf, .to_leaf = true, .index = 0};
}

Leaf& leaf_of(const Tensor& t) {
  if (!t->leaf) {
    auto leaf = make_ref<Leaf>();
    leaf->owner = t.impl();
    leaf->dtype = t.dtype();
    t->leaf = leaf;
  }
  return static_cast<Leaf&>(*t->leaf);
}

void set_node(const Tensor& y, Ref<Node> node, std::uint32_t output_index) {
  y->node = std::move(node);
  y->output_index = output_index;
  y->node_version = y->storage->version.load(std::memory_order_relaxed);
}

}  // namespace dd2424
