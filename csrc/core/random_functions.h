// Words of random bits as numbers: what CPU and CUDA must do alike. No include guard: included inside the namespace of
// each ISA level and of CUDA, after "core/random.h".

// A word is at most `last` with probability p, to 2^-32; none where p rounds to 0.
struct Threshold {
  std::uint32_t last;
  bool none;
  constexpr explicit Threshold(double p) : last(0), none(false) {
    const double scaled = p * 0x1p32 + 0.5;
    none = !(scaled >= 1);
    last = none ? 0 : scaled >= 0x1p32 ? 0xffffffff : static_cast<std::uint32_t>(scaled) - 1;
  }
};

constexpr double uniform(std::uint64_t word) { return static_cast<double>(word >> 11) * 0x1p-53; }         // [0, 1)
constexpr double positive(std::uint64_t word) { return static_cast<double>((word >> 11) + 1) * 0x1p-53; }  // (0, 1]

// The high 64 bits of a product: uniform below `range` up to range / 2^64.
constexpr std::uint64_t scaled(std::uint64_t word, std::uint64_t range) {
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<std::uint64_t>(static_cast<Wide>(word) * range >> 64);
}

// The largest number of the type below a bound: rounding must not reach it.
constexpr float below(double bound, float) {
  const float x = static_cast<float>(bound);
  return x < bound ? x : __builtin_nextafterf(x, -__builtin_inff());
}
constexpr float below(double bound, bfloat16) {
  const float x = static_cast<float>(bound);
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t cut = bits & 0xffff0000;  // towards zero
  if (x > 0) return __builtin_bit_cast(float, cut < bits ? cut : cut - 0x10000);
  return x == 0 ? -0x1p-133f : __builtin_bit_cast(float, cut + 0x10000);
}
constexpr float below(double bound, float16) {
  constexpr float largest = 65504;
  const float x = static_cast<float>(bound);
  if (x > largest || x <= -largest) return x > 0 ? largest : -__builtin_inff();
  float apart = 0x1p-24f;  // how far neighbours of x lie from each other, towards zero
  while (apart * 0x1p11f < (x < 0 ? -x : x)) apart *= 2;
  const float cut = static_cast<float>(static_cast<std::int64_t>(x / apart)) * apart;  // towards zero
  return cut < x ? cut : cut - (x == -apart * 0x1p11f ? 2 * apart : apart);
}
