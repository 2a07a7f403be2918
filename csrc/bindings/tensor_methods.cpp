#include "autograd/engine.h"
#include "bindings/tensor_type.h"
#include "ops/copy.h"
#include "ops/reduce.h"
#include "ops/shape.h"

// The properties of a tensor, and the methods that programs call most, without a layer between.
namespace dd2424 {
namespace {

PyObject* get_shape(PyObject* self, void*) {
  return guarded([&] { return wrap_shape(unwrap(self).shape()); });
}
PyObject* get_dtype(PyObject* self, void*) { return dtype_object(unwrap(self).dtype()).release().ptr(); }
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(unwrap(self).ndim()); }
PyObject* get_itemsize(PyObject* self, void*) { return PyLong_FromLongLong(item_bytes(unwrap(self).dtype())); }
PyObject* get_nbytes(PyObject* self, void*) {
  const Tensor t = unwrap(self);
  return PyLong_FromLongLong(t.numel() * item_bytes(t.dtype()));
}
PyObject* get_version(PyObject* self, void*) { return PyLong_FromUnsignedLong(unwrap(self)->storage->version.load()); }
PyObject* get_output_index(PyObject* self, void*) { return PyLong_FromUnsignedLong(unwrap(self)->output_index); }
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(grad_node(unwrap(self)) == nullptr); });
}
PyObject* get_array(PyObject* self, void*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    if (t.device() == Device::cpu) return to_numpy(t).release().ptr();
    return py::module_::import("dd2424.cuda").attr("array_of")(py::handle(self)).release().ptr();
  });
}
PyObject* get_is_cuda(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(unwrap(self).device() == Device::cuda); });
}
PyObject* get_requires_grad(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(needs_grad(unwrap(self))); });
}
PyObject* get_retains_grad(PyObject* self, void*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    return PyBool_FromLong(grad_node(t) != nullptr && t->leaf);
  });
}
PyObject* get_base(PyObject* self, void*) {
  return guarded([&] { return wrap(Tensor(unwrap(self)->base)); });
}

int set_requires_grad(PyObject* self, PyObject* value, void*) {
  try {
    const Tensor t = unwrap(self);
    const int wanted = value ? PyObject_IsTrue(value) : 0;
    if (wanted < 0) return -1;
    check(grad_node(t) == nullptr,
          "requires_grad: can only be changed on leaves; use detach() for a tensor that needs none");
    check(!wanted || is_floating(t.dtype()), "requires_grad: only floating tensors can require gradients, got ",
          t.dtype());
    t->requires_grad = wanted != 0;
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

PyObject* get_grad(PyObject* self, void*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    return wrap(t->leaf ? leaf_of(t).grad : Tensor());
  });
}
int set_grad(PyObject* self, PyObject* value, void*) {
  try {
    const Tensor t = unwrap(self);
    if (!value || value == Py_None) {
      if (t->leaf) leaf_of(t).grad = Tensor();
      return 0;
    }
    check<TypeError>(is_tensor(value), "grad: must be a tensor or None");
    const Tensor grad = unwrap(value);
    check(grad.shape() == t.shape() && grad.dtype() == t.dtype(), "grad: must have the tensor's shape and dtype ",
          t.shape(), " ", t.dtype(), ", got ", grad.shape(), " ", grad.dtype());
    ops::check_device("grad", {&t, &grad});
    leaf_of(t).grad = grad;
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

PyObject* get_data(PyObject* self, void*) {
  return guarded([&] { return wrap(independent_alias(unwrap(self))); });
}
int set_data(PyObject* self, PyObject* value, void*) {
  try {
    check<TypeError>(value && is_tensor(value), "data: must be set to a tensor");
    const Tensor t = unwrap(self), other = unwrap(value);
    check(t.dtype() == other.dtype() || !t->requires_grad || is_floating(other.dtype()),
          "data: a tensor that requires a gradient must stay floating, got ", other.dtype());
    const Tensor fresh = independent_alias(other);
    fresh->storage->version = t->storage->version + 1;  // what was saved of t before is stale
    t->storage = fresh->storage;
    t->data = fresh->data;
    t->shape = fresh->shape;
    t->strides = fresh->strides;
    t->numel = fresh->numel;
    t->dtype = fresh->dtype;
    t->is_contiguous = fresh->is_contiguous;
    t->base = nullptr;
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

PyObject* get_reversed(PyObject* self, void*) {  // .T
  return guarded([&] {
    const Tensor t = unwrap(self);
    Shape order;
    for (int d = t.ndim() - 1; d >= 0; --d) order.push_back(d);
    return wrap(ops::permute(t, order));
  });
}
PyObject* get_mT(PyObject* self, void*) {
  return guarded([&] {
    check(unwrap(self).ndim() >= 2, "mT: the tensor must have at least two dimensions");
    return wrap(ops::transpose(unwrap(self), -2, -1));
  });
}

// Methods.

Shape shape_argument(const char* op, PyObject* const* args, Py_ssize_t count) {
  Shape shape;
  if (count == 1 && !PyLong_Check(args[0])) {
    check<TypeError>(load_shape(args[0], shape), op, ": sizes must be integers, or one sequence of them");
    return shape;
  }
  for (Py_ssize_t i = 0; i < count; ++i) {
    const Py_ssize_t size = PyNumber_AsSsize_t(args[i], PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) throw py::error_already_set();
    shape.push_back(size);
  }
  return shape;
}
// How many arguments there are where the only one may be given by its name.
Py_ssize_t count_with(const char* op, const char* name, Py_ssize_t count, PyObject* names) {
  if (!names) [[likely]]
    return count;
  PyObject* given = PyTuple_GET_ITEM(names, 0);
  check<TypeError>(PyUnicode_CompareWithASCIIString(given, name) == 0, op, ": got an unexpected keyword argument '",
                   std::string(py::str(py::handle(given))), "', expected ", name);
  check<TypeError>(count == 0 && PyTuple_GET_SIZE(names) == 1, op, ": takes one argument, got more");
  return 1;
}
template <auto Body, class Name>
PyObject* with_shape(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    const Py_ssize_t total = count_with(Name::text, Name::argument, count, names);
    return wrap(Body(unwrap(self), shape_argument(Name::text, args, total)));
  });
}
struct ReshapeName {
  static constexpr const char *text = "reshape", *argument = "shape";
};
struct PermuteName {
  static constexpr const char *text = "permute", *argument = "dims";
};
struct ExpandName {
  static constexpr const char *text = "expand", *argument = "size";
};

// The same bytes as elements of another dtype. The last dimension takes up the difference in size.
Tensor reinterpret(const Tensor& t, DType dtype) {
  const Index before = item_bytes(t.dtype()), after = item_bytes(dtype);
  Shape shape = t.shape(), strides = t.strides();
  Index offset = t.offset();
  if (before != after) {
    check(t.ndim() > 0 && (strides.back() == 1 || shape.back() <= 1),
          "view: a dtype of another size needs a last dimension of stride 1, got shape ", shape, ", strides ", strides);
    const int last = t.ndim() - 1;
    bool fits = shape[last] * before % after == 0 && offset * before % after == 0;
    shape[last] = shape[last] * before / after;
    strides[last] = 1;  // one element may have had any
    offset = offset * before / after;
    for (int d = 0; d < last; ++d) {
      fits = fits && strides[d] * before % after == 0;
      strides[d] = strides[d] * before / after;
    }
    check(fits, "view: dtype must divide the last dimension, the strides and the offset, got shape ", t.shape(), " of ",
          t.dtype(), " as ", dtype);
  }
  const Tensor y = alias(t);
  y->dtype = dtype;
  y->shape = shape;
  y->strides = strides;
  y->numel = product(shape);
  y->is_contiguous = y->numel == 0 || strides == contiguous_strides(shape);
  return y;
}

PyObject* method_view(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    DType dtype;
    if (count + (names != nullptr) == 1 && load_dtype(args[0], dtype)) {
      count_with("view", "dtype", count, names);
      return wrap(reinterpret(unwrap(self), dtype));
    }
    const Py_ssize_t total = count_with("view", "size", count, names);
    return wrap(ops::view(unwrap(self), shape_argument("view", args, total)));
  });
}

PyObject* method_size(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    const Py_ssize_t count = count_with("size", "dim", given, names);
    if (count == 0) return wrap_shape(t.shape());
    const Py_ssize_t dim = PyNumber_AsSsize_t(args[0], PyExc_IndexError);
    if (dim == -1 && PyErr_Occurred()) throw py::error_already_set();
    check<IndexError>(t.ndim() > 0, "size: dim must be left out for a tensor without dimensions");
    return PyLong_FromLongLong(t.size(normalize_dim("size", dim, t.ndim())));
  });
}
PyObject* method_stride(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    const Py_ssize_t count = count_with("stride", "dim", given, names);
    if (count == 0) return wrap_shape(t.strides());
    const Py_ssize_t dim = PyNumber_AsSsize_t(args[0], PyExc_IndexError);
    if (dim == -1 && PyErr_Occurred()) throw py::error_already_set();
    check<IndexError>(t.ndim() > 0, "stride: dim must be left out for a tensor without dimensions");
    return PyLong_FromLongLong(t.strides()[normalize_dim("stride", dim, t.ndim())]);
  });
}
PyObject* method_item(PyObject* self, PyObject*) {
  return guarded([&] { return py::detail::make_caster<Scalar>::cast(ops::item(unwrap(self)), {}, {}).ptr(); });
}
PyObject* method_detach(PyObject* self, PyObject*) {
  return guarded([&] { return wrap(ops::detach(unwrap(self))); });
}
PyObject* method_numel(PyObject* self, PyObject*) { return PyLong_FromLongLong(unwrap(self).numel()); }
PyObject* method_data_ptr(PyObject* self, PyObject*) { return PyLong_FromVoidPtr(unwrap(self)->data); }
PyObject* method_offset(PyObject* self, PyObject*) { return PyLong_FromLongLong(unwrap(self).offset()); }
PyObject* method_t(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor t = unwrap(self);
    check(t.ndim() <= 2, "t: the tensor must have at most two dimensions, got shape ", t.shape());
    return wrap(t.ndim() == 2 ? ops::transpose(t, 0, 1) : ops::view(t, t.shape()));
  });
}
PyObject* method_requires_grad_(PyObject* self, PyObject* const* args, Py_ssize_t given, PyObject* names) {
  Py_ssize_t count = 0;
  try {
    count = count_with("requires_grad_", "requires_grad", given, names);
  } catch (...) {
    set_python_error();
    return nullptr;
  }
  // Asking for what a recorded tensor has anyway changes nothing.
  if ((count == 0 || args[0] == Py_True) && unwrap(self)->node) return Py_NewRef(self);
  if (set_requires_grad(self, count ? args[0] : Py_True, nullptr) < 0) return nullptr;
  return Py_NewRef(self);
}

template <class F>
PyCFunction fast(F* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace

PyMethodDef tensor_methods[] = {
    {"view", fast(method_view), METH_FASTCALL | METH_KEYWORDS,
     "The same memory under another shape, or dtype of the same size."},
    {"reshape", fast(with_shape<ops::reshape, ReshapeName>), METH_FASTCALL | METH_KEYWORDS,
     "Another shape: a view where it can be, else a copy."},
    {"permute", fast(with_shape<ops::permute, PermuteName>), METH_FASTCALL | METH_KEYWORDS,
     "The dimensions in another order."},
    {"expand", fast(with_shape<ops::expand, ExpandName>), METH_FASTCALL | METH_KEYWORDS,
     "A view that repeats dimensions of size 1; -1 keeps a size."},
    {"size", fast(method_size), METH_FASTCALL | METH_KEYWORDS, "The shape, or one size of it."},
    {"stride", fast(method_stride), METH_FASTCALL | METH_KEYWORDS, "The strides in elements, or one of them."},
    {"item", method_item, METH_NOARGS, "The only element, as a Python number."},
    {"detach", method_detach, METH_NOARGS, "The same memory, off the tape."},
    {"numel", method_numel, METH_NOARGS, "The number of elements."},
    {"nelement", method_numel, METH_NOARGS, "The number of elements."},
    {"data_ptr", method_data_ptr, METH_NOARGS, "The address of the first element."},
    {"storage_offset", method_offset, METH_NOARGS, "The place of the first element in the storage, in elements."},
    {"t", method_t, METH_NOARGS, "A matrix transposed."},
    {"requires_grad_", fast(method_requires_grad_), METH_FASTCALL | METH_KEYWORDS,
     "Sets requires_grad and returns the tensor."},
    {}};

PyGetSetDef tensor_properties[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {"shape", get_shape, nullptr, "The size of each dimension.", nullptr},
    {"dtype", get_dtype, nullptr, "The type of the elements.", nullptr},
    {"ndim", get_ndim, nullptr, "The number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether operations on it are recorded.", nullptr},
    {"grad", get_grad, set_grad, "The gradient that backward() has added up, or None.", nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether no recorded operation made it.", nullptr},
    {"data", get_data, set_data, "The same memory, unknown to the tape and to its version count.", nullptr},
    {"array", get_array, nullptr, "The same memory as a NumPy array, or as a CuPy array on a GPU.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, "Whether its memory is a GPU's.", nullptr},
    {"T", get_reversed, nullptr, "The dimensions in reverse order.", nullptr},
    {"mT", get_mT, nullptr, "The last two dimensions exchanged.", nullptr},
    {"retains_grad", get_retains_grad, nullptr, "Whether a tensor inside the graph keeps its gradient.", nullptr},
    {"_base", get_base, nullptr, "The tensor it is a view of, or None.", nullptr},
    {"_version", get_version, nullptr, "How often its memory was written in place.", nullptr},
    {"output_nr", get_output_index, nullptr, "Which output of grad_fn it is.", nullptr},
    {}};

}  // namespace dd2424
