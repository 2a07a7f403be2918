#pragma once
// Winograd's minimal filtering F(4, 3): four outputs of a filter of three taps for six multiplications instead of
// twelve; along both axes of an image, 16 outputs for 36 instead of 144. The same six give F(3, 4) and F(2, 5), 9 and 4
// outputs of an image for 36 instead of 144 and 100; five of them F(4, 2), 16 outputs for 25 instead of 64.
//
// Multiplying two polynomials, one with the outputs as coefficients and one with the taps, takes their values at six
// points, six products, and the polynomial through those. Transposed, as every bilinear map can be, this is
//   y = A^T [(G g) * (B^T x)]        x: 6 pixels, g: 3 taps, y: 4 outputs, or 4 taps and 3 outputs, or 5 and 2
// For a point p, the row of A is (1, p, p^2, p^3), that of G (1, p, p^2) / product over other points q of (p - q), and
// that of B^T the coefficients of that product of (t - q); at infinity only the highest coefficient counts. The
// gradient by the taps is the same map turned around once more: dg = G^T [(A dy) * (B^T x)].
//
// The points are 0, +-a, +-b and infinity, pairs so that sums and differences are shared; two taps do without 0. Their
// powers are what rounding errors are multiplied by: a = 11/16 and b = 11/8, whose powers lie about 1 and whose squares
// are exact, leave an error four times smaller than the usual 1 and 2 (measured). Lavin and Gray, arXiv:1509.09308; on
// choosing points Barabasz et al., arXiv:1803.10986.
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kPatch = 6;  // points along one axis, at most
constexpr int patch_of_taps(int taps) { return taps == 2 ? 5 : kPatch; }
constexpr int tile_of_taps(int taps) { return patch_of_taps(taps) + 1 - taps; }
constexpr bool zero_is_point(int taps) { return taps > 2; }

using Floats = Vec<float>;

namespace winograd {
constexpr double a = 11.0 / 16, b = 11.0 / 8, a2 = a * a, b2 = b * b;
constexpr double at_zero = 1 / (a2 * b2), at_a = 1 / (2 * a2 * (a2 - b2)), at_b = 1 / (2 * b2 * (b2 - a2));  // G's
}  // namespace winograd

inline Floats scaled(double factor, Floats x) { return broadcast(float(factor)) * x; }
inline Floats scaled_sum(double factor, Floats x, Floats y) { return fma(broadcast(float(factor)), x, y); }

// Sums and differences of what is at +a and -a, and at +b and -b.
template <int Taps>
struct Pairs {
  Floats even_a, odd_a, even_b, odd_b;
  explicit Pairs(const Floats (&m)[patch_of_taps(Taps)]) {
    constexpr int z = zero_is_point(Taps);
    even_a = m[z] + m[z + 1], odd_a = m[z] - m[z + 1], even_b = m[z + 2] + m[z + 3], odd_b = m[z + 2] - m[z + 3];
  }
};

template <bool HasZero>
struct PatchTransform {  // B^T
  static constexpr int kIn = HasZero ? kPatch : kPatch - 1, kOut = kIn, z = HasZero;
  static void apply(const Floats (&x)[kIn], Floats (&out)[kOut]) {
    using namespace winograd;
    const Floats even_a = scaled_sum(-b2, x[1 + z], x[3 + z]), odd_a = scaled_sum(-b2, x[z], x[2 + z]);
    const Floats even_b = scaled_sum(-a2, x[1 + z], x[3 + z]), odd_b = scaled_sum(-a2, x[z], x[2 + z]);
    if constexpr (z) out[0] = scaled_sum(a2 * b2, x[0], scaled_sum(-a2 - b2, x[2], x[4]));
    out[z] = scaled_sum(a, odd_a, even_a), out[1 + z] = scaled_sum(-a, odd_a, even_a);
    out[2 + z] = scaled_sum(b, odd_b, even_b), out[3 + z] = scaled_sum(-b, odd_b, even_b);
    out[4 + z] = scaled_sum(a2 * b2, x[z], scaled_sum(-a2 - b2, x[2 + z], x[4 + z]));
  }
};
template <int Taps>
using ImageTransform = PatchTransform<zero_is_point(Taps)>;
template <int Taps>
struct FilterTransform {  // G; without the point 0, others' products lack a factor of t, and filters have one more
  static constexpr int kIn = Taps, kOut = patch_of_taps(Taps), z = zero_is_point(Taps);
  static void apply(const Floats (&g)[kIn], Floats (&out)[kOut]) {
    using namespace winograd;
    Floats even_a, odd_a, even_b, odd_b;
    if constexpr (Taps == 2) {
      even_a = scaled(at_a * a2, g[1]), odd_a = scaled(at_a * a, g[0]);
      even_b = scaled(at_b * b2, g[1]), odd_b = scaled(at_b * b, g[0]);
    } else {
      even_a = scaled_sum(at_a * a2, g[2], scaled(at_a, g[0])), odd_a = scaled(at_a * a, g[1]);
      even_b = scaled_sum(at_b * b2, g[2], scaled(at_b, g[0])), odd_b = scaled(at_b * b, g[1]);
      out[0] = scaled(at_zero, g[0]);
    }
    if constexpr (Taps > 3)
      odd_a = scaled_sum(at_a * a * a2, g[3], odd_a), odd_b = scaled_sum(at_b * b * b2, g[3], odd_b);
    if constexpr (Taps > 4)
      even_a = scaled_sum(at_a * a2 * a2, g[4], even_a), even_b = scaled_sum(at_b * b2 * b2, g[4], even_b);
    out[z] = even_a + odd_a, out[1 + z] = even_a - odd_a;
    out[2 + z] = even_b + odd_b, out[3 + z] = even_b - odd_b;
    out[4 + z] = g[Taps - 1];
  }
};
template <int Taps>
struct OutputTransform {  // A^T
  static constexpr int kIn = patch_of_taps(Taps), kOut = tile_of_taps(Taps);
  static void apply(const Floats (&m)[kIn], Floats (&out)[kOut]) {
    using namespace winograd;
    const Pairs<Taps> at(m);
    out[0] = at.even_a + at.even_b;
    if constexpr (zero_is_point(Taps)) out[0] = m[0] + out[0];
    out[1] = scaled_sum(a, at.odd_a, scaled(b, at.odd_b));
    if constexpr (kOut > 2) out[2] = scaled_sum(a2, at.even_a, scaled(b2, at.even_b));
    if constexpr (kOut > 3) out[3] = scaled_sum(a * a2, at.odd_a, scaled(b * b2, at.odd_b));
    out[kOut - 1] += m[kIn - 1];
  }
};
template <int Taps>
struct GradientTransform {  // A
  static constexpr int kIn = tile_of_taps(Taps), kOut = patch_of_taps(Taps), z = zero_is_point(Taps);
  static void apply(const Floats (&dy)[kIn], Floats (&out)[kOut]) {
    using namespace winograd;
    static_assert(kIn == 3 || kIn == 4);
    const Floats even_a = scaled_sum(a2, dy[2], dy[0]), even_b = scaled_sum(b2, dy[2], dy[0]);
    Floats odd_a = dy[1], odd_b = dy[1];
    if constexpr (kIn > 3) odd_a = scaled_sum(a2, dy[3], dy[1]), odd_b = scaled_sum(b2, dy[3], dy[1]);
    if constexpr (z) out[0] = dy[0];
    out[z] = scaled_sum(a, odd_a, even_a), out[1 + z] = scaled_sum(-a, odd_a, even_a);
    out[2 + z] = scaled_sum(b, odd_b, even_b), out[3 + z] = scaled_sum(-b, odd_b, even_b);
    out[4 + z] = dy[kIn - 1];
  }
};
template <int Taps>
struct TapsTransform {  // G^T
  static constexpr int kIn = patch_of_taps(Taps), kOut = Taps, z = zero_is_point(Taps);
  static void apply(const Floats (&m)[kIn], Floats (&out)[kOut]) {
    using namespace winograd;
    const Pairs<Taps> at(m);
    if constexpr (z) out[0] = scaled_sum(at_zero, m[0], scaled_sum(at_a, at.even_a, scaled(at_b, at.even_b)));
    out[z] = scaled_sum(at_a * a, at.odd_a, scaled(at_b * b, at.odd_b));
    out[1 + z] = scaled_sum(at_a * a2, at.even_a, scaled(at_b * b2, at.even_b));
    if constexpr (Taps > 3) out[3] = scaled_sum(at_a * a * a2, at.odd_a, scaled(at_b * b * b2, at.odd_b));
    out[Taps - 1] += m[kIn - 1];
  }
};

// Down the columns, then along the rows: kIn x kIn vectors from read(i, j), kOut x kOut to write(i, j, vector).
template <class Transform, class Read, class Write>
[[gnu::always_inline]] inline void both_ways(const Read& read, const Write& write) {
  constexpr int in = Transform::kIn, out = Transform::kOut;
  Floats half[out][in];
#pragma GCC unroll 6
  for (int j = 0; j < in; ++j) {
    Floats column[in], result[out];
#pragma GCC unroll 6
    for (int i = 0; i < in; ++i) column[i] = read(i, j);
    Transform::apply(column, result);
#pragma GCC unroll 6
    for (int i = 0; i < out; ++i) half[i][j] = result[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < out; ++i) {
    Floats result[out];
    Transform::apply(half[i], result);
#pragma GCC unroll 6
    for (int j = 0; j < out; ++j) write(i, j, result[j]);
  }
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
