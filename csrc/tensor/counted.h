#pragma once
#include <atomic>
#include <utility>

#include "core/allocator.h"

namespace dd2424 {

// What a Ref counts. Lives in the caching allocator: a header costs no system call.
class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  void retain() const { count_.fetch_add(1, std::memory_order_relaxed); }
  bool release() const {  // true for the last
    // A sole owner needs no read-modify-write: nobody else is there to race with.
    if (count_.load(std::memory_order_acquire) == 1) return true;
    return count_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  }
  int count() const { return count_.load(std::memory_order_acquire); }
  static void* operator new(std::size_t bytes) { return allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) { dd2424::release(block, bytes); }

 private:
  mutable std::atomic<int> count_{1};  // that of the Ref which adopts it
};

// An intrusive pointer. T::destroy, where there is one, takes the place of delete.
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) {
    if (p_) p_->retain();
  }
  static Ref adopt(T* fresh) {  // takes over the count that a new object starts with
    Ref ref;
    ref.p_ = fresh;
    return ref;
  }
  Ref(const Ref& other) : Ref(other.p_) {}
  Ref(Ref&& other) noexcept : p_(std::exchange(other.p_, nullptr)) {}
  template <class U>
    requires std::is_convertible_v<U*, T*>
  Ref(const Ref<U>& other) : Ref(other.get()) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(p_, other.p_);
    return *this;
  }
  ~Ref() {
    if (!p_ || !p_->release()) return;
    if constexpr (requires { T::destroy(p_); }) {
      T::destroy(p_);
    } else {
      delete p_;
    }
  }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  T* get() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }
  bool operator==(const Ref&) const = default;

 private:
  T* p_ = nullptr;
};

template <class T, class... Args>
Ref<T> make_ref(Args&&... args) {
  return Ref<T>::adopt(new T(std::forward<Args>(args)...));
}

}  // namespace dd2424
