#include "core/parallel.h"

#include <pthread.h>
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/float_mode.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dd2424 {
namespace {

constexpr int kMaxThreads = 1024;
using Clock = std::chrono::steady_clock;
constexpr auto kSpinTime =
    std::chrono::microseconds(100);  // longer than the gap between two kernels of a training step
constexpr int kRangesPerThread = 4;  // or more, so that a thread that is held up leaves the rest to the others

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

struct Job {
  detail::Task task;
  const void* data;
  Index n, range, count;  // `count` ranges of `range` items
};

// The ranges that a slot begins with. Like kernels on like arrays thus find in a core's cache what the last left there.
struct alignas(64) Share {
  std::atomic<Index> next;
  Index end;
};

class Pool {
 public:
  explicit Pool(int workers) : size_(workers + 1), shares_(new Share[static_cast<std::size_t>(workers) + 1]) {
#if defined(__linux__)
    if (sched_getaffinity(0, sizeof allowed_, &allowed_) != 0) CPU_ZERO(&allowed_);
#endif
    for (int i = 1; i <= workers; ++i) {
      try {
        threads_.emplace_back([this, i] { work(i); });
      } catch (const std::system_error&) {  // the system has no more threads: go on with those there are
        break;
      }
    }
  }
  ~Pool() {
    {
      std::lock_guard lock(mutex_);
      stop_.store(true);
    }
    wake_.notify_all();
    for (auto& thread : threads_) thread.join();
  }
  int size() const { return size_; }

  void run(const Job& job) {
    job_ = job;
    for (int slot = 0; slot < size_; ++slot) {
      shares_[slot].next.store(share_begin(slot), std::memory_order_relaxed);
      shares_[slot].end = share_begin(slot + 1);
    }
    gate_.fetch_add(kClosed, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    if (sleeping_.load(std::memory_order_seq_cst) > 0) {
      keep_from_here();
      { std::lock_guard lock(mutex_); }
      wake_.notify_all();
    }
    take_ranges(0);
    gate_.fetch_sub(kClosed, std::memory_order_acq_rel);
    while (gate_.load(std::memory_order_acquire) != -kClosed) pause();
  }

 private:
  // A kernel may wake a worker on the processor of who wakes it, which is busy, and leave it there.
  void keep_from_here() {
#if defined(__linux__)
    const int here = sched_getcpu();
    if (here < 0 || here == kept_from_ || here >= CPU_SETSIZE || CPU_COUNT(&allowed_) < size_) return;
    cpu_set_t others = allowed_;
    CPU_CLR(here, &others);
    for (auto& thread : threads_) pthread_setaffinity_np(thread.native_handle(), sizeof others, &others);
    kept_from_ = here;
#endif
  }

  Index share_begin(int slot) const { return (slot * job_.count + size_ - 1) / size_; }

  void take_ranges(int slot) {  // its own, then what the others have left
    for (int i = 0; i < size_; ++i) {
      Share& share = shares_[(slot + i) % size_];
      for (;;) {
        const Index range = share.next.fetch_add(1, std::memory_order_relaxed);
        if (range >= share.end) break;
        job_.task(job_.data, range * job_.range, std::min((range + 1) * job_.range, job_.n), slot);
      }
    }
  }

  bool wait_for_job(unsigned seen) {  // false when the pool ends
    const auto deadline = Clock::now() + kSpinTime;
    do {
      for (int i = 0; i < 16; ++i) {
        if (epoch_.load(std::memory_order_acquire) != seen) return true;
        pause();
      }
      if (stop_.load(std::memory_order_relaxed)) return false;
    } while (Clock::now() < deadline);
    std::unique_lock lock(mutex_);
    sleeping_.fetch_add(1, std::memory_order_seq_cst);
    wake_.wait(lock, [&] { return epoch_.load(std::memory_order_seq_cst) != seen || stop_.load(); });
    sleeping_.fetch_sub(1, std::memory_order_relaxed);
    return !stop_.load();
  }

  void work(int slot) {
    const FloatMode mode;
    unsigned seen = 0;
    while (wait_for_job(seen)) {
      seen = epoch_.load(std::memory_order_acquire);
      // Who comes late finds the gate closed and is not waited for: a sleeper never holds up the caller.
      if (gate_.fetch_add(1, std::memory_order_acq_rel) >= 0) take_ranges(slot);
      gate_.fetch_sub(1, std::memory_order_release);
    }
  }

  static constexpr int kClosed = 1 << 20;  // taken from the gate while no job is open; the rest counts who is inside
  const int size_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> epoch_{0};
  std::atomic<int> sleeping_{0}, gate_{-kClosed};
  std::atomic<bool> stop_{false};
  Job job_{};
#if defined(__linux__)
  cpu_set_t allowed_;   // where the workers may run
  int kept_from_ = -1;  // but for this processor, where the caller was
#endif
  const std::unique_ptr<Share[]> shares_;
  std::vector<std::thread> threads_;  // last: they use the rest
};

int threads_from_environment() {
  if (const char* text = std::getenv("OMP_NUM_THREADS"); text && *text) {
    const int threads = std::atoi(text);
    if (threads >= 1 && threads <= kMaxThreads) return threads;
  }
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  return cores < 1 ? 1 : cores;
}

// Never destroyed: threads that end with the process must not be joined from a static destructor.
struct State {
  std::atomic<int> threads{threads_from_environment()};
  std::atomic<bool> busy{false};
  Pool* pool = nullptr;  // owned; touched only by who holds `busy`
};
State& state() {
  static State& instance = *[] {
    auto* fresh = new State;
    // A forked child has none of its parent's threads: it forgets the pool (the memory stays lost) and makes its own.
    pthread_atfork(
        [] {
          while (state().busy.exchange(true, std::memory_order_acquire)) pause();
        },
        [] { state().busy.store(false, std::memory_order_release); },
        [] {
          state().pool = nullptr;
          state().busy.store(false, std::memory_order_release);
        });
    return fresh;
  }();
  return instance;
}

thread_local bool inside_parallel = false;

}  // namespace

int num_threads() { return state().threads.load(std::memory_order_relaxed); }

Index cache_bytes() {
  // Linux says which cache this core reaches ("32768K"); the C library adds up those of all cores.
  static const Index bytes = [] {
    long kilobytes = 0;
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r"), std::fclose);
    if (file && std::fscanf(file.get(), "%ldK", &kilobytes) == 1 && kilobytes > 0) return Index{kilobytes} << 10;
    return Index{32} << 20;
  }();
  return bytes;
}

void set_num_threads(int threads) {
  check<ValueError>(threads >= 1 && threads <= kMaxThreads, "set_num_threads: threads must be from 1 to ", kMaxThreads,
                    ", got ", threads);
  state().threads.store(threads, std::memory_order_relaxed);
}

namespace detail {

void run_parallel(Index n, Index grain, Task task, const void* data) {
  State& s = state();
  const int threads = num_threads();
  if (threads == 1 || inside_parallel || s.busy.exchange(true, std::memory_order_acquire)) {
    task(data, 0, n, 0);
    return;
  }
  if (!s.pool || s.pool->size() != threads) {
    delete s.pool;
    s.pool = nullptr;
    s.pool = new Pool(threads - 1);
  }
  const Index range = std::max(n / (threads * kRangesPerThread), std::max<Index>(grain, 1));
  inside_parallel = true;
  s.pool->run({task, data, n, range, (n + range - 1) / range});
  inside_parallel = false;
  s.busy.store(false, std::memory_order_release);
}

}  // namespace detail
}  // namespace dd2424
