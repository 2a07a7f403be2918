#pragma once
#include <cuda_runtime.h>

#include "cuda/launch.h"

// Words, numbers of 64 bits: a key above, its place in the row below. They are ordered by their keys, equal ones by
// their places; that order is unique, so nothing about the way to it shows.
namespace dd2424::cuda {

using Word = std::uint64_t;
constexpr int kKeyBits = 32;
constexpr __host__ __device__ Index place_of_word(Word word) { return static_cast<Index>(word & 0xffffffff); }

// Sorts rows of n words each, whose places rise along the row. `bits` of the keys may differ. The result is in one of
// the two; `words` is then that one.
Status sort_words(const Context& context, Word*& words, Word*& spare, std::uint32_t* counts, Index rows, Index n,
                  int bits);
std::size_t sort_counts_bytes(Index rows, Index n);

// What order_places works in: keys of more than 32 bits are sorted by their lower half first.
inline std::size_t order_bytes(Index rows, Index n, int bits) {
  const std::size_t words = static_cast<std::size_t>(rows * n) * sizeof(Word);
  return words * (bits > kKeyBits ? 3 : 2) + sort_counts_bytes(rows, n);
}

namespace {

template <class Keys>
__global__ void make_words_kernel(Keys keys, Index n, Index count, Word* words) {
  for_each_item(count, [&](Index i) {
    const Index row = quotient(i, n), place = i - row * n;
    words[i] = keys(row, place) << kKeyBits | static_cast<Word>(place);
  });
}
// Of rows that are ordered by the lower half of their keys: words of the upper half, and of where in this order.
template <class Keys>
__global__ void make_upper_words_kernel(Keys keys, Index n, Index count, const Word* lower, Word* words) {
  for_each_item(count, [&](Index i) {
    const Index row = quotient(i, n);
    words[i] = keys(row, place_of_word(lower[i])) >> kKeyBits << kKeyBits | static_cast<Word>(i - row * n);
  });
}
template <class Keys>
__global__ void join_words_kernel(Index n, Index count, const Word* lower, const Word* upper, Word* words) {
  for_each_item(count, [&](Index i) {
    const Index row = quotient(i, n), at = place_of_word(upper[i]);
    words[i] = upper[i] >> kKeyBits << kKeyBits | (lower[row * n + at] & 0xffffffff);
  });
}

// The places 0 to n - 1 of each row in the order of keys(row, place), numbers of `bits` bits, as words in `sorted`.
// The context's workspace has order_bytes(rows, n, bits).
template <class Keys>
Status order_places(const Context& context, const Keys& keys, Index rows, Index n, int bits, const Word** sorted) {
  const Index count = rows * n;
  Word *a = static_cast<Word*>(context.workspace), *b = a + count;
  auto* const counts = reinterpret_cast<std::uint32_t*>(b + (bits > kKeyBits ? 2 : 1) * count);
  Status status = launch_items(context, count, make_words_kernel<Keys>, keys, n, count, a);
  const int lower_bits = bits < kKeyBits ? bits : kKeyBits;
  if (status == Status::ok) status = sort_words(context, a, b, counts, rows, n, lower_bits);
  *sorted = a;
  if (status != Status::ok || bits <= kKeyBits) return status;
  Word *upper = b, *spare = static_cast<Word*>(context.workspace) + 2 * count;
  status =
      launch_items(context, count, make_upper_words_kernel<Keys>, keys, n, count, static_cast<const Word*>(a), upper);
  if (status == Status::ok) status = sort_words(context, upper, spare, counts, rows, n, bits - kKeyBits);
  if (status == Status::ok)
    status = launch_items(context, count, join_words_kernel<Keys>, n, count, static_cast<const Word*>(a),
                          static_cast<const Word*>(upper), spare);
  *sorted = spare;
  return status;
}

}  // namespace
}  // namespace dd2424::cuda
