#pragma once

namespace dd2424 {

// Work long enough to be worth it runs with the host's lock (Python's GIL) released. The host sets both functions.
struct HostLock {
  void* (*unlock)() = [] { return static_cast<void*>(nullptr); };
  void (*lock)(void* state) = [](void*) {};
};
inline HostLock host_lock;

// While one lives, work of this thread keeps the host's lock: other threads see what it changes before or after.
class KeepLocked {
 public:
  KeepLocked() { ++depth; }
  ~KeepLocked() { --depth; }
  KeepLocked(const KeepLocked&) = delete;
  KeepLocked& operator=(const KeepLocked&) = delete;
  static inline thread_local int depth = 0;
};

class Unlocked {
 public:
  explicit Unlocked(bool wanted) : state_(wanted && KeepLocked::depth == 0 ? host_lock.unlock() : nullptr) {}
  ~Unlocked() {
    if (state_) host_lock.lock(state_);
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  void* state_;
};

}  // namespace dd2424
