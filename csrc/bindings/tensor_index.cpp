#include "bindings/tensor_type.h"
#include "ops/copy.h"
#include "ops/index.h"
#include "ops/shape.h"

// t[key] and t[key] = value: integers, slices, None and Ellipsis make views; tensors, arrays and lists look elements
// up.
namespace dd2424 {
namespace {

Tensor apply_slice(const Tensor& x, int dim, PyObject* key) {
  check<IndexError>(dim < x.ndim(), "index: too many indices for a tensor of shape ", x.shape());
  Py_ssize_t start, stop, step;
  if (PySlice_Unpack(key, &start, &stop, &step) < 0) throw py::error_already_set();
  PySlice_AdjustIndices(x.size(dim), &start, &stop, step);
  return ops::slice(x, dim, start, stop, step);
}

Tensor apply_integer(const Tensor& x, int dim, PyObject* key) {
  const Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (i == -1 && PyErr_Occurred()) throw py::error_already_set();
  check<IndexError>(dim < x.ndim(), "index: too many indices for a tensor of shape ", x.shape());
  return ops::select(x, dim, i);
}

// An integer, or an integer tensor without dimensions, which selects as one.
bool is_plain_integer(PyObject* key) {
  if (PyBool_Check(key)) return false;
  if (is_tensor(key)) {
    const Tensor& t = unwrap(key);
    return t.ndim() == 0 && is_integer(t.dtype()) && t.dtype() != DType::uint8;
  }
  return PyLong_Check(key) || (PyIndex_Check(key) && !PySequence_Check(key));
}

// How many dimensions of the tensor a key takes up.
int dims_taken(PyObject* key) {
  if (key == Py_None || key == Py_Ellipsis || PyBool_Check(key)) return 0;
  if (is_tensor(key)) {
    const Tensor t = unwrap(key);
    return t.dtype() == DType::bool_ || t.dtype() == DType::uint8 ? t.ndim() : 1;
  }
  return 1;
}

Tensor index_tensor(PyObject* key) {
  if (is_tensor(key)) return unwrap(key);
  if (PyBool_Check(key)) return ops::scalar_tensor(Scalar(key == Py_True), DType::bool_);
  const Tensor t = tensor_from(key, std::nullopt);
  return t.numel() == 0 && is_floating(t.dtype()) ? ops::to(t, DType::int64) : t;
}

struct Indexed {
  Tensor view;      // after the integers, slices, Nones and Ellipsis
  Tensors indices;  // by dimension of the view
  bool is_advanced = false;
};

Indexed resolve(const Tensor& x, PyObject* const* keys, Py_ssize_t count) {
  Indexed result{x, {}, false};
  int taken = 0, dim = 0;
  bool has_ellipsis = false;
  std::vector<py::object> held;
  for (Py_ssize_t i = 0; i < count; ++i) {
    check<IndexError>(keys[i] != Py_Ellipsis || !std::exchange(has_ellipsis, true),
                      "index: only one Ellipsis is possible");
    taken += dims_taken(keys[i]);
  }
  check<IndexError>(taken <= x.ndim(), "index: too many indices, ", taken, ", for a tensor of shape ", x.shape());
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* key = keys[i];
    if (is_plain_integer(key)) {
      result.view = apply_integer(result.view, dim, key);
    } else if (PySlice_Check(key)) {
      result.view = apply_slice(result.view, dim++, key);
    } else if (key == Py_None) {
      result.view = ops::unsqueeze(result.view, dim++);
    } else if (key == Py_Ellipsis) {
      dim += x.ndim() - taken;
    } else {
      const Tensor index = index_tensor(key);
      if (index.ndim() == 0 && is_integer(index.dtype()) && index.dtype() != DType::uint8) {  // a NumPy array
        result.view = ops::select(result.view, dim, ops::item(index).integer);
        continue;
      }
      const bool is_mask = index.dtype() == DType::bool_ || index.dtype() == DType::uint8;
      const bool is_switch = is_mask && index.ndim() == 0;  // it keeps all or nothing
      if (is_switch) result.view = ops::unsqueeze(result.view, dim);
      // What the host has, a list as much as a tensor, goes where the elements are.
      const Tensor there = index.device() == Device::cpu ? ops::to(index, x.device()) : index;
      const Tensor place = is_switch ? ops::reshape(there, {1}) : there;
      while (static_cast<int>(result.indices.size()) < dim) result.indices.push_back(Tensor());
      result.indices.push_back(place);
      for (int extra = 1; is_mask && extra < place.ndim(); ++extra) ++dim;
      ++dim;
      result.is_advanced = true;
    }
  }
  return result;
}

// A mask in `indices` stands for several dimensions; later entries are by dimension of the view.
Tensors compact(const Tensors& indices) {
  Tensors result;
  std::size_t d = 0;
  while (d < indices.size()) {
    result.push_back(indices[d]);
    const bool is_mask =
        indices[d].defined() && (indices[d].dtype() == DType::bool_ || indices[d].dtype() == DType::uint8);
    d += is_mask ? static_cast<std::size_t>(std::max(indices[d].ndim(), 1)) : 1;
  }
  return result;
}

Indexed resolve_key(const Tensor& x, PyObject* key) {
  if (PyTuple_Check(key)) return resolve(x, PySequence_Fast_ITEMS(key), PyTuple_GET_SIZE(key));
  return resolve(x, &key, 1);
}

}  // namespace

PyObject* tensor_getitem(PyObject* self, PyObject* key) {
  return guarded([&] {
    const Tensor& x = unwrap(self);
    if (is_plain_integer(key)) return wrap(apply_integer(x, 0, key));
    if (PySlice_Check(key)) return wrap(apply_slice(x, 0, key));
    const Indexed indexed = resolve_key(x, key);
    if (indexed.is_advanced) return wrap(ops::index(indexed.view, compact(indexed.indices)));
    return wrap(indexed.view.same(x) ? ops::view(x, x.shape()) : indexed.view);
  });
}

int tensor_setitem(PyObject* self, PyObject* key, PyObject* value) {
  try {
    check<TypeError>(value != nullptr, "del: elements of a tensor can't be deleted");
    const Tensor x = unwrap(self);
    Indexed indexed = resolve_key(x, key);
    const Tensor source = is_tensor(value) ? unwrap(value) : tensor_from(value, std::nullopt);
    if (indexed.is_advanced) {
      ops::index_put_(indexed.view, compact(indexed.indices), source, false);
    } else {
      Tensor rows = source;  // leading dimensions of size 1 may be too many
      while (rows.ndim() > indexed.view.ndim() && rows.size(0) == 1) rows = ops::select(rows, 0, 0);
      ops::copy_(indexed.view, rows);
    }
    return 0;
  } catch (...) {
    set_python_error();
    return -1;
  }
}

}  // namespace dd2424
