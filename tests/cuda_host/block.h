#pragma once
// A block of threads of the emulated GPU: fibers, of which one runs at a time. A part of emulator.cpp.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "cuda_runtime.h"
#include "stack.h"

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

// Stacks begin at other places of a page each: where all began at one, they would lie in the same few lines of a cache.
constexpr std::size_t kStack = kHasSanitizer ? 256 << 10 : 64 << 10, kShift = 576, kShifts = 61;

struct Fiber {
  Stack context;
  std::unique_ptr<std::byte[]> stack{new std::byte[kStack + kShift * kShifts]};
  int thread = -1;  // that it runs, or -1
  std::byte* bottom;
  Fiber(std::size_t index, void (*entry)()) : bottom(stack.get() + kShift * (index % kShifts)) {
    start_stack(context, bottom, kStack, entry);
  }
};
struct Warp {
  std::uint64_t words[2][32];  // of an exchange and of the one before it
  unsigned arrived = 0, round = 0;
  Where where;
  std::vector<Fiber*> waiting;
};

class Block {  // of threads
 public:
  void start(const Grid& grid, Body body, const void* arguments);
  bool resume();  // until all its threads have ended, or wait for the grid; whether they have ended
  void wait_for_grid(const Where& where);
  bool waits_for_grid() const { return !at_grid_.empty(); }
  const Where& grid_barrier() const { return grid_barrier_; }
  unsigned char* shared() const { return shared_.get(); }
  bool wait(bool vote, const Where& where);
  const std::uint64_t* exchange(unsigned mask, std::uint64_t word, const Where& where);
  void wait_for_signal(const Where& where);
  void signal() { release(at_signal_); }
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
  std::vector<Fiber*> idle_, ready_, at_barrier_, at_grid_, at_signal_;
  std::vector<int> order_;  // in which threads start
  std::size_t started_ = 0;
  int ended_ = 0;
  std::vector<Warp> warps_;
  Where barrier_, grid_barrier_, signal_;
  bool votes_[2] = {};  // of this barrier and of the one before it
  unsigned round_ = 0;  // of barriers
  Fiber* running_ = nullptr;
  Stack scheduler_;
  void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
  Body body_ = nullptr;
  const void* arguments_ = nullptr;
  std::unique_ptr<unsigned char[]> shared_;  // that the launch asked for
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
  __sanitizer_start_switch_fiber(&fake, fiber.bottom, kStack);
  switch_stacks(scheduler_, fiber.context);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void Block::leave() {
  Fiber* mine = running_;
  void* fake = nullptr;
  __sanitizer_start_switch_fiber(&fake, scheduler_stack_, scheduler_stack_bytes_);
  switch_stacks(mine->context, scheduler_);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
}

void Block::report_stuck() {
  const int all = static_cast<int>(order_.size());
  std::fprintf(stderr, "emulated GPU: of %d threads %d have ended and %zu wait at a barrier\n", all, ended_,
               at_barrier_.size());
  if (!at_grid_.empty()) fail("a barrier that not all threads of the grid reach", &grid_barrier_);
  if (!at_barrier_.empty()) fail("a barrier that not all threads of the block reach", &barrier_);
  if (!at_signal_.empty()) fail("a phase of a barrier in shared memory that never ends", &signal_);
  for (const Warp& warp : warps_)
    if (!warp.waiting.empty()) fail("a warp's exchange that not all of its lanes reach", &warp.where);
  fail("threads wait for nothing");
}

void Block::start(const Grid& grid, Body body, const void* arguments) {
  const int threads = static_cast<int>(grid.threads.x * grid.threads.y * grid.threads.z);
  body_ = body;
  arguments_ = arguments;
  started_ = 0;
  ended_ = 0;
  order_.resize(static_cast<std::size_t>(threads));
  for (int i = 0; i < threads; ++i) order_[static_cast<std::size_t>(i)] = i;
  std::shuffle(order_.begin(), order_.end(), random_);
  warps_.assign(static_cast<std::size_t>(threads + 31) / 32, Warp());
  if (grid.shared_bytes == 0) return;
  shared_.reset(new unsigned char[grid.shared_bytes]);
  std::memset(shared_.get(), 0xff, grid.shared_bytes);  // NaN, for who reads what was not written
}

bool Block::resume() {
  const int threads = static_cast<int>(order_.size());
  current = this;
  release(at_grid_);
  while (ended_ < threads) {
    Fiber* next = nullptr;
    if (started_ < order_.size()) {
      if (idle_.empty()) {
        fibers_.push_back(std::make_unique<Fiber>(fibers_.size(), fiber_main));
        idle_.push_back(fibers_.back().get());
      }
      next = idle_.back();
      idle_.pop_back();
    } else if (!ready_.empty()) {
      std::swap(ready_[random_() % ready_.size()], ready_.back());
      next = ready_.back();
      ready_.pop_back();
    } else if (at_grid_.size() == order_.size()) {
      return false;
    } else {
      report_stuck();
    }
    switch_to(*next);
  }
  return true;
}

bool same(const Where& a, const Where& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
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

void Block::wait_for_grid(const Where& where) {
  if (!at_grid_.empty() && !same(grid_barrier_, where)) fail("threads of one grid wait at different barriers", &where);
  grid_barrier_ = where;
  at_grid_.push_back(running_);
  leave();
}

void Block::wait_for_signal(const Where& where) {
  signal_ = where;
  at_signal_.push_back(running_);
  leave();
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
}  // namespace cuda_host
