#pragma once
#include <cstdint>
#include <type_traits>

#include "cuda/launch.h"
#include "cuda/value.h"

// How a warpgroup's sums leave its registers (warpgroup.h says where they stand): as whole chunks, wherever lines
// allow.
namespace dd2424::cuda {

template <class T, int count>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Run {
  T at[count];
};

// Lane t of four that follow each other has words t of four runs; it gets the words of run t.
__device__ inline void turn_words(std::uint32_t (&words)[4]) {
  const unsigned t = threadIdx.x % 4;
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const bool upper = t & static_cast<unsigned>(bit);
      const std::uint32_t other = __shfl_xor_sync(0xffffffff, upper ? words[i] : words[i + bit], bit);
      (upper ? words[i] : words[i + bit]) = other;
    }
  }
}

struct alignas(16) FourWords {
  std::uint32_t at[4];
};
struct alignas(8) TwoWords {
  std::uint32_t at[2];
};
// Eight columns of a line, of which its columns are multiples of four.
template <class T>
__device__ void store_words(T* line, Index c, Index columns, const std::uint32_t (&words)[4]) {
  if (c >= columns) return;
  if (reinterpret_cast<std::uintptr_t>(line + c) % 16 == 0 && c + 8 <= columns) {
    *reinterpret_cast<FourWords*>(line + c) = {words[0], words[1], words[2], words[3]};
    return;
  }
  *reinterpret_cast<TwoWords*>(line + c) = {words[0], words[1]};
  if (c + 4 < columns) *reinterpret_cast<TwoWords*>(line + c + 4) = {words[2], words[3]};
}

// What a part makes of its sums may be little, a bias and relu at most: is_simple(), bias(), has_relu().
template <class Part>
__device__ bool is_simple(const Part& part) {
  if constexpr (requires { part.is_simple(); }) return part.is_simple();
  else return true;  // its result() is short
}
template <class Part, int sums>
__device__ void finish_simple(const Part& part, Index column, float (&y)[sums]) {
  if constexpr (requires { part.is_simple(); }) {
    if (const float* bias = part.bias()) {
#pragma unroll
      for (int i = 0; i < sums; i += 4) {
        const float first = bias[column + i * 2], second = bias[column + i * 2 + 1];
        y[i] += first, y[i + 2] += first, y[i + 1] += second, y[i + 3] += second;
      }
    }
    if (part.has_relu()) {
#pragma unroll
      for (int i = 0; i < sums; ++i) y[i] = y[i] < 0 ? 0 : y[i];
    }
  }
}
template <class T, class Part>
__device__ std::uint32_t pair_of(const Part& part, const T* line, Index c, float first, float second) {
  if constexpr (requires { part.is_simple(); }) return two_of<T>(first, second);
  else return part.result(line, c, first).bits | std::uint32_t{part.result(line, c + 1, second).bits} << 16;
}

// Stores a block of 64 rows: of rows r and r + 8, sums 4 j and the next and 4 j + 2 and the next, of columns 8 j + 2 t
// and the next from `column` on, for each j.
template <int sums, class Part>
__device__ void store_block(const Part& part, Index rows, Index r, Index column, float (&y)[sums]) {
  typename Part::Element* const lines[2] = {part.line(r < rows ? r : 0), part.line(r + 8 < rows ? r + 8 : 0)};
  const Index mine = column + threadIdx.x % 4 * 2, turned = column + threadIdx.x % 4 * 8;
  if (part.is_dense() && column + sums * 2 <= part.columns && is_simple(part)) {  // without a question for each sum
    finish_simple(part, mine, y);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool is_row = r + 8 * half < rows;
      auto* const line = lines[half] + turned;
      const bool by_four = reinterpret_cast<std::uintptr_t>(line) % 16 == 0;
#pragma unroll
      for (int i = 0; i < sums; i += 16) {
        std::uint32_t words[4];
#pragma unroll
        for (int run = 0; run < 4; ++run) {
          const int at = i + run * 4 + half * 2;
          words[run] = pair_of(part, lines[half], mine + i * 2 + run * 8, y[at], y[at + 1]);
        }
        turn_words(words);
        if (is_row && by_four) {
          *reinterpret_cast<FourWords*>(line + i * 2) = {words[0], words[1], words[2], words[3]};
        } else if (is_row) {
          *reinterpret_cast<TwoWords*>(line + i * 2) = {words[0], words[1]};
          *reinterpret_cast<TwoWords*>(line + i * 2 + 4) = {words[2], words[3]};
        }
      }
    }
    return;
  }
#pragma unroll 1
  for (int turn = 0; turn < sums / 8; ++turn) {  // what is written once serves all sums: they move up to be the first
    const int half = turn % 2;
    typename Part::Element* const line = half ? lines[1] : lines[0];
    const Index first = mine + turn / 2 * 32;
    const bool is_row = r + 8 * half < rows;
    std::uint32_t words[4] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const Index c = first + i / 2 * 8 + i % 2;
      if (!is_row || c >= part.columns) continue;
      const float sum = y[i / 2 * 4 + i % 2];
      if (part.is_dense()) words[i / 2] |= std::uint32_t{part.result(line, c, sum).bits} << i % 2 * 16;
      else part.store(line, c, sum);
    }
    if (part.is_dense()) {
      turn_words(words);
      if (is_row) store_words(line, turned + turn / 2 * 32, part.columns, words);
    }
#pragma unroll
    for (int i = 0; i < 16; ++i)
      if (i % 4 < 2) {
        const float other = y[i];
        y[i] = y[i + 2], y[i + 2] = other;
      }
    if (half == 0) continue;
#pragma unroll
    for (int i = 0; i < sums - 16; ++i) y[i] = y[i + 16];
  }
}
// The same where results are of 32 bits: two neighbours at a time.
template <int sums, class Part>
__device__ void store_pairs(const Part& part, Index rows, Index r, Index column, float (&y)[sums]) {
  using T = typename Part::Element;
  const Index mine = column + threadIdx.x % 4 * 2;
  if (part.is_dense() && column + sums * 2 <= part.columns && is_simple(part)) {
    finish_simple(part, mine, y);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (r + 8 * half >= rows) break;
      T* const line = part.line(r + 8 * half) + mine;
#pragma unroll
      for (int i = 2 * half; i < sums; i += 4) *reinterpret_cast<Run<float, 2>*>(line + i / 4 * 8) = {y[i], y[i + 1]};
    }
    return;
  }
#pragma unroll 1
  for (int turn = 0; turn < sums / 4; ++turn) {  // what is written once serves all sums: they move up to be the first
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Index row = r + i / 2 * 8, c = mine + turn * 8 + i % 2;
      if (row < rows && c < part.columns) part.store(part.line(row), c, y[i]);
    }
#pragma unroll
    for (int i = 0; i < sums - 4; ++i) y[i] = y[i + 4];
  }
}
template <int sums>
__device__ void store_partial(float* partial, Index rows, Index columns, Index r, Index column,
                              const float (&y)[sums]) {
  const Index mine = column + threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (r + 8 * half >= rows) break;
    float* line = partial + (r + 8 * half) * columns;
    if (columns % 2 == 0) {
#pragma unroll
      for (int i = 2 * half; i < sums; i += 4)
        if (const Index c = mine + i / 4 * 8; c < columns)
          *reinterpret_cast<Run<float, 2>*>(line + c) = {y[i], y[i + 1]};
    } else {
#pragma unroll
      for (int i = 2 * half; i < sums; ++i)
        if (const Index c = mine + i / 4 * 8 + i % 2; i / 2 % 2 == half && c < columns) line[c] = y[i];
    }
  }
}

}  // namespace dd2424::cuda
