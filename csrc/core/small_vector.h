#pragma once
#include <algorithm>
#include <concepts>
#include <memory>
#include <utility>

namespace dd2424 {

// A vector whose first N items need no allocation.
template <class T, int N>
class SmallVector {
 public:
  SmallVector() = default;
  // {a, b, c}: what is given up is moved, which an initializer_list could not.
  template <std::convertible_to<T>... Items>
  SmallVector(Items&&... items) {
    (push_back(std::forward<Items>(items)), ...);
  }
  SmallVector(SmallVector& other) : SmallVector(std::as_const(other)) {}
  SmallVector(const SmallVector& other) {
    for (const T& item : other) push_back(item);
  }
  SmallVector(SmallVector&& other) noexcept { take(other); }
  SmallVector& operator=(SmallVector other) noexcept {
    clear();
    take(other);
    return *this;
  }
  ~SmallVector() { clear(); }

  void push_back(T item) {
    if (size_ == capacity_) grow();
    std::construct_at(data_ + size_, std::move(item));
    ++size_;
  }
  void resize(std::size_t size) {
    while (size_ > size) pop_back();
    while (size_ < size) push_back(T());
  }
  void pop_back() { std::destroy_at(data_ + --size_); }
  void clear() {
    std::destroy_n(data_, size_);
    if (data_ != inline_data()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = inline_data();
    size_ = 0;
    capacity_ = N;
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }
  T& back() { return data_[size_ - 1]; }

 private:
  T* inline_data() { return reinterpret_cast<T*>(inline_); }
  void grow() {
    T* larger = std::allocator<T>().allocate(2 * capacity_);
    std::uninitialized_move_n(data_, size_, larger);
    std::destroy_n(data_, size_);
    if (data_ != inline_data()) std::allocator<T>().deallocate(data_, capacity_);
    data_ = larger;
    capacity_ *= 2;
  }
  void take(SmallVector& other) {
    if (other.data_ != other.inline_data()) {
      data_ = std::exchange(other.data_, other.inline_data());
      capacity_ = std::exchange(other.capacity_, N);
      size_ = std::exchange(other.size_, 0);
      return;
    }
    std::uninitialized_move_n(other.data_, other.size_, data_);
    size_ = other.size_;
    other.clear();
  }

  alignas(T) std::byte inline_[N * sizeof(T)];
  T* data_ = inline_data();
  std::size_t size_ = 0, capacity_ = N;
};

}  // namespace dd2424
