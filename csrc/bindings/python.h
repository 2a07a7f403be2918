#pragma once
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "autograd/node.h"
#include "ops/elementwise.h"

// Python's side of a tensor, and how arguments cross over.
namespace dd2424 {

namespace py = pybind11;

// A Python object owned from C++. It may die on any thread, with or without the GIL.
class PyRef {
 public:
  PyRef() = default;
  explicit PyRef(py::handle object) : object_(object.inc_ref().ptr()) {}
  PyRef(const PyRef&) = delete;
  PyRef(PyRef&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  PyRef& operator=(PyRef other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~PyRef() { drop(object_); }
  PyObject* get() const { return object_; }
  static void drop(void* object);  // now where this thread has the GIL, else when the next holder comes by

 private:
  PyObject* object_ = nullptr;
};

// The Tensor type.

extern PyTypeObject* tensor_type;
inline bool is_tensor(PyObject* o) { return PyObject_TypeCheck(o, tensor_type); }
const Tensor& unwrap(PyObject* o);                       // o is a tensor
PyObject* wrap(const Tensor& t);                         // a new reference: t's own object, or None
PyObject* wrap_as(PyTypeObject* type, const Tensor& t);  // a fresh object of a subclass; t must have none yet
void make_tensor_type(py::module_& m);

// Turns the C++ exception in flight into a Python error.
void set_python_error();

// Defines a function of the module and the method of the same name, whose self is the first argument.
template <class F, class... Extra>
void define(py::module_& m, const char* name, F&& f, const Extra&... extra) {
  py::cpp_function function(std::forward<F>(f), py::name(name), py::scope(m), extra...);
  m.attr(name) = function;
  py::handle(reinterpret_cast<PyObject*>(tensor_type)).attr(name) =
      py::reinterpret_steal<py::object>(PyInstanceMethod_New(function.ptr()));
}
template <class F, class... Extra>
void define_method(const char* name, F&& f, const Extra&... extra) {
  const py::handle type(reinterpret_cast<PyObject*>(tensor_type));
  py::cpp_function function(std::forward<F>(f), py::name(name), py::is_method(type), extra...);
  type.attr(name) = function;
}

// Gives a function of the module, and its method, a way for one positional tensor that costs almost nothing.
using DirectBody = Tensor (*)(const Tensor& x, int tag);
void make_direct(py::module_& m, const char* name, DirectBody body, int tag = 0);
// The same for a function of the module and two positional tensors.
using DirectPairBody = Tensor (*)(const Tensor& x, const Tensor& y);
void make_direct(py::module_& m, const char* name, DirectPairBody pair);

py::dict stats_dict(const MemoryStats& stats);

// Arguments.

PyObject* wrap_shape(const Shape& shape);  // a Size
py::object dtype_object(DType dtype);
Device load_device(const char* op,
                   py::handle device);          // None, or what str() makes a name of; opens the GPU if asked for
bool load_dtype(PyObject* o, DType& dtype);     // a dtype, Python's float, int or bool, or a NumPy dtype
bool load_number(PyObject* o, Scalar& number);  // a Python or NumPy number
bool load_shape(PyObject* o, Shape& shape);     // an int, or a sequence of ints

struct Value {  // a tensor or a number
  Tensor tensor;
  Scalar scalar;
  operator ops::Operand() const { return tensor.defined() ? ops::Operand(tensor) : ops::Operand(scalar); }
};
struct Dims {  // None, an int or a sequence of ints
  Shape dims;
  bool given = false;
};
// For f(input, *size) and f(input, size): ints one by one, or one sequence of them.
Shape shape_from_args(const char* op, const py::args& args);
Tensor tensor_from(py::handle data, std::optional<DType> dtype);  // as dd2424.tensor(data, dtype)
Tensor from_numpy(py::handle array, bool must_share);
py::object to_numpy(const Tensor& t);  // TypeError for a GPU's

}  // namespace dd2424

namespace pybind11::detail {
template <>
struct type_caster<dd2424::Tensor> {
  PYBIND11_TYPE_CASTER(dd2424::Tensor, const_name("Tensor"));
  bool load(handle source, bool) {
    if (dd2424::is_tensor(source.ptr())) {
      value = dd2424::unwrap(source.ptr());
      return true;
    }
    return source.is_none();
  }
  static handle cast(const dd2424::Tensor& t, return_value_policy, handle) { return dd2424::wrap(t); }
};

template <>
struct type_caster<dd2424::Value> {
  PYBIND11_TYPE_CASTER(dd2424::Value, const_name("Tensor | float"));
  bool load(handle source, bool) {
    if (!dd2424::is_tensor(source.ptr())) return dd2424::load_number(source.ptr(), value.scalar);
    value.tensor = dd2424::unwrap(source.ptr());
    return true;
  }
};

template <>
struct type_caster<dd2424::Scalar> {
  PYBIND11_TYPE_CASTER(dd2424::Scalar, const_name("float"));
  bool load(handle source, bool) { return dd2424::load_number(source.ptr(), value); }
  static handle cast(const dd2424::Scalar& s, return_value_policy, handle) {
    using Kind = dd2424::Scalar::Kind;
    if (s.kind == Kind::boolean) return PyBool_FromLong(s.integer != 0);
    return s.kind == Kind::integer ? PyLong_FromLongLong(s.integer) : PyFloat_FromDouble(s.floating);
  }
};

template <>
struct type_caster<dd2424::DType> {
  PYBIND11_TYPE_CASTER(dd2424::DType, const_name("dtype"));
  bool load(handle source, bool) { return dd2424::load_dtype(source.ptr(), value); }
  static handle cast(dd2424::DType dtype, return_value_policy, handle) { return dd2424::dtype_object(dtype).release(); }
};

template <>
struct type_caster<dd2424::Shape> {
  PYBIND11_TYPE_CASTER(dd2424::Shape, const_name("Sequence[int]"));
  bool load(handle source, bool) { return dd2424::load_shape(source.ptr(), value); }
  static handle cast(const dd2424::Shape& shape, return_value_policy, handle) { return dd2424::wrap_shape(shape); }
};

template <>
struct type_caster<dd2424::Dims> {
  PYBIND11_TYPE_CASTER(dd2424::Dims, const_name("int | Sequence[int] | None"));
  bool load(handle source, bool) {
    if (source.is_none()) return true;
    value.given = true;
    return dd2424::load_shape(source.ptr(), value.dims);
  }
};

template <>
struct type_caster<dd2424::Tensors> {
  PYBIND11_TYPE_CASTER(dd2424::Tensors, const_name("Sequence[Tensor]"));
  bool load(handle source, bool) {
    const auto items = reinterpret_steal<object>(PySequence_Fast(source.ptr(), ""));
    if (!items || dd2424::is_tensor(source.ptr())) {
      PyErr_Clear();
      return false;
    }
    PyObject** begin = PySequence_Fast_ITEMS(items.ptr());
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.ptr()); ++i) {
      if (begin[i] != Py_None && !dd2424::is_tensor(begin[i])) return false;
      value.push_back(begin[i] == Py_None ? dd2424::Tensor() : dd2424::unwrap(begin[i]));
    }
    return true;
  }
  static handle cast(const dd2424::Tensors& tensors, return_value_policy, handle) {
    tuple result(tensors.size());
    for (std::size_t i = 0; i < tensors.size(); ++i)
      PyTuple_SET_ITEM(result.ptr(), static_cast<Py_ssize_t>(i), dd2424::wrap(tensors[i]));
    return result.release();
  }
};
}  // namespace pybind11::detail
