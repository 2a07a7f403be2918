#pragma once
#include <array>

#include "core/types.h"

namespace dd2424 {

// Philox 4x32-10: 128 random bits from a key and a counter, without state, so that any element of any draw can be made
// anywhere. Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.
struct Philox {
  std::uint64_t seed;    // the generator's
  std::uint64_t offset;  // the operation's number under that seed
  // In a captured graph: where a replay finds, on the GPU, the seed and the number of its first operation, from which
  // `offset` then counts; `seed` is unused.
  const std::uint64_t* replayed = nullptr;

  // Words 4 * block ... 4 * block + 3 of the draw. Element i of a draw of 32-bit words is word i.
  constexpr std::array<std::uint32_t, 4> operator()(std::uint64_t block) const {
    std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    const std::uint64_t key = replayed ? replayed[0] : seed, draw = replayed ? replayed[1] + offset : offset;
    std::uint32_t c2 = static_cast<std::uint32_t>(draw), c3 = static_cast<std::uint32_t>(draw >> 32);
    std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c0, p1 = std::uint64_t{0xCD9E8D57} * c2;
      const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(p1);
      c3 = static_cast<std::uint32_t>(p0);
      c0 = n0;
      c2 = n2;
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return {c0, c1, c2, c3};
  }
};

}  // namespace dd2424
