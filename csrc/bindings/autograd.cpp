#include "autograd/engine.h"

#include "bindings/tensor_type.h"
#include "ops/autocast.h"
#include "ops/copy.h"

namespace dd2424 {
namespace {

using namespace py::literals;

struct PythonHook final : Hook {
  PyRef function;
  explicit PythonHook(py::handle f) : function(f) {}
  void* host_object() const override { return function.get(); }
  Tensor call(const Tensor& grad) override {
    const py::gil_scoped_acquire gil;
    const py::object result = py::handle(function.get())(grad);
    if (result.is_none()) return {};
    check<TypeError>(is_tensor(result.ptr()), "hook: must return a tensor or None");
    return unwrap(result.ptr());
  }
};

// Takes a hook away again; holds what it hangs on, not the tensor.
struct HookHandle {
  Ref<Taped> taped;
  bool is_leaf, after;
  std::uint32_t output;
  Index key;
  void remove() {
    Hooks* list = nullptr;
    if (is_leaf) {
      auto& leaf = static_cast<Leaf&>(*taped);
      list = after ? &leaf.after_accumulate : &leaf.hooks;
    } else if (auto& node = static_cast<Node&>(*taped); node.hooks) {
      for (auto& [index, hooks] : node.hooks->before)
        if (index == output) list = &hooks;
    }
    if (list) std::erase_if(*list, [&](const auto& entry) { return entry.first == key; });
  }
};

Index next_hook_key() {
  static std::atomic<Index> key{0};
  return ++key;
}

HookHandle register_hook(const Tensor& t, const py::function& function) {
  check(needs_grad(t), "register_hook: the tensor must require a gradient");
  const Index key = next_hook_key();
  Node* node = grad_node(t);
  if (!node) {
    leaf_of(t).hooks.emplace_back(key, make_ref<PythonHook>(function));
    return {t->leaf, true, false, 0, key};
  }
  if (!node->hooks) node->hooks = std::make_unique<NodeHooks>();
  auto& lists = node->hooks->before;
  auto list =
      std::find_if(lists.begin(), lists.end(), [&](const auto& entry) { return entry.first == t->output_index; });
  if (list == lists.end()) list = lists.insert(lists.end(), {t->output_index, Hooks()});
  list->second.emplace_back(key, make_ref<PythonHook>(function));
  return {t->node, false, false, t->output_index, key};
}

HookHandle register_after(const Tensor& t, const py::function& function) {
  check(needs_grad(t) && !grad_node(t),
        "register_post_accumulate_grad_hook: the tensor must be a leaf that requires a gradient");
  const Index key = next_hook_key();
  leaf_of(t).after_accumulate.emplace_back(key, make_ref<PythonHook>(function));
  return {t->leaf, true, true, 0, key};
}

void retain_grad(const Tensor& t) {
  check(needs_grad(t), "retain_grad: the tensor must require a gradient");
  Node* node = grad_node(t);
  if (!node) return;
  leaf_of(t);
  if (!node->hooks) node->hooks = std::make_unique<NodeHooks>();
  for (const auto& [output, leaf] : node->hooks->retained)
    if (leaf.get() == t->leaf.get()) return;
  node->hooks->retained.emplace_back(t->output_index, Ref<Leaf>(&leaf_of(t)));
}

Tensors listed(py::handle tensors) {  // a tensor, a sequence of tensors, or None
  if (tensors.is_none()) return {};
  if (is_tensor(tensors.ptr())) return {unwrap(tensors.ptr())};
  return py::cast<Tensors>(py::tuple(py::reinterpret_borrow<py::object>(tensors)));
}

Tensors listed_inputs(const char* op, py::handle tensors) {
  const Tensors inputs = listed(tensors);
  check(tensors.is_none() || !inputs.empty(), op, ": inputs must not be empty, got no tensor");
  return inputs;
}

// What a user sees of grad_fn.

// A Python function around a node's backward; `is_after` for f(grad_inputs, grad_outputs), else f(grad_outputs).
struct PythonNodeHook final : NodeHook {
  PyRef function;
  explicit PythonNodeHook(py::handle f) : function(f) {}
  void* host_object() const override { return function.get(); }
  bool call(Tensors& grads, const Tensors* outputs_grads) override {
    const py::gil_scoped_acquire gil;
    const py::handle f(function.get());
    const py::object result = outputs_grads ? f(grads, *outputs_grads) : f(grads);
    if (result.is_none()) return false;
    const Tensors replaced = is_tensor(result.ptr()) ? Tensors{unwrap(result.ptr())} : py::cast<Tensors>(result);
    check(replaced.size() == grads.size(), "hook: result must have ", grads.size(), " gradients, as it was given, got ",
          replaced.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
      const bool same =
          grads[i].defined() == replaced[i].defined() &&
          (!grads[i].defined() || (grads[i].shape() == replaced[i].shape() && grads[i].dtype() == replaced[i].dtype()));
      check(same, "hook: result ", i, " must have the shape and dtype of what it was given, or None for None");
    }
    grads = replaced;
    return true;
  }
};

struct NodeView {
  Ref<Node> node;
};
struct NodeHookHandle {
  Ref<Node> node;
  Index key;
  void remove() {
    for (auto* list : {&node->hooks->prepare, &node->hooks->finish})
      std::erase_if(*list, [&](const auto& entry) { return entry.first == key; });
  }
};

NodeHookHandle add_node_hook(const NodeView& self, const py::function& function, bool is_after) {
  if (!self.node->hooks) self.node->hooks = std::make_unique<NodeHooks>();
  const Index key = next_hook_key();
  auto& list = is_after ? self.node->hooks->finish : self.node->hooks->prepare;
  list.emplace_back(key, make_ref<PythonNodeHook>(function));
  return {self.node, key};
}

struct LeafView {
  Ref<Taped> leaf;
};

std::string display_name(const Node& node) {  // index_select -> IndexSelectBackward0, as PyTorch writes it
  if (node.is_custom()) return std::string(node.name()) + "Backward";
  std::string name;
  bool upper = true;
  for (const char* c = node.name(); *c; ++c) {
    if (*c == '_') {
      upper = true;
    } else {
      name += upper ? static_cast<char>(std::toupper(*c)) : *c;
      upper = false;
    }
  }
  return name == "CopySlices" ? name : name + "Backward0";
}

py::object edge_view(const Edge& edge) {
  if (!edge) return py::none();
  if (edge.to_leaf) return py::cast(LeafView{edge.to});
  return py::cast(NodeView{Ref<Node>(edge.node())});
}

py::object grad_fn(const Tensor& t) {
  Node* node = grad_node(t);
  return node ? py::cast(NodeView{Ref<Node>(node)}) : py::object(py::none());
}

void bind_nodes(py::module_& m) {
  py::class_<NodeHookHandle>(m, "NodeHookHandle", "What a node's register_hook() returns.")
      .def("remove", &NodeHookHandle::remove);
  py::class_<NodeView>(m, "Node", "A recorded operation.")
      .def("name", [](const NodeView& self) { return display_name(*self.node); })
      .def("__repr__", [](const NodeView& self) { return "<" + display_name(*self.node) + ">"; })
      .def("__eq__", [](const NodeView& self, const NodeView& other) { return self.node == other.node; })
      .def("__hash__", [](const NodeView& self) { return reinterpret_cast<std::uintptr_t>(self.node.get()); })
      .def(
          "register_hook", [](const NodeView& self, const py::function& f) { return add_node_hook(self, f, true); },
          "fn"_a, "Calls fn(grad_inputs, grad_outputs) after the node has run; a tuple it returns replaces the first.")
      .def(
          "register_prehook", [](const NodeView& self, const py::function& f) { return add_node_hook(self, f, false); },
          "fn"_a, "Calls fn(grad_outputs) before the node runs; a tuple it returns replaces them.")
      .def_property_readonly("next_functions", [](const NodeView& self) {
        py::list edges;
        for (const Edge& edge : self.node->edges) edges.append(py::make_tuple(edge_view(edge), edge.index));
        return py::tuple(edges);
      });
  py::class_<LeafView>(m, "AccumulateGrad", "Where a leaf's gradient is added up.")
      .def("name", [](const LeafView&) { return "AccumulateGrad"; })
      .def("__repr__", [](const LeafView&) { return "<AccumulateGrad>"; })
      .def("__eq__", [](const LeafView& self, const LeafView& other) { return self.leaf == other.leaf; })
      .def("__hash__", [](const LeafView& self) { return reinterpret_cast<std::uintptr_t>(self.leaf.get()); })
      .def_property_readonly("variable", [](const LeafView& self) {
        auto* owner = static_cast<Leaf&>(*self.leaf).owner;
        return owner ? Tensor(owner) : Tensor();
      });
  const py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  type.attr("grad_fn") = py::module_::import("builtins").attr("property")(py::cpp_function(&grad_fn));
}

thread_local std::vector<std::unique_ptr<ops::Autocast>> autocasts;  // those that are entered

Device device_named(const std::string& name) {
  check<ValueError>(name == "cpu" || name == "cuda", "autocast: device must be cpu or cuda, got ", name);
  return name == "cuda" ? Device::cuda : Device::cpu;
}

void bind_autocast(py::module_& m) {
  m.def(
      "enter_autocast",
      [](const std::string& device, DType dtype, bool enabled, bool caches) {
        autocasts.push_back(std::make_unique<ops::Autocast>(device_named(device), dtype, enabled, caches));
      },
      "device"_a, "dtype"_a, "enabled"_a, "caches"_a);
  m.def("exit_autocast", [] {
    check(!autocasts.empty(), "autocast: one must be entered before it is left");
    autocasts.pop_back();
  });
  m.def(
      "autocast_dtype",
      [](const std::string& device) -> py::object {
        const Device place = device_named(device);
        return ops::Autocast::is_on(place) ? dtype_object(ops::Autocast::innermost(place)->dtype()) : py::none();
      },
      "device"_a);
}

}  // namespace

void bind_autograd(py::module_& m) {
  bind_nodes(m);
  bind_autocast(m);
  py::class_<HookHandle>(m, "HookHandle", "What register_hook() returns.").def("remove", &HookHandle::remove);
  define_method("register_hook", &register_hook, "hook"_a);
  define_method("register_post_accumulate_grad_hook", &register_after, "hook"_a);
  define_method("retain_grad", &retain_grad);
  m.def("is_grad_enabled", &grad_enabled);
  m.def("set_grad_enabled", [](bool mode) { detail::recording = mode; }, "mode"_a);
  define_method(
      "backward",
      [](const Tensor& t, const Tensor& gradient, const std::optional<bool>& retain_graph, bool create_graph,
         const py::object& inputs) {
        run_backward({t}, {gradient}, listed_inputs("backward", inputs),
                     {retain_graph.value_or(create_graph), create_graph});
      },
      "gradient"_a = py::none(), "retain_graph"_a = py::none(), "create_graph"_a = false, "inputs"_a = py::none());
  m.def(
      "backward",
      [](const py::object& tensors, const py::object& grads, const std::optional<bool>& retain_graph, bool create_graph,
         const py::object& inputs) {
        run_backward(listed(tensors), listed(grads), listed_inputs("backward", inputs),
                     {retain_graph.value_or(create_graph), create_graph});
      },
      "tensors"_a, "grad_tensors"_a = py::none(), "retain_graph"_a = py::none(), "create_graph"_a = false,
      "inputs"_a = py::none());
  m.def(
      "grad",
      [](const py::object& outputs, const py::object& inputs, const py::object& grads,
         const std::optional<bool>& retain_graph, bool create_graph, const std::optional<bool>& allow_unused,
         bool materialize_grads) {
        const Tensors targets = listed_inputs("grad", inputs);
        Tensors results =
            run_grad(listed(outputs), listed(grads), targets, {retain_graph.value_or(create_graph), create_graph});
        for (std::size_t i = 0; i < results.size(); ++i) {
          check(results[i].defined() || allow_unused.value_or(materialize_grads), "grad: input ", i,
                " was not used to make the outputs; pass allow_unused=True for None in its place");
          if (!results[i].defined() && materialize_grads) results[i] = ops::full_like(targets[i], Scalar(0));
        }
        return results;
      },
      "outputs"_a, "inputs"_a, "grad_outputs"_a = py::none(), "retain_graph"_a = py::none(), "create_graph"_a = false,
      "allow_unused"_a = py::none(), "materialize_grads"_a = false);
}

}  // namespace dd2424
