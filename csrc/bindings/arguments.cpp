#include <pybind11/numpy.h>

#include "bindings/python.h"
#include "ops/copy.h"

namespace dd2424 {
namespace {

PyTypeObject* size_type = nullptr;
py::handle dtype_objects[kDTypes];

PyObject* size_numel(PyObject* self, PyObject*) {
  Py_ssize_t n = 1;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) n *= PyLong_AsSsize_t(PyTuple_GET_ITEM(self, i));
  return PyLong_FromSsize_t(n);
}
PyObject* size_repr(PyObject* self) {
  PyObject* list = PySequence_List(self);
  if (!list) return nullptr;
  PyObject* text = PyUnicode_FromFormat("dd2424.Size(%R)", list);
  Py_DECREF(list);
  return text;
}

struct DTypeInfo {
  DType dtype;
};

bool load_numpy_dtype(py::handle o, DType& dtype) {
  const std::string name = py::str(o.attr("name"));
  for (int i = 0; i < kDTypes; ++i) {
    if (dtype_name(DType(i)) != name) continue;
    dtype = DType(i);
    return true;
  }
  return false;
}

}  // namespace

// Sizes.

PyObject* wrap_shape(const Shape& shape) {
  PyObject* size = size_type->tp_alloc(size_type, shape.size());
  if (!size) throw py::error_already_set();
  for (int d = 0; d < shape.size(); ++d) PyTuple_SET_ITEM(size, d, PyLong_FromLongLong(shape[d]));
  return size;
}

bool load_shape(PyObject* o, Shape& shape) {
  if (PyLong_Check(o) || (!PySequence_Check(o) && PyIndex_Check(o)) || is_tensor(o)) {
    const Py_ssize_t size = PyNumber_AsSsize_t(o, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) return PyErr_Clear(), false;
    shape = {size};
    return true;
  }
  if (!PyTuple_Check(o) && !PyList_Check(o)) return false;
  shape = {};
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); ++i) {
    const Py_ssize_t size = PyNumber_AsSsize_t(PySequence_Fast_ITEMS(o)[i], PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) return PyErr_Clear(), false;
    shape.push_back(size);
  }
  return true;
}

Shape shape_from_args(const char* op, const py::args& args) {
  Shape shape;
  const py::handle all = args.size() == 1 && !PyIndex_Check(args[0].ptr()) ? args[0] : py::handle(args);
  check<TypeError>(load_shape(all.ptr(), shape), op, ": sizes must be integers, or one sequence of them, got ",
                   std::string(py::repr(all)));
  return shape;
}

// Dtypes.

py::object dtype_object(DType dtype) {
  return py::reinterpret_borrow<py::object>(dtype_objects[static_cast<int>(dtype)]);
}

bool load_dtype(PyObject* o, DType& dtype) {
  for (int i = 0; i < kDTypes; ++i) {
    if (dtype_objects[i].ptr() != o) continue;
    dtype = DType(i);
    return true;
  }
  if (o == reinterpret_cast<PyObject*>(&PyFloat_Type)) return dtype = default_dtype(), true;
  if (o == reinterpret_cast<PyObject*>(&PyLong_Type)) return dtype = DType::int64, true;
  if (o == reinterpret_cast<PyObject*>(&PyBool_Type)) return dtype = DType::bool_, true;
  if (py::isinstance<py::dtype>(o)) return load_numpy_dtype(o, dtype);
  if (PyType_Check(o) && PyObject_HasAttrString(o, "dtype"))  // numpy.float32 and its kin
    return load_numpy_dtype(py::dtype::from_args(py::reinterpret_borrow<py::object>(o)), dtype);
  return false;
}

bool load_number(PyObject* o, Scalar& number) {
  if (PyFloat_Check(o)) return number = Scalar(PyFloat_AS_DOUBLE(o)), true;
  if (PyBool_Check(o)) return number = Scalar(o == Py_True), true;
  if (PyLong_Check(o)) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
    number = overflow ? Scalar(PyLong_AsDouble(o)) : Scalar(std::int64_t{value});
    return !PyErr_Occurred();
  }
  // NumPy's scalars, which are no arrays and no sequences.
  if (!PyObject_HasAttrString(o, "dtype") || PySequence_Check(o)) return false;
  const py::object plain = py::reinterpret_steal<py::object>(PyObject_CallMethod(o, "item", nullptr));
  if (!plain || plain.ptr() == o) return PyErr_Clear(), false;
  return (PyFloat_Check(plain.ptr()) || PyLong_Check(plain.ptr())) && load_number(plain.ptr(), number);
}

void bind_arguments(py::module_& m) {
  static PyMethodDef methods[] = {
      {"numel", size_numel, METH_NOARGS, "The number of elements of a tensor of this size."}, {}};
  PyType_Slot slots[] = {
      {Py_tp_base, &PyTuple_Type}, {Py_tp_methods, methods}, {Py_tp_repr, reinterpret_cast<void*>(size_repr)}, {}};
  PyType_Spec spec = {"dd2424.Size", 0, 0, Py_TPFLAGS_DEFAULT, slots};
  size_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!size_type) throw py::error_already_set();
  m.attr("Size") = py::handle(reinterpret_cast<PyObject*>(size_type));

  py::class_<DTypeInfo>(m, "dtype", "The type of a tensor's elements: dd2424.float32 and its kin.")
      .def("__repr__", [](const DTypeInfo& self) { return "dd2424." + std::string(dtype_name(self.dtype)); })
      .def("__reduce__", [](const DTypeInfo& self) { return std::string(dtype_name(self.dtype)); })
      .def_property_readonly("name", [](const DTypeInfo& self) { return std::string(dtype_name(self.dtype)); })
      .def_property_readonly("itemsize", [](const DTypeInfo& self) { return item_bytes(self.dtype); })
      .def_property_readonly("is_floating_point", [](const DTypeInfo& self) { return is_floating(self.dtype); })
      .def_property_readonly("is_complex", [](const DTypeInfo&) { return false; })
      .def_property_readonly(
          "is_signed", [](const DTypeInfo& self) { return self.dtype != DType::uint8 && self.dtype != DType::bool_; });
  for (int i = 0; i < kDTypes; ++i) {
    const py::object object = py::cast(DTypeInfo{DType(i)});
    m.attr(std::string(dtype_name(DType(i))).c_str()) = object;
    dtype_objects[i] = object.inc_ref();
  }
  m.def("get_default_dtype", &default_dtype);
  m.def("set_default_dtype", &set_default_dtype, py::arg("d"));
  m.def("promote_types", &promote, py::arg("type1"), py::arg("type2"));
  m.def(
      "result_type", [](const Value& a, const Value& b) { return ops::result_type(a, b); }, py::arg("tensor1"),
      py::arg("tensor2"));
}

}  // namespace dd2424
