#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// An index space over x: `shape` of the result, how x moves in it, and the index tensors kept alive.
struct Lookup {
  Shape shape;
  Shape x_strides;  // 0 for the dimensions that are indexed
  IndexedAt at{};
  Tensors held;
};

void add_index(Lookup& lookup, const Tensor& index, const Shape& strides_in_space, Index size, Index step) {
  IndexedAt& at = lookup.at;
  at.index[at.indices] = index.data<Index>();
  std::copy(strides_in_space.begin(), strides_in_space.end(), at.index_strides[at.indices]);
  at.sizes[at.indices] = size;
  at.steps[at.indices++] = step;
  lookup.held.push_back(index);
}

Strided<2> walk(const Lookup& lookup, const Tensor& y) {
  Strided<2> at;
  at.ndim = std::max(lookup.shape.size(), 1);
  at.shape[0] = 1;
  at.strides[0][0] = at.strides[1][0] = 0;
  for (int d = 0; d < lookup.shape.size(); ++d) {
    at.shape[d] = lookup.shape[d];
    at.strides[0][d] = y.strides()[d];
    at.strides[1][d] = lookup.x_strides[d];
  }
  return at;
}

Tensor read(const Tensor& x, const Lookup& lookup, bool* outside = nullptr) {
  const Tensor y = empty(lookup.shape, x.dtype(), x.device());
  if (y.numel() > 0) {
    run("index", kernels<IndexKernels>(x.device()).read, y.numel(), 0,
        IndexedCopy{x->data, y->data, item_bytes(x.dtype()), walk(lookup, y), lookup.at, outside});
  }
  return y;
}

// x at the looked-up places becomes y, or grows by it; y is expanded to the index space.
void write(const Tensor& x, const Lookup& lookup, const Tensor& y, bool accumulate, bool* outside = nullptr) {
  const Tensor values = expand(y, lookup.shape);
  if (values.numel() == 0) return;
  if (!accumulate) {
    const auto& table = kernels<IndexKernels>(x.device());
    const IndexedCopy a{x->data, values->data, item_bytes(x.dtype()), walk(lookup, values), lookup.at, outside};
    run("index_put_", table.write, values.numel(), scratch_for(table.write_workspace, a, x.device()), a);
    return;
  }
  dispatch_all(x.dtype(), [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, bool>) {
      const auto& table = kernels<IndexAddKernels<T>>(x.device());
      const IndexedAdd<T> a{x.data<T>(), values.data<T>(), walk(lookup, values), lookup.at, outside};
      run("index_put_", table.add_at, values.numel(), scratch_for(table.add_at_workspace, a, x.device()), a);
    } else {
      throw RuntimeError("index_put_: accumulate is not supported for boolean tensors");
    }
  });
}

// Along `dim` x is indexed by a tensor whose other dimensions run beside x's: gather and scatter.
Lookup along(const char* op, const Tensor& x, int dim, const Tensor& index, bool is_trusted = false) {
  check(index.ndim() == x.ndim(), op, ": index must have as many dimensions as the input, ", x.ndim(), ", got ",
        index.shape());
  Lookup lookup;
  lookup.shape = index.shape();
  for (int d = 0; d < x.ndim(); ++d) {
    check(d == dim || index.size(d) <= x.size(d), op, ": index must not be larger than the input ", x.shape(),
          " apart from dimension ", dim, ", got ", index.shape());
    lookup.x_strides.push_back(d == dim ? 0 : x.strides()[d]);
  }
  const Tensor places = is_trusted ? index : plain_index<RuntimeError>(op, index, x.ndim() ? x.size(dim) : 1);
  add_index(lookup, places, places.strides(), x.ndim() ? x.size(dim) : 1, x.ndim() ? x.strides()[dim] : 0);
  return lookup;
}

// Whether a kernel may check the numbers on its way, where it reads or writes what is thrown away if one is outside: a
// pass over them beforehand takes about as long as the gathering.
class CheckedOnTheWay {
 public:
  CheckedOnTheWay(const char* op, const Tensor& x, int dim, const Tensor& index)
      : op_(op), index_(index), size_(x.ndim() ? x.size(dim) : 1), is_outside_(x.device()) {
    is_possible_ = index.dtype() == DType::int64 && x.numel() > 0;
  }
  bool is_possible() const { return is_possible_; }
  bool* outside() const { return is_possible_ ? is_outside_.data() : nullptr; }
  void check() {
    if (is_possible_ && *is_outside_.read()) plain_index<RuntimeError>(op_, index_, size_);  // says which
  }

 private:
  const char* op_;
  const Tensor& index_;
  Index size_;
  bool is_possible_;
  Answer<bool> is_outside_;
};

struct GatherNode final : Node {
  Saved index{this};
  Shape shape;
  int dim;
  GatherNode(const Shape& shape, int dim) : shape(shape), dim(dim) {}
  const char* name() const override { return "gather"; }
  Tensors backward(const Tensors& grads, const Needs&) override {
    return {gather_gradient(shape, dim, index.get(), grads[0])};
  }
};

struct ScatterNode final : Node {
  Saved index{this};
  int dim;
  bool adds;
  Shape source_shape;
  ScatterNode(int dim, bool adds, const Shape& source_shape) : dim(dim), adds(adds), source_shape(source_shape) {}
  const char* name() const override { return "scatter"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    const Tensor places = index.get();
    Tensor dx, dsource;
    if (needs[0])
      dx = adds ? grads[0] : scatter(grads[0], dim, places, zeros(places.shape(), grads[0].dtype(), grads[0].device()));
    if (needs[1]) {
      check(places.shape() == source_shape, "scatter: backward needs a source of the index's shape ", places.shape(),
            ", got ", source_shape);
      dsource = gather(grads[0], dim, places);
    }
    return {dx, dsource};
  }
};

void check_source(const char* op, const Tensor& x, const Tensor& index, const Tensor& source) {
  check_device(op, {&x, &index, &source});
  check(x.dtype() == source.dtype(), op, ": src must have dtype ", x.dtype(), ", got ", source.dtype());
  check(source.ndim() == index.ndim(), op, ": src must have as many dimensions as index, got ", source.shape(), " and ",
        index.shape());
  for (int i = 0; i < index.ndim(); ++i)
    check(index.size(i) <= source.size(i), op, ": src must be at least as large as index ", index.shape(), ", got ",
          source.shape());
}

Tensor scattered(const char* op, const Tensor& x, Index dim, const Tensor& index, const Tensor& source, bool adds) {
  const int d = normalize_dim(op, dim, x.ndim());
  check_source(op, x, index, source);
  Tensor y;
  {
    const GradMode off(false);
    y = clone_contiguous(x);
    CheckedOnTheWay checked(op, x, d, index);
    write(y, along(op, y, d, index, checked.is_possible()),
          alias(source, index.shape(), source.strides(), source.offset()), adds, checked.outside());
    checked.check();
  }
  if (auto* node = record<ScatterNode>(y, {&x, &source}, d, adds, source.shape())) node->index.save(index);
  return y;
}

}  // namespace

Tensor scatter_join(ScatterOp op, const Tensor& x, Index dim, const Tensor& index, const Tensor& source) {
  const GradMode off(false);
  const int d = normalize_dim("scatter_reduce", dim, x.ndim());
  check_source("scatter_reduce", x, index, source);
  const Tensor y = clone_contiguous(x);
  CheckedOnTheWay checked("scatter_reduce", x, d, index);
  const Lookup lookup = along("scatter_reduce", y, d, index, checked.is_possible());
  const Tensor values = alias(source, index.shape(), source.strides(), source.offset());
  if (values.numel() == 0) return y;
  dispatch_all(y.dtype(), [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, bool>) {
      const auto& table = kernels<IndexAddKernels<T>>(y.device());
      const IndexedAdd<T> a{y.data<T>(), values.data<T>(), walk(lookup, values), lookup.at, checked.outside()};
      run("scatter_reduce", table.scatter, values.numel(), scratch_for(table.add_at_workspace, a, y.device()), op, a);
    } else {
      throw RuntimeError("scatter_reduce: not supported for boolean tensors");
    }
  });
  checked.check();
  return y;
}

namespace {

bool is_mask(const Tensor& index) {
  return index.defined() && (index.dtype() == DType::bool_ || index.dtype() == DType::uint8);
}

// A mask without dimensions keeps all or nothing of x: it becomes one over a new dimension of size 1.
bool open_for_masks(Tensor& x, Tensors& indices) {
  bool is_opened = false;
  int d = 0;
  for (Tensor& index : indices) {
    if (is_mask(index) && index.ndim() == 0) {
      x = unsqueeze(x, d);
      index = reshape(index, {1});
      is_opened = true;
    }
    d += is_mask(index) ? index.ndim() : 1;
  }
  return is_opened;
}

// Masks become the indices of their true elements; everything is checked and made non-negative. For a node to keep, an
// index that is the caller's own is copied: one stream beside the two that check it, and no later write, not even one
// through NumPy that leaves the version as it is, can make the unchecked kernels read elsewhere.
Tensors plain_indices(const Tensor& x, const Tensors& indices, bool is_kept) {
  Tensors plain;
  for (const Tensor& index : indices) {
    const int d = static_cast<int>(plain.size());
    check<IndexError>(d + (is_mask(index) ? index.ndim() : 1) <= x.ndim(),
                      "index: too many indices for a tensor of shape ", x.shape());
    if (!is_mask(index)) {
      const Tensor places = index.defined() ? non_negative("index", index, x.size(d)) : index;
      plain.push_back(is_kept && places.defined() && places.same(index) ? clone(index) : places);
      continue;
    }
    for (int i = 0; i < index.ndim(); ++i)
      check<IndexError>(index.size(i) == x.size(d + i), "index: a mask must have the shape of what it indexes, got ",
                        index.shape(), " for ", x.shape(), " at dimension ", d);
    const Tensor places = nonzero(index);
    for (int i = 0; i < index.ndim(); ++i) plain.push_back(contiguous(select(places, 1, i)));
  }
  while (static_cast<int>(plain.size()) < x.ndim()) plain.push_back(Tensor());
  return plain;
}

bool covers(const Tensor& x, const Tensor& mask) {  // a mask of the first dimensions of x, which is not empty
  return mask.ndim() > 0 && mask.numel() > 0 && mask.ndim() <= x.ndim() &&
         std::equal(mask.shape().begin(), mask.shape().end(), x.shape().begin());
}

bool broadcasts(const Shape& a, const Shape& b) {
  for (int d = 1; d <= std::min(a.size(), b.size()); ++d) {
    const Index x = a[a.size() - d], y = b[b.size() - d];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

// At least one index is defined.
Lookup advanced(const Tensor& x, const Tensors& plain) {
  Shape common;
  int first = -1, last = -1, count = 0;
  for (int d = 0; d < x.ndim(); ++d) {
    if (!plain[d].defined()) continue;
    check<IndexError>(broadcasts(common, plain[d].shape()), "index: index tensors must broadcast together, got ",
                      common, " and ", plain[d].shape());
    common = broadcast_shapes("index", common, plain[d].shape());
    first = first < 0 ? d : first;
    last = d;
    ++count;
  }
  const bool are_neighbours = last - first + 1 == count;
  const int where = are_neighbours ? first : 0;
  Lookup lookup;
  const auto append = [&](Index size, Index stride) {
    lookup.shape.push_back(size);
    lookup.x_strides.push_back(stride);
  };
  for (int d = 0; d < x.ndim(); ++d) {
    if (d == (are_neighbours ? first : 0))
      for (Index size : common) append(size, 0);
    if (!plain[d].defined()) append(x.size(d), x.strides()[d]);
  }
  for (int d = 0; d < x.ndim(); ++d) {
    if (!plain[d].defined()) continue;
    Shape strides = Shape::filled(lookup.shape.size(), 0);
    const int shift = where + common.size() - plain[d].ndim();
    for (int i = 0; i < plain[d].ndim(); ++i) strides[shift + i] = plain[d].size(i) == 1 ? 0 : plain[d].strides()[i];
    add_index(lookup, plain[d], strides, x.size(d), x.strides()[d]);
  }
  return lookup;
}

Tensor spread(const Tensor& dy, const Shape& shape, const Tensors& plain);
Tensor look_up(const Tensor& x, const Tensors& plain);

struct IndexNode final : Node {
  Tensors plain;  // made by us and known to nobody: never stale
  Shape shape;
  IndexNode(const Tensors& plain, const Shape& shape) : plain(plain), shape(shape) {}
  const char* name() const override { return "index"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {spread(grads[0], shape, plain)}; }
};
struct SpreadNode final : Node {
  Tensors plain;
  explicit SpreadNode(const Tensors& plain) : plain(plain) {}
  const char* name() const override { return "index_backward"; }
  Tensors backward(const Tensors& grads, const Needs&) override { return {look_up(grads[0], plain)}; }
};
struct IndexPutNode final : Node {
  Tensors plain;
  bool accumulate;
  Shape values_shape;
  IndexPutNode(const Tensors& plain, bool accumulate, const Shape& values_shape)
      : plain(plain), accumulate(accumulate), values_shape(values_shape) {}
  const char* name() const override { return "index_put"; }
  Tensors backward(const Tensors& grads, const Needs& needs) override {
    Tensor dx = grads[0];
    if (needs[0] && !accumulate) {
      dx = clone(grads[0]);
      index_put_(dx, plain, zeros({}, dx.dtype(), dx.device()), false);
    }
    return {needs[0] ? dx : Tensor(), needs[1] ? sum_to(look_up(grads[0], plain), values_shape) : Tensor()};
  }
};

Tensor look_up(const Tensor& x, const Tensors& plain) {
  const Tensor y = read(x, advanced(x, plain));
  record<IndexNode>(y, {&x}, plain, x.shape());
  return y;
}

Tensor spread(const Tensor& dy, const Shape& shape, const Tensors& plain) {
  const Tensor dx = zeros(shape, dy.dtype(), dy.device());
  {
    const GradMode off(false);
    write(dx, advanced(dx, plain), dy, true);
  }
  record<SpreadNode>(dx, {&dy}, plain);
  return dx;
}

}  // namespace

Tensor gather(const Tensor& x, Index dim, const Tensor& index) {
  check_device("gather", {&x, &index});
  const int d = normalize_dim("gather", dim, x.ndim());
  CheckedOnTheWay checked("gather", x, d, index);
  const Tensor y = read(x, along("gather", x, d, index, checked.is_possible()), checked.outside());
  checked.check();
  if (auto* node = record<GatherNode>(y, {&x}, x.shape(), d)) node->index.save(index);
  return y;
}

Tensor scatter(const Tensor& x, Index dim, const Tensor& index, const Tensor& source) {
  return scattered("scatter", x, dim, index, source, false);
}
Tensor scatter_add(const Tensor& x, Index dim, const Tensor& index, const Tensor& source) {
  return scattered("scatter_add", x, dim, index, source, true);
}

Tensor index(const Tensor& x, const Tensors& indices) {
  for (const Tensor& each : indices) check_device("index", {&x, &each});
  Tensor opened = x;
  Tensors places = indices;
  open_for_masks(opened, places);
  if (places.size() == 1 && places[0].defined() && places[0].dtype() == DType::bool_ && !records({&opened}) &&
      covers(opened, places[0]))
    return select_true(opened, places[0]);
  return look_up(opened, plain_indices(opened, places, records({&opened})));
}

void index_put_(Tensor& self, const Tensors& indices, const Tensor& values, bool accumulate) {
  check_inplace("index_put_", self);
  for (const Tensor& each : indices) check_device("index_put_", {&self, &each});
  if (values.ndim() > 0) check_device("index_put_", {&self, &values});
  Tensor opened = self;
  Tensors places = indices;
  if (open_for_masks(opened, places)) return index_put_(opened, places, values, accumulate);
  const Tensor source = to(to(values, self.dtype()), self.device());  // a number may stand in the host's memory
  const bool recorded = records({&self, &source});
  if (!recorded && !accumulate && indices.size() == 1 && source.numel() == 1 && indices[0].defined() &&
      indices[0].dtype() == DType::bool_ && indices[0].shape() == self.shape() && source.ndim() <= 1) {
    const GradMode off(false);  // one value under a mask needs no indices
    copy_into(self, where(indices[0], Operand(reshape(source, {})), Operand(self)));
    return count_write(self);
  }
  Tensors plain = plain_indices(self, indices, recorded);
  for (Tensor& index : plain)
    if (index.defined() && may_overlap(self, index)) index = clone(detach(index));
  const Lookup lookup = advanced(self, plain);
  check(broadcasts(lookup.shape, source.shape()) &&
            broadcast_shapes("index_put_", lookup.shape, source.shape()) == lookup.shape,
        "index_put_: values must broadcast to ", lookup.shape, ", got ", source.shape());
  if (!recorded) {
    const GradMode off(false);
    write(self, lookup, may_overlap(self, source) ? clone(source) : source, accumulate);
    count_write(self);
    return;
  }
  const Tensor before = before_write(self, true);
  Tensor y;
  {
    const GradMode off(false);
    y = clone_contiguous(before);
    write(y, advanced(y, plain), source, accumulate);
  }
  record<IndexPutNode>(y, {&before, &source}, plain, accumulate, source.shape());
  assign(self, y);
}

}  // namespace dd2424::ops
