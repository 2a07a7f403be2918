#pragma once
// The emulated GPU's version of csrc/cuda/cooperative.h, which says what these do.
#include <cstdio>
#include <cstdlib>

#include "cuda_runtime.h"

namespace dd2424::cuda {

inline void wait_for_grid(const cuda_host::Where& where = cuda_host::Where::current()) {
  cuda_host::wait_for_grid(where);
}
inline unsigned char* asked_shared() { return cuda_host::asked_shared(); }

using Letter = std::uint64_t;
struct alignas(16) TwoLetters {
  Letter of[2];
};
inline void post(Letter* to, Letter x) { *to = x; }
inline void post(Letter* to, const TwoLetters& x) { *reinterpret_cast<TwoLetters*>(to) = x; }
inline Letter look_at(const Letter* from) { return *from; }
inline TwoLetters look_at_two(const Letter* from) { return *reinterpret_cast<const TwoLetters*>(from); }
inline void let_others_post(const cuda_host::Where& where = cuda_host::Where::current()) {
  cuda_host::wait_for_grid(where);
}
inline void found_none(int) {
  std::fprintf(stderr, "emulated GPU: a letter that nobody has posted\n");
  std::abort();
}

}  // namespace dd2424::cuda
