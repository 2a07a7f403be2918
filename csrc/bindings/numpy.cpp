#include <pybind11/numpy.h>

#include "bindings/python.h"
#include "ops/copy.h"

// Tensors over NumPy's memory and NumPy's arrays over a tensor's, without a copy.
namespace dd2424 {
namespace {

py::dtype numpy_dtype(DType dtype) {
  if (dtype == DType::bfloat16) {
    static const py::handle bfloat16 = py::object(py::module_::import("ml_dtypes").attr("bfloat16")).release();
    return py::dtype::from_args(py::reinterpret_borrow<py::object>(bfloat16));
  }
  constexpr const char* codes[kDTypes] = {"f4", "f8", "", "f2", "i8", "i4", "i2", "i1", "u1", "?"};
  return py::dtype(codes[static_cast<int>(dtype)]);
}

DType tensor_dtype(const py::array& array) {
  DType dtype;
  const std::string name = py::str(array.dtype().attr("name"));
  check<TypeError>(load_dtype(array.dtype().ptr(), dtype),
                   "from_numpy: array must have one of the dtypes float64, float32, "
                   "bfloat16, float16, int64, int32, int16, int8, uint8 and bool, got ",
                   name);
  return dtype;
}

// May a tensor lie over this memory as it is?
bool is_usable(const py::array& array) {
  const auto item = static_cast<std::size_t>(array.itemsize());
  if (reinterpret_cast<std::uintptr_t>(array.data()) % item != 0) return false;
  for (py::ssize_t d = 0; d < array.ndim(); ++d)
    if (array.strides(d) < 0 || array.strides(d) % array.itemsize() != 0) return false;
  const char order = array.dtype().byteorder();
  return order == '=' || order == '|' || order == '<';
}

Tensor over(const py::array& array, DType dtype) {
  Shape shape, strides;
  for (py::ssize_t d = 0; d < array.ndim(); ++d) {
    shape.push_back(array.shape(d));
    strides.push_back(array.strides(d) / array.itemsize());
  }
  py::object owner = array;
  return from_blob(const_cast<void*>(array.data()), shape, strides, dtype, array.writeable(), PyRef::drop,
                   owner.release().ptr());
}

py::module_ numpy() { return py::module_::import("numpy"); }

}  // namespace

Tensor from_numpy(py::handle object, bool must_share) {
  check<TypeError>(py::isinstance<py::array>(object), "from_numpy: expected a NumPy array, got ",
                   std::string(py::str(py::type::handle_of(object).attr("__name__"))));
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!is_usable(array)) {
    bool is_negative = false;
    for (py::ssize_t d = 0; d < array.ndim(); ++d) is_negative |= array.strides(d) < 0;
    check<ValueError>(!is_negative || !must_share,
                      "from_numpy: array must not have negative strides; use array.copy()");
    array = numpy().attr("array")(array, py::arg("dtype") = array.dtype().attr("newbyteorder")("="),
                                  py::arg("order") = "C");
  }
  return over(array, tensor_dtype(array));
}

py::object to_numpy(const Tensor& t) {
  check<TypeError>(t.device() == Device::cpu, "numpy: the tensor must be in the host's memory, got one on ", t.device(),
                   "; use .cpu()");
  std::vector<py::ssize_t> shape(t.shape().begin(), t.shape().end()), strides;
  for (Index stride : t.strides()) strides.push_back(stride * item_bytes(t.dtype()));
  Storage* storage = t->storage.get();
  storage->retain();
  const py::capsule owner(storage, [](void* lent) {
    const Ref<Storage> last(static_cast<Storage*>(lent));
    last->release();
  });
  py::array array(numpy_dtype(t.dtype()), shape, strides, t->data, owner);
  if (!storage->writable) array.attr("flags").attr("writeable") = false;
  return array;
}

Tensor tensor_from(py::handle data, std::optional<DType> dtype) {
  Scalar number;
  const GradMode off(false);
  if (is_tensor(data.ptr())) {
    const Tensor t = unwrap(data.ptr());
    return dtype && *dtype != t.dtype() ? ops::to(t, *dtype) : ops::clone(t);
  }
  const bool is_typed = py::hasattr(data, "dtype");  // an array or a NumPy scalar keeps its type
  if (!is_typed && load_number(data.ptr(), number)) return ops::scalar_tensor(number, dtype.value_or(number.dtype()));
  if (!is_typed && PyObject_HasAttrString(data.ptr(), "__iter__") && PySequence_Check(data.ptr()) &&
      PySequence_Size(data.ptr()) == 0)
    return empty({0}, dtype.value_or(default_dtype()));
  const py::array array = numpy().attr("asarray")(data);
  check<TypeError>(array.dtype().kind() != 'O' && array.dtype().kind() != 'U',
                   "tensor: data must be numbers, or regular nested sequences of them, got ",
                   std::string(py::repr(data)).substr(0, 80));
  const Tensor shared = from_numpy(array, false);
  const bool is_python_float = !is_typed && shared.dtype() == DType::float64 && !py::isinstance<py::array>(data);
  return ops::clone_contiguous(ops::to(shared, dtype.value_or(is_python_float ? default_dtype() : shared.dtype())));
}

void bind_numpy(py::module_& m) {
  m.def("from_numpy", [](py::handle array) { return from_numpy(array, true); }, py::arg("ndarray"));
  m.def(
      "tensor",
      [](py::handle data, std::optional<DType> dtype, py::handle device, bool requires_grad) {
        Tensor t = tensor_from(data, dtype);
        if (!device.is_none()) t = ops::to(t, load_device("tensor", device));
        check(!requires_grad || is_floating(t.dtype()), "tensor: only floating tensors can require gradients, got ",
              t.dtype());
        t->requires_grad = requires_grad;
        return t;
      },
      py::arg("data"), py::kw_only(), py::arg("dtype") = py::none(), py::arg("device") = py::none(),
      py::arg("requires_grad") = false);
  const auto lend = [](const Tensor& t) {
    check(!needs_grad(t), "numpy: can't be called on a tensor that requires a gradient; use .detach().numpy()");
    return to_numpy(t);
  };
  define_method(
      "numpy", [lend](const Tensor& t, bool force) { return force ? to_numpy(t) : lend(t); }, py::kw_only(),
      py::arg("force") = false);
  define_method(
      "__array__",
      [lend](const Tensor& t, py::object dtype, py::object copy) -> py::object {
        const py::object array = lend(t);
        if (dtype.is_none() && (copy.is_none() || !py::cast<bool>(copy))) return array;
        return numpy().attr("array")(array, dtype, py::arg("copy") = copy.is_none() ? py::object(py::none()) : copy);
      },
      py::arg("dtype") = py::none(), py::arg("copy") = py::none());
  define_method("tolist", [](const Tensor& t) -> py::object {
    const GradMode off(false);
    const Tensor here = ops::to(t, Device::cpu);
    return to_numpy(t.dtype() == DType::bfloat16 ? ops::to(here, DType::float32) : here).attr("tolist")();
  });
}

}  // namespace dd2424
