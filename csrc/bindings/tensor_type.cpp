#include "bindings/tensor_type.h"

#include <structmember.h>

#include <mutex>

#include "ops/copy.h"
#include "ops/gemm.h"

namespace dd2424 {

PyTypeObject* tensor_type = nullptr;

// References that die without the GIL.

namespace {
std::mutex dropped_mutex;
std::vector<PyObject*> dropped;
bool release_is_pending = false;

int release_dropped(void*) {
  std::vector<PyObject*> objects;
  {
    const std::lock_guard lock(dropped_mutex);
    objects.swap(dropped);
    release_is_pending = false;
  }
  for (PyObject* object : objects) Py_DECREF(object);
  return 0;
}
}  // namespace

void PyRef::drop(void* object) {
  if (!object || !Py_IsInitialized()) return;
  if (PyGILState_Check()) return Py_DECREF(static_cast<PyObject*>(object));
  const std::lock_guard lock(dropped_mutex);
  dropped.push_back(static_cast<PyObject*>(object));
  // Python's queue of calls may be full; the next drop asks again.
  if (!release_is_pending) release_is_pending = Py_AddPendingCall(release_dropped, nullptr) == 0;
}

// Between tensors and their objects.

namespace {
// Objects of the plain type that have died wait here for the next tensor. Touched only with the GIL.
constexpr std::size_t kFreeObjects = 128;
std::vector<PyObject*> free_objects;

PyObject* take_free_object() {
  PyObject* object = free_objects.back();
  free_objects.pop_back();
  PyObject_Init(object, tensor_type);
  PyObject_GC_Track(object);
  return object;
}
}  // namespace

const Tensor& unwrap(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->tensor; }

PyObject* wrap_as(PyTypeObject* type, const Tensor& t) {
  auto* o = reinterpret_cast<TensorObject*>(type == tensor_type && !free_objects.empty() ? take_free_object()
                                                                                         : type->tp_alloc(type, 0));
  if (!o) throw py::error_already_set();
  std::construct_at(&o->tensor, t);
  t->object.store(o, std::memory_order_relaxed);
  return reinterpret_cast<PyObject*>(o);
}

PyObject* wrap(const Tensor& t) {
  if (!t.defined()) return Py_NewRef(Py_None);
  if (void* object = t->object.load(std::memory_order_relaxed)) return Py_NewRef(static_cast<PyObject*>(object));
  return wrap_as(tensor_type, t);
}

void set_python_error() {
  try {
    throw;
  } catch (py::error_already_set& error) { error.restore(); } catch (const ValueError& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const TypeError& error) { PyErr_SetString(PyExc_TypeError, error.what()); } catch (const IndexError& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const NotImplementedError& error) {
    PyErr_SetString(PyExc_NotImplementedError, error.what());
  } catch (const OutOfMemoryError& error) {
    PyErr_SetString(py::module_::import("dd2424._core").attr("OutOfMemoryError").ptr(), error.what());
  } catch (const std::exception& error) { PyErr_SetString(PyExc_RuntimeError, error.what()); }
}

// The type's life.

namespace {

void type_dealloc(PyObject* self) {
  auto* o = reinterpret_cast<TensorObject*>(self);
  PyObject_GC_UnTrack(self);
  // Before anything that runs Python code: what it then asks for is a new object, which keeps its place.
  if (o->tensor.defined() && o->tensor->object.load(std::memory_order_relaxed) == self)
    o->tensor->object.store(nullptr, std::memory_order_relaxed);  // the GIL keeps the two together
  if (o->weak_references) PyObject_ClearWeakRefs(self);
  Py_CLEAR(o->dict);
  o->tensor = Tensor();
  PyTypeObject* type = Py_TYPE(self);
  if (type == tensor_type && free_objects.size() < kFreeObjects) {
    o->weak_references = nullptr;
    free_objects.push_back(self);
  } else {
    type->tp_free(self);
  }
  Py_DECREF(type);
}

// What only this object keeps alive belongs to its cycle: the attributes, and through a header that nobody else holds,
// the hooks and the Python state of its node.
int type_traverse(PyObject* self, visitproc visit, void* arg) {
  auto* o = reinterpret_cast<TensorObject*>(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(o->dict);
  if (!o->tensor.defined() || o->tensor->count() != 1) return 0;
  for (Taped* taped : {o->tensor->node.get(), o->tensor->leaf.get()}) {
    if (!taped || taped->count() != 1) continue;
    struct Visit {
      visitproc visit;
      void* arg;
      int result = 0;
    } state{visit, arg};
    taped->visit_host_objects(
        [](void* object, void* data) {
          auto* state = static_cast<Visit*>(data);
          if (state->result == 0 && object) state->result = state->visit(static_cast<PyObject*>(object), state->arg);
        },
        &state);
    if (state.result) return state.result;
  }
  return 0;
}

int type_clear(PyObject* self) {
  auto* o = reinterpret_cast<TensorObject*>(self);
  Py_CLEAR(o->dict);
  if (o->tensor.defined() && o->tensor->count() == 1) {
    o->tensor->node = nullptr;
    o->tensor->drop_leaf();
  }
  return 0;
}

// Tensor() and Tensor(2, 3) are uninitialised, Tensor(data) is a copy; all of the default dtype.
PyObject* type_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    check<TypeError>(!kwargs || PyDict_GET_SIZE(kwargs) == 0, "Tensor: takes no keyword arguments; use tensor()");
    const auto arguments = py::reinterpret_borrow<py::args>(args);
    const bool has_data = arguments.size() == 1 && !PyLong_Check(arguments[0].ptr()) &&
                          !(PyTuple_Check(arguments[0].ptr()) && Py_TYPE(arguments[0].ptr()) != &PyTuple_Type);
    if (has_data) return wrap_as(type, alias(tensor_from(arguments[0], default_dtype())));
    const Shape shape = arguments.empty() ? Shape{0} : shape_from_args("Tensor", arguments);
    checked_numel("Tensor", shape);
    return wrap_as(type, empty(shape, default_dtype()));
  });
}

// Operators.

// A tensor as it stands in its object, or a number.
bool load_operand(PyObject* o, ops::Operand& operand) {
  if (is_tensor(o)) {
    operand.tensor = &unwrap(o);
    return true;
  }
  if (load_number(o, operand.scalar)) return true;
  PyErr_Clear();
  return false;
}

template <auto Body>  // Tensor Body(const Operand&, const Operand&)
PyObject* operate(PyObject* a, PyObject* b) {
  ops::Operand left(0.0), right(0.0);
  if (!load_operand(a, left) || !load_operand(b, right)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] { return wrap(Body(left, right)); });
}
template <BinaryOp op>
PyObject* binary_slot(PyObject* a, PyObject* b) {
  return operate<[](const ops::Operand& x, const ops::Operand& y) { return ops::binary(op, x, y); }>(a, b);
}
template <BinaryOp op>
PyObject* inplace_slot(PyObject* self, PyObject* other) {
  ops::Operand value(0.0);
  if (!load_operand(other, value)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] {
    Tensor target = unwrap(self);
    ops::binary_(op, target, value);
    return Py_NewRef(self);
  });
}
template <UnaryOp op>
PyObject* unary_slot(PyObject* self) {
  return guarded([&] { return wrap(ops::unary(op, unwrap(self))); });
}
PyObject* power_slot(PyObject* a, PyObject* b, PyObject*) { return binary_slot<BinaryOp::pow>(a, b); }
PyObject* inplace_power_slot(PyObject* a, PyObject* b, PyObject*) { return inplace_slot<BinaryOp::pow>(a, b); }
PyObject* matmul_slot(PyObject* a, PyObject* b) {
  if (!is_tensor(a) || !is_tensor(b)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] { return wrap(ops::matmul(unwrap(a), unwrap(b))); });
}
PyObject* positive_slot(PyObject* self) { return Py_NewRef(self); }

PyObject* compare_slot(PyObject* a, PyObject* b, int comparison) {
  constexpr CompareOp by_python[] = {CompareOp::lt, CompareOp::le, CompareOp::eq,
                                     CompareOp::ne, CompareOp::gt, CompareOp::ge};
  ops::Operand left(0.0), right(0.0);
  if (!load_operand(a, left) || !load_operand(b, right)) Py_RETURN_NOTIMPLEMENTED;
  return guarded([&] { return wrap(ops::compare(by_python[comparison], left, right)); });
}

Scalar only_item(PyObject* self, const char* what) {
  const Tensor t = unwrap(self);
  check(t.numel() == 1, what, ": only a tensor of one element can be converted, got shape ", t.shape(),
        t.numel() ? " (is it ambiguous? use any() or all())" : "");
  return ops::item(t);
}
int bool_slot(PyObject* self) {
  try {
    return only_item(self, "bool").floating != 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}
PyObject* float_slot(PyObject* self) {
  return guarded([&] { return PyFloat_FromDouble(only_item(self, "float").floating); });
}
PyObject* int_slot(PyObject* self) {
  return guarded([&] {
    const Scalar value = only_item(self, "int");
    return value.kind == Scalar::Kind::floating ? PyLong_FromDouble(value.floating)
                                                : PyLong_FromLongLong(value.integer);
  });
}
PyObject* index_slot(PyObject* self) {
  return guarded([&] {
    check<TypeError>(!is_floating(unwrap(self).dtype()),
                     "index: only a tensor of an integer dtype can be used as an index");
    return PyLong_FromLongLong(only_item(self, "index").integer);
  });
}

Py_ssize_t length_slot(PyObject* self) {
  const Tensor t = unwrap(self);
  if (t.ndim() > 0) return t.size(0);
  PyErr_SetString(PyExc_TypeError, "len: a tensor without dimensions has no length");
  return -1;
}
Py_hash_t hash_slot(PyObject* self) { return static_cast<Py_hash_t>(reinterpret_cast<std::uintptr_t>(self) >> 4); }

// The buffer of the NumPy view, which keeps the tensor's memory alive. Refused where numpy() is: NumPy asks here first.
int buffer_slot(PyObject* self, Py_buffer* view, int flags) {
  try {
    if (needs_grad(unwrap(self))) {
      PyErr_SetString(PyExc_BufferError, "buffer: the tensor requires a gradient; use .detach()");
      view->obj = nullptr;
      return -1;
    }
    return PyObject_GetBuffer(to_numpy(unwrap(self)).ptr(), view, flags);
  } catch (...) {
    set_python_error();
    view->obj = nullptr;
    return -1;
  }
}

PyMemberDef members[] = {{"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weak_references), READONLY, nullptr},
                         {}};

template <class F>
constexpr PyType_Slot slot(int id, F* function) {
  return {id, reinterpret_cast<void*>(function)};
}

}  // namespace

void make_tensor_type(py::module_& m) {
  PyType_Slot slots[] = {slot(Py_tp_new, type_new),
                         slot(Py_tp_dealloc, type_dealloc),
                         slot(Py_tp_traverse, type_traverse),
                         slot(Py_tp_clear, type_clear),
                         slot(Py_tp_hash, hash_slot),
                         slot(Py_tp_richcompare, compare_slot),
                         slot(Py_nb_add, binary_slot<BinaryOp::add>),
                         slot(Py_nb_subtract, binary_slot<BinaryOp::sub>),
                         slot(Py_nb_multiply, binary_slot<BinaryOp::mul>),
                         slot(Py_nb_true_divide, binary_slot<BinaryOp::div>),
                         slot(Py_nb_floor_divide, binary_slot<BinaryOp::floor_div>),
                         slot(Py_nb_remainder, binary_slot<BinaryOp::remainder>),
                         slot(Py_nb_power, power_slot),
                         slot(Py_nb_and, binary_slot<BinaryOp::bit_and>),
                         slot(Py_nb_or, binary_slot<BinaryOp::bit_or>),
                         slot(Py_nb_xor, binary_slot<BinaryOp::bit_xor>),
                         slot(Py_nb_lshift, binary_slot<BinaryOp::shift_left>),
                         slot(Py_nb_rshift, binary_slot<BinaryOp::shift_right>),
                         slot(Py_nb_matrix_multiply, matmul_slot),
                         slot(Py_nb_negative, unary_slot<UnaryOp::neg>),
                         slot(Py_nb_absolute, unary_slot<UnaryOp::abs>),
                         slot(Py_nb_invert, unary_slot<UnaryOp::bit_not>),
                         slot(Py_nb_positive, positive_slot),
                         slot(Py_nb_bool, bool_slot),
                         slot(Py_nb_float, float_slot),
                         slot(Py_nb_int, int_slot),
                         slot(Py_nb_index, index_slot),
                         slot(Py_nb_inplace_add, inplace_slot<BinaryOp::add>),
                         slot(Py_nb_inplace_subtract, inplace_slot<BinaryOp::sub>),
                         slot(Py_nb_inplace_multiply, inplace_slot<BinaryOp::mul>),
                         slot(Py_nb_inplace_true_divide, inplace_slot<BinaryOp::div>),
                         slot(Py_nb_inplace_floor_divide, inplace_slot<BinaryOp::floor_div>),
                         slot(Py_nb_inplace_remainder, inplace_slot<BinaryOp::remainder>),
                         slot(Py_nb_inplace_power, inplace_power_slot),
                         slot(Py_nb_inplace_and, inplace_slot<BinaryOp::bit_and>),
                         slot(Py_nb_inplace_or, inplace_slot<BinaryOp::bit_or>),
                         slot(Py_nb_inplace_xor, inplace_slot<BinaryOp::bit_xor>),
                         slot(Py_mp_length, length_slot),
                         slot(Py_mp_subscript, tensor_getitem),
                         slot(Py_mp_ass_subscript, tensor_setitem),
                         slot(Py_bf_getbuffer, buffer_slot),
                         {Py_tp_methods, tensor_methods},
                         {Py_tp_getset, tensor_properties},
                         {Py_tp_members, members},
                         {}};
  PyType_Spec spec = {"dd2424.Tensor", sizeof(TensorObject), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, slots};
  tensor_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&spec));
  if (!tensor_type) throw py::error_already_set();
  m.attr("Tensor") = py::handle(reinterpret_cast<PyObject*>(tensor_type));
}

}  // namespace dd2424
