#include "ops/copy.h"

#include "bindings/python.h"

// Creation, copies and conversions.
namespace dd2424 {
namespace {

using namespace py::literals;

// The keywords that every creation function takes.
struct Options {
  DType dtype;
  bool requires_grad;
};
Options options_from(const char* op, const py::kwargs& kwargs, DType fallback) {
  Options options{fallback, false};
  for (const auto& [key, value] : kwargs) {
    const std::string name = py::str(key);
    if (name == "dtype") {
      check<TypeError>(value.is_none() || load_dtype(value.ptr(), options.dtype), op, ": dtype must be a dtype, got ",
                       std::string(py::repr(value)));
    } else if (name == "requires_grad") {
      options.requires_grad = py::cast<bool>(value);
    } else if (name == "device") {
      const std::string device = value.is_none() ? "cpu" : std::string(py::str(value));
      check(device == "cpu", op, ": device must be cpu (this build has no CUDA library), got ", device);
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
    return with(options, empty(shape, options.dtype));
  });
  for (const auto& [name, value] : {std::pair("zeros", 0), std::pair("ones", 1)}) {
    m.def(name, [name = name, value = value](const py::args& size, const py::kwargs& kwargs) {
      const Shape shape = shape_of(name, size, kwargs);
      const Options options = options_from(name, kwargs, default_dtype());
      return with(options, ops::full(shape, Scalar(value), options.dtype));
    });
    const std::string like = std::string(name) + "_like";
    m.def(
        like.c_str(),
        [like, value = value](const Tensor& x, const py::kwargs& kwargs) {
          const Options options = options_from(like.c_str(), kwargs, x.dtype());
          const Tensor y = empty_like(x, options.dtype);
          ops::fill_into(y, Scalar(value));
          return with(options, y);
        },
        "input"_a);
    const std::string fresh = "new_" + std::string(name);
    define_method(fresh.c_str(),
                  [fresh, value = value](const Tensor& x, const py::args& size, const py::kwargs& kwargs) {
                    const Options options = options_from(fresh.c_str(), kwargs, x.dtype());
                    return with(options, ops::full(shape_from_args(fresh.c_str(), size), Scalar(value), options.dtype));
                  });
  }
  m.def(
      "full",
      [](const Shape& size, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("full", kwargs, value.dtype());
        return with(options, ops::full(size, value, options.dtype));
      },
      "size"_a, "fill_value"_a);
  m.def(
      "full_like",
      [](const Tensor& x, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("full_like", kwargs, x.dtype());
        const Tensor y = empty_like(x, options.dtype);
        ops::fill_into(y, value);
        return with(options, y);
      },
      "input"_a, "fill_value"_a);
  m.def(
      "empty_like",
      [](const Tensor& x, const py::kwargs& kwargs) {
        const Options options = options_from("empty_like", kwargs, x.dtype());
        return with(options, empty_like(x, options.dtype));
      },
      "input"_a);
  define_method("new_empty", [](const Tensor& x, const py::args& size, const py::kwargs& kwargs) {
    const Options options = options_from("new_empty", kwargs, x.dtype());
    return with(options, empty(shape_from_args("new_empty", size), options.dtype));
  });
  define_method(
      "new_full",
      [](const Tensor& x, const Shape& size, const Scalar& value, const py::kwargs& kwargs) {
        const Options options = options_from("new_full", kwargs, x.dtype());
        return with(options, ops::full(size, value, options.dtype));
      },
      "size"_a, "fill_value"_a);
  m.def(
      "arange",
      [](const Scalar& first, const std::optional<Scalar>& second, const Scalar& step, const py::kwargs& kwargs) {
        const Scalar start = second ? first : Scalar(0), end = second ? *second : first;
        const bool floats = start.kind == Scalar::Kind::floating || end.kind == Scalar::Kind::floating ||
                            step.kind == Scalar::Kind::floating;
        const Options options = options_from("arange", kwargs, floats ? default_dtype() : DType::int64);
        return with(options, ops::arange(start, end, step, options.dtype));
      },
      "start"_a, "end"_a = py::none(), "step"_a = Scalar(1));
}

// to(dtype), to(device), to(device, dtype), to(other): what is a device is checked in Python, where devices live.
Tensor convert(const Tensor& x, const std::optional<DType>& dtype, bool copies) {
  const Tensor y = dtype ? ops::to(x, *dtype) : x;
  return copies && y.same(x) ? ops::clone(x) : y;
}

// The name of the memory format asked for: those that there is no kernel for yet are refused, never ignored.
std::string format_from(const char* op, const py::kwargs& kwargs, const char* fallback) {
  std::string format = fallback;
  for (const auto& [key, value] : kwargs) {
    check<TypeError>(std::string(py::str(key)) == "memory_format", op, ": got an unexpected keyword argument '",
                     std::string(py::str(key)), "'");
    if (value.is_none()) continue;
    format = std::string(py::repr(value));
    format = format.substr(format.rfind('.') + 1);
    check(format == "preserve_format" || format == "contiguous_format", op,
          ": memory_format must be preserve_format or contiguous_format, got ", format);
  }
  return format;
}

constexpr std::pair<const char*, DType> kConversions[] = {
    {"float", DType::float32}, {"double", DType::float64}, {"half", DType::float16}, {"bfloat16", DType::bfloat16},
    {"long", DType::int64},    {"int", DType::int32},      {"short", DType::int16},  {"char", DType::int8},
    {"byte", DType::uint8},    {"bool", DType::bool_}};

}  // namespace

void bind_copy(py::module_& m) {
  bind_creation(m);
  m.def("convert", &convert, "input"_a, "dtype"_a = py::none(), "copy"_a = false);
  for (const auto& [name, dtype] : kConversions)
    define_method(name, [dtype = dtype](const Tensor& x) { return ops::to(x, dtype); });
  define(
      m, "clone",
      [](const Tensor& x, const py::kwargs& kwargs) {
        const bool is_plain = format_from("clone", kwargs, "preserve_format") == "preserve_format";
        return is_plain ? ops::clone(x) : ops::clone_contiguous(x);
      },
      "input"_a);
  define_method("contiguous", [](const Tensor& x, const py::kwargs& kwargs) {
    format_from("contiguous", kwargs, "contiguous_format");
    return ops::contiguous(x);
  });
  define_method(
      "copy_", [](Tensor x, const Tensor& source, bool) { return ops::copy_(x, source); }, "src"_a,
      "non_blocking"_a = false);
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
