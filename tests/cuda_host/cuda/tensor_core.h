#pragma once
// The emulated GPU's version of csrc/cuda/tensor_core.h, which says what these do. Elements stand where the PTX ISA has
// them, and a copy is not there before it is waited for, so that mistakes in either show.
#include <cuda_runtime.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <type_traits>
#include <vector>

#include "cuda/value.h"

namespace dd2424::cuda {
namespace host {

struct Copy {
  void* shared;
  const void* global;  // null for zeros
  std::size_t bytes;
};
using Group = std::vector<Copy>;
inline std::deque<Group>& groups_of_thread() {  // the last is still open
  static std::vector<std::deque<Group>> all(1024, std::deque<Group>(1));
  return all[threadIdx.x];
}

constexpr unsigned kAll = 0xffffffff;
struct Fragments {
  std::uint32_t a[4], b[2];
};
// Those of all lanes of the warp, for as long as this thread shares no others: nobody can be two exchanges ahead.
inline const Fragments* share(const Fragments& mine, const cuda_host::Where& where) {
  static Fragments shared[2][1024];
  static unsigned rounds[1024];
  const unsigned thread = threadIdx.x, round = rounds[thread]++ % 2;
  shared[round][thread] = mine;
  cuda_host::exchange(kAll, 0, where);
  return &shared[round][thread / 32 * 32];
}
// Element i of a word, as tensor cores see it: of a tfloat32 they leave off the last bits.
template <class T>
float element_of(std::uint32_t word, int i) {
  if constexpr (std::is_same_v<T, tfloat32>) return std::bit_cast<float>(word & 0xffffe000);
  else return value(T{static_cast<std::uint16_t>(i == 0 ? word : word >> 16)});
}

}  // namespace host

template <int bytes = 16>
void start_copy(void* shared, const void* global, bool has) {
  std::memset(shared, 0xff, bytes);
  host::groups_of_thread().back().push_back({shared, has ? global : nullptr, bytes});
}
inline void close_copies() { host::groups_of_thread().emplace_back(); }
template <int groups>
void wait_for_copies() {
  auto& all = host::groups_of_thread();
  while (all.size() - 1 > groups) {
    for (const host::Copy& copy : all.front())
      if (copy.global) std::memcpy(copy.shared, copy.global, copy.bytes);
      else std::memset(copy.shared, 0, copy.bytes);
    all.pop_front();
  }
}

template <bool transposed>
void load_matrices(std::uint32_t (&y)[4], const void* line,
                   const cuda_host::Where& where = cuda_host::Where::current()) {
  const std::uint64_t* lines = cuda_host::exchange(host::kAll, reinterpret_cast<std::uintptr_t>(line), where);
  const int group = cuda_host::lane() / 4, pair = cuda_host::lane() % 4 * 2;
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t two[2];
    for (int i = 0; i < 2; ++i) {
      const int row = transposed ? pair + i : group, column = transposed ? group : pair + i;
      two[i] = reinterpret_cast<const std::uint16_t*>(lines[8 * matrix + row])[column];
    }
    std::memcpy(&y[matrix], two, sizeof two);
  }
}

inline std::uint32_t rounded_to_tfloat32(std::uint32_t x) {
  return (x & 0x7f800000) == 0x7f800000 ? x : (x + 0x1000) & 0xffffe000;
}

// Lane 4 g + t has of a: rows g and g + 8, each with columns 2 t, 2 t + 1 and, in the second half, those eight further
// on; of b: column g, rows 2 t, 2 t + 1 and eight further on; of c: rows g and g + 8, columns 2 t and 2 t + 1. Of
// tfloat32 there is one element to a word: column t of a, or row t of b, and four further on.
template <class T>
void multiply_add(float& c0, float& c1, float& c2, float& c3, const std::uint32_t (&a)[4], std::uint32_t b0,
                  std::uint32_t b1, const cuda_host::Where& where = cuda_host::Where::current()) {
  const host::Fragments* of_lane = host::share({{a[0], a[1], a[2], a[3]}, {b0, b1}}, where);
  constexpr int per = sizeof(T) == 2 ? 2 : 1, steps = 8 * per;  // of a word; of the product
  float left[16][steps], right[steps][8];
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < per; ++i) {
      const int g = lane / 4, k = lane % 4 * per + i;
      for (int part = 0; part < 4; ++part)
        left[g + part % 2 * 8][k + part / 2 * steps / 2] = host::element_of<T>(of_lane[lane].a[part], i);
      for (int part = 0; part < 2; ++part)
        right[k + part * steps / 2][g] = host::element_of<T>(of_lane[lane].b[part], i);
    }
  const int g = cuda_host::lane() / 4, column = cuda_host::lane() % 4 * 2;
  for (int k = 0; k < steps; ++k) {
    c0 = fmaf(left[g][k], right[k][column], c0);
    c1 = fmaf(left[g][k], right[k][column + 1], c1);
    c2 = fmaf(left[g + 8][k], right[k][column], c2);
    c3 = fmaf(left[g + 8][k], right[k][column + 1], c3);
  }
}

}  // namespace dd2424::cuda
