#pragma once
#include <algorithm>
#include <initializer_list>

#include "core/error.h"
#include "core/types.h"

namespace dd2424 {

// Sizes or strides, one per dimension.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<Index> items) : Shape(items.begin(), items.end()) {}
  template <class Iterator>
  Shape(Iterator begin, Iterator end) {
    for (; begin != end; ++begin) push_back(*begin);
  }
  Shape(const Shape& other) { copy(other); }
  Shape& operator=(const Shape& other) {
    copy(other);
    return *this;
  }
  static Shape filled(int size, Index value) {
    Shape shape;
    for (int i = 0; i < size; ++i) shape.push_back(value);
    return shape;
  }

  int size() const { return size_; }
  bool empty() const { return size_ == 0; }
  Index* begin() { return items_; }
  Index* end() { return items_ + size_; }
  const Index* begin() const { return items_; }
  const Index* end() const { return items_ + size_; }
  Index& operator[](int i) { return items_[i]; }
  Index operator[](int i) const { return items_[i]; }
  Index back() const { return items_[size_ - 1]; }
  bool operator==(const Shape& other) const {
    if (size_ != other.size_) return false;
    for (int i = 0; i < size_; ++i)
      if (items_[i] != other.items_[i]) return false;
    return true;
  }
  void push_back(Index item) {
    check(size_ < kMaxDims, "tensor: at most ", kMaxDims, " dimensions are supported");
    items_[size_++] = item;
  }
  void insert(int at, Index item) {
    push_back(item);
    std::rotate(items_ + at, items_ + size_ - 1, items_ + size_);
  }
  void erase(int at) {
    std::copy(items_ + at + 1, items_ + size_, items_ + at);
    --size_;
  }

 private:
  // Nearly every shape has at most four dimensions: these are copied without a loop or a call.
  void copy(const Shape& other) {
    size_ = other.size_;
    __builtin_memcpy(items_, other.items_, kUsual * sizeof(Index));
    for (int i = kUsual; i < size_; ++i) items_[i] = other.items_[i];
  }

  static constexpr int kUsual = 4;
  Index items_[kMaxDims] = {};
  int size_ = 0;
};

inline Index product(const Shape& shape) {
  Index n = 1;
  for (Index size : shape) n *= size;
  return n;
}

Index checked_numel(const char* op, const Shape& shape);  // refuses negative sizes and what does not fit an Index
Shape contiguous_strides(const Shape& shape);
Shape broadcast_shapes(const char* op, const Shape& a, const Shape& b);
int normalize_dim(const char* op, Index dim, int ndim);  // -ndim..ndim-1 to 0..ndim-1; a scalar has one dimension here

}  // namespace dd2424
