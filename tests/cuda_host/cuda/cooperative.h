#pragma once
// The emulated GPU's version of csrc/cuda/cooperative.h, which says what these do.
#include "cuda_runtime.h"

namespace dd2424::cuda {

inline void wait_for_grid(const cuda_host::Where& where = cuda_host::Where::current()) {
  cuda_host::wait_for_grid(where);
}
inline unsigned char* asked_shared() { return cuda_host::asked_shared(); }

}  // namespace dd2424::cuda
