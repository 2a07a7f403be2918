#pragma once
#include <cooperative_groups.h>

#include <cstdint>

// Kernels whose blocks all run at once and may wait for each other. The emulated GPU has a version of its own of what
// stands here.
namespace dd2424::cuda {

// Until all threads of all blocks are here; then each sees what the others wrote before.
__device__ inline void wait_for_grid() { cooperative_groups::this_grid().sync(); }

// The shared memory that the launch asked for.
__device__ inline unsigned char* asked_shared() {
  extern __shared__ __align__(128) unsigned char asked_shared_memory[];
  return asked_shared_memory;
}

// A letter from one block to another: 32 bits of data below a tag of 32 bits, written and read as one word, so that
// whoever finds the tag has the data too, and no barrier stands between them.
using Letter = std::uint64_t;
struct alignas(16) TwoLetters {
  Letter of[2];
};
__device__ inline void post(Letter* to, Letter x) {
  asm volatile("st.relaxed.gpu.global.b64 [%0], %1;" ::"l"(to), "l"(x) : "memory");
}
__device__ inline void post(Letter* to, const TwoLetters& x) {
  asm volatile("st.relaxed.gpu.global.v2.b64 [%0], {%1, %2};" ::"l"(to), "l"(x.of[0]), "l"(x.of[1]) : "memory");
}
__device__ inline Letter look_at(const Letter* from) {
  Letter x;
  asm volatile("ld.relaxed.gpu.global.b64 %0, [%1];" : "=l"(x) : "l"(from) : "memory");
  return x;
}
__device__ inline TwoLetters look_at_two(const Letter* from) {
  TwoLetters x;
  asm volatile("ld.relaxed.gpu.global.v2.b64 {%0, %1}, [%2];" : "=l"(x.of[0]), "=l"(x.of[1]) : "l"(from) : "memory");
  return x;
}
// Called by all threads of all blocks before they look for letters posted before this call: the emulated GPU then lets
// the others go on. And by a thread that has looked so many times in vain: an error is better than to wait for ever.
__device__ inline void let_others_post() {}
__device__ inline void found_none(int looks) {
  if (looks == 1 << 24) __trap();
}

}  // namespace dd2424::cuda
