#include "core/random.h"

#include <math.h>

#include "cuda/launch.h"
#include "cuda/offer.h"
#include "cuda/value.h"
#include "cuda/walk.h"

// The draws of cpu/random.cpp, bit for bit but for those whose logarithms and angles the two C libraries round
// otherwise. A thread makes the elements of one block of Philox: four words.
namespace dd2424::cuda {
namespace {

#include "core/random_functions.h"

constexpr double kTwoPi = 6.283185307179586476925;

__device__ inline std::uint64_t product(std::uint32_t a, std::uint32_t b) {
#ifdef __CUDA_ARCH__  // one instruction, which nvcc does not find by itself
  std::uint64_t p;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(p) : "r"(a), "r"(b));
  return p;
#else
  return std::uint64_t{a} * b;
#endif
}

// Philox (core/philox.h), whose key and draw are read once.
struct Bits {
  std::uint32_t key[2], draw[2];
  __device__ explicit Bits(const Philox& bits) {
    const std::uint64_t seed = bits.replayed ? bits.replayed[0] : bits.seed;
    const std::uint64_t offset = bits.replayed ? bits.replayed[1] + bits.offset : bits.offset;
    key[0] = static_cast<std::uint32_t>(seed), key[1] = static_cast<std::uint32_t>(seed >> 32);
    draw[0] = static_cast<std::uint32_t>(offset), draw[1] = static_cast<std::uint32_t>(offset >> 32);
  }
};
struct Words {
  std::uint32_t word[4];
  __device__ Words(const Bits& bits, std::uint64_t block) {
    std::uint32_t c0 = static_cast<std::uint32_t>(block), c1 = static_cast<std::uint32_t>(block >> 32);
    std::uint32_t c2 = bits.draw[0], c3 = bits.draw[1], k0 = bits.key[0], k1 = bits.key[1];
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = product(0xD2511F53, c0), p1 = product(0xCD9E8D57, c2);
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
      c1 = static_cast<std::uint32_t>(p1);
      c3 = static_cast<std::uint32_t>(p0);
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    word[0] = c0, word[1] = c1, word[2] = c2, word[3] = c3;
  }
  __device__ std::uint64_t pair(int i) const { return word[2 * i] | std::uint64_t{word[2 * i + 1]} << 32; }
};

// [0, 1) with as many bits as the type holds
__device__ inline float uniform(std::uint32_t word, float) { return static_cast<float>(word >> 8) * 0x1p-24f; }
__device__ inline float uniform(std::uint32_t word, bfloat16) { return static_cast<float>(word >> 24) * 0x1p-8f; }
__device__ inline float uniform(std::uint32_t word, float16) { return static_cast<float>(word >> 21) * 0x1p-11f; }

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

// The square root of a number that is neither 0, tiny nor huge, rounded as sqrt does.
__device__ inline float root(float x) {
#ifdef __CUDA_ARCH__  // without the branch for the others
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  const float y = x * r;
  return fma(fma(-y, y, x), 0.5f * r, y);
#else
  return sqrt(x);
#endif
}

// Box-Muller: two words (in double: two pairs) give the radius and the angle of two elements.
__device__ inline Point normals(const Words& words, int i) {
  const float radius = root(2.0f * minus_log(words.word[2 * i]));
  const Point p = on_circle(words.word[2 * i + 1]);
  return {radius * p.x, radius * p.y};
}
template <class T>
__device__ inline void normals(const Words& words, Computed<T> (&y)[kPerBlock<T>]) {
  if constexpr (std::is_same_v<T, double>) {
    const double radius = sqrt(-2 * log(positive(words.pair(0)))), angle = kTwoPi * uniform(words.pair(1));
    y[0] = radius * cos(angle);
    y[1] = radius * sin(angle);
  } else {
    const Point p = normals(words, 0), q = normals(words, 1);
    y[0] = p.x, y[1] = p.y, y[2] = q.x, y[3] = q.y;
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

// The elements that a block of words makes.
template <Distribution kDistribution, class T>
__device__ inline void draw(const Random<T>& a, const Drawn<T>& d, const Words& words, Computed<T> (&y)[kPerBlock<T>]) {
  using C = Computed<T>;
  constexpr bool is_double = std::is_same_v<T, double>;
  constexpr bool is_normal = kDistribution == Distribution::normal || kDistribution == Distribution::log_normal;
  if constexpr (is_normal) normals<T>(words, y);
#pragma unroll
  for (int i = 0; i < kPerBlock<T>; ++i) {
    if constexpr (kDistribution == Distribution::uniform) {
      C u;
      if constexpr (is_double) u = uniform(words.pair(i));
      else u = uniform(words.word[i], T{});
      const C scaled = u * d.range + d.low;
      y[i] = scaled < d.top ? scaled : d.top;
    } else if constexpr (kDistribution == Distribution::normal) {
      y[i] = y[i] * static_cast<C>(a.q) + static_cast<C>(a.p);
    } else if constexpr (kDistribution == Distribution::bernoulli) {
      if constexpr (is_double) y[i] = uniform(words.pair(i)) < a.p ? 1.0 : 0.0;
      else y[i] = !d.threshold.none && words.word[i] <= d.threshold.last ? 1.0f : 0.0f;
    } else if constexpr (kDistribution == Distribution::exponential) {
      if constexpr (is_double) y[i] = -log(inside<T>(words, i)) / a.p;
      else y[i] = minus_log(words.word[i]) / static_cast<float>(a.p);
    } else if constexpr (kDistribution == Distribution::cauchy) {
      y[i] = static_cast<C>(a.p + a.q * tan(kTwoPi / 2 * (inside<T>(words, i) - 0.5)));
    } else if constexpr (kDistribution == Distribution::log_normal) {
      y[i] = static_cast<C>(exp(static_cast<double>(y[i]) * a.q + a.p));
    } else {
      const double trials = ceil(log(inside<T>(words, i)) * (1 / log1p(-a.p)));
      y[i] = static_cast<C>(trials > 1 ? trials : 1.0);
    }
  }
}

constexpr int kBlocks = 2;  // of words, that a thread makes side by side

template <Distribution kDistribution, class T>
__global__ void random_kernel(Random<T> a, Drawn<T> d, bool aligned) {
  constexpr int per = kPerBlock<T>;
  const Bits bits(a.bits);
  Pack<T, per> y[kBlocks];
#pragma unroll
  for (int k = 0; k < kBlocks; ++k) {
    Computed<T> drawn[per];
    draw<kDistribution>(a, d, Words(bits, pack_of<kBlocks>(k)), drawn);
#pragma unroll
    for (int i = 0; i < per; ++i) y[k].of[i] = element<T>(drawn[i]);
  }
#pragma unroll
  for (int k = 0; k < kBlocks; ++k) {
    const Index at = Index{pack_of<kBlocks>(k)} * per;
    if (at + per <= a.n) {
      store_pack<per>(a.y + at, y[k], aligned);
      continue;
    }
#pragma unroll
    for (int i = 0; i < per; ++i)
      if (at + i < a.n) a.y[at + i] = y[k].of[i];
  }
}
template <class T>
Status random(const Context& context, Distribution distribution, const Random<T>& a) {
  const auto launched = [&](auto kernel) {
    return launch_packs<kPerBlock<T>, kBlocks>(context, a.n, kernel, a, prepare(a), are_aligned({a.y}));
  };
  switch (distribution) {
    case Distribution::uniform: return launched(random_kernel<Distribution::uniform, T>);
    case Distribution::normal: return launched(random_kernel<Distribution::normal, T>);
    case Distribution::bernoulli: return launched(random_kernel<Distribution::bernoulli, T>);
    case Distribution::exponential: return launched(random_kernel<Distribution::exponential, T>);
    case Distribution::cauchy: return launched(random_kernel<Distribution::cauchy, T>);
    case Distribution::log_normal: return launched(random_kernel<Distribution::log_normal, T>);
    case Distribution::geometric: return launched(random_kernel<Distribution::geometric, T>);
  }
  return Status::unsupported;
}

// What stays of an element, whose word is at most a threshold.
template <class T>
struct Kept {
  Computed<T> scale, shift, dropped;
  Threshold kept;
  explicit Kept(const Dropout<T>& a)
      : scale(static_cast<Computed<T>>(a.scale)),
        shift(static_cast<Computed<T>>(a.shift)),
        dropped(static_cast<Computed<T>>(a.dropped)),
        kept(1 - a.p) {}
  __device__ T operator()(T x, std::uint32_t word) const {
    return element<T>(!kept.none && word <= kept.last ? fma(value(x), scale, shift) : dropped);
  }
};
template <class T>
__global__ void dropout_kernel(Dropout<T> a, Kept<T> kept, bool aligned) {
  constexpr int per = 4;
  const Bits bits(a.bits);
  for_each_item((a.n + per - 1) / per, [&](Index block) {
    const Index at = block * per;
    if (at + per <= a.n) {
      Pack<T, per> x = load_pack<per>(a.x + at, aligned);
      const Words words(bits, static_cast<std::uint64_t>(block));
#pragma unroll
      for (int i = 0; i < per; ++i) x.of[i] = kept(x.of[i], words.word[i]);
      return store_pack<per>(a.y + at, x, aligned);
    }
    const Words words(bits, static_cast<std::uint64_t>(block));
#pragma unroll
    for (int i = 0; i < per; ++i)
      if (at + i < a.n) a.y[at + i] = kept(a.x[at + i], words.word[i]);
  });
}
template <class T>
__global__ void dropout_channels_kernel(Dropout<T> a, Kept<T> kept) {
  const Bits bits(a.bits);
  for_each_item(a.n, [&](Index i) {
    const Index channel = quotient(i, a.inner);
    const Words words(bits, static_cast<std::uint64_t>(channel / 4));
    const int place = static_cast<int>(channel % 4);
    const std::uint32_t low = place == 0 ? words.word[0] : words.word[1];
    const std::uint32_t high = place == 2 ? words.word[2] : words.word[3];
    a.y[i] = kept(a.x[i], place < 2 ? low : high);
  });
}
template <class T>
Status dropout(const Context& context, const Dropout<T>& a) {
  if (a.inner > 1) return launch_items(context, a.n, dropout_channels_kernel<T>, a, Kept<T>(a));
  return launch_items(context, (a.n + 3) / 4, dropout_kernel<T>, a, Kept<T>(a), are_aligned({a.x, a.y}));
}

__global__ void integers_kernel(RandomInteger a) {
  const auto low = static_cast<std::uint64_t>(a.low), range = static_cast<std::uint64_t>(a.high) - low;
  const Bits bits(a.bits);
  for_each_item((a.n + 1) / 2, [&](Index block) {
    const Words words(bits, static_cast<std::uint64_t>(block));
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
  offer(tables, kRandom<float16>);
  offer(tables, kRandomInteger);
}

}  // namespace dd2424::cuda
