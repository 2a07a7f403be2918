#include "core/random.h"

#include <math.h>

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/value.h"

// The draws of cpu/random.cpp, bit for bit but for those whose logarithms and angles the two C libraries round
// otherwise. A thread makes the elements of one block of Philox: four words.
namespace dd2424::cuda {
namespace {

#include "core/random_functions.h"

constexpr double kTwoPi = 6.283185307179586476925;

struct Words {
  std::uint32_t word[4];
  __device__ Words(const Philox& bits, Index block) {
    const std::array<std::uint32_t, 4> drawn = bits(static_cast<std::uint64_t>(block));
    for (int i = 0; i < 4; ++i) word[i] = drawn[static_cast<std::size_t>(i)];
  }
  __device__ std::uint64_t pair(int i) const { return word[2 * i] | std::uint64_t{word[2 * i + 1]} << 32; }
};

// [0, 1) with as many bits as the type holds
__device__ inline float uniform(std::uint32_t word, float) { return static_cast<float>(word >> 8) * 0x1p-24f; }
__device__ inline float uniform(std::uint32_t word, bfloat16) { return static_cast<float>(word >> 24) * 0x1p-8f; }

// What an element of a distribution is made from: one word in float, two in double.
template <class T>
constexpr int kPerBlock = std::is_same_v<T, double> ? 2 : 4;

template <class C>
__device__ inline float polynomial(float, C c) {
  return c;
}
template <class C, class... Rest>
__device__ inline float polynomial(float x, C c, Rest... rest) {
  return polynomial(x, rest...) * x + c;
}

// -log((word + 1/2) / 2^32). Close to 1 the distance from 1 is what is exact, so it is taken from the word itself.
__device__ inline float minus_log(std::uint32_t word) {
  const float u = static_cast<float>(word) * 0x1p-32f + 0x1p-33f;
  const float from_one = static_cast<float>(~word) * -0x1p-32f - 0x1p-33f;
  const std::int32_t bits = std::bit_cast<std::int32_t>(u), e = (bits - 0x3f3504f3) >> 23;  // u = 2^e m
  const bool near = word >= 0xb504f334;
  const float f =
      near ? from_one
           : std::bit_cast<float>(bits - static_cast<std::int32_t>(static_cast<std::uint32_t>(e) << 23)) - 1.0f;
  const float k = near ? 0.0f : static_cast<float>(e);
  const float rest = f * f * f *
                     polynomial(f, 0.3333333f, -0.2499998f, 0.20000689f, -0.16669151f, 0.14251155f, -0.123967074f,
                                0.11634677f, -0.116598874f, 0.073324375f);
  const float small = k * -2.12194440e-4f + (rest - f * f * 0.5f);  // log(2) = 0x1.63p-1 - 2.1219e-4
  return -(k * 0x1.63p-1f + (small + f));
}

// The cosine and sine of word / 2^32 turns: the nearest quarter and, as a signed fraction of a quarter, the rest.
struct Point {
  float x, y;
};
__device__ inline Point on_circle(std::uint32_t word) {
  const std::uint32_t quarter = (word + 0x20000000) >> 30;
  const float r = static_cast<float>(static_cast<std::int32_t>(word << 2)) * 0x1p-32f, r2 = r * r;
  const float s = r * polynomial(r2, 1.57079633f, -0.645964098f, 0.0796926262f, -0.00468175414f, 0.000160441185f);
  const float c = polynomial(r2, 1.0f, -1.23370055f, 0.253669508f, -0.0208634807f, 0.000919260274f, -2.52020424e-05f);
  const bool odd = (quarter & 1) != 0;
  const std::uint32_t x = std::bit_cast<std::uint32_t>(odd ? s : c) ^ ((quarter + 1) & 2) << 30;
  const std::uint32_t y = std::bit_cast<std::uint32_t>(odd ? c : s) ^ (quarter & 2) << 30;
  return {std::bit_cast<float>(x), std::bit_cast<float>(y)};
}

// Box-Muller: two words (in double: two pairs) give the radius and the angle of two elements.
__device__ inline Point normals(const Words& words, int i) {
  const float radius = sqrt(2.0f * minus_log(words.word[2 * i]));
  const Point p = on_circle(words.word[2 * i + 1]);
  return {radius * p.x, radius * p.y};
}
template <class T>
__device__ Computed<T> normal(const Words& words, int i) {
  if constexpr (std::is_same_v<T, double>) {
    const double radius = sqrt(-2 * log(positive(words.pair(0)))), angle = kTwoPi * uniform(words.pair(1));
    return radius * (i == 0 ? cos(angle) : sin(angle));
  } else {
    const Point p = normals(words, i / 2);
    return i % 2 == 0 ? p.x : p.y;
  }
}

// Strictly between 0 and 1, in double.
template <class T>
__device__ double inside(const Words& words, int i) {
  if constexpr (std::is_same_v<T, double>) return (static_cast<double>(words.pair(i) >> 12) + 0.5) * 0x1p-52;
  else return (words.word[i] + 0.5) * 0x1p-32;
}

template <class T>
struct Drawn {  // what the host works out once
  Computed<T> low, range, top;
  Threshold threshold{0};
};
template <class T>
Drawn<T> prepare(const Random<T>& a) {
  using C = Computed<T>;
  Drawn<T> d{static_cast<C>(a.p), static_cast<C>(a.q - a.p), C(), Threshold(a.p)};
  if constexpr (std::is_same_v<T, double>) d.top = nextafter(a.q, -HUGE_VAL);
  else d.top = below(a.q, T{});
  d.top = d.top > d.low ? d.top : d.low;
  return d;
}

template <class T>
__device__ Computed<T> draw(Distribution distribution, const Random<T>& a, const Drawn<T>& d, const Words& words,
                            int i) {
  using C = Computed<T>;
  constexpr bool is_double = std::is_same_v<T, double>;
  switch (distribution) {
    case Distribution::uniform: {
      C u;
      if constexpr (is_double) u = uniform(words.pair(i));
      else u = uniform(words.word[i], T{});
      const C y = u * d.range + d.low;
      return y < d.top ? y : d.top;
    }
    case Distribution::normal: return normal<T>(words, i) * static_cast<C>(a.q) + static_cast<C>(a.p);
    case Distribution::bernoulli:
      if constexpr (is_double) return uniform(words.pair(i)) < a.p ? 1.0 : 0.0;
      else return !d.threshold.none && words.word[i] <= d.threshold.last ? 1.0f : 0.0f;
    case Distribution::exponential:
      if constexpr (is_double) return -log(inside<T>(words, i)) / a.p;
      else return minus_log(words.word[i]) / static_cast<float>(a.p);
    case Distribution::cauchy: return static_cast<C>(a.p + a.q * tan(kTwoPi / 2 * (inside<T>(words, i) - 0.5)));
    case Distribution::log_normal: return static_cast<C>(exp(static_cast<double>(normal<T>(words, i)) * a.q + a.p));
    case Distribution::geometric: {
      const double trials = ceil(log(inside<T>(words, i)) * (1 / log1p(-a.p)));
      return static_cast<C>(trials > 1 ? trials : 1.0);
    }
  }
  return C();
}

template <class T>
__global__ void random_kernel(Distribution distribution, Random<T> a, Drawn<T> d) {
  constexpr int per = kPerBlock<T>;
  for_each_item((a.n + per - 1) / per, [&](Index block) {
    const Words words(a.bits, block);
    for (int i = 0; i < per && block * per + i < a.n; ++i)
      a.y[block * per + i] = element<T>(draw(distribution, a, d, words, i));
  });
}
template <class T>
Status random(const Context& context, Distribution distribution, const Random<T>& a) {
  return launch_items(context, (a.n + kPerBlock<T> - 1) / kPerBlock<T>, random_kernel<T>, distribution, a, prepare(a));
}

template <class T>
__global__ void dropout_kernel(Dropout<T> a, Threshold kept) {
  using C = Computed<T>;
  const C scale = static_cast<C>(a.scale), shift = static_cast<C>(a.shift), dropped = static_cast<C>(a.dropped);
  const auto write = [&](Index i, std::uint32_t word) {
    const bool keep = !kept.none && word <= kept.last;
    a.y[i] = element<T>(keep ? fma(value(a.x[i]), scale, shift) : dropped);
  };
  if (a.inner > 1) {
    for_each_item(a.n, [&](Index i) {
      const Index place = quotient(i, a.inner);
      write(i, Words(a.bits, place / 4).word[place % 4]);
    });
  } else {
    for_each_item((a.n + 3) / 4, [&](Index block) {
      const Words words(a.bits, block);
      for (int i = 0; i < 4 && block * 4 + i < a.n; ++i) write(block * 4 + i, words.word[i]);
    });
  }
}
template <class T>
Status dropout(const Context& context, const Dropout<T>& a) {
  return launch_items(context, a.inner > 1 ? a.n : (a.n + 3) / 4, dropout_kernel<T>, a, Threshold(1 - a.p));
}

__global__ void integers_kernel(RandomInteger a) {
  const auto low = static_cast<std::uint64_t>(a.low), range = static_cast<std::uint64_t>(a.high) - low;
  for_each_item((a.n + 1) / 2, [&](Index block) {
    const Words words(a.bits, block);
    for (int i = 0; i < 2 && block * 2 + i < a.n; ++i)
      a.y[block * 2 + i] = static_cast<std::int64_t>(low + scaled(words.pair(i), range));
  });
}
Status integers(const Context& context, const RandomInteger& a) {
  return launch_items(context, (a.n + 1) / 2, integers_kernel, a);
}

template <class T>
constexpr RandomKernels<T> kRandom{.random = random<T>, .dropout = dropout<T>};
constexpr RandomIntegerKernels kRandomInteger{.integers = integers, .permutation = nullptr};

}  // namespace

void offer_random(DeviceTables& tables) {
  offer(tables, kRandom<float>);
  offer(tables, kRandom<double>);
  offer(tables, kRandom<bfloat16>);
  offer(tables, kRandomInteger);
}

}  // namespace dd2424::cuda
