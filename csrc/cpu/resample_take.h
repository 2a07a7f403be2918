#pragma once
// Elements that only change places: padding, nearest neighbours. One row of the last dimension at a time.
#include "core/parallel.h"
#include "core/resample.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kTakeGrain = 1 << 16;  // elements that are worth a thread

template <int Bytes>
struct UnitOf;
template <>
struct UnitOf<1> {
  using Type = std::uint8_t;
};
template <>
struct UnitOf<2> {
  using Type = std::uint16_t;
};
template <>
struct UnitOf<4> {
  using Type = std::uint32_t;
};
template <>
struct UnitOf<8> {
  using Type = std::uint64_t;
};

// Rows are a handful of cache lines, borders a few elements: calls and loops would cost as much as they do.
template <class U>
inline void fill_units(U* y, Index n, U value) {
  constexpr Index step = kLanes<U>;
  const Vec<U> all = broadcast(value);
  Index i = 0;
  for (; i + step <= n; i += step) store(y + i, all);
  if (i < n) store(y + i, all, n - i);
}
template <class U>
inline void copy_units(U* y, const U* x, Index n) {
  constexpr Index step = kLanes<U>;
  Index i = 0;
  for (; i + step <= n; i += step) store(y + i, load(x + i));
  if (i < n) store(y + i, load(x + i, n - i), n - i);
}

template <class U>
class Taker {
 public:
  explicit Taker(const Take& a)
      : a_(a), last_(a.ndim - 1), width_(a.y_size[last_]), value_(*static_cast<const U*>(a.value)) {
    find_run();
  }

  void run() const {
    Index rows = 1;
    for (int d = 0; d < last_; ++d) rows *= a_.y_size[d];
    parallel_for(rows, 1 + kTakeGrain / (width_ * a_.inner + 1), [&](Index begin, Index end) {
      Index place[kMaxDims];
      Index rest = begin;
      for (int d = last_ - 1; d >= 0; --d) place[d] = rest % a_.y_size[d], rest /= a_.y_size[d];
      for (Index r = begin; r < end; ++r) {
        row(static_cast<U*>(a_.y) + r * width_ * a_.inner, source(place));
        for (int d = last_ - 1; d >= 0 && ++place[d] == a_.y_size[d]; --d) place[d] = 0;
      }
    });
  }

 private:
  Index from(Index i) const { return place_of(last_, i); }
  Index place_of(int d, Index i) const {
    const Index at = a_.from[d] ? a_.from[d][i] : i;
    return at < 0 ? -1 : at * a_.x_stride[d];
  }

  // The longest part of a row that lies side by side in x too.
  void find_run() {
    for (Index begin = 0; begin < width_;) {
      Index end = begin + 1;
      while (from(begin) >= 0 && end < width_ && from(end) == from(end - 1) + a_.inner) ++end;
      if (from(begin) >= 0 && end - begin > run_end_ - run_begin_) run_begin_ = begin, run_end_ = end;
      begin = end;
    }
    for (Index i = 0; i < run_begin_; ++i) left_is_value_ = left_is_value_ && from(i) < 0;
    for (Index i = run_end_; i < width_; ++i) right_is_value_ = right_is_value_ && from(i) < 0;
    for (Index i = 0; i < width_; ++i) is_full_ = is_full_ && from(i) >= 0;
    run_from_ = run_begin_ < run_end_ ? from(run_begin_) : 0;
  }

  const U* source(const Index* place) const {  // of a row; null where it is all `value`
    Index offset = 0;
    for (int d = 0; d < last_; ++d) {
      const Index at = place_of(d, place[d]);
      if (at < 0) return nullptr;
      offset += at;
    }
    return static_cast<const U*>(a_.x) + offset;
  }

  void row(U* y, const U* x) const {
    if (!x) return fill_units(y, width_ * a_.inner, value_);
    singles(y, x, 0, run_begin_);
    copy_units(y + run_begin_ * a_.inner, x + run_from_, (run_end_ - run_begin_) * a_.inner);
    singles(y, x, run_end_, width_);
  }

  void singles(U* y, const U* x, Index begin, Index end) const {
    if (a_.inner == 1) {
      if (begin == 0 && left_is_value_) return fill_units(y, end, value_);
      if (end == width_ && right_is_value_) return fill_units(y + begin, end - begin, value_);
      const Index* places = a_.from[last_];
      const Index stride = a_.x_stride[last_];
      if (!places) {
        for (Index i = begin; i < end; ++i) y[i] = x[i * stride];
      } else if (is_full_) {
        for (Index i = begin; i < end; ++i) y[i] = x[places[i] * stride];
      } else {
        for (Index i = begin; i < end; ++i) y[i] = places[i] < 0 ? value_ : x[places[i] * stride];
      }
      return;
    }
    for (Index i = begin; i < end; ++i) {
      if (from(i) < 0) {
        fill_units(y + i * a_.inner, a_.inner, value_);
      } else {
        copy_units(y + i * a_.inner, x + from(i), a_.inner);
      }
    }
  }

  const Take& a_;
  int last_;
  Index width_;
  U value_;
  Index run_begin_ = 0, run_end_ = 0, run_from_ = 0;
  bool is_full_ = true;                                // no place of a row is a value
  bool left_is_value_ = true, right_is_value_ = true;  // of what the run leaves
};

inline Status take(const Context&, const Take& a) {
  switch (a.element_bytes) {
    case 1: Taker<UnitOf<1>::Type>(a).run(); break;
    case 2: Taker<UnitOf<2>::Type>(a).run(); break;
    case 4: Taker<UnitOf<4>::Type>(a).run(); break;
    case 8: Taker<UnitOf<8>::Type>(a).run(); break;
    default: return Status::unsupported;
  }
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
