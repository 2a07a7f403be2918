#pragma once
#include <cuda_runtime.h>
#include <math.h>

#include <bit>

#include "cuda/launch.h"
#include "cuda/value.h"

// How threads share the rows of (outer, classes, inner). Which elements are whose, and with it the order of every sum,
// is read off the sizes: 16 bytes of neighbours at a time, whether one load brings them or several.
namespace dd2424::cuda {
namespace {

struct Rows {
  Index outer, classes, inner;
  __host__ __device__ Index count() const { return outer * inner; }
};

constexpr int kHeld = 16;         // elements of a row that a thread keeps between reading them and writing the result
constexpr int kBlock = 512;       // threads at most that keep a row
constexpr int kLongBlock = 1024;  // threads of a row that is too long to be kept
struct OfWarp {                   // rows of up to 512: each has 1 to 32 neighbouring threads
  static constexpr bool is_block = false, is_column = false, is_held = true;
  static constexpr int threads = kThreads;
};
struct OfBlock {  // up to 8192
  static constexpr bool is_block = true, is_column = false, is_held = true;
  static constexpr int threads = kBlock;
};
struct OfLongBlock {  // rows are read anew for each pass, from the cache as far as it goes
  static constexpr bool is_block = true, is_column = false, is_held = false;
  static constexpr int threads = kLongBlock;
};
struct OfColumn {  // inner > 1: neighbouring threads have neighbouring columns
  static constexpr bool is_block = false, is_column = true, is_held = false;
  static constexpr int threads = kThreads;
};

template <class Way, class T>
constexpr int kWidth = Way::is_column ? 1 : 16 / static_cast<int>(sizeof(T));
template <class Way, class T>
constexpr int kVectors = Way::is_held ? kHeld / kWidth<Way, T> : 1;

template <class Way>
struct Seat {              // a thread's place
  Index row, first, step;  // element c of the row lies at first + c * step
  Index classes;           // 0 where there is no row
  int lane, lanes;         // of the threads that share the row
  __device__ Seat(const Rows& rows, int lanes)
      : row(Way::is_block ? static_cast<Index>(blockIdx.x)
                          : (static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x) / lanes),
        step(Way::is_column ? rows.inner : 1),
        classes(row < rows.count() ? rows.classes : 0),
        lane(static_cast<int>(threadIdx.x) % lanes),
        lanes(lanes) {
    const Index o = Way::is_column ? quotient(row, rows.inner) : row;
    first = o * rows.classes * rows.inner + (row - o * rows.inner);
  }
  __device__ bool is_first() const { return classes > 0 && lane == 0; }
};

// Calls f(k, c) for each of the thread's vectors: its k-th holds the elements from c on.
template <class Way, class T, class F>
__device__ inline void for_vectors(const Seat<Way>& seat, const F& f) {
  constexpr int width = kWidth<Way, T>;
  if constexpr (Way::is_held) {
#pragma unroll
    for (int k = 0; k < kVectors<Way, T>; ++k) {
      const Index c = static_cast<Index>(k * seat.lanes + seat.lane) * width;
      if (c < seat.classes) f(k, c);
    }
  } else {
    for (Index c = static_cast<Index>(seat.lane) * width; c < seat.classes; c += static_cast<Index>(seat.lanes) * width)
      f(0, c);
  }
}

template <class T>
struct alignas(16) Packed {  // travels as a float4: one load or store
  T of[16 / sizeof(T)];
};
template <class T>
__device__ inline bool is_packed(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % 16 == 0;
}

// The elements of a row that a thread has; beyond its end stands `beyond`.
template <class Way, class T>
class Line {
 public:
  using C = Computed<T>;
  static constexpr int width = kWidth<Way, T>;
  __device__ Line(const T* x, const Seat<Way>& seat, C beyond) : x_(x + seat.first), seat_(seat), beyond_(beyond) {
    if constexpr (Way::is_held) for_vectors<Way, T>(seat, [&](int k, Index c) { read(c, kept_[k]); });
  }
  // Calls f(c, v) for each vector v of elements from c on.
  template <class F>
  __device__ void each(const F& f) {
    for_vectors<Way, T>(seat_, [&](int k, Index c) {
      if constexpr (!Way::is_held) read(c, kept_[0]);
      f(c, kept_[k]);
    });
  }
  // Beside another line of the same row.
  template <class F>
  __device__ void each(Line& other, const F& f) {
    for_vectors<Way, T>(seat_, [&](int k, Index c) {
      if constexpr (!Way::is_held) read(c, kept_[0]), other.read(c, other.kept_[0]);
      f(c, kept_[k], other.kept_[k]);
    });
  }
  __device__ C at(Index c) const { return value(x_[c * seat_.step]); }

 private:
  __device__ void read(Index c, C (&v)[width]) const {
    if constexpr (Way::is_column) {
      v[0] = value(x_[c * seat_.step]);
    } else if (c + width <= seat_.classes && is_packed(x_ + c)) {
      const auto packed = std::bit_cast<Packed<T>>(*reinterpret_cast<const float4*>(x_ + c));
      for (int i = 0; i < width; ++i) v[i] = value(packed.of[i]);
    } else {
      for (int i = 0; i < width; ++i) v[i] = c + i < seat_.classes ? value(x_[c + i]) : beyond_;
    }
  }

  const T* x_;
  const Seat<Way>& seat_;
  C beyond_;
  C kept_[kVectors<Way, T>][width];
};

template <class Way, class T>
__device__ inline void write(T* y, const Seat<Way>& seat, Index c, const Computed<T> (&v)[kWidth<Way, T>]) {
  constexpr int width = kWidth<Way, T>;
  T* const to = y + seat.first + c * seat.step;
  if constexpr (Way::is_column) {
    *to = element<T>(v[0]);
  } else if (c + width <= seat.classes && is_packed(to)) {
    Packed<T> packed;
    for (int i = 0; i < width; ++i) packed.of[i] = element<T>(v[i]);
    *reinterpret_cast<float4*>(to) = std::bit_cast<float4>(packed);
  } else {
    for (int i = 0; i < width; ++i)
      if (c + i < seat.classes) to[i] = element<T>(v[i]);
  }
}

// y[c] = f(x[c], c), y being of x's shape.
template <class Way, class T, class F>
__device__ inline void map_line(Line<Way, T>& x, T* y, const Seat<Way>& seat, const F& f) {
  x.each([&](Index c, const auto& v) {
    Computed<T> out[kWidth<Way, T>];
    for (int i = 0; i < kWidth<Way, T>; ++i) out[i] = f(v[i], c + i);
    write<Way>(y, seat, c, out);
  });
}

// What the threads of a row have, merged; each of them gets the same. All threads of the block come here together.
template <class S, class Merge>
__device__ inline S merged_in_warp(S mine, int lanes, const Merge& merge) {
  for (int bits = 1; bits < lanes; bits *= 2) mine = merge(mine, S::exchanged(mine, bits));
  return mine;
}
template <class Way, class S, class Merge>
__device__ inline S merged(const Seat<Way>& seat, S mine, const Merge& merge) {
  if constexpr (Way::is_column) return mine;
  mine = merged_in_warp(mine, seat.lanes < kWarp ? seat.lanes : kWarp, merge);
  if constexpr (Way::is_block) {
    __shared__ S of_warps[kLongBlock / kWarp];
    __syncthreads();  // whoever still reads what stood here
    if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = mine;
    __syncthreads();
    mine = of_warps[0];
    for (int w = 1; w < static_cast<int>(blockDim.x) / kWarp; ++w) mine = merge(mine, of_warps[w]);
  }
  return mine;
}

template <class C>
struct Sum {
  C sum;
  __device__ static Sum exchanged(const Sum& s, int bits) { return {__shfl_xor_sync(0xffffffff, s.sum, bits)}; }
};
template <class Way, class C>
__device__ inline C sum_over(const Seat<Way>& seat, C mine) {
  return merged(seat, Sum<C>{mine}, [](const Sum<C>& a, const Sum<C>& b) { return Sum<C>{a.sum + b.sum}; }).sum;
}

// The largest element and the sum of exponentials about it, about 0 where it is infinite. NaN shows in the sum alone.
template <class C>
struct TopAndSum {
  C top, sum;
  __device__ static TopAndSum exchanged(const TopAndSum& s, int bits) {
    return {__shfl_xor_sync(0xffffffff, s.top, bits), __shfl_xor_sync(0xffffffff, s.sum, bits)};
  }
  __device__ C shift() const { return top - top == C(0) ? top : C(0); }
  __device__ C total() const { return sum + (top - top); }  // NaN where the largest is infinite
};
template <class C>
__device__ inline C decayed(C sum, C from, C to) {  // about another largest
  return from == to ? sum : sum * exp(from - to);
}

template <class Way, class T>
__device__ inline TopAndSum<Computed<T>> top_and_sum(Line<Way, T>& x, const Seat<Way>& seat) {
  using C = Computed<T>;
  using State = TopAndSum<C>;
  State mine{-static_cast<C>(INFINITY), 0};
  const auto see_top = [&](const auto& v) {
    for (const C each : v) mine.top = each > mine.top ? each : mine.top;
  };
  const auto add_terms = [&](const auto& v) {
    for (const C each : v) mine.sum += exp(each - mine.shift());
  };
  if constexpr (Way::is_held) {  // the largest first: no sum is ever rescaled
    x.each([&](Index, const auto& v) { see_top(v); });
    mine = merged(seat, mine, [](const State& a, const State& b) { return State{a.top > b.top ? a.top : b.top, 0}; });
    x.each([&](Index, const auto& v) { add_terms(v); });
    mine.sum = sum_over(seat, mine.sum);
    return mine;
  } else {  // both in one reading
    x.each([&](Index, const auto& v) {
      const C before = mine.top;
      see_top(v);
      mine.sum = decayed(mine.sum, before, mine.top);
      add_terms(v);
    });
    return merged(seat, mine, [](const State& a, const State& b) {
      const C top = a.top > b.top ? a.top : b.top;
      return State{top, decayed(a.sum, a.top, top) + decayed(b.sum, b.top, top)};
    });
  }
}

// Runs body for each row, in the way that its size asks for.
template <class Way, class Body>
__global__ void __launch_bounds__(Way::threads, 1) rows_kernel(Body body, Rows rows, int lanes) {
  const Seat<Way> seat(rows, lanes);
  body.template run<Way>(seat);
}

template <class T, class Body>
Status for_rows(const Context& context, const Rows& rows, const Body& body) {
  const auto blocks = [](Index n, Index each) { return dim3(static_cast<unsigned>((n + each - 1) / each)); };
  const Index n = rows.classes, count = rows.count();
  if (count == 0) return Status::ok;
  if (rows.inner > 1)
    return launch(context, blocks(count, kThreads), dim3(kThreads), rows_kernel<OfColumn, Body>, body, rows, 1);
  constexpr Index width = kWidth<OfWarp, T>;
  if (n <= kWarp * kHeld) {
    int lanes = 1;
    while (lanes < kWarp && lanes * width < n) lanes *= 2;
    return launch(context, blocks(count * lanes, kThreads), dim3(kThreads), rows_kernel<OfWarp, Body>, body, rows,
                  lanes);
  }
  int threads = 2 * kWarp;
  while (threads < kBlock && threads * kHeld < n) threads *= 2;
  if (n <= kBlock * kHeld)
    return launch(context, blocks(count, 1), dim3(static_cast<unsigned>(threads)), rows_kernel<OfBlock, Body>, body,
                  rows, threads);
  return launch(context, blocks(count, 1), dim3(kLongBlock), rows_kernel<OfLongBlock, Body>, body, rows, kLongBlock);
}

}  // namespace
}  // namespace dd2424::cuda
