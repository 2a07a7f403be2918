#pragma once
#include "core/parallel.h"
#include "core/reduce.h"
#include "cpu/vec.h"

// Running sums and products. float and bfloat16 run in double, as in PyTorch; integers wrap.
namespace dd2424::cpu::DD2424_ISA {
namespace {

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

template <class T, bool product>
Status scan(const Context&, const Scan<T>& a) {
  using Run = typename ScannedAs<T>::Type;
  if (a.outer == 0 || a.n == 0 || a.inner == 0) return Status::ok;
  const auto value = [](T x) -> Run {
    if constexpr (std::is_same_v<T, bfloat16>) return to_float(x);
    else return static_cast<Run>(x);
  };
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
          run[j] = product ? run[j] * value(x[j]) : run[j] + value(x[j]);
          y[j] = stored<T>(run[j]);
        }
    }
  });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
