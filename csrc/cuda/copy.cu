#include "core/copy.h"

#include "cuda/copy_tile.h"
#include "cuda/offer.h"
#include "cuda/value.h"
#include "cuda/walk.h"

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

// Calls f as with_type does, on the GPU.
template <class F>
__device__ inline void with_each_type(DType dtype, const F& f) {
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
}

constexpr int kConverted = 8;  // elements of a pack, whose types may have any sizes

template <class X, int W>
__global__ void convert_kernel(const X* x, void* y, DType dtype, Walk<2> walk) {
  constexpr int kPacks = packs_at_once(W);
  Spot<2> spot[kPacks];
  Pack<X, W> v[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    v[k] = walk.template load<W>(x, spot[k], 1);
  }
  with_each_type(dtype, [&]<class Y>(Y) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      Pack<Y, W> z;
#pragma unroll
      for (int w = 0; w < W; ++w) z.of[w] = converted<Y>(v[k].of[w]);
      walk.store(static_cast<Y*>(y), spot[k], z);
    }
  });
}

// Elements that are moved as they are: Word has their size.
template <class Word, int W>
__global__ void move_kernel(const Word* x, Word* y, Walk<2> walk) {
  constexpr int kPacks = packs_at_once(W);
  Spot<2> spot[kPacks];
  Pack<Word, W> v[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    v[k] = walk.template load<W>(x, spot[k], 1);
  }
#pragma unroll
  for (int k = 0; k < kPacks; ++k) walk.store(y, spot[k], v[k]);
}

template <class Word, int W>
__global__ void fill_kernel(Word* y, Word word, Walk<1> walk) {
  constexpr int kPacks = packs_at_once(W);
  Pack<Word, W> v;
#pragma unroll
  for (int w = 0; w < W; ++w) v.of[w] = word;
#pragma unroll
  for (int k = 0; k < kPacks; ++k) walk.store(y, walk.template spot<W>(pack_of<kPacks>(k)), v);
}

__global__ void arange_kernel(Arange a, bool is_integer) {
  with_each_type(a.dtype, [&]<class Y>(Y) {
    for_each_item(a.n, [&](Index i) {
      Y& y = static_cast<Y*>(a.y)[i];
      if (is_integer) y = converted<Y>(a.int_start + i * a.int_step);
      else y = converted<Y>(a.start + static_cast<double>(i) * a.step);
    });
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

std::size_t bytes_of(DType dtype) {
  std::size_t bytes = 0;
  with_type(dtype, [&]<class T>(T) { return bytes = sizeof(T), Status::ok; });
  return bytes;
}

bool is_flat(const Strided<2>& at) { return at.ndim == 1 && at.strides[0][0] == 1 && at.strides[1][0] == 1; }

template <class X>
Status convert(const Context& context, const Copy& a) {
  const std::size_t bytes = bytes_of(a.y_dtype);
  return in_parts(a.at, [&](const Strided<2>& part, const Places<2>& start) {
    const X* x = static_cast<const X*>(a.x) + start.at[1];
    void* y = static_cast<char*>(a.y) + start.at[0] * static_cast<Index>(bytes);
    if (are_packs(part, kConverted, {{y, bytes}, {x, sizeof(X)}}))
      return launch_packs<kConverted, packs_at_once(kConverted)>(context, items(part), convert_kernel<X, kConverted>, x,
                                                                 y, a.y_dtype, Walk<2>(part));
    return launch_packs<1, packs_at_once(1)>(context, items(part), convert_kernel<X, 1>, x, y, a.y_dtype,
                                             Walk<2>(part));
  });
}
template <class Word>
Status move(const Context& context, const Copy& a) {
  return in_parts(a.at, [&](const Strided<2>& part, const Places<2>& start) {
    const Word* x = static_cast<const Word*>(a.x) + start.at[1];
    Word* y = static_cast<Word*>(a.y) + start.at[0];
    if (are_tiles(part)) return copy_tiles(context, x, y, part);
    constexpr int W = 16 / sizeof(Word);
    if (are_packs(part, W, {{y, sizeof(Word)}, {x, sizeof(Word)}}))
      return launch_packs<W, packs_at_once(W)>(context, items(part), move_kernel<Word, W>, x, y, Walk<2>(part));
    return launch_packs<1, packs_at_once(1)>(context, items(part), move_kernel<Word, 1>, x, y, Walk<2>(part));
  });
}

Status copy(const Context& context, const Copy& a) {
  return with_type(a.x_dtype, [&]<class X>(X) {
    if (a.x_dtype != a.y_dtype) return convert<X>(context, a);
    if (is_flat(a.at))
      return checked(cudaMemcpyAsync(a.y, a.x, static_cast<std::size_t>(items(a.at)) * sizeof(X),
                                     cudaMemcpyDeviceToDevice, static_cast<cudaStream_t>(context.stream)));
    return with_word<X>([&]<class Word>(Word) { return move<Word>(context, a); });
  });
}

Status fill(const Context& context, const Fill& a) {
  return with_type(a.dtype, [&]<class T>(T) {
    return with_word<T>([&]<class Word>(Word word) {
      __builtin_memcpy(&word, a.value, sizeof word);
      return in_parts(a.at, [&](const Strided<1>& part, const Places<1>& start) {
        Word* y = static_cast<Word*>(a.y) + start.at[0];
        constexpr int W = 16 / sizeof(Word);
        if (are_packs(part, W, {{y, sizeof(Word)}}))
          return launch_packs<W, packs_at_once(W)>(context, items(part), fill_kernel<Word, W>, y, word, Walk<1>(part));
        return launch_packs<1, packs_at_once(1)>(context, items(part), fill_kernel<Word, 1>, y, word, Walk<1>(part));
      });
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
