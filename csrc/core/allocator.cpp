#include "core/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "core/error.h"

namespace dd2424 {
namespace {

constexpr bool kBypassesCache = DD2424_SANITIZED;  // so that a sanitizer sees every overrun, and every late use

// Classes are 64, 128, ... 512 bytes, then four steps in each power of two: at most a quarter of a block is unused.
constexpr int kLinearClasses = 8;
constexpr int kClasses = kLinearClasses + 4 * 40;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSlab = 256 << 10;             // small blocks are cut from slabs of this size
constexpr std::size_t kSmallest = 32 << 10;          // blocks up to this size are cut from slabs, and cached per thread
constexpr std::size_t kBriefest = 4 << 20;           // smaller ones are not worth another's block
constexpr std::size_t kThreadCacheBytes = 64 << 10;  // what a thread keeps of one class before it gives half away

constexpr int class_of(std::size_t bytes) {
  if (bytes <= 512) return bytes == 0 ? 0 : static_cast<int>((bytes - 1) / 64);
  const int power = std::bit_width(bytes - 1) - 1;  // 2^power < bytes <= 2^(power + 1)
  return kLinearClasses + 4 * (power - 9) + static_cast<int>(((bytes - 1) >> (power - 2)) & 3);
}
constexpr std::size_t size_of(int index) {
  if (index < kLinearClasses) return 64 * static_cast<std::size_t>(index + 1);
  const int power = (index - kLinearClasses) / 4 + 9;
  return (std::size_t{1} << power) +
         (static_cast<std::size_t>((index - kLinearClasses) % 4) + 1) * (std::size_t{1} << (power - 2));
}
static_assert(size_of(class_of(513)) == 640 && size_of(class_of(640)) == 640 && size_of(class_of(1024)) == 1024);
constexpr int kSmallClasses = class_of(kSmallest) + 1;

struct FreeBlock {
  FreeBlock* next;
};
struct FreeList {
  FreeBlock* head = nullptr;
  std::size_t count = 0;
  void push(void* block) {
    head = ::new (block) FreeBlock{head};
    ++count;
  }
  void* pop() {
    FreeBlock* block = head;
    head = block->next;
    --count;
    return block;
  }
};

void* from_system(std::size_t bytes) {
  const std::size_t alignment = bytes >= kHugePage ? kHugePage : 4096;
  void* block = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (!block) throw RuntimeError(message("allocate: the system has no memory for ", bytes, " bytes"));
  if (bytes >= kHugePage) madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

// What all threads share. Never destroyed: tensors may outlive every static object.
struct Shared {
  std::mutex mutex;
  FreeList lists[kClasses];
  std::byte* slab = nullptr;  // what is left of the current slab
  std::size_t slab_left = 0;
  std::atomic<Index> in_use{0}, peak{0}, reserved{0}, allocations{0}, system_allocations{0};

  void* take(int index) {  // under the mutex
    if (lists[index].head) return lists[index].pop();
    const std::size_t size = size_of(index);
    if (index >= kSmallClasses) return reserve(size);
    if (slab_left < size) {  // the rest of the old slab is lost: less than one small block
      slab = static_cast<std::byte*>(reserve(kSlab));
      slab_left = kSlab;
    }
    void* block = slab;
    slab += size;
    slab_left -= size;
    return block;
  }
  void* reserve(std::size_t size) {
    void* block = from_system(size);
    reserved.fetch_add(static_cast<Index>(size), std::memory_order_relaxed);
    system_allocations.fetch_add(1, std::memory_order_relaxed);
    return block;
  }
};

Shared& shared() {
  static Shared& instance = *[] {
    auto* fresh = new Shared;
    pthread_atfork([] { shared().mutex.lock(); }, [] { shared().mutex.unlock(); }, [] { shared().mutex.unlock(); });
    return fresh;
  }();
  return instance;
}

void count_in_use(Index bytes) {
  Shared& s = shared();
  const Index now = s.in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  Index peak = s.peak.load(std::memory_order_relaxed);
  while (now > peak && !s.peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
}

// Counts without atomics, and hands its counts over whenever it takes the mutex anyway.
struct ThreadCache {
  FreeList lists[kSmallClasses];
  Index allocations = 0, in_use = 0;

  void* take(int index) {
    FreeList& list = lists[index];
    if (!list.head) refill(index);
    return list.pop();
  }
  void refill(int index) {
    Shared& s = shared();
    flush_counts();
    std::lock_guard lock(s.mutex);
    const std::size_t blocks = std::max<std::size_t>(1, kThreadCacheBytes / 4 / size_of(index));
    for (std::size_t i = 0; i < blocks; ++i) lists[index].push(s.take(index));
  }
  void give(int index, void* block) {
    lists[index].push(block);
    const std::size_t limit = std::max<std::size_t>(8, kThreadCacheBytes / size_of(index));
    if (lists[index].count > limit) spill(index, limit / 2);
  }
  void flush_counts() {
    count_in_use(in_use);
    shared().allocations.fetch_add(allocations, std::memory_order_relaxed);
    in_use = allocations = 0;
  }
  void spill(int index, std::size_t keep) {
    Shared& s = shared();
    flush_counts();
    std::lock_guard lock(s.mutex);
    while (lists[index].count > keep) s.lists[index].push(lists[index].pop());
  }
};

// A plain pointer stays readable while other thread-local objects are destroyed; the guard empties the cache.
__attribute__((tls_model("initial-exec"))) thread_local ThreadCache* cache = nullptr;
thread_local bool cache_closed = false;
struct CacheGuard {
  ~CacheGuard() {
    ThreadCache* ending = cache;
    cache = nullptr;
    cache_closed = true;
    if (!ending) return;
    for (int i = 0; i < kSmallClasses; ++i) ending->spill(i, 0);
    delete ending;
  }
};

ThreadCache* open_cache() {
  if (cache_closed) return nullptr;
  static thread_local CacheGuard guard;
  (void)guard;
  return cache = new ThreadCache;
}

void* take_shared(Shared& s, int index) {  // under the mutex
  s.allocations.fetch_add(1, std::memory_order_relaxed);
  void* block = s.take(index);
  count_in_use(static_cast<Index>(size_of(index)));
  return block;
}
void* allocate_shared(int index) {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  return take_shared(s, index);
}

}  // namespace

void* allocate(std::size_t bytes) {
  check(bytes <= size_of(kClasses - 1), "allocate: the system has no memory for ", bytes, " bytes");
  const int index = class_of(bytes);
  if constexpr (kBypassesCache) {
    void* block =
        std::aligned_alloc(kAlignment, (std::max<std::size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment);
    check(block != nullptr, "allocate: the system has no memory for ", bytes, " bytes");
    return block;
  }
  ThreadCache* mine = index < kSmallClasses ? (cache ? cache : open_cache()) : nullptr;
  if (!mine) return allocate_shared(index);
  ++mine->allocations;
  mine->in_use += static_cast<Index>(size_of(index));
  return mine->take(index);
}

void* allocate_briefly(std::size_t& bytes) {
  const int wanted = class_of(bytes);
  if (kBypassesCache || wanted < class_of(kBriefest) || wanted >= kClasses) return allocate(bytes);
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  int index = wanted;
  while (index < kClasses && !s.lists[index].head) ++index;
  if (index == kClasses) index = wanted;
  bytes = size_of(index);
  return take_shared(s, index);
}

void release(void* block, std::size_t bytes) noexcept {
  if constexpr (kBypassesCache) return std::free(block);
  const int index = class_of(bytes);
  ThreadCache* mine = index < kSmallClasses ? (cache ? cache : open_cache()) : nullptr;
  if (mine) {
    mine->in_use -= static_cast<Index>(size_of(index));
    return mine->give(index, block);
  }
  Shared& s = shared();
  count_in_use(-static_cast<Index>(size_of(index)));
  std::lock_guard lock(s.mutex);
  s.lists[index].push(block);
}

MemoryStats memory_stats() {
  Shared& s = shared();
  if (cache) cache->flush_counts();
  return {s.in_use.load(), s.peak.load(), s.reserved.load(), s.allocations.load(), s.system_allocations.load()};
}

void reset_peak_memory() {
  Shared& s = shared();
  if (cache) cache->flush_counts();
  s.peak.store(s.in_use.load());
}

void empty_cache() {
  Shared& s = shared();
  std::lock_guard lock(s.mutex);
  for (int i = kSmallClasses; i < kClasses; ++i) {
    while (s.lists[i].head) {
      std::free(s.lists[i].pop());
      s.reserved.fetch_sub(static_cast<Index>(size_of(i)), std::memory_order_relaxed);
    }
  }
}

}  // namespace dd2424
