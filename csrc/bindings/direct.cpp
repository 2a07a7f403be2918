#include "bindings/python.h"
#include "bindings/tensor_type.h"

#include <structmember.h>

#include <cstddef>

// Functions of one tensor or of two, callable without the layer that sorts arguments: a tensor of eight elements is
// computed in less time than that takes. All but so many positional tensors goes to the general function of that name.
namespace dd2424 {
namespace {

struct DirectFunction {
  PyObject ob_base;
  vectorcallfunc call;
  DirectBody body;      // of one tensor
  DirectPairBody pair;  // of two: one of both bodies is there
  int tag;
  PyObject* general;
};

PyObject* call(PyObject* self, PyObject* const* args, std::size_t flagged_count, PyObject* names) {
  auto* function = reinterpret_cast<DirectFunction*>(self);
  const auto count = PyVectorcall_NARGS(flagged_count);
  if (count != (function->pair ? 2 : 1) || names || !is_tensor(args[0]) || !is_tensor(args[count - 1])) [[unlikely]]
    return PyObject_Vectorcall(function->general, args, flagged_count, names);
  return guarded([&] {
    return wrap(function->pair ? function->pair(unwrap(args[0]), unwrap(args[1]))
                               : function->body(unwrap(args[0]), function->tag));
  });
}

PyObject* bind_to_instance(PyObject* self, PyObject* instance, PyObject*) {
  return !instance || instance == Py_None ? Py_NewRef(self) : PyMethod_New(self, instance);
}
PyObject* get_attribute(PyObject* self, PyObject* name) {  // __name__, __doc__ and the rest are the general function's
  if (PyObject* own = PyObject_GenericGetAttr(self, name)) return own;
  PyErr_Clear();
  return PyObject_GetAttr(reinterpret_cast<DirectFunction*>(self)->general, name);
}
PyObject* get_doc(PyObject* self, void*) {
  return PyObject_GetAttrString(reinterpret_cast<DirectFunction*>(self)->general, "__doc__");
}
PyObject* reduce(PyObject* self, PyObject*) {  // pickled by name
  return PyObject_GetAttrString(reinterpret_cast<DirectFunction*>(self)->general, "__name__");
}
PyObject* represent(PyObject* self) {
  PyObject* name = reduce(self, nullptr);
  return name ? PyUnicode_FromFormat("<function %U>", name) : nullptr;
}

PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(DirectFunction, call), READONLY, nullptr}, {}};
PyGetSetDef properties[] = {{"__doc__", get_doc, nullptr, nullptr, nullptr}, {}};
PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, nullptr}, {}};

PyTypeObject* make_type() {
  static PyType_Slot slots[] = {{Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                                {Py_tp_descr_get, reinterpret_cast<void*>(bind_to_instance)},
                                {Py_tp_getattro, reinterpret_cast<void*>(get_attribute)},
                                {Py_tp_repr, reinterpret_cast<void*>(represent)},
                                {Py_tp_members, members},
                                {Py_tp_getset, properties},
                                {Py_tp_methods, methods},
                                {}};
  static PyType_Spec spec{"dd2424._core.DirectFunction", sizeof(DirectFunction), 0,
                          Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR |
                              Py_TPFLAGS_DISALLOW_INSTANTIATION,
                          slots};
  return reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
}

}  // namespace

static py::object direct(py::module_& m, const char* name, DirectBody body, DirectPairBody pair, int tag) {
  static PyTypeObject* type = make_type();
  auto* function = PyObject_New(DirectFunction, type);
  if (!function) throw py::error_already_set();
  function->call = call;
  function->body = body;
  function->pair = pair;
  function->tag = tag;
  function->general = py::object(m.attr(name)).release().ptr();
  const auto object = py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(function));
  m.attr(name) = object;
  return object;
}

void make_direct(py::module_& m, const char* name, DirectBody body, int tag) {
  py::handle(reinterpret_cast<PyObject*>(tensor_type)).attr(name) = direct(m, name, body, nullptr, tag);
}
void make_direct(py::module_& m, const char* name, DirectPairBody pair) { direct(m, name, nullptr, pair, 0); }

}  // namespace dd2424
