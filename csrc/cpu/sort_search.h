#pragma once
// What needs an order and makes none: look-ups in sorted rows, and extremes so far.
#include "core/parallel.h"
#include "core/sort.h"
#include "cpu/sizes.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kLookups = 8;         // look-ups that run side by side: their cache misses overlap
constexpr Index kLookupGrain = 1024;  // worth a second thread
constexpr Index kExtremeGrain = 1 << 14;
constexpr Index kExtremeWidth = 256;  // neighbouring columns that run side by side

// NaN as the largest.
template <class T>
inline bool before(T a, T b) {
  return (a < b) | ((b != b) & (a == a));
}

// Halving without a branch. The interval may reach beyond the true one: what lies there answers in the same way.
template <class T, bool right>
void look_up(const T* sorted, Index n, const T* x, Index count, std::int64_t* y) {
  T wanted[kLookups];
  Index base[kLookups] = {};
  for (Index j = 0; j < kLookups; ++j) wanted[j] = x[j < count ? j : 0];
  for (Index size = n; size > 0; size /= 2) {
    const Index half = (size + 1) / 2;
    for (Index j = 0; j < kLookups; ++j) {
      const T at = sorted[base[j] + half - 1];
      base[j] += half & -static_cast<Index>(right ? !before(wanted[j], at) : before(at, wanted[j]));
    }
  }
  for (Index j = 0; j < count; ++j) y[j] = base[j];
}

template <class T>
Status search(const Context&, const Search<T>& a) {
  auto* const find = a.right ? &look_up<T, true> : &look_up<T, false>;
  const Index blocks = ceil_div(a.m, kLookups);
  parallel_for(a.rows * blocks, kLookupGrain / kLookups, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index row = i / blocks, first = i % blocks * kLookups, at = row * a.m + first;
      find(a.sorted + row * a.sorted_step, a.n, a.x + at, smaller(kLookups, a.m - first), a.y + at);
    }
  });
  return Status::ok;
}

// A new extreme is rare or the rule: a branch guesses right.
template <class T, bool largest>
void run_line(const RunningExtreme<T>& a, Index line) {
  const T* x = a.x + line * a.n;
  T best = x[0];
  Index place = 0;
  for (Index t = 0; t < a.n; ++t) {
    if ((largest ? x[t] >= best : x[t] <= best) || x[t] != x[t]) best = x[t], place = t;
    a.values[line * a.n + t] = best;
    a.indices[line * a.n + t] = place;
  }
}

template <class T, bool largest>
void run_columns(const RunningExtreme<T>& a, Index at, Index width) {
  for (Index j = at; j < at + width; ++j) a.values[j] = a.x[j], a.indices[j] = 0;
  for (Index t = 1; t < a.n; ++t) {
    at += a.inner;
    for (Index j = at; j < at + width; ++j) {
      const T x = a.x[j], best = a.values[j - a.inner];
      const bool is_new = (largest ? x >= best : x <= best) || x != x;
      a.values[j] = is_new ? x : best;
      a.indices[j] = is_new ? t : a.indices[j - a.inner];
    }
  }
}

template <class T>
Status running_extreme(const Context&, const RunningExtreme<T>& a) {
  if (a.inner == 1) {
    auto* const line = a.largest ? &run_line<T, true> : &run_line<T, false>;
    parallel_for(a.outer, kExtremeGrain / a.n + 1, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) line(a, i);
    });
    return Status::ok;
  }
  auto* const run = a.largest ? &run_columns<T, true> : &run_columns<T, false>;
  const Index tiles = ceil_div(a.inner, kExtremeWidth), work = a.n * smaller(a.inner, kExtremeWidth);
  parallel_for(a.outer * tiles, kExtremeGrain / work + 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i % tiles * kExtremeWidth;
      run(a, i / tiles * a.n * a.inner + first, smaller(kExtremeWidth, a.inner - first));
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
