#include "cpu/copy.h"

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kGrain = 32768;  // elements

int bytes_of(DType dtype) {
  constexpr int bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 2, 1, 1, 1};
  return bytes[static_cast<int>(dtype)];
}

// The order of dimensions is free in a copy: y's closest elements come last.
void put_contiguous_last(Strided<2>& at) {
  const int last = at.ndim - 1;
  if (at.strides[0][last] == 1) return;
  for (int d = 0; d < last; ++d) {
    if (at.strides[0][d] != 1) continue;
    const Index shape = at.shape[d], y = at.strides[0][d], x = at.strides[1][d];
    at.shape[d] = at.shape[last], at.strides[0][d] = at.strides[0][last], at.strides[1][d] = at.strides[1][last];
    at.shape[last] = shape, at.strides[0][last] = y, at.strides[1][last] = x;
    return;
  }
}

Status copy(const Context&, const Copy& arguments) {
  const FloatMode mode;
  const BlockFunction function = convert_block(arguments.x_dtype, arguments.y_dtype);
  const Strided<2>& at = arguments.at;
  if (at.ndim == 1 && at.strides[0][0] == 1 && at.strides[1][0] == 1 && at.shape[0] <= kGrain) {
    function({.y = arguments.y, .x = {arguments.x}, .step = {1}, .n = at.shape[0]});
    return Status::ok;
  }
  Copy a = arguments;
  put_contiguous_last(a.at);
  const int x_bytes = bytes_of(a.x_dtype), y_bytes = bytes_of(a.y_dtype);
  if (a.x_dtype == a.y_dtype && copy_transposed(a, x_bytes)) return Status::ok;
  walk({.operands = 2,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {{a.y, a.at.strides[0], y_bytes, false}, {const_cast<void*>(a.x), a.at.strides[1], x_bytes, false}},
        .function = function,
        .grain = kGrain});
  return Status::ok;
}

Status fill(const Context&, const Fill& a) {
  static constexpr Index kNoStrides[kMaxDims] = {};
  const int bytes = bytes_of(a.dtype);
  walk({.operands = 2,
        .ndim = a.at.ndim,
        .shape = a.at.shape,
        .operand = {{a.y, a.at.strides[0], bytes, false}, {const_cast<void*>(a.value), kNoStrides, bytes, false}},
        .function = convert_block(a.dtype, a.dtype),
        .grain = kGrain});
  return Status::ok;
}

template <class T>
void arange_as(const Arange& a, T start, T step, BlockFunction function, int bytes) {
  parallel_for(a.n, kGrain, [&](Index begin, Index end) {
    constexpr Index most = 256;
    T values[most];
    for (Index i = begin; i < end; i += most) {
      const Index n = end - i < most ? end - i : most;
      for (Index j = 0; j < n; ++j) values[j] = start + static_cast<T>(i + j) * step;
      function({.y = static_cast<char*>(a.y) + i * bytes, .x = {values}, .step = {1}, .n = n});
    }
  });
}
Status arange(const Context&, const Arange& a) {
  const FloatMode mode;
  const int bytes = bytes_of(a.dtype);
  if (a.dtype <= DType::float16) {
    arange_as<double>(a, a.start, a.step, convert_block(DType::float64, a.dtype), bytes);
  } else {
    arange_as<std::int64_t>(a, a.int_start, a.int_step, convert_block(DType::int64, a.dtype), bytes);
  }
  return Status::ok;
}

constexpr CopyKernels kCopy{.copy = copy, .fill = fill, .arange = arange};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(CopyKernels, cpu::DD2424_ISA::kCopy)
}  // namespace dd2424
