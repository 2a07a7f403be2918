// Functions of one element that CPU and CUDA share: what a C library lacks, and integer arithmetic without undefined
// cases. No include guard: included inside the namespace of each ISA level and of CUDA, after <math.h> and
// <type_traits>. They are constexpr so that a CUDA compiler takes them for device code too.

// psi(x) = d log Gamma(x) / dx: recurrence up to 10, reflection below 0, then the asymptotic series (DLMF 5.11.2).
constexpr double digamma(double x) {
  if (x == 0) return __builtin_copysign(__builtin_inf(), -x);
  double shift = 0;
  if (x < 0) {
    const double whole = ::floor(x);
    if (x == whole) return __builtin_nan("");
    const double pi = 3.141592653589793, rest = x - whole;
    shift = -pi / ::tan(pi * (rest < 0.5 ? rest : x + ::floor(0.5 - x)));  // psi(1 - x) - pi / tan(pi x)
    x = 1 - x;
  }
  for (; x < 10; x += 1) shift -= 1 / x;
  if (x == __builtin_inf()) return x;
  const double z = 1 / (x * x);
  const double series =
      z *
      (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z / 12))))));
  return shift + ::log(x) - 0.5 / x - series;
}

// Hurwitz' zeta(s, q) = sum over k >= 0 of 1 / (q + k)^s, s >= 2: terms up to q + k >= 10, then the Euler-Maclaurin
// series (DLMF 25.11.43). Below 0 the terms on either side of 0 are summed apart. Whole q <= 0 are poles.
constexpr double hurwitz_zeta(double s, double q) {
  if (q == __builtin_inf()) return 0;
  if (q <= 0) {
    const double rest = q - ::floor(q), sign = ::fmod(s, 2) == 0 ? 1 : -1;
    if (rest == 0) return __builtin_inf();
    return hurwitz_zeta(s, rest) + sign * (hurwitz_zeta(s, 1 - rest) - hurwitz_zeta(s, 1 - q));
  }
  double sum = 0;
  for (; q < 10; q += 1) sum += ::pow(q, -s);
  const double last = ::pow(q, -s), z = 1 / (q * q);
  constexpr double factors[] = {1.0 / 12,         -1.0 / 720,     1.0 / 30240,
                                -1.0 / 1209600,   1.0 / 47900160, -691.0 / 1307674368000,
                                1.0 / 74724249600};  // B_2j / (2j)!
  double power = last * s / q, tail = 0;
  int j = 1;
  for (const double factor : factors) {
    tail += factor * power;
    power *= (s + j) * (s + j + 1) * z;
    j += 2;
  }
  return sum + last * q / (s - 1) + last / 2 + tail;
}

// psi^(n)(x), n >= 1: (-1)^(n + 1) n! zeta(n + 1, x).
constexpr double polygamma(double n, double x) {
  const double size = ::tgamma(n + 1) * hurwitz_zeta(n + 1, x);
  return ::fmod(n, 2) == 0 ? -size : size;
}

// The x with erf(x) = y: Winitzki's approximation, then Halley's steps on erf or, near 1, on erfc.
constexpr double erfinv(double y) {
  const double a = __builtin_fabs(y);
  if (!(a < 1)) return a == 1 ? __builtin_copysign(__builtin_inf(), y) : __builtin_nan("");
  if (a < 1e-8) return y * 0.886226925452758;  // sqrt(pi) / 2
  const double l = ::log1p(-a * a), h = 2 / (3.141592653589793 * 0.147) + l / 2;
  double x = ::sqrt(::sqrt(h * h - l / 0.147) - h);
  for (int i = 0; i < 3; ++i) {
    const double error = a < 0.5 ? ::erf(x) - a : (1 - a) - ::erfc(x);
    const double step = error / (1.1283791670955126 * ::exp(-x * x));
    x -= step / (1 + x * step);
  }
  return __builtin_copysign(x, y);
}

// Python's //, % and C's fmod. PyTorch's floor_div of floats: from the exact remainder, so that 1 // 0.1 is 9.
template <class T>
constexpr T floor_remainder(T a, T b) {
  const T m = ::fmod(a, b);
  return m != 0 && (b < 0) != (m < 0) ? m + b : m;
}
template <class T>
constexpr T floor_divide(T a, T b) {
  if (b == 0) return a / b;
  const T m = ::fmod(a, b);
  T quotient = (a - m) / b;
  if (m != 0 && (b < 0) != (m < 0)) quotient -= 1;
  if (quotient == 0) return ::copysign(T(0), a / b);
  const T whole = ::floor(quotient);
  return quotient - whole > T(0.5) ? whole + 1 : whole;
}

// Integers: no division by zero, and the one quotient that overflows wraps.
template <class T>
constexpr T truncated_remainder(T a, T b) {
  return b == 0 || (std::is_signed_v<T> && b == T(-1)) ? T(0) : T(a % b);
}
template <class T>
constexpr T integer_remainder(T a, T b) {
  const T m = truncated_remainder(a, b);
  return m != 0 && (m < 0) != (b < 0) ? T(m + b) : m;
}
template <class T>
constexpr T integer_divide(T a, T b) {
  if (b == 0) return 0;
  if (std::is_signed_v<T> && b == T(-1)) return T(std::make_unsigned_t<T>(0) - std::make_unsigned_t<T>(a));
  const T quotient = T(a / b);
  return a % b != 0 && (a < 0) != (b < 0) ? T(quotient - 1) : quotient;
}
template <class T>
constexpr T integer_power(T base, T exponent) {  // to a negative power only 1 and -1 are not 0
  using U = std::uint64_t;
  if (std::is_signed_v<T> && exponent < 0)
    return base == 1 ? T(1) : base == T(-1) ? (exponent & 1 ? T(-1) : T(1)) : T(0);
  U result = 1, square = U(base);
  for (std::make_unsigned_t<T> e = std::make_unsigned_t<T>(exponent); e; e >>= 1, square *= square)
    if (e & 1) result *= square;
  return T(result);
}
template <class T>
constexpr T shifted_left(T a, T b) {
  return b < 0 || b >= T(sizeof(T) * 8) ? T(0) : T(std::make_unsigned_t<T>(a) << b);
}
template <class T>
constexpr T shifted_right(T a, T b) {
  constexpr T most = sizeof(T) * 8 - std::is_signed_v<T>;
  return b < 0 || b > most ? T(a >> most) : T(a >> b);
}
