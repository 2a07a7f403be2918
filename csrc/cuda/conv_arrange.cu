#include "cuda/conv_arrange.h"

#include "cuda/pack.h"

namespace dd2424::cuda {
namespace {

// A tile of pixels by channels. What a warp writes down a column, or reads along a line, lies in different banks.
constexpr int kSide = 64, kHeld = kSide * kSide / kThreads;
template <class T>
constexpr int kWord = sizeof(T) == 2 ? 2 : 1;  // elements of 4 bytes
template <class T>
using Side = T[kSide][kSide + kWord<T>];

struct Corner {  // of a block's tile
  Index pixel, channel;
  int pixels, channels;  // that there are from here on, at most a tile's
};
__device__ inline Corner corner(Index pixels, Index channels) {
  const Index pixel = static_cast<Index>(blockIdx.x) * kSide, channel = static_cast<Index>(blockIdx.y) * kSide;
  const Index more = pixels - pixel, others = channels - channel;
  return {pixel, channel, static_cast<int>(more < kSide ? more : kSide),
          static_cast<int>(others < kSide ? others : kSide)};
}

// A tile by its threads: neighbours are at neighbouring pixels, of every fourth channel, or at neighbouring words of
// channels. 16 loads of a thread are under way at a time, and the blocks of a multiprocessor share its registers.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ == 750
constexpr int kTileBlocks = 4;  // it has no more threads at a time
#else
constexpr int kTileBlocks = 5;
#endif
template <class T>
__global__ void __launch_bounds__(kThreads, kTileBlocks)
    to_units_kernel(Images images, Index padded, const T* x, T* y) {
  alignas(16) __shared__ Side<T> tile;
  using Word = Pack<T, kWord<T>>;
  constexpr int words = kSide / kWord<T>, lines = kThreads / words;
  const int thread = static_cast<int>(threadIdx.x), p = thread % kSide, c = thread / kSide;
  const int word = thread % words * kWord<T>, line = thread / words;
  const Corner from = corner(images.pixels, images.channels), to = corner(images.pixels, padded);
  for (Index n = blockIdx.z; n < images.batch; n += gridDim.z) {
    const T* in = x + (n * images.channels + from.channel + c) * images.pixels + from.pixel + p;
    T held[kHeld];
#pragma unroll
    for (int i = 0; i < kHeld; ++i, in += kThreads / kSide * images.pixels)
      held[i] = p < from.pixels && c + i * (kThreads / kSide) < from.channels ? *in : T{};
#pragma unroll
    for (int i = 0; i < kHeld; ++i) tile[p][c + i * (kThreads / kSide)] = held[i];
    __syncthreads();
    T* out = y + (n * images.pixels + to.pixel + line) * padded + to.channel + word;
#pragma unroll
    for (int i = 0; i < kSide / lines; ++i, out += lines * padded)
      if (line + i * lines < to.pixels && word < to.channels)
        *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(&tile[line + i * lines][word]);
    __syncthreads();
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, kTileBlocks)
    from_units_kernel(Images images, Index padded, const T* x, T* y) {
  alignas(16) __shared__ Side<T> tile;
  using Word = Pack<T, kWord<T>>;
  constexpr int words = kSide / kWord<T>, lines = kThreads / words;
  const int thread = static_cast<int>(threadIdx.x), p = thread % kSide, c = thread / kSide;
  const int word = thread % words * kWord<T>, line = thread / words;
  const Corner from = corner(images.pixels, padded), to = corner(images.pixels, images.channels);
  for (Index n = blockIdx.z; n < images.batch; n += gridDim.z) {
    const T* in = x + (n * images.pixels + from.pixel + line) * padded + from.channel + word;
    Word held[kSide / lines];
#pragma unroll
    for (int i = 0; i < kSide / lines; ++i, in += lines * padded)
      held[i] = line + i * lines < from.pixels && word < from.channels ? *reinterpret_cast<const Word*>(in) : Word{};
#pragma unroll
    for (int i = 0; i < kSide / lines; ++i) *reinterpret_cast<Word*>(&tile[line + i * lines][word]) = held[i];
    __syncthreads();
    T* out = y + (n * images.channels + to.channel + c) * images.pixels + to.pixel + p;
#pragma unroll
    for (int i = 0; i < kHeld; ++i, out += kThreads / kSide * images.pixels)
      if (p < to.pixels && c + i * (kThreads / kSide) < to.channels) *out = tile[p][c + i * (kThreads / kSide)];
    __syncthreads();
  }
}

// A thread makes a unit of channels of a pixel.
template <class T>
__global__ void pad_units_kernel(Images images, Index units, const T* x, T* y) {
  constexpr int unit = kChunk<T>;
  const Index apart = images.is_last ? 1 : images.pixels, along = images.is_last ? images.channels : 1;
  for_each_item(images.batch * images.pixels * units, [&](Index i) {
    const Index place = quotient(i, units), first = (i - place * units) * unit;
    const Index n = quotient(place, images.pixels), p = place - n * images.pixels;
    const T* from = x + n * images.channels * images.pixels + p * along + first * apart;
    Pack<T, unit> made{};
#pragma unroll
    for (int j = 0; j < unit; ++j)
      if (first + j < images.channels) made.of[j] = from[j * apart];
    *reinterpret_cast<Pack<T, unit>*>(y + i * unit) = made;
  });
}

dim3 tiles_of(const Images& images, Index padded) {
  constexpr Index most = 65535;
  return {static_cast<unsigned>(ceil_div(images.pixels, kSide)), static_cast<unsigned>(ceil_div(padded, kSide)),
          static_cast<unsigned>(images.batch < most ? images.batch : most)};
}

}  // namespace

template <class T>
Status to_units(const Context& context, const Images& images, const T* x, T* y) {
  const Index padded = whole_units<T>(images.channels), units = padded / kChunk<T>;
  if (images.batch * images.pixels * padded == 0) return Status::ok;
  if (images.is_last || units == 1)
    return launch_items(context, images.batch * images.pixels * units, pad_units_kernel<T>, images, units, x, y);
  return launch(context, tiles_of(images, padded), dim3(kThreads), to_units_kernel<T>, images, padded, x, y);
}
template <class T>
Status from_units(const Context& context, const Images& images, const T* x, T* y) {
  const Index padded = whole_units<T>(images.channels);
  if (images.batch * images.pixels * padded == 0) return Status::ok;
  return launch(context, tiles_of(images, padded), dim3(kThreads), from_units_kernel<T>, images, padded, x, y);
}

template Status to_units(const Context&, const Images&, const float*, float*);
template Status to_units(const Context&, const Images&, const bfloat16*, bfloat16*);
template Status to_units(const Context&, const Images&, const float16*, float16*);
template Status to_units(const Context&, const Images&, const tfloat32*, tfloat32*);
template Status from_units(const Context&, const Images&, const float*, float*);
template Status from_units(const Context&, const Images&, const bfloat16*, bfloat16*);
template Status from_units(const Context&, const Images&, const float16*, float16*);
template Status from_units(const Context&, const Images&, const tfloat32*, tfloat32*);

}  // namespace dd2424::cuda
