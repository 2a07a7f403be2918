#include "core/copy.h"

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/value.h"

// Copies, conversions, fills and ranges.
namespace dd2424::cuda {
namespace {

// Calls f with a value of the C++ type of dtype.
template <class F>
Status with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::float32: return f(float());
    case DType::float64: return f(double());
    case DType::bfloat16: return f(bfloat16());
    case DType::float16: return f(float16());
    case DType::int64: return f(std::int64_t());
    case DType::int32: return f(std::int32_t());
    case DType::int16: return f(std::int16_t());
    case DType::int8: return f(std::int8_t());
    case DType::uint8: return f(std::uint8_t());
    case DType::bool_: return f(bool());
  }
  return Status::unsupported;
}

template <class X>
__device__ void store_converted(void* y, DType dtype, Index i, X x) {
  switch (dtype) {
    case DType::float32: static_cast<float*>(y)[i] = converted<float>(x); break;
    case DType::float64: static_cast<double*>(y)[i] = converted<double>(x); break;
    case DType::bfloat16: static_cast<bfloat16*>(y)[i] = converted<bfloat16>(x); break;
    case DType::float16: static_cast<float16*>(y)[i] = converted<float16>(x); break;
    case DType::int64: static_cast<std::int64_t*>(y)[i] = converted<std::int64_t>(x); break;
    case DType::int32: static_cast<std::int32_t*>(y)[i] = converted<std::int32_t>(x); break;
    case DType::int16: static_cast<std::int16_t*>(y)[i] = converted<std::int16_t>(x); break;
    case DType::int8: static_cast<std::int8_t*>(y)[i] = converted<std::int8_t>(x); break;
    case DType::uint8: static_cast<std::uint8_t*>(y)[i] = converted<std::uint8_t>(x); break;
    case DType::bool_: static_cast<bool*>(y)[i] = converted<bool>(x); break;
  }
}

template <class X>
__global__ void convert_kernel(Copy a, Index n) {
  const X* x = static_cast<const X*>(a.x);
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    store_converted(a.y, a.y_dtype, place.at[0], x[place.at[1]]);
  });
}

// Elements that are moved as they are: Word has their size.
template <class Word>
__global__ void move_kernel(Copy a, Index n) {
  const Word* x = static_cast<const Word*>(a.x);
  Word* y = static_cast<Word*>(a.y);
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    y[place.at[0]] = x[place.at[1]];
  });
}

template <class Word>
__global__ void fill_kernel(Fill a, Word word, Index n) {
  Word* y = static_cast<Word*>(a.y);
  for_each_item(n, [&](Index i) { y[places(a.at, i).at[0]] = word; });
}

__global__ void arange_kernel(Arange a, bool is_integer) {
  for_each_item(a.n, [&](Index i) {
    if (is_integer) store_converted(a.y, a.dtype, i, a.int_start + i * a.int_step);
    else store_converted(a.y, a.dtype, i, a.start + static_cast<double>(i) * a.step);
  });
}

// Calls f with an unsigned integer as large as an element of T.
template <class T, class F>
Status with_word(const F& f) {
  if constexpr (sizeof(T) == 8) return f(std::uint64_t());
  else if constexpr (sizeof(T) == 4) return f(std::uint32_t());
  else if constexpr (sizeof(T) == 2) return f(std::uint16_t());
  else return f(std::uint8_t());
}

bool is_flat(const Strided<2>& at) { return at.ndim == 1 && at.strides[0][0] == 1 && at.strides[1][0] == 1; }

Status copy(const Context& context, const Copy& a) {
  const Index n = items(a.at);
  return with_type(a.x_dtype, [&]<class X>(X) {
    if (a.x_dtype != a.y_dtype) return launch_items(context, n, convert_kernel<X>, a, n);
    if (is_flat(a.at))
      return checked(cudaMemcpyAsync(a.y, a.x, static_cast<std::size_t>(n) * sizeof(X), cudaMemcpyDeviceToDevice,
                                     static_cast<cudaStream_t>(context.stream)));
    return with_word<X>([&]<class Word>(Word) { return launch_items(context, n, move_kernel<Word>, a, n); });
  });
}

Status fill(const Context& context, const Fill& a) {
  const Index n = items(a.at);
  return with_type(a.dtype, [&]<class T>(T) {
    return with_word<T>([&]<class Word>(Word word) {
      __builtin_memcpy(&word, a.value, sizeof word);
      return launch_items(context, n, fill_kernel<Word>, a, word, n);
    });
  });
}

Status arange(const Context& context, const Arange& a) {
  const bool is_integer = a.dtype > DType::float16;
  return launch_items(context, a.n, arange_kernel, a, is_integer);
}

constexpr CopyKernels kCopy{.copy = copy, .fill = fill, .arange = arange};

}  // namespace

void offer_copy(DeviceTables& tables) { offer(tables, kCopy); }

}  // namespace dd2424::cuda
