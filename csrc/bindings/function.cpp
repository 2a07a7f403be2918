#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/shape.h"

// autograd.Function: an operation whose forward and backward are written in Python.
namespace dd2424 {
namespace {

using namespace py::literals;

struct FunctionNode;

// From a context to its node, while there is one: a program may keep the context for longer.
struct NodeLink : Counted {
  FunctionNode* node = nullptr;
};

// The `ctx` of forward and backward. While forward runs it collects; afterwards the node has what it collected.
struct FunctionContext {
  Tensors to_save, dirty, constant;  // save_for_backward, mark_dirty, mark_non_differentiable
  std::vector<bool> needs_input_grad;
  bool materialize_grads = true;
  Ref<NodeLink> link;
};

struct FunctionNode final : Node {
  PyRef function, context;
  Ref<NodeLink> link = make_ref<NodeLink>();
  std::string label;
  std::vector<std::unique_ptr<Saved>> saved;
  std::vector<Shape> output_shapes, input_shapes;
  std::vector<DType> output_dtypes, input_dtypes;
  std::vector<std::size_t> tensor_arguments;  // which arguments of forward the edges belong to
  std::size_t arguments = 0;

  FunctionNode() { link->node = this; }
  ~FunctionNode() override { link->node = nullptr; }
  const char* name() const override { return label.c_str(); }
  bool is_custom() const override { return true; }
  void visit_host_objects(void (*visit)(void* object, void* data), void* data) override {
    Node::visit_host_objects(visit, data);
    visit(function.get(), data);
    visit(context.get(), data);
  }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const py::gil_scoped_acquire gil;
    const auto& ctx = py::cast<FunctionContext&>(py::handle(context.get()));
    py::tuple given(grads.size());
    for (std::size_t i = 0; i < grads.size(); ++i) {
      const bool fill = !grads[i].defined() && ctx.materialize_grads;
      given[i] = py::cast(fill ? ops::zeros(output_shapes[i], output_dtypes[i]) : grads[i]);
    }
    py::object result = py::handle(function.get()).attr("backward")(py::handle(context.get()), *given);
    if (!py::isinstance<py::tuple>(result)) result = py::make_tuple(result);
    const auto results = py::reinterpret_borrow<py::tuple>(result);
    std::size_t count = results.size();  // more may be returned where they are None
    while (count > arguments && results[count - 1].is_none()) --count;
    check(count == arguments, label, ": backward must return ", arguments,
          " gradients, one per argument of forward, got ", results.size());
    Tensors edges_grads;
    for (std::size_t i = 0; i < tensor_arguments.size(); ++i)
      edges_grads.push_back(needs[i] ? gradient(i, results[tensor_arguments[i]]) : Tensor());
    return edges_grads;
  }

  // What backward returned for a tensor, in that tensor's shape and dtype.
  Tensor gradient(std::size_t input, const py::handle returned) const {
    if (returned.is_none()) return {};
    check<TypeError>(is_tensor(returned.ptr()), label, ": backward must return tensors or None, got ",
                     std::string(py::str(py::type::handle_of(returned).attr("__name__"))));
    Tensor grad = unwrap(returned.ptr());
    const Shape& shape = input_shapes[input];
    if (grad.shape() != shape) {
      check(expands_to(shape, grad.shape()), label, ": gradient ", tensor_arguments[input], " must have the shape ",
            shape, " of the argument, or one it expands to, got ", grad.shape());
      grad = ops::sum_to(grad, shape);
    }
    return ops::to(grad, input_dtypes[input]);
  }

  static bool expands_to(const Shape& from, const Shape& to) {
    const int shift = to.size() - from.size();
    for (int d = 0; d < from.size(); ++d)
      if (shift < 0 || (from[d] != 1 && from[d] != to[d + shift])) return false;
    return shift >= 0;
  }
};

Tensors tensors_in(const py::args& args) {
  Tensors tensors;
  for (const py::handle arg : args) tensors.push_back(py::cast<Tensor>(arg));
  return tensors;
}

bool contains(const Tensors& tensors, const Tensor& t) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const Tensor& other) { return other.same(t); });
}

// Forward has written into these: the rules of every operation in place hold, and the tape must hear of it.
void check_dirty(const FunctionNode& node, const FunctionContext& ctx, const py::list& outputs) {
  for (const Tensor& t : ctx.dirty) {
    bool is_returned = false;
    for (const py::handle item : outputs) is_returned |= is_tensor(item.ptr()) && unwrap(item.ptr()).same(t);
    check(is_returned, node.name(), ": forward must return every tensor marked dirty, got one that it does not");
    ops::check_inplace(node.name(), t);
  }
}

// A view that forward has written: the base speaks for it from here on.
void rebase_dirty(const Ref<FunctionNode>& node, const Tensors& dirty, const std::vector<Edge>& bases) {
  for (std::size_t i = 0; i < dirty.size(); ++i) {
    const Tensor& view = dirty[i];
    if (!view->base || view->storage != view->base->storage) continue;
    ops::rebase(view, bases[i], {.to = node, .to_leaf = false, .index = view->output_index});
    view->node = nullptr;
    view->node_version = view->storage->version - 1;  // stale: made anew from the base when it is asked for
  }
}

// Makes the outputs the node's; a tensor that forward returns as it came in, and has not written, becomes a view of it.
void attach(const Ref<FunctionNode>& node, const FunctionContext& ctx, py::list& outputs, const Tensors& inputs) {
  std::uint32_t index = 0;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const py::handle item = outputs[i];
    Tensor y = is_tensor(item.ptr()) ? unwrap(item.ptr()) : Tensor();
    node->output_shapes.push_back(y.defined() ? y.shape() : Shape());
    node->output_dtypes.push_back(y.defined() ? y.dtype() : default_dtype());
    if (y.defined() && !contains(ctx.constant, y) && is_floating(y.dtype())) {
      if (contains(inputs, y) && !contains(ctx.dirty, y)) {
        y = alias(y);
        outputs[i] = py::cast(y);
      }
      y->requires_grad = false;
      set_node(y, node, index);
    }
    ++index;
  }
  node->outputs = index;
}

py::object apply(const py::object& function, const py::args& args) {
  const py::object ctx_object = py::cast(FunctionContext());
  auto& ctx = py::cast<FunctionContext&>(ctx_object);
  Tensors inputs;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const bool tensor = is_tensor(args[i].ptr());
    if (tensor) inputs.push_back(unwrap(args[i].ptr()));
    if (tensor) places.push_back(i);
    ctx.needs_input_grad.push_back(tensor && needs_grad(inputs.back()));
  }
  const bool recorded = grad_enabled() && std::find(ctx.needs_input_grad.begin(), ctx.needs_input_grad.end(), true) !=
                                              ctx.needs_input_grad.end();
  Edges edges;
  for (const Tensor& input : inputs) edges.push_back(recorded ? edge_to(input) : Edge());
  py::object result;
  {
    const GradMode off(false);
    result = function.attr("forward")(ctx_object, *args);
  }
  for (const Tensor& t : ctx.dirty) ops::count_write(t);
  if (!recorded) return result;
  auto node = make_ref<FunctionNode>();
  node->function = PyRef(function);
  node->context = PyRef(ctx_object);
  node->label = py::str(function.attr("__name__"));
  node->edges = std::move(edges);
  node->tensor_arguments = places;
  node->arguments = args.size();
  for (const Tensor& input : inputs) {
    node->input_shapes.push_back(input.shape());
    node->input_dtypes.push_back(input.dtype());
  }
  const bool is_tuple = py::isinstance<py::tuple>(result);
  py::list outputs = is_tuple ? py::list(result) : py::list(py::make_tuple(result));
  check_dirty(*node, ctx, outputs);
  std::vector<Edge> bases;  // what the bases of written views were
  for (const Tensor& t : ctx.dirty) bases.push_back(t->base ? edge_to(Tensor(t->base)) : Edge());
  attach(node, ctx, outputs, inputs);
  for (const Tensor& t : ctx.to_save) {
    node->saved.push_back(std::make_unique<Saved>(node.get()));
    const bool is_output = t.defined() && t->node.get() == node.get();
    is_output ? node->saved.back()->save_output(t) : node->saved.back()->save(t);
  }
  rebase_dirty(node, ctx.dirty, bases);
  ctx.to_save.clear();
  ctx.dirty.clear();
  ctx.constant.clear();
  ctx.link = node->link;
  return is_tuple ? py::object(py::tuple(outputs)) : py::object(outputs[0]);
}

}  // namespace

void bind_function(py::module_& m) {
  py::class_<FunctionContext>(m, "FunctionContext", py::dynamic_attr(), "What forward hands on to backward.")
      .def("save_for_backward",
           [](FunctionContext& self, const py::args& tensors) { self.to_save = tensors_in(tensors); })
      .def("mark_dirty", [](FunctionContext& self, const py::args& tensors) { self.dirty = tensors_in(tensors); })
      .def("mark_non_differentiable",
           [](FunctionContext& self, const py::args& tensors) { self.constant = tensors_in(tensors); })
      .def(
          "set_materialize_grads", [](FunctionContext& self, bool value) { self.materialize_grads = value; }, "value"_a)
      .def_property_readonly("needs_input_grad",
                             [](const FunctionContext& self) {
                               py::tuple needs(self.needs_input_grad.size());
                               for (std::size_t i = 0; i < self.needs_input_grad.size(); ++i)
                                 needs[i] = py::bool_(self.needs_input_grad[i]);
                               return needs;
                             })
      .def_property_readonly("saved_tensors", [](const FunctionContext& self) {
        if (!self.link) return self.to_save;
        check(self.link->node, "saved_tensors: the graph must still be whole, got the context of one that is gone");
        Tensors tensors;
        for (const auto& saved : self.link->node->saved) tensors.push_back(saved->original());
        return tensors;
      });
  m.def("apply_function", &apply, "function"_a);
}

}  // namespace dd2424
