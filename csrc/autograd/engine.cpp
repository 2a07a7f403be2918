#include "autograd/engine.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "autograd/arithmetic.h"
#include "core/blocking.h"

namespace dd2424 {
namespace {

thread_local int nested_walks = 0;

struct NestedWalk {
  NestedWalk() {
    check(nested_walks < kMaxNestedWalks, "backward: walks may nest ", kMaxNestedWalks, " deep, got one more");
    ++nested_walks;
  }
  ~NestedWalk() { --nested_walks; }
};

// From a node or leaf to the gradients that have arrived. Open addressing: a walk looks up once per edge.
class Arrivals {
 public:
  struct Entry {
    Taped* key = nullptr;
    Tensors grads;  // by output
  };
  Entry& operator[](Taped* key) {
    if (2 * (count_ + 1) > entries_.size()) grow();
    Entry& entry = find(key);
    if (!entry.key) {
      entry.key = key;
      ++count_;
    }
    return entry;
  }
  Tensors take(Taped* key) { return std::move(find(key).grads); }  // the key stays: each is met once

 private:
  Entry& find(Taped* key) {
    std::size_t at = (reinterpret_cast<std::uintptr_t>(key) >> 6) * 0x9E3779B97F4A7C15u >> 32 & (entries_.size() - 1);
    while (entries_[at].key && entries_[at].key != key) at = (at + 1) & (entries_.size() - 1);
    return entries_[at];
  }
  void grow() {
    std::vector<Entry> old(std::max<std::size_t>(16, 4 * entries_.size()));
    old.swap(entries_);
    for (Entry& entry : old)
      if (entry.key) find(entry.key) = std::move(entry);
  }

  std::vector<Entry> entries_;
  std::size_t count_ = 0;
};

class Walk {
 public:
  explicit Walk(WalkOptions options) : options_(options) {}

  // Only what leads to `targets` is walked, and their gradients are kept instead of accumulated.
  void restrict_to(const std::vector<Edge>& targets, const std::vector<Edge>& roots) {
    restricted_ = true;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      wanted_.insert(targets[i].to.get());
      useful_.insert(targets[i].to.get());
    }
    mark_useful(roots);
  }

  void start(Edge root, Tensor grad) {
    arrive(root, std::move(grad));
    roots_.push_back(std::move(root));
  }

  template <class Kept>  // Kept(Taped*, const Tensors& grads): what arrived at a target
  void run(const Kept& keep) {
    const GradMode mode(options_.create_graph);
    StreamWalk streams;
    while (straight_.node || !ready_.empty()) {
      auto [node, grads] = next();
      streams.go_on(node->stream);
      grads.resize(node->outputs);
      if (node->hooks) run_hooks(*node->hooks, grads);
      if (restricted_ && wanted_.contains(node)) keep(node, grads);
      visit(*node, grads);
    }
    for (Leaf* leaf : leaves_) finish_leaf(*leaf, keep);
  }

 private:
  struct Ready {
    std::uint64_t sequence;
    Node* node;
    bool operator<(const Ready& other) const { return sequence < other.sequence; }
  };

  struct Pending {
    Node* node = nullptr;
    Tensors grads;  // by output
  };

  Pending next() {  // what was recorded last: nothing that is left can lead to it
    if (straight_.node && (ready_.empty() || straight_.node->sequence > ready_.top().sequence))
      return {std::exchange(straight_.node, nullptr), std::move(straight_.grads)};
    Node* node = ready_.top().node;
    ready_.pop();
    return {node, arrivals_.take(node)};
  }

  bool is_useful(const Edge& edge) const { return edge && (!restricted_ || useful_.contains(edge.to.get())); }

  // A node is useful if an edge of it is: decided in the order of the tape, oldest first.
  void mark_useful(const std::vector<Edge>& roots) {
    std::vector<Node*> found;
    std::unordered_set<Taped*> seen;
    std::vector<Edge> waiting(roots);
    while (!waiting.empty()) {
      const Edge edge = std::move(waiting.back());
      waiting.pop_back();
      if (!edge || edge.to_leaf || !seen.insert(edge.to.get()).second) continue;
      found.push_back(edge.node());
      for (const Edge& next : edge.node()->edges) waiting.push_back(next);
    }
    std::sort(found.begin(), found.end(), [](Node* a, Node* b) { return a->sequence < b->sequence; });
    for (Node* node : found)
      for (const Edge& edge : node->edges)
        if (is_useful(edge)) useful_.insert(node);
  }

  void arrive(const Edge& edge, Tensor grad) {
    if (!is_useful(edge) || !grad.defined()) return;
    if (!edge.to_leaf && (straight_.node ? straight_.node == edge.node() : ready_.empty())) {
      straight_.node = edge.node();
      return add(straight_.grads, edge.index, std::move(grad));
    }
    auto& entry = arrivals_[edge.to.get()];
    if (entry.grads.empty()) {  // the first to arrive
      if (edge.to_leaf) {
        leaves_.push_back(edge.leaf());
      } else {
        ready_.push({edge.node()->sequence, edge.node()});
      }
    }
    add(entry.grads, edge.index, std::move(grad));
  }

  void add(Tensors& grads, std::uint32_t index, Tensor grad) const {
    if (grads.size() <= index) grads.resize(index + 1);
    Tensor& sum = grads[index];
    if (!sum.defined()) {
      sum = std::move(grad);
    } else if (!options_.create_graph && sum.is_sole_owner() && !sum->base && sum.dtype() == grad.dtype()) {
      arithmetic.add_into(sum, grad);
    } else {
      sum = arithmetic.add(sum, grad);
    }
  }

  void visit(Node& node, Tensors& grads) {
    Needs needs;
    bool any = false;
    for (const Edge& edge : node.edges) {
      needs.push_back(is_useful(edge));
      any |= needs.back();
    }
    if (!any) return;
    if (node.hooks)
      for (const auto& [key, hook] : std::vector(node.hooks->prepare)) hook->call(grads, nullptr);
    Tensors results = node.backward(grads, needs);
    check(results.size() == node.edges.size(), node.name(), ": backward must return ", node.edges.size(),
          " gradients, one per input, got ", results.size());
    if (node.hooks)
      for (const auto& [key, hook] : std::vector(node.hooks->finish)) hook->call(results, &grads);
    if (!options_.retain_graph) node.release_saved();
    for (std::size_t i = 0; i < node.edges.size(); ++i)
      if (needs[i]) arrive(node.edges[i], std::move(results[i]));
  }

  static void apply(const Hooks& hooks, Tensor& grad) {
    for (const auto& [key, hook] : Hooks(hooks)) {
      const Tensor replaced = hook->call(grad);
      if (!replaced.defined()) continue;
      check(replaced.shape() == grad.shape() && replaced.dtype() == grad.dtype(),
            "hook: result must have the gradient's shape and dtype ", grad.shape(), " ", grad.dtype(), ", got ",
            replaced.shape(), " ", replaced.dtype());
      grad = replaced;
    }
  }
  void run_hooks(NodeHooks& hooks, Tensors& grads) {
    for (std::size_t i = 0; i < hooks.before.size(); ++i) {  // a hook may register one on another output
      Tensor& grad = grads[hooks.before[i].first];
      if (grad.defined()) apply(hooks.before[i].second, grad);
    }
    for (std::size_t i = 0; i < hooks.retained.size(); ++i) {
      const auto [output, leaf] = hooks.retained[i];
      if (grads[output].defined() && leaf->owner) add_to(leaf->grad, grads[output]);
    }
  }

  void add_to(Tensor& total, const Tensor& grad) const {
    const KeepLocked locked;  // threads that train one model add to the same gradient
    if (!total.defined()) {
      // A gradient that nothing else holds becomes .grad itself; any other is copied, so that no two share memory.
      const bool own = grad.is_sole_owner() && !overlaps_itself(grad);
      total = options_.create_graph ? grad : own ? grad : arithmetic.clone(grad);
    } else if (options_.create_graph) {
      total = arithmetic.add(total, grad);
    } else {
      arithmetic.add_into(total, grad);
    }
  }

  template <class Kept>
  void finish_leaf(Leaf& leaf, const Kept& keep) {
    Tensors grads = arrivals_.take(&leaf);
    if (!leaf.hooks.empty()) apply(leaf.hooks, grads[0]);
    if (restricted_ && wanted_.contains(&leaf)) return keep(&leaf, grads);
    if (!leaf.owner) return;  // the tensor is gone, and its gradient with it
    const Tensor grad = std::move(grads[0]);
    add_to(leaf.grad, grad);
    if (leaf.after_accumulate.empty()) return;
    const Tensor owner(leaf.owner);  // a hook may drop the last other reference
    for (const auto& [key, hook] : Hooks(leaf.after_accumulate)) hook->call(owner);
  }

  WalkOptions options_;
  bool restricted_ = false;
  std::vector<Edge> roots_;  // they own the graph while hooks may do anything to the tensors
  Pending straight_;  // the only node that was pending when it was reached: a chain needs neither queue nor table
  std::priority_queue<Ready> ready_;
  Arrivals arrivals_;
  std::vector<Leaf*> leaves_;
  std::unordered_set<Taped*> wanted_, useful_;
};

Tensor root_gradient(const Tensor& root, const Tensor& given) {
  check(
      root.defined() && needs_grad(root),
      "backward: every root must require a gradient, got one that does not (no input of it has requires_grad=True, or "
      "it was made under no_grad)");
  if (given.defined()) {
    check(given.shape() == root.shape(), "backward: gradient must have the root's shape ", root.shape(), ", got ",
          given.shape());
    check(given.device() == root.device(), "backward: gradient must be on the root's device ", root.device(), ", got ",
          given.device());
    return given.dtype() == root.dtype() ? given : arithmetic.cast(given, root.dtype());
  }
  check(root.numel() == 1, "backward: gradient must be given for a root of more than one element, got shape ",
        root.shape());
  return arithmetic.ones_like(root);
}

void start(Walk& walk, const Tensors& roots, const Tensors& grads) {
  check(grads.empty() || grads.size() == roots.size(), "backward: as many gradients must be given as there are roots, ",
        roots.size(), ", got ", grads.size());
  for (std::size_t i = 0; i < roots.size(); ++i)
    walk.start(edge_to(roots[i]), root_gradient(roots[i], i < grads.size() ? grads[i] : Tensor()));
}

std::vector<Edge> edges_of(const Tensors& tensors) {
  std::vector<Edge> edges;
  for (const Tensor& t : tensors) edges.push_back(edge_to(t));
  return edges;
}

}  // namespace

int walks_under_way() { return nested_walks; }

Tensors run_grad(const Tensors& roots, const Tensors& grads, const Tensors& inputs, WalkOptions options) {
  const NestedWalk nested;
  std::vector<Edge> targets = edges_of(inputs);
  for (const Edge& edge : targets)
    check(static_cast<bool>(edge), "grad: every input must require a gradient, got one that does not");
  Walk walk(options);
  walk.restrict_to(targets, edges_of(roots));
  start(walk, roots, grads);
  Tensors results;
  results.resize(inputs.size());
  walk.run([&](Taped* target, const Tensors& arrived) {
    for (std::size_t i = 0; i < targets.size(); ++i)
      if (targets[i].to.get() == target) results[i] = arrived[targets[i].index];
  });
  return results;
}

void run_backward(const Tensors& roots, const Tensors& grads, const Tensors& inputs, WalkOptions options) {
  if (!inputs.empty()) {
    const Tensors results = run_grad(roots, grads, inputs, options);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!results[i].defined()) continue;
      const KeepLocked locked;
      Tensor& total = leaf_of(inputs[i]).grad;
      total = total.defined() ? arithmetic.add(total, results[i]) : arithmetic.clone(results[i]);
    }
    return;
  }
  const NestedWalk nested;
  Walk walk(options);
  start(walk, roots, grads);
  walk.run([](Taped*, const Tensors&) {});
}

}  // namespace dd2424
