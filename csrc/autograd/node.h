#pragma once
#include <memory>
#include <vector>

#include "autograd/grad_mode.h"
#include "tensor/tensor.h"

// The tape: every recorded operation is a node, whose edges lead to the nodes and leaves that made its inputs.
namespace dd2424 {

struct Node;

struct Hook : Counted {  // a function of a gradient; undefined for "leave it as it is"
  virtual ~Hook() = default;
  virtual Tensor call(const Tensor& grad) = 0;
  virtual void* host_object() const { return nullptr; }
};
using Hooks = std::vector<std::pair<Index, Ref<Hook>>>;  // under the key that removes them

// A tensor's gradient, and what is to be called with it. Edges lead to a leaf's; a tensor inside the graph has one
// where the user retains its gradient.
struct Leaf final : Taped {
  Tensor grad;
  Hooks hooks;
  Hooks after_accumulate;       // called with the tensor, after its gradient has been added
  TensorImpl* owner = nullptr;  // the tensor while it lives
  DType dtype = DType::float32;
  void visit_host_objects(void (*visit)(void* object, void* data), void* data) override;
  void forget(const TensorImpl* dead) override;
};

struct Edge {
  Ref<Taped> to;  // a Node or a Leaf; null where no gradient is wanted
  bool to_leaf = false;
  std::uint32_t index = 0;  // which output of the node
  explicit operator bool() const { return static_cast<bool>(to); }
  Node* node() const;
  Leaf* leaf() const { return static_cast<Leaf*>(to.get()); }
};
using Edges = SmallVector<Edge, 3>;
using Needs = SmallVector<bool, 4>;  // by input: is its gradient wanted?

// An input or output that backward needs, without the tensor's identity. It remembers the version it was saved at and
// refuses a stale one.
class Saved {
 public:
  explicit Saved(Node* owner);
  Saved(const Saved&) = delete;
  Saved& operator=(const Saved&) = delete;
  void save(const Tensor& input);
  void save_output(const Tensor& output);  // the node must not own itself: kept without its place on the tape
  Tensor get() const;
  Tensor original() const;  // the leaf itself where one was saved and lives; the host's lock must be held
  bool defined() const { return tensor_.defined() || released_; }

 private:
  friend struct Node;
  Node* owner_;
  Saved* next_;
  Tensor tensor_;
  std::uint32_t version_ = 0, output_index_ = 0;
  bool is_output_ = false, released_ = false;
};

struct NodeHook : Counted {  // a function of all gradients of a node; false for "leave them as they are"
  virtual ~NodeHook() = default;
  // `grads`: those of the outputs, before the node has run; those of the inputs afterwards, with those of the outputs.
  virtual bool call(Tensors& grads, const Tensors* outputs_grads) = 0;
  virtual void* host_object() const = 0;
};
struct NodeHooks {
  std::vector<std::pair<std::uint32_t, Hooks>> before;           // by output: on the gradient that arrives
  std::vector<std::pair<std::uint32_t, Ref<Leaf>>> retained;     // by output: whose .grad is to be kept
  std::vector<std::pair<Index, Ref<NodeHook>>> prepare, finish;  // around the node's backward
};

struct Node : Taped {
  std::uint64_t sequence;  // grows along the tape: every edge leads to a smaller one
  void* stream;            // of the GPU, on which its operation ran: backward runs there too
  Edges edges;             // by input
  std::uint32_t outputs = 1;
  std::unique_ptr<NodeHooks> hooks;

  Node();
  virtual const char* name() const = 0;
  virtual bool is_custom() const { return false; }  // named by the user, not by us
  // The gradients of the inputs from those of the outputs (undefined: zero). Only what is needed is computed; the rest
  // is undefined. Written with operations, so that it can be recorded in turn.
  virtual Tensors backward(const Tensors& grads, const Needs& needs) = 0;
  void visit_host_objects(void (*visit)(void* object, void* data), void* data) override;
  void release_saved();

 private:
  friend class Saved;
  Saved* first_saved_ = nullptr;
};

inline Node* Edge::node() const { return static_cast<Node*>(to.get()); }

// Does anything on the tape lead to t? A view asks its base first: it may have been written since.
bool needs_grad(const Tensor& t);
Node* grad_node(const Tensor& t);  // what made t, up to date; null for leaves
Edge edge_to(const Tensor& t);     // null where t needs no gradient
Leaf& leaf_of(const Tensor& t);    // made on first use
void set_node(const Tensor& y, Ref<Node> node, std::uint32_t output_index = 0);

inline bool records(std::initializer_list<const Tensor*> inputs) {
  if (!grad_enabled()) return false;
  for (const Tensor* t : inputs)
    if (t->defined() && needs_grad(*t)) return true;
  return false;
}

// Makes y the output of a new N where any input needs a gradient, and returns the node for its operation to fill;
// null where nothing is recorded.
template <class N, class... Args>
N* record(const Tensor& y, std::initializer_list<const Tensor*> inputs, Args&&... args) {
  if (!records(inputs)) return nullptr;
  Edges edges;  // before the node: that of a stale view is made here, and must be the older one
  for (const Tensor* t : inputs) edges.push_back(t->defined() ? edge_to(*t) : Edge());
  auto node = make_ref<N>(std::forward<Args>(args)...);
  node->edges = std::move(edges);
  N* made = node.get();
  set_node(y, std::move(node));
  return made;
}

}  // namespace dd2424
