#include "core/parallel.h"
#include "cpu/copy.h"

// Copies of which one side runs along a row while the other runs across rows: by squares, so that whole cache lines are
// read and written.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kSide = 32;              // rows and columns of a tile
constexpr Index kGrainElements = 32768;  // worth a thread

template <int... i>
struct Numbers {};
template <int n, int... i>
struct FirstNumbers : FirstNumbers<n - 1, n - 1, i...> {};
template <int... i>
struct FirstNumbers<0, i...> {
  using Type = Numbers<i...>;
};

// Lanes of a and b in turn: of their lower halves, of their upper halves.
template <class T, int... i>
inline Vec<T> interleave_low(Vec<T> a, Vec<T> b, Numbers<i...>) {
  return __builtin_shufflevector(a, b, (i / 2 + i % 2 * kLanes<T>)...);
}
template <class T, int... i>
inline Vec<T> interleave_high(Vec<T> a, Vec<T> b, Numbers<i...>) {
  return __builtin_shufflevector(a, b, (i / 2 + i % 2 * kLanes<T> + kLanes<T> / 2)...);
}

// y[j][i] = x[i][j] for a square as wide as a vector, in log2(lanes) rounds of interleaving.
template <class T>
inline void transpose_square(T* y, Index y_stride, const T* x, Index x_stride) {
  constexpr int lanes = kLanes<T>;
  using Lanes = typename FirstNumbers<lanes>::Type;
  Vec<T> rows[lanes], next[lanes];
  for (int i = 0; i < lanes; ++i) rows[i] = load(x + i * x_stride);
  for (int width = 1; width < lanes; width *= 2) {
    for (int i = 0; i < lanes / 2; ++i) {
      next[2 * i] = interleave_low<T>(rows[i], rows[i + lanes / 2], Lanes{});
      next[2 * i + 1] = interleave_high<T>(rows[i], rows[i + lanes / 2], Lanes{});
    }
    for (int i = 0; i < lanes; ++i) rows[i] = next[i];
  }
  for (int i = 0; i < lanes; ++i) store(y + i * y_stride, rows[i]);
}

// A tile of `across` by `along` elements: y[i * y_stride + j] = x[j * x_stride + i].
template <class T>
void transpose_tile(T* y, Index y_stride, const T* x, Index x_stride, Index across, Index along) {
  constexpr Index square = sizeof(T) >= 4 ? kLanes<T> : kSide + 1;
  Index whole_across = 0, whole_along = 0;
  if constexpr (sizeof(T) >= 4) {
    whole_across = across / square * square, whole_along = along / square * square;
    for (Index i = 0; i < whole_across; i += square)
      for (Index j = 0; j < whole_along; j += square)
        transpose_square(y + i * y_stride + j, y_stride, x + j * x_stride + i, x_stride);
  }
  for (Index i = 0; i < across; ++i)
    for (Index j = i < whole_across ? whole_along : 0; j < along; ++j) y[i * y_stride + j] = x[j * x_stride + i];
}

struct Transposition {
  const Copy* copy;
  int dim;  // along which x is contiguous; y is so along the last
};

template <class T>
void copy_tiles(const Transposition& t, Index tiles_across, Index tiles_along, Index begin, Index end) {
  const Strided<2>& at = t.copy->at;
  const int last = at.ndim - 1;
  for (Index tile = begin; tile < end; ++tile) {
    const Index i = tile % tiles_across * kSide, rest = tile / tiles_across;
    const Index j = rest % tiles_along * kSide;
    const T* x = static_cast<const T*>(t.copy->x) + i + j * at.strides[1][last];
    T* y = static_cast<T*>(t.copy->y) + i * at.strides[0][t.dim] + j;
    Index outer = rest / tiles_along;
    for (int d = last - 1; d >= 0; --d) {
      if (d == t.dim) continue;
      x += outer % at.shape[d] * at.strides[1][d];
      y += outer % at.shape[d] * at.strides[0][d];
      outer /= at.shape[d];
    }
    // The next tile lies beside this one: its lines come while this one is turned.
    for (Index row = 0; row < kSide && j + row < at.shape[last]; ++row)
      for (Index byte = 0; byte < kSide * Index(sizeof(T)); byte += 64)
        __builtin_prefetch(reinterpret_cast<const char*>(x + kSide + row * at.strides[1][last]) + byte);
    const Index across = at.shape[t.dim] - i, along = at.shape[last] - j;
    transpose_tile(y, at.strides[0][t.dim], x, at.strides[1][last], across < kSide ? across : kSide,
                   along < kSide ? along : kSide);
  }
}

}  // namespace

bool copy_transposed(const Copy& a, int bytes) {
  const Strided<2>& at = a.at;
  const int last = at.ndim - 1;
  if (at.strides[0][last] != 1 || at.strides[1][last] == 1 || at.shape[last] < 8) return false;
  int dim = -1;
  Index outer = 1;
  for (int d = 0; d < last; ++d) {
    if (at.strides[1][d] == 1 && at.shape[d] >= 8) dim = d;
    outer *= at.shape[d];
  }
  if (dim < 0) return false;
  const Transposition t{&a, dim};
  const Index across = (at.shape[dim] + kSide - 1) / kSide, along = (at.shape[last] + kSide - 1) / kSide;
  const auto run = [&](auto copy) {
    parallel_for(outer / at.shape[dim] * across * along, kGrainElements / (kSide * kSide),
                 [&](Index begin, Index end) { copy(t, across, along, begin, end); });
    return true;
  };
  switch (bytes) {
    case 1: return run(copy_tiles<std::int8_t>);
    case 2: return run(copy_tiles<std::int16_t>);
    case 4: return run(copy_tiles<std::int32_t>);
    default: return run(copy_tiles<std::int64_t>);
  }
}

}  // namespace dd2424::cpu::DD2424_ISA
