#pragma once
#include "core/small_vector.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/storage.h"

namespace dd2424 {

struct TensorImpl;

// What the tape hangs on a tensor: the node that made it, or a leaf's gradient. The tensor only owns it.
struct Taped : Counted {
  virtual ~Taped() = default;
  static void destroy(Taped* taped);  // a graph of any depth is freed without recursion
  // Calls visit on each object of the host language that only this holds: the host's garbage collector asks.
  virtual void visit_host_objects(void (*visit)(void* object, void* data), void* data) { (void)visit, (void)data; }
  virtual void forget(const TensorImpl* owner) { (void)owner; }  // it dies, or lets go of this
};

// A tensor's header: where its elements are, and its place on the tape.
struct TensorImpl final : Counted {
  Ref<Storage> storage;
  std::byte* data = nullptr;  // of the first element
  Index numel = 0;
  Shape shape, strides;  // strides in elements
  DType dtype = DType::float32;
  bool is_contiguous = true;
  bool requires_grad = false;          // asked for by the user, on a leaf
  bool is_no_grad_view = false;        // a view made where nothing records: it may not be written where it would
  std::uint32_t output_index = 0;      // which output of `node` this is
  std::uint32_t node_version = 0;      // of a view: the storage's version its node speaks of
  Ref<Taped> node;                     // what made it, where recorded
  Ref<Taped> leaf;                     // its gradient and hooks, where it has any
  Ref<TensorImpl> base;                // what it is a view of, never a view itself
  std::atomic<void*> object{nullptr};  // its Python object, while Python holds one

  TensorImpl() = default;
  ~TensorImpl();
  void drop_leaf();
};

// A handle; copies share the tensor. An undefined one stands for "no tensor" and becomes Python's None.
class Tensor {
 public:
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) : impl_(std::move(impl)) {}
  explicit Tensor(TensorImpl* impl) : impl_(impl) {}

  bool defined() const { return static_cast<bool>(impl_); }
  const Shape& shape() const { return held().shape; }
  const Shape& strides() const { return held().strides; }
  int ndim() const { return held().shape.size(); }
  Index size(int d) const { return held().shape[d]; }
  Index numel() const { return held().numel; }
  DType dtype() const { return held().dtype; }
  Device device() const { return held().storage->device; }
  bool is_contiguous() const { return held().is_contiguous; }
  Index offset() const;  // of the first element in the storage, in elements
  template <class T>
  T* data() const {  // null for an undefined tensor
    return impl_ ? reinterpret_cast<T*>(impl_->data) : nullptr;
  }
  TensorImpl* operator->() const { return &held(); }
  TensorImpl* impl() const { return impl_.get(); }
  bool is_sole_owner() const { return impl_->count() == 1 && impl_->storage->count() == 1; }
  bool same(const Tensor& other) const { return impl_ == other.impl_; }

 private:
  // A caller may pass None wherever a tensor is wanted: that must be an error, whoever looks at it first.
  TensorImpl& held() const {
    if (!impl_) [[unlikely]]
      refuse_undefined();
    return *impl_;
  }
  [[noreturn]] static void refuse_undefined();

  Ref<TensorImpl> impl_;
};
using Tensors = SmallVector<Tensor, 4>;

Tensor empty(const Shape& shape, DType dtype, Device device = Device::cpu);
Tensor empty_like(const Tensor& x);  // dense, with x's order of dimensions in memory
Tensor empty_like(const Tensor& x, DType dtype);
Tensor empty_like(const Tensor& x, DType dtype, Device device);
// Dense, with the dimensions in the order that PyTorch gives the result of an operation on these tensors (null: a
// number), each broadcast to `shape`: that of the first tensor which tells two dimensions apart.
Tensor empty_following(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> operands);
Tensor empty_following(const Shape& shape, DType dtype, std::initializer_list<const Tensor*> operands, Device device);
// Shares x's storage; unknown to the tape.
Tensor alias(const Tensor& x, const Shape& shape, const Shape& strides, Index offset);
Tensor alias(const Tensor& x);
// As alias, with a count of writes of its own: what `.data` gives.
Tensor independent_alias(const Tensor& x);
Tensor from_blob(void* data, const Shape& shape, const Shape& strides, DType dtype, bool writable,
                 void (*give_back)(void*), void* lender, Device device = Device::cpu);

bool overlaps_itself(const Tensor& x);               // two indices may share an element: an expanded tensor
bool may_overlap(const Tensor& a, const Tensor& b);  // their memory ranges meet
// Every element of one is the same element of the other: what is written after it is read is never read again.
bool in_same_place(const Tensor& a, const Tensor& b);
// Strides under which x's memory reads as `shape`, or false where a copy is needed.
bool view_strides(const Tensor& x, const Shape& shape, Shape& strides);

}  // namespace dd2424
