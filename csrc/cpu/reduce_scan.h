#pragma once
#include "core/parallel.h"
#include "core/reduce.h"
#include "cpu/vec.h"

// Running sums and products. float and bfloat16 run in double, as in PyTorch; integers wrap.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kFewLines = 16;  // below it the chunks of a line are shared among threads
constexpr Index kScanChunk = 1 << 15;
constexpr Index kScanWidth = 256;  // neighbouring columns that run side by side

template <class T>
struct ScannedAs {
  using Type = std::conditional_t<std::is_integral_v<T>, std::uint64_t, double>;
};

template <class T>
inline T stored(double x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(static_cast<float>(x));
  else return static_cast<T>(x);
}
template <class T>
inline T stored(std::uint64_t x) {
  return static_cast<T>(x);
}

template <class T>
inline typename ScannedAs<T>::Type scanned(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_float(x);
  else return static_cast<typename ScannedAs<T>::Type>(x);
}

// Sums of floats along a line, four terms at a time, so that of four additions only one waits for those before. Not for
// double: a sum of a few terms might overflow where the running one does not; nor for integers, which are added faster.
template <class T>
constexpr bool by_fours = std::is_same_v<typename ScannedAs<T>::Type, double> && !std::is_same_v<T, double>;
template <class T, class Run>
void scan_line(const T* x, T* y, Index n, Run run) {
  Index i = 0;
  if constexpr (by_fours<T>) {
    for (; i + 4 <= n; i += 4) {
      const Run a = scanned(x[i]), b = a + scanned(x[i + 1]), c = scanned(x[i + 2]), d = c + scanned(x[i + 3]);
      y[i] = stored<T>(run + a);
      y[i + 1] = stored<T>(run + b);
      y[i + 2] = stored<T>(run + (b + c));
      run += b + d;
      y[i + 3] = stored<T>(run);
    }
  }
  for (; i < n; ++i) y[i] = stored<T>(run += scanned(x[i]));
}
template <class T, class Run>
Run line_total(const T* x, Index n) {
  Run sums[8] = {}, total = 0;
  Index i = 0;
  if constexpr (by_fours<T>)
    for (; i + 8 <= n; i += 8)
      for (int k = 0; k < 8; ++k) sums[k] += scanned(x[i + k]);
  for (; i < n; ++i) sums[0] += scanned(x[i]);
  for (const Run sum : sums) total += sum;
  return total;
}

// Few long lines: the chunks' totals first, so that all chunks of a line can run at the same time.
template <class T>
void scan_long_lines(const Scan<T>& a) {
  using Run = typename ScannedAs<T>::Type;
  const Chunks chunks = reduction_chunks(a.n, kScanChunk);
  for (Index line = 0; line < a.outer; ++line) {
    const T* x = a.x + line * a.n;
    T* y = a.y + line * a.n;
    Run before[kMaxChunks + 1];
    const auto size = [&](Index c) { return (c + 1) * chunks.size < a.n ? chunks.size : a.n - c * chunks.size; };
    parallel_for(chunks.count, 1, [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c) before[c + 1] = line_total<T, Run>(x + c * chunks.size, size(c));
    });
    before[0] = 0;
    for (Index c = 0; c < chunks.count; ++c) before[c + 1] += before[c];
    parallel_for(chunks.count, 1, [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c) scan_line(x + c * chunks.size, y + c * chunks.size, size(c), before[c]);
    });
  }
}
template <class T>
void scan_lines(const Scan<T>& a) {
  using Run = typename ScannedAs<T>::Type;
  if (a.outer < kFewLines && a.n >= 2 * kScanChunk && !std::is_same_v<T, double>) return scan_long_lines(a);
  parallel_for(a.outer, 16384 / a.n + 1, [&](Index begin, Index end) {
    for (Index line = begin; line < end; ++line) scan_line(a.x + line * a.n, a.y + line * a.n, a.n, Run(0));
  });
}

// Products along lines, several at a time: each waits for the one before it in its line.
template <class T>
void multiply_lines(const Scan<T>& a) {
  using Run = typename ScannedAs<T>::Type;
  constexpr Index together = 8;
  parallel_for((a.outer + together - 1) / together, 16384 / (together * a.n) + 1, [&](Index begin, Index end) {
    for (Index group = begin; group < end; ++group) {
      const Index first = group * together, count = a.outer - first < together ? a.outer - first : together;
      const T* x = a.x + first * a.n;
      T* y = a.y + first * a.n;
      Run run[together];
      for (Run& each : run) each = 1;
      for (Index t = 0; t < a.n; ++t)
        for (Index j = 0; j < count; ++j) y[j * a.n + t] = stored<T>(run[j] *= scanned(x[j * a.n + t]));
    }
  });
}

template <class T, bool product>
Status scan(const Context&, const Scan<T>& a) {
  using Run = typename ScannedAs<T>::Type;
  if (a.outer == 0 || a.n == 0 || a.inner == 0) return Status::ok;
  if (a.inner == 1) {
    if constexpr (product) multiply_lines(a);
    else scan_lines(a);
    return Status::ok;
  }
  const Index tiles = (a.inner + kScanWidth - 1) / kScanWidth;
  const Index work = a.n * (a.inner < kScanWidth ? a.inner : kScanWidth);
  parallel_for(a.outer * tiles, 16384 / work + 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i % tiles * kScanWidth;
      const Index width = a.inner - first < kScanWidth ? a.inner - first : kScanWidth;
      const T* x = a.x + i / tiles * a.n * a.inner + first;
      T* y = a.y + (x - a.x);
      Run run[kScanWidth];
      for (Index j = 0; j < width; ++j) run[j] = product;
      for (Index t = 0; t < a.n; ++t, x += a.inner, y += a.inner)
        for (Index j = 0; j < width; ++j) {
          run[j] = product ? run[j] * scanned(x[j]) : run[j] + scanned(x[j]);
          y[j] = stored<T>(run[j]);
        }
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
