#pragma once
// Philox for many blocks at once: one block in each 64-bit lane, so that the products need no shuffling.
#include "core/random.h"
#include "cpu/shuffle.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

using Words64 = Vec<std::uint64_t>;
constexpr Index kBlockStep = 4 * kLanes<std::uint64_t>;  // words that one vector of blocks yields

// The product of the lower halves of each lane.
inline Words64 multiply_low(Words64 a, std::uint32_t b) {
#if defined(__AVX512F__)
  return (Words64)_mm512_maskz_mul_epu32(0xff, (__m512i)a, _mm512_set1_epi64(b));
#elif defined(__AVX2__)
  return (Words64)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
  return (Words64)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
  return (a & 0xffffffff) * b;
#endif
}

// Words 4 * block ... of the draw, kBlockStep of them, as pairs: word 2i in the lower half of lane i, word 2i + 1
// above.
struct WordPairs {
  Words64 first, second;
};
inline WordPairs philox_blocks(const Philox& draw, std::uint64_t block) {
  std::uint64_t lane[kLanes<std::uint64_t>];
  for (int i = 0; i < kLanes<std::uint64_t>; ++i) lane[i] = block + static_cast<std::uint64_t>(i);
  // The upper halves hold leftovers of products, which the next product does not see.
  Words64 c0 = load(lane), c1 = c0 >> 32;
  Words64 c2 = broadcast(draw.offset), c3 = c2 >> 32;
  std::uint32_t k0 = static_cast<std::uint32_t>(draw.seed), k1 = static_cast<std::uint32_t>(draw.seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const Words64 p0 = multiply_low(c0, 0xD2511F53), p1 = multiply_low(c2, 0xCD9E8D57);
    c0 = (p1 >> 32) ^ c1 ^ broadcast(std::uint64_t{k0});
    c2 = (p0 >> 32) ^ c3 ^ broadcast(std::uint64_t{k1});
    c1 = p1;
    c3 = p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  const Words64 a = (c0 & 0xffffffff) | c1 << 32, b = (c2 & 0xffffffff) | c3 << 32;
  return {weave_low(a, b), weave_high(a, b)};
}

// Words first ... first + count - 1 of the draw, and up to kBlockStep - 1 more; first is a multiple of 4. The pair
// order of philox_blocks is that of little-endian words in memory.
inline void philox_words(const Philox& draw, Index first, Index count, std::uint32_t* words) {
  std::uint64_t block = static_cast<std::uint64_t>(first) / 4;
  for (Index i = 0; i < count; i += kBlockStep, block += kLanes<std::uint64_t>) {
    const WordPairs pairs = philox_blocks(draw, block);
    __builtin_memcpy(words + i, &pairs, sizeof pairs);
  }
}

#include "core/random_functions.h"

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
