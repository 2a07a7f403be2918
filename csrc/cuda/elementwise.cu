#include "core/elementwise.h"

#include "cuda/elementwise_functions.h"
#include "cuda/offer.h"
#include "cuda/walk.h"

// A kernel has all operations of a table's entry and type, and asks once which it is for the packs of a thread: memory
// is what it waits for. The heavy operations have kernels of their own, and fewer packs, for the registers they take.
namespace dd2424::cuda {
namespace {

template <class T>
constexpr int kWide = 16 / sizeof(T);  // elements of a pack: what one load may bring
// Packs of a thread, for so many elements and so much to do with each.
constexpr int packs_of(int width, bool is_heavy) { return is_heavy || width > 8 ? 1 : packs_at_once(width); }

template <bool kHeavy, class T, int W>
__global__ void unary_kernel(UnaryOp op, const T* x, T* y, Walk<2> walk, Computed<T> p, Computed<T> q) {
  constexpr int kPacks = packs_of(W, kHeavy);
  Spot<2> spot[kPacks];
  Pack<T, W> v[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    v[k] = walk.template load<W>(x, spot[k], 1);
  }
  const auto each = [&](const auto& f) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
#pragma unroll
      for (int w = 0; w < W; ++w) v[k].of[w] = element<T>(f(value(v[k].of[w])));
  };
  if constexpr (kHeavy) heavy_unary(op, p, q, each);
  else light_unary(op, p, q, each);
#pragma unroll
  for (int k = 0; k < kPacks; ++k) walk.store(y, spot[k], v[k]);
}
template <bool kHeavy, class T, int W>
Status launch_unary(const Context& context, UnaryOp op, const Unary<T>& a, const Strided<2>& part,
                    const Places<2>& start) {
  using C = Computed<T>;
  return launch_packs<W, packs_of(W, kHeavy)>(context, items(part), unary_kernel<kHeavy, T, W>, op, a.x + start.at[1],
                                              a.y + start.at[0], Walk<2>(part), parameter<C>(a.p), parameter<C>(a.q));
}

template <class T>
__global__ void rare_unary_kernel(UnaryOp op, Unary<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    a.y[place.at[0]] = element<T>(rare_unary(op, value(a.x[place.at[1]]), a.p));
  });
}

template <class T>
Status unary(const Context& context, UnaryOp op, const Unary<T>& a) {
  using C = Computed<T>;
  if (!has<C>(op)) return Status::unsupported;
  if constexpr (std::is_floating_point_v<C>)
    if (is_rare(op)) return launch_items(context, items(a.at), rare_unary_kernel<T>, op, a, items(a.at));
  return in_parts(a.at, [&](const Strided<2>& part, const Places<2>& start) {
    const bool wide = are_packs(part, kWide<T>, {{a.y + start.at[0], sizeof(T)}, {a.x + start.at[1], sizeof(T)}});
    if constexpr (std::is_floating_point_v<C>)
      if (is_heavy(op))
        return wide ? launch_unary<true, T, kWide<T>>(context, op, a, part, start)
                    : launch_unary<true, T, 1>(context, op, a, part, start);
    return wide ? launch_unary<false, T, kWide<T>>(context, op, a, part, start)
                : launch_unary<false, T, 1>(context, op, a, part, start);
  });
}

// An operand that is a number was read on the host.
template <class T>
struct Factor {
  const T* p;
  T number;
  bool is_number;
  template <int W, int N>
  __device__ Pack<T, W> load(const Walk<N>& walk, const Spot<N>& spot, int k) const {
    if (!is_number) return walk.template load<W>(p, spot, k);
    Pack<T, W> x;
#pragma unroll
    for (int w = 0; w < W; ++w) x.of[w] = number;
    return x;
  }
};
constexpr bool may_divide_by_zero(BinaryOp op) {
  return op == BinaryOp::floor_div || op == BinaryOp::remainder || op == BinaryOp::fmod;
}

template <bool kHeavy, class T, int W>
__global__ void binary_kernel(BinaryOp op, Factor<T> a, Factor<T> b, T* y, Walk<3> walk, Computed<T> scale,
                              Computed<T> bound, bool* zero_divisor) {
  constexpr int kPacks = packs_of(W, kHeavy);
  Spot<3> spot[kPacks];
  Pack<T, W> left[kPacks], right[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    left[k] = a.template load<W>(walk, spot[k], 1);
    right[k] = b.template load<W>(walk, spot[k], 2);
  }
  const auto each = [&](const auto& f) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
#pragma unroll
      for (int w = 0; w < W; ++w) left[k].of[w] = element<T>(f(value(left[k].of[w]), value(right[k].of[w])));
  };
  if constexpr (kHeavy) heavy_binary<Computed<T>>(op, each);
  else light_binary(op, scale, bound, each);
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    walk.store(y, spot[k], left[k]);
    if constexpr (kHeavy && std::is_integral_v<T>)
      for (int w = 0; w < W; ++w)
        if (zero_divisor && w < spot[k].count && right[k].of[w] == T(0)) *zero_divisor = true;
  }
}
template <bool kHeavy, class T, int W>
Status launch_binary(const Context& context, BinaryOp op, const Binary<T>& a, const Strided<3>& part,
                     const Places<3>& start) {
  using C = Computed<T>;
  const Factor<T> left{a.a + start.at[1], a.a_is_number ? *a.a : T{}, a.a_is_number};
  const Factor<T> right{a.b + start.at[2], a.b_is_number ? *a.b : T{}, a.b_is_number};
  return launch_packs<W, packs_of(W, kHeavy)>(
      context, items(part), binary_kernel<kHeavy, T, W>, op, left, right, a.y + start.at[0], Walk<3>(part),
      static_cast<C>(a.scale), static_cast<C>(a.bound), may_divide_by_zero(op) ? a.zero_divisor : nullptr);
}
template <class T>
Status binary(const Context& context, BinaryOp op, const Binary<T>& a) {
  if (!has<Computed<T>>(op)) return Status::unsupported;
  return in_parts(a.at, [&](const Strided<3>& part, const Places<3>& start) {
    const bool wide =
        are_packs(part, kWide<T>,
                  {{a.y + start.at[0], sizeof(T)}, {a.a + start.at[1], sizeof(T)}, {a.b + start.at[2], sizeof(T)}});
    if constexpr (!std::is_same_v<T, bool>)
      if (is_heavy(op))
        return wide ? launch_binary<true, T, kWide<T>>(context, op, a, part, start)
                    : launch_binary<true, T, 1>(context, op, a, part, start);
    return wide ? launch_binary<false, T, kWide<T>>(context, op, a, part, start)
                : launch_binary<false, T, 1>(context, op, a, part, start);
  });
}

template <class T>
constexpr int kCompared = sizeof(T) == 1 ? 16 : 8;  // elements of a pack: what is stored of each is a byte

template <class T, int W>
__global__ void compare_kernel(CompareOp op, const T* a, const T* b, bool* y, Walk<3> walk) {
  constexpr int kPacks = packs_of(W, W > 1);
  Spot<3> spot[kPacks];
  Pack<T, W> left[kPacks], right[kPacks];
  Pack<bool, W> holds[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    left[k] = walk.template load<W>(a, spot[k], 1);
    right[k] = walk.template load<W>(b, spot[k], 2);
  }
  comparison<Computed<T>>(op, [&](const auto& f) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
#pragma unroll
      for (int w = 0; w < W; ++w) holds[k].of[w] = f(value(left[k].of[w]), value(right[k].of[w]));
  });
#pragma unroll
  for (int k = 0; k < kPacks; ++k) walk.store(y, spot[k], holds[k]);
}
template <class T, int W>
Status launch_compare(const Context& context, CompareOp op, const Compare<T>& a, const Strided<3>& part,
                      const Places<3>& start) {
  return launch_packs<W, packs_of(W, W > 1)>(context, items(part), compare_kernel<T, W>, op, a.a + start.at[1],
                                             a.b + start.at[2], a.y + start.at[0], Walk<3>(part));
}
template <class T>
Status compare(const Context& context, CompareOp op, const Compare<T>& a) {
  constexpr int W = kCompared<T>;
  return in_parts(a.at, [&](const Strided<3>& part, const Places<3>& start) {
    const bool wide =
        are_packs(part, W, {{a.y + start.at[0], 1}, {a.a + start.at[1], sizeof(T)}, {a.b + start.at[2], sizeof(T)}});
    return wide ? launch_compare<T, W>(context, op, a, part, start) : launch_compare<T, 1>(context, op, a, part, start);
  });
}

template <class T, int W>
__global__ void test_kernel(TestOp op, const T* x, bool* y, Walk<2> walk) {
  constexpr int kPacks = packs_of(W, W > 1);
  Spot<2> spot[kPacks];
  Pack<T, W> v[kPacks];
  Pack<bool, W> holds[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    v[k] = walk.template load<W>(x, spot[k], 1);
  }
  property<Computed<T>>(op, [&](const auto& f) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k)
#pragma unroll
      for (int w = 0; w < W; ++w) holds[k].of[w] = f(value(v[k].of[w]));
  });
#pragma unroll
  for (int k = 0; k < kPacks; ++k) walk.store(y, spot[k], holds[k]);
}
template <class T, int W>
Status launch_test(const Context& context, TestOp op, const Test<T>& a, const Strided<2>& part,
                   const Places<2>& start) {
  return launch_packs<W, packs_of(W, W > 1)>(context, items(part), test_kernel<T, W>, op, a.x + start.at[1],
                                             a.y + start.at[0], Walk<2>(part));
}
template <class T>
Status test(const Context& context, TestOp op, const Test<T>& a) {
  constexpr int W = kCompared<T>;
  return in_parts(a.at, [&](const Strided<2>& part, const Places<2>& start) {
    const bool wide = are_packs(part, W, {{a.y + start.at[0], 1}, {a.x + start.at[1], sizeof(T)}});
    return wide ? launch_test<T, W>(context, op, a, part, start) : launch_test<T, 1>(context, op, a, part, start);
  });
}

template <class T, int W>
__global__ void where_kernel(const bool* condition, const T* a, const T* b, T* y, Walk<4> walk) {
  constexpr int kPacks = packs_of(W, false);
  Spot<4> spot[kPacks];
  Pack<bool, W> holds[kPacks];
  Pack<T, W> left[kPacks], right[kPacks];
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    spot[k] = walk.template spot<W>(pack_of<kPacks>(k));
    holds[k] = walk.template load<W>(condition, spot[k], 1);
    left[k] = walk.template load<W>(a, spot[k], 2);
    right[k] = walk.template load<W>(b, spot[k], 3);
  }
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
#pragma unroll
    for (int w = 0; w < W; ++w)
      if (!holds[k].of[w]) left[k].of[w] = right[k].of[w];
    walk.store(y, spot[k], left[k]);
  }
}
template <class T, int W>
Status launch_where(const Context& context, const Where<T>& a, const Strided<4>& part, const Places<4>& start) {
  return launch_packs<W, packs_of(W, false)>(context, items(part), where_kernel<T, W>, a.condition + start.at[1],
                                             a.a + start.at[2], a.b + start.at[3], a.y + start.at[0], Walk<4>(part));
}
template <class T>
Status where(const Context& context, const Where<T>& a) {
  return in_parts(a.at, [&](const Strided<4>& part, const Places<4>& start) {
    const bool wide = are_packs(part, kWide<T>,
                                {{a.y + start.at[0], sizeof(T)},
                                 {a.condition + start.at[1], 1},
                                 {a.a + start.at[2], sizeof(T)},
                                 {a.b + start.at[3], sizeof(T)}});
    return wide ? launch_where<T, kWide<T>>(context, a, part, start) : launch_where<T, 1>(context, a, part, start);
  });
}

template <class T>
constexpr ElementwiseKernels<T> kElementwise{
    .unary = unary<T>, .binary = binary<T>, .compare = compare<T>, .test = test<T>, .where = where<T>};

}  // namespace

void offer_elementwise(DeviceTables& tables) {
  offer(tables, kElementwise<float>);
  offer(tables, kElementwise<double>);
  offer(tables, kElementwise<bfloat16>);
  offer(tables, kElementwise<float16>);
  offer(tables, kElementwise<std::int64_t>);
  offer(tables, kElementwise<std::int32_t>);
  offer(tables, kElementwise<std::int16_t>);
  offer(tables, kElementwise<std::int8_t>);
  offer(tables, kElementwise<std::uint8_t>);
  offer(tables, kElementwise<bool>);
}

}  // namespace dd2424::cuda
