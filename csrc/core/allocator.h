#pragma once
#include "core/types.h"

// Host memory: 64-byte aligned blocks from size classes, kept when freed, so that a training step after the first
// neither asks the system for memory nor touches a fresh page.
namespace dd2424 {

constexpr std::size_t kAlignment = 64;

void* allocate(std::size_t bytes);  // throws RuntimeError when the system has no more
// Likewise, for what is released before others are allocated: a block that is kept for larger ones will do, and `bytes`
// then grows to its size.
void* allocate_briefly(std::size_t& bytes);
void release(void* block, std::size_t bytes) noexcept;  // `bytes` as it was given to allocate

struct MemoryStats {
  Index in_use_bytes, peak_bytes;  // handed out by allocate and not released, size classes counted whole
  Index reserved_bytes;            // taken from the system
  Index allocations;               // calls of allocate
  Index system_allocations;        // of these, the calls that had to ask the system
};
MemoryStats memory_stats();
void reset_peak_memory();
void empty_cache();  // gives back to the system what is kept and large

}  // namespace dd2424
