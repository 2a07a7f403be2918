#pragma once
#include <cuda_runtime.h>
#include <math.h>

#include <bit>

#include "cuda/cooperative.h"
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
template <class T>
constexpr int kRun = sizeof(T) == 8 ? 2 : 4;  // vectors of a long row that a thread has on their way at a time
struct OfWarp {                               // rows of up to 512: each has 1 to 32 neighbouring threads
  static constexpr bool is_block = false, is_column = false, is_held = true, is_long = false;
  static constexpr int threads = kThreads;
};
struct OfBlock {  // up to 8192
  static constexpr bool is_block = true, is_column = false, is_held = true, is_long = false;
  static constexpr int threads = kBlock;
};
struct OfLongBlock {  // rows are read anew for each pass
  static constexpr bool is_block = true, is_column = false, is_held = false, is_long = true, is_staged = false;
  static constexpr int threads = kLongBlock;
};
struct OfStagedBlock {  // the same for rows that fit into shared memory, from where a second pass has them
  static constexpr bool is_block = true, is_column = false, is_held = false, is_long = true, is_staged = true;
  static constexpr int threads = kLongBlock;
};
struct OfColumn {  // inner > 1: neighbouring threads have neighbouring columns
  static constexpr bool is_block = false, is_column = true, is_held = false, is_long = false;
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
    if constexpr (Way::is_long) {
      runs([&](Index c, const Packed<T>(&v)[kRun<T>]) {
#pragma unroll
        for (int k = 0; k < kRun<T>; ++k)
          if (c + k * span() < seat_.classes) f(c + k * span(), Values(v[k]).of);
      });
    } else {
      for_vectors<Way, T>(seat_, [&](int k, Index c) {
        if constexpr (!Way::is_held) read(c, kept_[0]);
        f(c, kept_[k]);
      });
    }
  }
  // Beside another line of the same row.
  template <class F>
  __device__ void each(Line& other, const F& f) {
    if constexpr (Way::is_long) {
      runs([&](Index c, const Packed<T>(&v)[kRun<T>]) {
        Packed<T> w[kRun<T>];
        other.fetch(c, w);
#pragma unroll
        for (int k = 0; k < kRun<T>; ++k)
          if (c + k * span() < seat_.classes) f(c + k * span(), Values(v[k]).of, Values(w[k]).of);
      });
    } else {
      for_vectors<Way, T>(seat_, [&](int k, Index c) {
        if constexpr (!Way::is_held) read(c, kept_[0]), other.read(c, other.kept_[0]);
        f(c, kept_[k], other.kept_[k]);
      });
    }
  }
  // Of a long row: calls f(c, v) for vectors v[k] of the elements from c + k * span() on, of which some are beyond its
  // end. All are on their way before the first is looked at.
  template <class F>
  __device__ void runs(const F& f) {
    for (Index c = static_cast<Index>(seat_.lane) * width; c < seat_.classes; c += kRun<T> * span()) {
      Packed<T> v[kRun<T>];
      if constexpr (Way::is_staged) {
        auto* const staged = reinterpret_cast<float4*>(asked_shared()) + c / width;
        if (is_staged_) {
#pragma unroll
          for (int k = 0; k < kRun<T>; ++k)
            v[k] = c + k * span() < seat_.classes ? std::bit_cast<Packed<T>>(staged[k * seat_.lanes]) : nothing();
        } else {
          fetch(c, v);
#pragma unroll
          for (int k = 0; k < kRun<T>; ++k)
            if (c + k * span() < seat_.classes) staged[k * seat_.lanes] = std::bit_cast<float4>(v[k]);
        }
      } else {
        fetch(c, v);
      }
      f(c, v);
    }
    is_staged_ = true;
  }
  __device__ C at(Index c) const { return value(x_[c * seat_.step]); }

 private:
  struct Values {
    C of[width];
    __device__ explicit Values(const Packed<T>& v) {
#pragma unroll
      for (int i = 0; i < width; ++i) of[i] = value(v.of[i]);
    }
  };
  __device__ Index span() const { return static_cast<Index>(seat_.lanes) * width; }
  __device__ Packed<T> nothing() const {
    Packed<T> v;
#pragma unroll
    for (int i = 0; i < width; ++i) v.of[i] = element<T>(beyond_);
    return v;
  }
  __device__ Packed<T> fetched(Index c) const {
    if (c + width <= seat_.classes && is_packed(x_))
      return std::bit_cast<Packed<T>>(*reinterpret_cast<const float4*>(x_ + c));
    Packed<T> v = nothing();
#pragma unroll
    for (int i = 0; i < width; ++i)
      if (c + i < seat_.classes) v.of[i] = x_[c + i];
    return v;
  }
  __device__ void fetch(Index c, Packed<T> (&v)[kRun<T>]) const {
    const bool is_whole = is_packed(x_) && c + (kRun<T> - 1) * span() + width <= seat_.classes;
#pragma unroll
    for (int k = 0; k < kRun<T>; ++k)
      v[k] = is_whole ? std::bit_cast<Packed<T>>(*reinterpret_cast<const float4*>(x_ + c + k * span()))
                      : fetched(c + k * span());
  }
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
  bool is_staged_ = false;
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
  const auto merge = [](const State& a, const State& b) {
    const C top = a.top > b.top ? a.top : b.top;
    return State{top, decayed(a.sum, a.top, top) + decayed(b.sum, b.top, top)};
  };
  if constexpr (Way::is_held) {  // the largest first: no sum is ever rescaled
    x.each([&](Index, const auto& v) { see_top(v); });
    mine = merged(seat, mine, [](const State& a, const State& b) { return State{a.top > b.top ? a.top : b.top, 0}; });
    x.each([&](Index, const auto& v) { add_terms(v); });
    mine.sum = sum_over(seat, mine.sum);
    return mine;
  } else if constexpr (Way::is_long) {  // both in one reading
    x.runs([&](Index, const Packed<T>(&v)[kRun<T>]) {
      const C before = mine.top;
#pragma unroll
      for (int k = 0; k < kRun<T>; ++k)
#pragma unroll
        for (int i = 0; i < kWidth<Way, T>; ++i) mine.top = fmax(value(v[k].of[i]), mine.top);  // NaN loses
      mine.sum = decayed(mine.sum, before, mine.top);
      const C shift = mine.shift();
#pragma unroll
      for (int k = 0; k < kRun<T>; ++k) {
        C part = 0;
#pragma unroll
        for (int i = 0; i < kWidth<Way, T>; ++i) part += exp(value(v[k].of[i]) - shift);
        mine.sum += part;
      }
    });
    return merged(seat, mine, merge);
  } else {
    x.each([&](Index, const auto& v) {
      const C before = mine.top;
      see_top(v);
      mine.sum = decayed(mine.sum, before, mine.top);
      add_terms(v);
    });
    return merged(seat, mine, merge);
  }
}

// Runs body for each row, in the way that its size asks for; body says whether it reads one line more than once.
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
  if constexpr (Body::reads_again) {
    const std::size_t staged = static_cast<std::size_t>((n + width - 1) / width) * 16, other = 2048;  // shared memory
    if (staged + other <= std::size_t(device_attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)))
      return launch_asking(context, blocks(count, 1), dim3(kLongBlock), staged, false, rows_kernel<OfStagedBlock, Body>,
                           body, rows, kLongBlock);
  }
  return launch(context, blocks(count, 1), dim3(kLongBlock), rows_kernel<OfLongBlock, Body>, body, rows, kLongBlock);
}

}  // namespace
}  // namespace dd2424::cuda
