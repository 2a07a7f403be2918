#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <vector>

#include "cuda_runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
constexpr bool kHasSanitizer = true;
#else
constexpr bool kHasSanitizer = false;
inline void __asan_poison_memory_region(const volatile void*, std::size_t) {}
inline void __asan_unpoison_memory_region(const volatile void*, std::size_t) {}
inline void __sanitizer_start_switch_fiber(void**, const void*, std::size_t) {}
inline void __sanitizer_finish_switch_fiber(void*, const void**, std::size_t*) {}
#endif

namespace cuda_host {
namespace {

[[noreturn]] void fail(const char* what, const Where* where = nullptr) {
  std::fprintf(stderr, "emulated GPU: %s", what);
  if (where) std::fprintf(stderr, " at %s:%u", where->file_name(), static_cast<unsigned>(where->line()));
  std::fprintf(stderr, " (block %u, %u, %u of %u, %u, %u)\n", blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y,
               gridDim.z);
  std::abort();
}

// Memory. It lies in one range of addresses that can be reached only while a kernel or a copy runs: the host's code
// that reads it ends in a segmentation fault. Behind each block stand bytes that nobody may write.

constexpr std::size_t kArenaBytes = std::size_t{1} << 32, kPage = 4096, kFence = 64;
constexpr unsigned char kFenceByte = 0xa5;

struct Arena {
  std::byte* base = static_cast<std::byte*>(
      mmap(nullptr, kArenaBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  std::size_t used = 0, taken = 0;              // from the base; of it, in blocks
  std::map<std::byte*, std::size_t> blocks;     // their bytes
  std::multimap<std::size_t, std::byte*> free;  // by room
  std::mutex mutex;
};
Arena& arena() {
  static Arena& instance = *new Arena;
  return instance;
}
std::size_t room_for(std::size_t bytes) { return (bytes + kFence + 255) / 256 * 256; }

class Reached {  // while one lives, the memory can be reached, and no other thread is at it
 public:
  Reached() : lock_(arena().mutex) { protect(PROT_READ | PROT_WRITE); }
  ~Reached() { protect(PROT_NONE); }
  Reached(const Reached&) = delete;
  Reached& operator=(const Reached&) = delete;

 private:
  static void protect(int how) {
    if (arena().used && mprotect(arena().base, (arena().used + kPage - 1) / kPage * kPage, how) != 0) std::abort();
  }
  std::lock_guard<std::mutex> lock_;
};

void check_fence(std::byte* block, std::size_t bytes) {
  __asan_unpoison_memory_region(block + bytes, room_for(bytes) - bytes);
  for (std::size_t i = bytes; i < room_for(bytes); ++i)
    if (block[i] != std::byte{kFenceByte}) fail("a kernel has written past the end of a block of memory");
}

// Threads.

constexpr std::size_t kStack = kHasSanitizer ? 256 << 10 : 64 << 10;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<std::byte[]> stack{new std::byte[kStack]};
  int thread = -1;  // that it runs, or -1
};
struct Warp {
  std::uint64_t words[2][32];  // of an exchange and of the one before it
  unsigned arrived = 0, round = 0;
  Where where;
  std::vector<Fiber*> waiting;
};

class Block {  // of threads
 public:
  void run(dim3 shape, Body body, const void* arguments);
  bool wait(bool vote, const Where& where);
  const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Where& where);
  int thread() const { return running_->thread; }

 private:
  static void fiber_main();
  void switch_to(Fiber& fiber);
  void leave();  // back to run(), until the fiber is ready again
  void release(std::vector<Fiber*>& waiting) {
    ready_.insert(ready_.end(), waiting.begin(), waiting.end());
    waiting.clear();
  }
  void place(int thread) {
    const unsigned t = static_cast<unsigned>(thread);
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / (blockDim.x * blockDim.y)};
  }
  [[noreturn]] void report_stuck();

  std::mt19937 random_{1};
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_, ready_, at_barrier_;
  std::vector<int> order_;  // in which threads start
  std::size_t started_ = 0;
  int ended_ = 0;
  std::vector<Warp> warps_;
  Where barrier_;
  bool votes_[2] = {};  // of this barrier and of the one before it
  unsigned round_ = 0;  // of barriers
  Fiber* running_ = nullptr;
  ucontext_t scheduler_;
  void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  Body body_ = nullptr;
  const void* arguments_ = nullptr;
};
Block* current = nullptr;

void Block::fiber_main() {
  Block& block = *current;
  __sanitizer_finish_switch_fiber(nullptr, const_cast<const void**>(&block.scheduler_stack_),
                                  &block.scheduler_stack_bytes_);
  for (;;) {  // a thread that waits for nobody hands its fiber to the next one
    while (block.started_ < block.order_.size()) {
      block.running_->thread = block.order_[block.started_++];
      block.place(block.running_->thread);
      block.body_(block.arguments_);
      ++block.ended_;
    }
    block.running_->thread = -1;
    block.idle_.push_back(block.running_);
    block.leave();
  }
}

void Block::switch_to(Fiber& fiber) {
  running_ = &fiber;
  if (fiber.thread >= 0) place(fiber.thread);
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, fiber.stack.get(), kStack);
  swapcontext(&scheduler_, &fiber.context);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void Block::leave() {
  Fiber* mine = running_;
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, scheduler_stack_, scheduler_stack_bytes_);
  swapcontext(&mine->context, &scheduler_);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void Block::report_stuck() {
  const int all = static_cast<int>(order_.size());
  std::fprintf(stderr, "emulated GPU: of %d threads %d have ended and %zu wait at a barrier\n", all, ended_,
               at_barrier_.size());
  if (!at_barrier_.empty()) fail("a barrier that not all threads of the block reach", &barrier_);
  for (const Warp& warp : warps_)
    if (!warp.waiting.empty()) fail("a warp's exchange that not all of its lanes reach", &warp.where);
  fail("threads wait for nothing");
}

void Block::run(dim3 shape, Body body, const void* arguments) {
  const int threads = static_cast<int>(shape.x * shape.y * shape.z);
  body_ = body;
  arguments_ = arguments;
  started_ = 0;
  ended_ = 0;
  order_.resize(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) order_[static_cast<std::size_t>(i)] = i;
  std::shuffle(order_.begin(), order_.end(), random_);
  warps_.assign(static_cast<std::size_t>(threads + 31) / 32, Warp());
  while (ended_ < threads) {
    Fiber* next = nullptr;
    if (started_ < order_.size()) {
      if (idle_.empty()) {
        fibers_.push_back(std::make_unique<Fiber>());
        Fiber& fresh = *fibers_.back();
        getcontext(&fresh.context);
        fresh.context.uc_stack = {.ss_sp = fresh.stack.get(), .ss_flags = 0, .ss_size = kStack};
        fresh.context.uc_link = nullptr;
        makecontext(&fresh.context, fiber_main, 0);
        idle_.push_back(&fresh);
      }
      next = idle_.back();
      idle_.pop_back();
    } else if (!ready_.empty()) {
      std::swap(ready_[random_() % ready_.size()], ready_.back());
      next = ready_.back();
      ready_.pop_back();
    } else {
      report_stuck();
    }
    switch_to(*next);
  }
}

bool same(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

bool Block::wait(bool vote, const Where& where) {
  if (!at_barrier_.empty() && !same(barrier_, where)) fail("threads of one block wait at different barriers", &where);
  const unsigned round = round_ % 2;
  barrier_ = where;
  votes_[round] |= vote;
  at_barrier_.push_back(running_);
  if (at_barrier_.size() == order_.size()) {
    votes_[++round_ % 2] = false;
    release(at_barrier_);
  }
  leave();
  return votes_[round];
}

const std::uint64_t* Block::exchange(unsigned mask, std::uint64_t word, const Where& where) {
  const int thread = running_->thread, lane = thread % 32;
  Warp& warp = warps_[static_cast<std::size_t>(thread / 32)];
  if (order_.size() % 32 != 0) fail("a warp's exchange in a block of no whole warps", &where);
  if (mask != 0xffffffff) fail("a warp's exchange among some of its lanes, which is not emulated", &where);
  if (warp.arrived && !same(warp.where, where)) fail("lanes of one warp wait at different exchanges", &where);
  const unsigned round = warp.round;
  warp.where = where;
  warp.words[round % 2][lane] = word;
  warp.arrived |= 1u << lane;
  warp.waiting.push_back(running_);
  if (warp.arrived == mask) {
    warp.arrived = 0;
    ++warp.round;
    release(warp.waiting);
  }
  leave();
  return warp.words[round % 2];
}

}  // namespace

int wait_for_block(bool vote, const Where& where) { return current->wait(vote, where); }
const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Where& where) {
  return current->exchange(mask, word, where);
}
int lane() { return current->thread() % 32; }

cudaError_t run_grid(dim3 grid, dim3 block, Body body, const void* arguments) {
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    return cudaErrorInvalidConfiguration;
  const Reached reached;
  static Block& fibers = *new Block;
  current = &fibers;
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        fibers.run(block, body, arguments);
      }
  return cudaSuccess;
}

}  // namespace cuda_host

using cuda_host::arena;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = std::getenv("DD2424_CUDA_HOST_ABSENT") ? 0 : 1;
  return *count ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  const char* chosen = std::getenv("DD2424_CUDA_HOST_CAPABILITY");
  const int capability = chosen ? std::atoi(chosen) : 90;
  *properties = {.name = "emulated GPU", .major = capability / 10, .minor = capability % 10};
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 0;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const std::lock_guard lock(arena().mutex);
  *total_bytes = cuda_host::kArenaBytes;
  *free_bytes = cuda_host::kArenaBytes - arena().taken;
  return cudaSuccess;
}
const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorNoDevice: return "no CUDA-capable device is detected";
    default: return error == cudaSuccess ? "no error" : "invalid argument";
  }
}

cudaError_t cudaMalloc(void** block, std::size_t bytes) {
  using namespace cuda_host;
  const std::size_t room = room_for(bytes);
  std::byte* found = nullptr;
  {
    Arena& a = arena();
    const std::lock_guard lock(a.mutex);
    if (bytes > kArenaBytes) return cudaErrorMemoryAllocation;
    if (const auto kept = a.free.find(room); kept != a.free.end()) {
      found = kept->second;
      a.free.erase(kept);
    } else {
      if (room > kArenaBytes - a.used) return cudaErrorMemoryAllocation;
      found = a.base + a.used;
      a.used += room;
    }
    a.taken += room;
    a.blocks.emplace(found, bytes);
  }
  const Reached reached;
  __asan_unpoison_memory_region(found, room);
  std::memset(found, 0xff, bytes);  // NaN, for who reads what was not written
  std::memset(found + bytes, kFenceByte, room - bytes);
  __asan_poison_memory_region(found + bytes, room - bytes);
  *block = found;
  return cudaSuccess;
}

cudaError_t cudaFree(void* block) {
  using namespace cuda_host;
  const Reached reached;
  Arena& a = arena();
  const auto found = a.blocks.find(static_cast<std::byte*>(block));
  if (found == a.blocks.end()) return block ? cudaErrorInvalidValue : cudaSuccess;
  const std::size_t room = room_for(found->second);
  check_fence(found->first, found->second);
  a.free.emplace(room, found->first);
  a.taken -= room;
  __asan_poison_memory_region(found->first, room);
  a.blocks.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* y, const void* x, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  const cuda_host::Reached reached;
  std::memmove(y, x, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* y, int byte, std::size_t bytes, cudaStream_t) {
  const cuda_host::Reached reached;
  std::memset(y, byte, bytes);
  return cudaSuccess;
}
