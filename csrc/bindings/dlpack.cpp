#include "bindings/python.h"

// Tensors of a GPU over other libraries' memory and theirs over a tensor's, without a copy: by address, and by DLPack,
// whose structs these are (dmlc/dlpack:include/dlpack/dlpack.h, version 0.8; a capsule of it is named "dltensor").
namespace dd2424 {
namespace {

using namespace py::literals;

struct DLTensor {
  void* data;
  std::int32_t device_kind, device_index;
  std::int32_t ndim;
  std::uint8_t code, bits;
  std::uint16_t lanes;
  std::int64_t *shape, *strides;  // strides in elements; null: contiguous
  std::uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* manager;
  void (*drop)(DLManagedTensor*);
};
constexpr std::int32_t kCuda = 2;
constexpr const char* kName = "dltensor";
constexpr const char* kTaken = "used_dltensor";

struct Type {
  std::uint8_t code, bits;
};
constexpr Type kTypes[kDTypes] = {{2, 32}, {2, 64}, {4, 16}, {2, 16}, {0, 64},
                                  {0, 32}, {0, 16}, {0, 8},  {1, 8},  {6, 8}};

struct Lent {  // what a capsule of ours keeps
  DLManagedTensor managed;
  Tensor tensor;
};

py::capsule to_dlpack(const Tensor& x) {
  check(x.device() == Device::cuda, "__dlpack__: input must be on a GPU, got one on ", x.device());
  const Type type = kTypes[static_cast<int>(x.dtype())];
  auto* lent = new Lent{{}, alias(x)};
  TensorImpl& kept = *lent->tensor.impl();
  lent->managed = {.tensor = {kept.data, kCuda, 0, kept.shape.size(), type.code, type.bits, 1, kept.shape.begin(),
                              kept.strides.begin(), 0},
                   .manager = lent,
                   .drop = [](DLManagedTensor* managed) { delete static_cast<Lent*>(managed->manager); }};
  return py::capsule(&lent->managed, kName, [](PyObject* capsule) {
    if (!PyCapsule_IsValid(capsule, kName)) return;  // somebody has taken it
    auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, kName));
    managed->drop(managed);
  });
}

Tensor from_dlpack(const py::capsule& capsule) {
  check<TypeError>(PyCapsule_IsValid(capsule.ptr(), kName), "from_dlpack: capsule must be a fresh \"dltensor\"");
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), kName));
  const DLTensor& t = managed->tensor;
  check(t.device_kind == kCuda && t.device_index == 0, "from_dlpack: ext_tensor must be on cuda:0, got device kind ",
        t.device_kind, ", index ", t.device_index);
  check(t.ndim <= kMaxDims, "from_dlpack: ext_tensor must have at most ", kMaxDims, " dimensions, got ", t.ndim);
  int dtype = 0;
  while (dtype < kDTypes && (kTypes[dtype].code != t.code || kTypes[dtype].bits != t.bits)) ++dtype;
  check<TypeError>(dtype < kDTypes && t.lanes == 1, "from_dlpack: ext_tensor must have a dtype that tensors have");
  Shape shape, strides;
  for (int d = 0; d < t.ndim; ++d) shape.push_back(t.shape[d]);
  Index step = 1;
  strides = shape;
  for (int d = t.ndim - 1; d >= 0; step *= shape[d--]) strides[d] = t.strides ? t.strides[d] : step;
  const Tensor y = from_blob(
      static_cast<std::byte*>(t.data) + t.byte_offset, shape, strides, static_cast<DType>(dtype), true,
      [](void* lender) {
        auto* theirs = static_cast<DLManagedTensor*>(lender);
        if (!theirs->drop) return;
        const py::gil_scoped_acquire locked;  // it may be Python's
        theirs->drop(theirs);
      },
      managed, Device::cuda);
  PyCapsule_SetName(capsule.ptr(), kTaken);
  return y;
}

}  // namespace

void bind_dlpack(py::module_& m) {
  m.def("to_dlpack", &to_dlpack, "input"_a);
  m.def("from_dlpack", &from_dlpack, "capsule"_a);
  m.def(
      "from_device_pointer",
      [](std::uintptr_t pointer, const Shape& shape, const Shape& strides, DType dtype, bool is_writable,
         const py::object& owner) {
        device_services("from_device_pointer");
        check(shape.size() == strides.size(), "from_device_pointer: there must be a stride for each dimension");
        return from_blob(reinterpret_cast<void*>(pointer), shape, strides, dtype, is_writable, PyRef::drop,
                         py::object(owner).release().ptr(), Device::cuda);
      },
      "pointer"_a, "shape"_a, "strides"_a, "dtype"_a, "is_writable"_a, "owner"_a);
}

}  // namespace dd2424
