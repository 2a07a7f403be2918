#pragma once
#include <cooperative_groups.h>

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

}  // namespace dd2424::cuda
