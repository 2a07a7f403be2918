#include "core/random.h"

#include <math.h>

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"
#include "cpu/philox.h"

// Every draw but the transcendental ones in double is plain multiplication and addition, never fused, so that its bits
// are the same at every level.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kChunk = 1024;  // elements made at a time; a multiple of what philox_words rounds up to
constexpr Index kGrain = 16;    // chunks worth a second thread
constexpr double kTwoPi = 6.283185307179586476925;

using Floats = Vec<float>;
using Bits = Vec<std::uint32_t>;
using Ints = Vec<std::int32_t>;

// Calls body(words, first, count) for elements first ... first + count - 1, given `per_element` words each.
template <int per_element, class Body>
void draw(const Philox& bits, Index n, const Body& body) {
  parallel_for((n + kChunk - 1) / kChunk, kGrain, [&](Index begin, Index end) {
    alignas(64) std::uint32_t words[per_element * kChunk + kBlockStep];
    for (Index c = begin; c < end; ++c) {
      const Index first = c * kChunk, count = n - first < kChunk ? n - first : kChunk;
      philox_words(bits, per_element * first, per_element * count, words);
      body(words, first, count);
    }
  });
}

inline void put(float* y, Floats v, Index count) { count < kLanes<float> ? store(y, v, count) : store(y, v); }
inline void put(bfloat16* y, Floats v, Index count) { count < kLanes<float> ? store(y, v, count) : store(y, v); }

// y[i] = f(word i), a vector at a time
template <class T, class F>
void draw_vectors(const Random<T>& a, const F& f) {
  draw<1>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; i += kLanes<float>) put(a.y + first + i, f(load(words + i)), count - i);
  });
}
inline std::uint64_t pair(const std::uint32_t* words) { return words[0] | std::uint64_t{words[1]} << 32; }
// y[i] = f(words 2i and 2i + 1 as one number)
template <class F>
void draw_doubles(const Random<double>& a, const F& f) {
  draw<2>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; ++i) a.y[first + i] = f(pair(words + 2 * i));
  });
}

// [0, 1) with as many bits as the type holds
inline Floats uniform(Bits words, float) { return __builtin_convertvector(words >> 8, Floats) * 0x1p-24f; }
inline Floats uniform(Bits words, bfloat16) { return __builtin_convertvector(words >> 24, Floats) * 0x1p-8f; }

template <class T>
Status uniform(const Random<T>& a) {
  const float low = static_cast<float>(a.p), range = static_cast<float>(a.q - a.p);
  const float last = below(a.q, T{}), top = last > low ? last : low;
  draw_vectors(a, [=](Bits words) {
    const Floats y = uniform(words, T{}) * range + low;
    return y < top ? y : broadcast(top);
  });
  return Status::ok;
}
Status uniform(const Random<double>& a) {
  const double range = a.q - a.p, last = __builtin_nextafter(a.q, -__builtin_inf()), top = last > a.p ? last : a.p;
  draw_doubles(a, [=, low = a.p](std::uint64_t word) {
    const double y = uniform(word) * range + low;
    return y < top ? y : top;
  });
  return Status::ok;
}

template <class T>
Status bernoulli(const Random<T>& a) {
  const Threshold below(a.p);
  const Floats yes = broadcast(below.none ? 0.0f : 1.0f);
  draw_vectors(a, [=, last = broadcast(below.last)](Bits words) { return words <= last ? yes : Floats{}; });
  return Status::ok;
}
Status bernoulli(const Random<double>& a) {
  draw_doubles(a, [p = a.p](std::uint64_t word) { return uniform(word) < p ? 1.0 : 0.0; });
  return Status::ok;
}

template <class C>
inline Floats polynomial(Floats, C c) {
  return broadcast(c);
}
template <class C, class... Rest>
inline Floats polynomial(Floats x, C c, Rest... rest) {
  return polynomial(x, rest...) * x + c;
}

// -log((word + 1/2) / 2^32). Close to 1 the distance from 1 is what is exact, so it is taken from the word itself.
inline Floats minus_log(Bits words) {
  const Floats u = __builtin_convertvector(words, Floats) * 0x1p-32f + 0x1p-33f;
  const Floats from_one = __builtin_convertvector(~words, Floats) * -0x1p-32f - 0x1p-33f;
  const Ints bits = __builtin_bit_cast(Ints, u), e = (bits - 0x3f3504f3) >> 23;  // u = 2^e m, sqrt(1/2) <= m < sqrt(2)
  const Ints near = words >= 0xb504f334;
  const Floats f = near ? from_one : __builtin_bit_cast(Floats, bits - (e << 23)) - 1.0f;
  const Floats k = near ? Floats{} : __builtin_convertvector(e, Floats);
  const Floats rest = f * f * f *
                      polynomial(f, 0.3333333f, -0.2499998f, 0.20000689f, -0.16669151f, 0.14251155f, -0.123967074f,
                                 0.11634677f, -0.116598874f, 0.073324375f);
  const Floats small = k * -2.12194440e-4f + (rest - f * f * 0.5f);  // log(2) = 0x1.63p-1 - 2.1219e-4
  return -(k * 0x1.63p-1f + (small + f));
}

// The cosine and sine of word / 2^32 turns: the nearest quarter and, as a signed fraction of a quarter, the rest.
struct Point {
  Floats x, y;
};
inline Point on_circle(Bits words) {
  const Bits quarter = (words + 0x20000000) >> 30;
  const Floats r = __builtin_convertvector(__builtin_bit_cast(Ints, words << 2), Floats) * 0x1p-32f, r2 = r * r;
  const Floats s = r * polynomial(r2, 1.57079633f, -0.645964098f, 0.0796926262f, -0.00468175414f, 0.000160441185f);
  const Floats c = polynomial(r2, 1.0f, -1.23370055f, 0.253669508f, -0.0208634807f, 0.000919260274f, -2.52020424e-05f);
  const Ints odd = (quarter & 1) != 0;
  const Bits x = __builtin_bit_cast(Bits, odd ? s : c) ^ ((quarter + 1) & 2) << 30;
  const Bits y = __builtin_bit_cast(Bits, odd ? c : s) ^ (quarter & 2) << 30;
  return {__builtin_bit_cast(Floats, x), __builtin_bit_cast(Floats, y)};
}

// Box-Muller: words 2i and 2i + 1 give the radius and the angle of elements 2i and 2i + 1.
template <class T, class F>
void draw_normals(const Random<T>& a, const F& f) {
  constexpr Index step = kLanes<float>;
  draw<1>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; i += 2 * step) {
      const Bits w0 = load(words + i), w1 = load(words + i + step);
      const Floats radius = sqrt(2.0f * minus_log(even_lanes(w0, w1)));
      const Point p = on_circle(odd_lanes(w0, w1));
      const Floats x = radius * p.x, y = radius * p.y;
      put(a.y + first + i, f(weave_low(x, y)), count - i);
      if (i + step < count) put(a.y + first + i + step, f(weave_high(x, y)), count - i - step);
    }
  });
}
template <class F>
void draw_normals(const Random<double>& a, const F& f) {
  draw<2>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; i += 2) {
      const double radius = __builtin_sqrt(-2 * ::log(positive(pair(words + 2 * i))));
      const double angle = kTwoPi * uniform(pair(words + 2 * i + 2));
      a.y[first + i] = f(radius * ::cos(angle));
      if (i + 1 < count) a.y[first + i + 1] = f(radius * ::sin(angle));
    }
  });
}

template <class T>
Status normal(const Random<T>& a) {
  using Acc = Accumulator<T>;
  draw_normals(a, [mean = static_cast<Acc>(a.p), scale = static_cast<Acc>(a.q)](auto z) { return z * scale + mean; });
  return Status::ok;
}

// The rare ones: one element at a time, in double. u is in (0, 1).
template <class T, class F>
Status draw_each(const Random<T>& a, const F& f) {
  draw<1>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; i += kLanes<float>) {
      float lanes[kLanes<float>];
      for (int k = 0; k < kLanes<float>; ++k) lanes[k] = static_cast<float>(f((words[i + k] + 0.5) * 0x1p-32));
      put(a.y + first + i, load(lanes), count - i);
    }
  });
  return Status::ok;
}
template <class F>
Status draw_each(const Random<double>& a, const F& f) {
  draw_doubles(a, [&](std::uint64_t word) { return f((static_cast<double>(word >> 12) + 0.5) * 0x1p-52); });
  return Status::ok;
}

template <class T>
Status exponential(const Random<T>& a) {
  const float rate = static_cast<float>(a.p);
  draw_vectors(a, [=](Bits words) { return minus_log(words) / rate; });
  return Status::ok;
}
Status exponential(const Random<double>& a) {
  return draw_each(a, [rate = a.p](double u) { return -::log(u) / rate; });
}

template <class T>
Status random(const Context&, Distribution distribution, const Random<T>& a) {
  const FloatMode mode;
  const double p = a.p, q = a.q;
  switch (distribution) {
    case Distribution::uniform: return uniform(a);
    case Distribution::normal: return normal(a);
    case Distribution::bernoulli: return bernoulli(a);
    case Distribution::exponential: return exponential(a);
    case Distribution::cauchy: return draw_each(a, [=](double u) { return p + q * ::tan(kTwoPi / 2 * (u - 0.5)); });
    case Distribution::log_normal:
      draw_normals(a, [=](auto z) {
        for (unsigned i = 0; i < sizeof z / sizeof(Accumulator<T>); ++i) {
          if constexpr (sizeof z == sizeof(double)) z = ::exp(z * q + p);
          else z[i] = static_cast<float>(::exp(double{z[i]} * q + p));
        }
        return z;
      });
      return Status::ok;
    case Distribution::geometric:
      return draw_each(a, [scale = 1 / ::log1p(-p)](double u) {
        const double trials = __builtin_ceil(::log(u) * scale);
        return trials > 1 ? trials : 1.0;
      });
  }
  return Status::unsupported;
}

template <class T>
Status dropout(const Context&, const Dropout<T>& a) {
  const FloatMode mode;
  using Acc = Accumulator<T>;
  const Threshold kept(1 - a.p);
  using V = Vec<Acc>;
  const V scale = broadcast(static_cast<Acc>(a.scale)), shift = broadcast(static_cast<Acc>(a.shift)),
          dropped = broadcast(static_cast<Acc>(a.dropped));
  draw<1>(a.bits, (a.n + a.inner - 1) / a.inner, [&](const std::uint32_t* words, Index first, Index count) {
    if (a.inner > 1) {
      for (Index c = 0; c < count; ++c) {
        const Index begin = (first + c) * a.inner, left = a.n - begin, size = left < a.inner ? left : a.inner;
        const bool keep = !kept.none && words[c] <= kept.last;
        map(a.y + begin, size, [=](V x) { return keep ? fma(x, scale, shift) : dropped; }, a.x + begin);
      }
      return;
    }
    const Vec<std::uint32_t> last = broadcast(kept.last);
    for (Index i = 0; i < count; i += kLanes<Acc>) {
      const T* x = a.x + first + i;
      T* y = a.y + first + i;
      const Index rest = count - i;
      const V kept_x = fma(rest < kLanes<Acc> ? load(x, rest) : load(x), scale, shift);
      V v;
      if constexpr (sizeof(Acc) == 4) {
        v = load(words + i) <= last ? kept_x : dropped;
      } else {
        Vec<std::uint64_t> lanes{};
        for (int k = 0; k < kLanes<Acc>; ++k) lanes[k] = words[i + k];
        v = lanes <= broadcast(std::uint64_t{kept.last}) ? kept_x : dropped;
      }
      if (kept.none) v = dropped;
      if (rest < kLanes<Acc>) store(y, v, rest);
      else store(y, v);
    }
  });
  return Status::ok;
}

Status integers(const Context&, const RandomInteger& a) {
  const std::uint64_t low = static_cast<std::uint64_t>(a.low), range = static_cast<std::uint64_t>(a.high) - low;
  draw<2>(a.bits, a.n, [&](const std::uint32_t* words, Index first, Index count) {
    for (Index i = 0; i < count; ++i)
      a.y[first + i] = static_cast<std::int64_t>(low + scaled(pair(words + 2 * i), range));
  });
  return Status::ok;
}

Status permutation(const Context&, const Permutation& a) {
  for (Index i = 0; i < a.n; ++i) a.y[i] = i;
  alignas(64) std::uint32_t words[2 * kChunk + kBlockStep];
  for (Index c = (a.n - 1) / kChunk; c >= 0 && a.n > 1; --c) {
    const Index first = c * kChunk, count = a.n - first < kChunk ? a.n - first : kChunk;
    philox_words(a.bits, 2 * first, 2 * count, words);
    for (Index k = count - 1; k >= 0; --k) {
      const Index i = first + k;
      const Index j = static_cast<Index>(scaled(pair(words + 2 * k), static_cast<std::uint64_t>(i) + 1));
      const std::int64_t other = a.y[j];
      a.y[j] = a.y[i];
      a.y[i] = other;
    }
  }
  return Status::ok;
}

template <class T>
constexpr RandomKernels<T> kRandom{.random = random<T>, .dropout = dropout<T>};
constexpr RandomIntegerKernels kRandomInteger{.integers = integers, .permutation = permutation};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(RandomKernels<float>, cpu::DD2424_ISA::kRandom<float>)
DD2424_TABLE(RandomKernels<double>, cpu::DD2424_ISA::kRandom<double>)
DD2424_TABLE(RandomKernels<bfloat16>, cpu::DD2424_ISA::kRandom<bfloat16>)
DD2424_TABLE(RandomIntegerKernels, cpu::DD2424_ISA::kRandomInteger)

}  // namespace dd2424
