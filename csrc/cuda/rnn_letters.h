#pragma once
#include <bit>

#include "core/types.h"
#include "cuda/cooperative.h"
#include "cuda/pack.h"

// What the blocks of a walk post to each other (rnn_walk.h), tagged with the step it is for.
namespace dd2424::cuda {
namespace {

constexpr int kWalkRows = 16;  // sequences of a tile
template <class T>
constexpr int kWords = sizeof(T) / 4;  // letters of a number

struct Letters {  // in the workspace: those of one step and those of the next
  Letter* all;
  Index each;  // of a step
  __device__ Letter* of(Index step) const { return all + step % 2 * each; }
};
template <class T>
__host__ __device__ Index letters_of_row(Index hidden) {
  return (hidden * kWords<T> + 1) / 2 * 2;
}
template <class T>
__host__ __device__ Index forward_letters(Index hidden, Index batch) {
  return batch * letters_of_row<T>(hidden);
}
template <class T>
__host__ __device__ Index backward_letters(Index blocks, Index units, Index tiles) {
  return tiles * blocks * blocks * kWalkRows * units * kWords<T>;
}
__device__ inline bool is_of(std::uint32_t tag, Letter x) { return static_cast<std::uint32_t>(x >> 32) == tag; }
__device__ inline Letter letter(std::uint32_t data, std::uint32_t tag) { return Letter{tag} << 32 | data; }
__device__ inline unsigned first_bits(Index count) { return count >= 32 ? ~0u : count <= 0 ? 0 : (1u << count) - 1; }

// Where a unit's number stands among those of a row, so that what neighbours post at once is side by side: of each pack
// the first eight bytes, then the others.
template <class T, int units>
__device__ Index posted_at(Index unit) {
  constexpr int half = kPack<T> / 2;
  return unit / half % 2 * (units / 2) + unit / kPack<T> * half + unit % half;
}
__device__ inline Letter letter(float x, std::uint32_t tag) { return letter(std::bit_cast<std::uint32_t>(x), tag); }
__device__ inline void post_number(Letter* to, float x, std::uint32_t tag) { post(to, letter(x, tag)); }
__device__ inline void post_number(Letter* to, double x, std::uint32_t tag) {
  const auto data = std::bit_cast<std::uint64_t>(x);
  post(to, {{letter(static_cast<std::uint32_t>(data), tag), letter(static_cast<std::uint32_t>(data >> 32), tag)}});
}
__device__ inline void post_pack(Letter* to, int apart, const float (&x)[4], std::uint32_t tag) {
  post(to, {{letter(x[0], tag), letter(x[1], tag)}});
  post(to + apart, {{letter(x[2], tag), letter(x[3], tag)}});
}
__device__ inline void post_pack(Letter* to, int apart, const double (&x)[2], std::uint32_t tag) {
  post_number(to, x[0], tag);
  post_number(to + apart, x[1], tag);
}

template <class T>
struct Mail;  // a number's letters
template <>
struct Mail<float> {
  Letter of;
  __device__ void look(const Letter* from) { of = look_at(from); }
  __device__ bool is_there(std::uint32_t tag) const { return is_of(tag, of); }
  __device__ float number() const { return std::bit_cast<float>(static_cast<std::uint32_t>(of)); }
};
template <>
struct Mail<double> {
  TwoLetters two;
  __device__ void look(const Letter* from) { two = look_at_two(from); }
  __device__ bool is_there(std::uint32_t tag) const { return is_of(tag, two.of[0]) && is_of(tag, two.of[1]); }
  __device__ double number() const { return std::bit_cast<double>(two.of[1] << 32 | (two.of[0] & 0xffffffff)); }
};

}  // namespace
}  // namespace dd2424::cuda
