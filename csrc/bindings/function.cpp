#include "bindings/python.h"
#include "ops/copy.h"
#include "ops/shape.h"

// autograd.Function: an operation whose forward and backward are written in Python.
namespace dd2424 {
namespace {

using namespace py::literals;

struct FunctionNode;

// The `ctx` of forward and backward. While forward runs it collects; afterwards the node has what it collected.
struct FunctionContext {
  Tensors to_save, dirty, constant;  // save_for_backward, mark_dirty, mark_non_differentiable
  std::vector<bool> needs_input_grad;
  bool materialize_grads = true;
  FunctionNode* node = nullptr;  // lives at least as long as backward runs
};

struct FunctionNode final : Node {
  PyRef function, context;
  std::string label;
  std::vector<std::unique_ptr<Saved>> saved;
  std::vector<Shape> output_shapes;
  std::vector<DType> output_dtypes;
  std::vector<std::size_t> tensor_arguments;  // which arguments of forward the edges belong to
  std::size_t arguments = 0;

  const char* name() const override { return label.c_str(); }
  void visit_host_objects(void (*visit)(void* object, void* data), void* data) override {
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
    check(results.size() >= arguments, label, ": backward must return ", arguments,
          " gradients, one per argument of forward, got ", results.size());
    Tensors edges_grads;
    for (std::size_t i = 0; i < tensor_arguments.size(); ++i) {
      const py::handle grad = results[tensor_arguments[i]];
      check<TypeError>(grad.is_none() || is_tensor(grad.ptr()), label, ": backward must return tensors or None");
      edges_grads.push_back(needs[i] && !grad.is_none() ? unwrap(grad.ptr()) : Tensor());
    }
    return edges_grads;
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
  const bool is_tuple = py::isinstance<py::tuple>(result);
  py::list outputs = is_tuple ? py::list(result) : py::list(py::make_tuple(result));
  attach(node, ctx, outputs, inputs);
  for (const Tensor& t : ctx.to_save) {
    node->saved.push_back(std::make_unique<Saved>(node.get()));
    const bool is_output = t.defined() && t->node.get() == node.get();
    is_output ? node->saved.back()->save_output(t) : node->saved.back()->save(t);
  }
  ctx.to_save.clear();
  ctx.dirty.clear();
  ctx.constant.clear();
  ctx.node = node.get();
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
        if (!self.node) return self.to_save;
        Tensors tensors;
        for (const auto& saved : self.node->saved) tensors.push_back(saved->get());
        return tensors;
      });
  m.def("apply_function", &apply, "function"_a);
}

}  // namespace dd2424
