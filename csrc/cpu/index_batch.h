#pragma once
// Batches from a data set of bytes: rows picked, cast and normalised in one pass.
#include "core/float_mode.h"
#include "core/index.h"
#include "core/parallel.h"
#include "cpu/sizes.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kBatchGrain = 1 << 15;  // elements worth a second thread

inline Vec<float> load_bytes(const std::uint8_t* p, Index count) {
  LaneBytes<float>::Type bytes{};
  if (count >= kLanes<float>) __builtin_memcpy(&bytes, p, sizeof bytes);
  else memcpy(&bytes, p, static_cast<std::size_t>(count));
  return widen<float>(bytes);
}

constexpr Index kRows = 4;   // images at a time: their cache misses overlap, and mean and rstd are loaded once
constexpr Index kLine = 64;  // bytes that a prefetch brings
struct Rows {
  const std::uint8_t* x[kRows];
  const std::uint8_t* next[kRows];  // images that come after these
  float* y[kRows];
};

// y[r][i] = (x[r][i] - mean(i)) * rstd(i) for begin <= i < end, of which mean and rstd count from `begin`
template <Index rows, class Mean, class Rstd>
inline void normalize(const Rows& a, Index begin, Index end, const Mean& mean, const Rstd& rstd) {
  for (Index line = begin; line < end; line += kLine) {
    for (Index r = 0; r < rows; ++r) __builtin_prefetch(a.next[r] + line);
    const Index stop = smaller(line + kLine, end);
    for (Index i = line; i < stop; i += kLanes<float>) {
      const Index count = smaller(kLanes<float>, stop - i);
      const Vec<float> m = mean(i - begin, count), s = rstd(i - begin, count);
      for (Index r = 0; r < rows; ++r) {
        const Vec<float> v = (load_bytes(a.x[r] + i, count) - m) * s;
        if (count == kLanes<float>) store(a.y[r] + i, v);
        else store(a.y[r] + i, v, count);
      }
    }
  }
}

template <Index rows>
void normalize_rows(const GatherNormalize& a, const Rows& at) {
  if (a.spread == 1) {
    const auto from = [](const float* p) {
      return [p](Index i, Index count) { return count < kLanes<float> ? load(p + i, count) : load(p + i); };
    };
    return normalize<rows>(at, 0, a.inner, from(a.mean), from(a.rstd));
  }
  for (Index c = 0, i = 0; i < a.inner; ++c, i += a.spread) {
    const Vec<float> mean = broadcast(a.mean[c]), rstd = broadcast(a.rstd[c]);
    normalize<rows>(
        at, i, smaller(i + a.spread, a.inner), [=](Index, Index) { return mean; }, [=](Index, Index) { return rstd; });
  }
}

Status gather_normalize(const Context&, const GatherNormalize& a) {
  const FloatMode mode;
  if (a.inner == 0) return Status::ok;
  parallel_for(a.n, kBatchGrain / a.inner + 1, [&](Index begin, Index end) {
    const auto image = [&](Index j) { return a.x + a.index[smaller(j, end - 1)] * a.inner; };
    for (Index j = begin, step = 1; j < end; j += step) {
      step = end - j < kRows ? 1 : kRows;
      Rows rows{};
      for (Index r = 0; r < step; ++r) {
        rows.x[r] = image(j + r);
        rows.next[r] = image(j + r + step);
        rows.y[r] = a.y + (j + r) * a.inner;
      }
      if (step == kRows) normalize_rows<kRows>(a, rows);
      else normalize_rows<1>(a, rows);
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
