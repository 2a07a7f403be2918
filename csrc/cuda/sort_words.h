#pragma once
#include <cuda_runtime.h>

#include "cuda/sort_block.h"

// Orders of rows of any length.
namespace dd2424::cuda {

// Sorts rows of n words each, n > kInBlock, whose places rise along the row. `bits` of the keys may differ. The result
// is in one of the two; `words` is then that one.
Status sort_words(const Context& context, Word*& words, Word*& spare, std::uint32_t* counts, Index rows, Index n,
                  int bits);
std::size_t sort_counts_bytes(Index rows, Index n);

// What order_places works in: keys of more than 32 bits are sorted by their lower half first.
inline std::size_t order_bytes(Index rows, Index n, int bits) {
  const std::size_t words = static_cast<std::size_t>(rows * n) * sizeof(Word);
  return words * (bits > kKeyBits ? 3 : n > kInBlock ? 2 : 1) + sort_counts_bytes(rows, n);
}

namespace {

template <class Keys>
__global__ void make_words_kernel(Keys keys, Index n, Index count, Word* words) {
  for_each_item(count, [&](Index i) {
    const Index row = quotient(i, n), place = i - row * n;
    words[i] = keys(row, place) << kKeyBits | static_cast<Word>(place);
  });
}
// The upper half of keys, of rows that are ordered by the lower half.
template <class Keys>
struct UpperKeys {
  Keys keys;
  const Word* lower;
  Index n;
  __device__ Word operator()(Index row, Index i) const {
    return keys(row, place_of_word(lower[row * n + i])) >> kKeyBits;
  }
};
template <class Keys>
__global__ void join_words_kernel(Index n, Index count, const Word* lower, const Word* upper, Word* words) {
  for_each_item(count, [&](Index i) {
    const Index row = quotient(i, n), at = place_of_word(upper[i]);
    words[i] = upper[i] >> kKeyBits << kKeyBits | (lower[row * n + at] & 0xffffffff);
  });
}

// By the lowest bits, at most 32.
template <class Keys>
Status order_by_half(const Context& context, const Keys& keys, Index rows, Index n, int bits, Word*& words,
                     Word*& spare, std::uint32_t* counts) {
  if (n <= kInBlock) return sort_in_blocks(context, keys, GiveWords{words, n}, rows, n, bits);
  const Index count = rows * n;
  const Status status = launch_items(context, count, make_words_kernel<Keys>, keys, n, count, words);
  return status == Status::ok ? sort_words(context, words, spare, counts, rows, n, bits) : status;
}
// The places 0 to n - 1 of each row in the order of keys(row, place), numbers of `bits` bits, as words in `sorted`.
// The context's workspace has order_bytes(rows, n, bits).
template <class Keys>
Status order_places(const Context& context, const Keys& keys, Index rows, Index n, int bits, const Word** sorted) {
  const Index count = rows * n;
  Word *a = static_cast<Word*>(context.workspace), *b = a + count;
  auto* const counts = reinterpret_cast<std::uint32_t*>(b + (bits > kKeyBits ? 2 : 1) * count);
  Status status = order_by_half(context, keys, rows, n, bits < kKeyBits ? bits : kKeyBits, a, b, counts);
  *sorted = a;
  if (status != Status::ok || bits <= kKeyBits) return status;
  Word *upper = b, *spare = static_cast<Word*>(context.workspace) + 2 * count;
  status = order_by_half(context, UpperKeys<Keys>{keys, a, n}, rows, n, bits - kKeyBits, upper, spare, counts);
  if (status == Status::ok)
    status = launch_items(context, count, join_words_kernel<Keys>, n, count, static_cast<const Word*>(a),
                          static_cast<const Word*>(upper), spare);
  *sorted = spare;
  return status;
}

}  // namespace
}  // namespace dd2424::cuda
