#pragma once
#include <type_traits>

#include "core/types.h"

// One small pool of threads for every kernel. A caller that finds it busy runs serially: results never depend on it.
namespace dd2424 {

int num_threads();
Index cache_bytes();  // of the last level: what is larger than it ends up in memory
void set_num_threads(int threads);

namespace detail {
using Task = void (*)(const void* data, Index begin, Index end, int slot);
void run_parallel(Index n, Index grain, Task task, const void* data);

// A Task. Never inlined: the body would stand in the code twice, for the caller alone and for the pool.
template <class Body>
[[gnu::noinline]] void call_body(const void* data, Index begin, Index end, int slot) {
  const Body& body = *static_cast<const Body*>(data);
  if constexpr (std::is_invocable_v<const Body&, Index, Index, int>) {
    body(begin, end, slot);
  } else {
    (void)slot;
    body(begin, end);
  }
}
}  // namespace detail

// Calls body(begin, end) or body(begin, end, slot) on ranges that cover [0, n) once, none shorter than `grain` but the
// last. `slot` < num_threads() is the calling thread's own for as long as the call lasts: an index into workspace. What
// body computes for an item must not depend on the range it came in.
template <class Body>
inline void parallel_for(Index n, Index grain, const Body& body) {
  if (n <= grain) {
    if (n > 0) detail::call_body<Body>(&body, 0, n, 0);
    return;
  }
  detail::run_parallel(n, grain, detail::call_body<Body>, &body);
}

// How a reduction over n items is cut: `count` chunks of `size` items (the last may be shorter), combined in the order
// of a balanced binary tree over the chunk numbers. From n alone, so that a sum's bits never depend on threads.
struct Chunks {
  Index size, count;
};
constexpr Index kMaxChunks = 64;
constexpr Chunks reduction_chunks(Index n, Index smallest) {
  Index size = (n + kMaxChunks - 1) / kMaxChunks;
  if (size < smallest) size = smallest;
  return {size, n == 0 ? 0 : (n + size - 1) / size};
}

}  // namespace dd2424
