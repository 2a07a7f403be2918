#include "ops/copy.h"

#include <algorithm>

#include "bindings/python.h"
#include "ops/shape.h"

// Creation, copies and conversions.
namespace dd2424 {
namespace {

using namespace py::literals;

// The keywords that every creation function takes.
struct Options {
  DType dtype;
  bool requires_grad;
  Device device;
};
Options options_from(const char* op, const py::kwargs& kwargs, DType fallback, Device device = Device::cpu) {
  Options options{fallback, false, device};
  for (const auto& [key, value] : kwargs) {
    const std::string name = py::str(key);
    if (name == "dtype") {
      check<TypeError>(value.is_none() || load_dtype(value.ptr(), options.dtype), op, ": dtype must be a dtype, got ",
                       std::string(py::repr(value)));
    } else if (name == "requires_grad") {
      options.requires_grad = py::cast<bool>(value);
    } else if (name == "device") {
      if (!value.is_none()) options.device = load_device(op, value);
    } else {
      check<TypeError>(name == "layout" || name == "pin_memory" || name == "memory_format" || name == "out", op,
                       ": got an unexpected keyword argument '", name, "'");
      check(value.is_none() || name != "out", op, ": out= is not supported");
    }
  }
  check(!options.requires_grad || is_floating(options.dtype), op, ": only floating tensors can require gradients, got ",
        options.dtype);
  return options;
}

// What memory_format= asks for: the order of dimensions in memory, the slowest first; empty to keep the input's.
Shape format_from(const char* op, const py::kwargs& kwargs, int ndim, bool preserves) {
  Shape order;
  const std::string format = kwargs.contains("memory_format") && !kwargs["memory_format"].is_none()
                                 ? std::string(py::str(kwargs["memory_format"]))
                             : preserves ? "dd2424.preserve_format"
                                         : "dd2424.contiguous_format";
  if (format == "dd2424.preserve_format") return order;
  const bool is_last = format == "dd2424.channels_last" || format == "dd2424.channels_last_3d";
  check<TypeError>(is_last || format == "dd2424.contiguous_format", op, ": memory_format must be a memory format, got ",
                   format);
  const int needed = format == "dd2424.channels_last" ? 4 : 5;
  check(!is_last || ndim == needed, op, ": input must have ", needed, " dimensions for ", format, ", got ", ndim);
  for (int d = 0; d < ndim; ++d)
    if (!is_last || d != 1) order.push_back(d);
  if (is_last) order.push_back(1);
  return order;
}
Shape inverse(const Shape& order) {
  Shape back = order;
  for (int i = 0; i < order.size(); ++i) back[static_cast<int>(order[i])] = i;
  return back;
}
// x in this order in memory: itself where it is, unless a copy is asked for.
Tensor in_order(const Tensor& x, const Shape& order, bool copies) {
  if (order.empty()) return copies ? ops::clone(x) : x;
  if (std::is_sorted(order.begin(), order.end())) return copies ? ops::clone_contiguous(x) : ops::contiguous(x);
  const Tensor moved = ops::permute(x, order), dense = copies ? ops::clone_contiguous(moved) : ops::contiguous(moved);
  return dense.same(moved) ? x : ops::permute(dense, inverse(order));
}
Tensor empty_like_in(const char* op, const Tensor& x, const Options& options, const py::kwargs& kwargs) {
  const Shape order = format_from(op, kwargs, x.ndim(), true);
  if (order.empty()) return empty_like(x, options.dtype, options.device);
  Shape shape, strides = x.shape();
  for (Index d : order) shape.push_back(x.size(static_cast<int>(d)));
  const Tensor y = empty(shape, options.dtype, options.device);
  for (int i = 0; i < order.size(); ++i) strides[static_cast<int>(order[i])] = y.strides()[i];
  return alias(y, x.shape(), strides, 0);
}
Tensor with(const Options& options, const Tensor& t) {
  t->requires_grad = options.requires_grad;
  return t;
}

Shape shape_of(const char* op, const py::args& args, const py::kwargs& kwargs) {
  if (kwargs.contains("size")) {
    Shape shape;
    check<TypeError>(load_shape(kwargs["size"].ptr(), shape), op, ": size must be a sequence of integers");
    kwargs.attr("pop")("size");
    return shape;
  }
  return shape_from_args(op, args);
}

void bind_creation(py::module_& m) {
  m.def("empty", [](const py::args& size, const py::kwargs& kwargs) {
    const Shape shape = shape_of("empty", size, kwargs);
    checked_numel("empty", shape);
    const Options options = options_from("empty", kwargs, default_dtype());
    return with(options, empty(shape, options.dtype, options.device));
  });
  for (const auto& [name, value] : {std::pair("zeros", 0), std::pair("ones", 1)}) {
    m.def(name, [name = name, value = value](const py::args& size, const py::kwargs& kwargs) {
      const Shape shape = shape_of(name, size, kwargs);
      const Options options = options_from(name, kwargs, default_dtype());
      return with(options, ops::full(shape, Scalar(value), options.dtype, options.device));
    });
    const std::string like = std::string(name) + "_like";
    m.def(
        like.c_str(),
        [like, value = value](const Tensor& x, const py::kwargs& kwargs) {
          const Options options = options_from(like.c_str(), kwargs, x.dtype(), x.device());
          const Tensor y = empty_like_in(like.c_str(), x, options, kwargs);
          ops::fill_into(y, Scalar(value));
          return with(options, y);
        },
        "input"_a);
    const std::string fresh = "new_" + std::string(name);
    define_method(
        fresh.c_str(), [fresh, value = value](const Tensor& x, const py::args& size, const py::kwargs& kwargs) {
          const Options options = options_from(fresh.c_str(), kwargs, x.dtype(), x.device());
          return with(options,
                      ops::full(shape_from_args(fresh.c_str(), size), Scalar(value), options.dtype, options.device));
        });
  }
}

void bind_filled(py::module_& m) {
  m.def(
      "full",
      [](const Shape& size, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("full", kwargs, value.dtype());
        return with(options, ops::full(size, value, options.dtype, options.device));
      },
      "size"_a, "fill_value"_a);
  m.def(
      "full_like",
      [](const Tensor& x, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("full_like", kwargs, x.dtype(), x.device());
        const Tensor y = empty_like_in("full_like", x, options, kwargs);
        ops::fill_into(y, value);
        return with(options, y);
      },
      "input"_a, "fill_value"_a);
  m.def(
      "empty_like",
      [](const Tensor& x, const py::kwargs& kwargs) {
        const Options options = options_from("empty_like", kwargs, x.dtype(), x.device());
        return with(options, empty_like_in("empty_like", x, options, kwargs));
      },
      "input"_a);
  define_method("new_empty", [](const Tensor& x, const py::args& size, const py::kwargs& kwargs) {
    const Options options = options_from("new_empty", kwargs, x.dtype(), x.device());
    return with(options, empty(shape_from_args("new_empty", size), options.dtype, options.device));
  });
  define_method(
      "new_full",
      [](const Tensor& x, const Shape& size, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("new_full", kwargs, x.dtype(), x.device());
        return with(options, ops::full(size, value, options.dtype, options.device));
      },
      "size"_a, "fill_value"_a);
  m.def(
      "arange",
      [](const Scalar& first, const std::optional<Scalar>& second, const Scalar& step, const py::kwargs& kwargs) {
        const Scalar start = second ? first : Scalar(0), end = second ? *second : first;
        const bool floats = start.kind == Scalar::Kind::floating || end.kind == Scalar::Kind::floating ||
                            step.kind == Scalar::Kind::floating;
        const Options options = options_from("arange", kwargs, floats ? default_dtype() : DType::int64);
        return with(options, ops::arange(start, end, step, options.dtype, options.device));
      },
      "start"_a, "end"_a = py::none(), "step"_a = Scalar(1));
}

// to(dtype), to(device), to(device, dtype), to(other): which is which is found in Python, where devices live.
Tensor convert(const Tensor& x, const std::optional<DType>& dtype, bool copies, const py::object& device,
               bool non_blocking) {
  Tensor y = dtype ? ops::to(x, *dtype) : x;
  if (!device.is_none()) y = ops::to(y, load_device("to", device), non_blocking);
  return copies && y.same(x) ? ops::clone(x) : y;
}

constexpr std::pair<const char*, DType> kConversions[] = {
    {"float", DType::float32}, {"double", DType::float64}, {"half", DType::float16}, {"bfloat16", DType::bfloat16},
    {"long", DType::int64},    {"int", DType::int32},      {"short", DType::int16},  {"char", DType::int8},
    {"byte", DType::uint8},    {"bool", DType::bool_}};

}  // namespace

void bind_copy(py::module_& m) {
  bind_creation(m);
  bind_filled(m);
  m.def("convert", &convert, "input"_a, "dtype"_a = py::none(), "copy"_a = false, "device"_a = py::none(),
        "non_blocking"_a = false);
  for (const auto& [name, dtype] : kConversions)
    define_method(name, [dtype = dtype](const Tensor& x) { return ops::to(x, dtype); });
  define(
      m, "clone",
      [](const Tensor& x, const py::kwargs& kwargs) {
        return in_order(x, format_from("clone", kwargs, x.ndim(), true), true);
      },
      "input"_a);
  define_method("contiguous", [](const Tensor& x, const py::kwargs& kwargs) {
    return kwargs ? in_order(x, format_from("contiguous", kwargs, x.ndim(), false), false) : ops::contiguous(x);
  });
  define_method(
      "copy_", [](Tensor x, const Tensor& source, bool non_blocking) { return ops::copy_(x, source, non_blocking); },
      "src"_a, "non_blocking"_a = false);
  define_method(
      "fill_",
      [](Tensor x, const Value& value) {
        return value.tensor.defined() ? ops::copy_(x, value.tensor) : ops::fill_(x, value.scalar);
      },
      "value"_a);
  define_method("zero_", [](Tensor x) { return ops::fill_(x, Scalar(0)); });
  define(
      m, "detach_",
      [](Tensor x) {
        check(!x->base, "detach_: a view can't be detached in place; use detach()");
        x->node = nullptr;
        x->requires_grad = false;
        return x;
      },
      "input"_a);
  m.def(
      "make_subclass",
      [](const py::type& type, const Tensor& data, bool requires_grad) {
        const Tensor t = alias(data);
        check(!requires_grad || is_floating(t.dtype()),
              "requires_grad: only floating tensors can require gradients, got ", t.dtype());
        t->requires_grad = requires_grad;
        check<TypeError>(PyType_IsSubtype(reinterpret_cast<PyTypeObject*>(type.ptr()), tensor_type),
                         "make_subclass: cls must be a subclass of Tensor");
        return py::reinterpret_steal<py::object>(wrap_as(reinterpret_cast<PyTypeObject*>(type.ptr()), t));
      },
      "cls"_a, "data"_a, "requires_grad"_a = false);
}

}  // namespace dd2424
