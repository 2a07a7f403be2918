#pragma once
#include "bindings/python.h"

namespace dd2424 {

struct TensorObject {
  PyObject_HEAD Tensor tensor;
  PyObject* dict;
  PyObject* weak_references;
};

// Runs body and returns what it gives, or null with the Python error set.
template <class Body>
inline PyObject* guarded(const Body& body) {
  try {
    return body();
  } catch (...) {
    set_python_error();
    return nullptr;
  }
}

PyObject* tensor_getitem(PyObject* self, PyObject* key);
int tensor_setitem(PyObject* self, PyObject* key, PyObject* value);
extern PyMethodDef tensor_methods[];
extern PyGetSetDef tensor_properties[];

}  // namespace dd2424
