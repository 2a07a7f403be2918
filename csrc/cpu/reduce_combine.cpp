#include "cpu/math.h"
#include "cpu/reduce.h"
#include "cpu/reduce_extreme.h"

// How terms are combined: for each operation, along a row and down columns.
namespace dd2424::cpu::DD2424_ISA {
namespace {

// Integers are added and multiplied as unsigned: they wrap.
template <class C>
struct Wrapping {
  using Type = C;
};
template <>
struct Wrapping<std::int32_t> {
  using Type = std::uint32_t;
};
template <>
struct Wrapping<std::int64_t> {
  using Type = std::uint64_t;
};

template <class C>
constexpr C lowest() {
  if constexpr (std::is_floating_point_v<C>) return -C(kInf);
  else return C(C(1) << (sizeof(C) * 8 - 2)) * -2;
}
template <class C>
constexpr C highest() {
  if constexpr (std::is_floating_point_v<C>) return C(kInf);
  else return ~lowest<C>();
}

struct Add {
  template <class C>
  static constexpr C identity = 0;
  template <class V>
  static V combine(V a, V b) {
    return a + b;
  }
  template <class V>
  static V term(V x, V, V) {
    return x;
  }
};
struct Multiply : Add {
  template <class C>
  static constexpr C identity = 1;
  template <class V>
  static V combine(V a, V b) {
    return a * b;
  }
};
struct AddSquares : Add {
  template <class V>
  static V term(V x, V, V) {
    return x * x;
  }
};
struct AddAbsolute : Add {
  template <class V>
  static V term(V x, V, V) {
    return absolute(x);
  }
};
struct AddAbout : Add {
  template <class V>
  static V term(V x, V p, V) {
    return x - p;
  }
};
struct AddSquaresAbout : Add {
  template <class V>
  static V term(V x, V p, V q) {
    return (x - p - q) * (x - p - q);
  }
};
// A NaN stays.
struct Largest : Add {
  template <class C>
  static constexpr C identity = lowest<C>();
  template <class V>
  static V combine(V a, V b) {
    return extreme_of<true>(a, b);
  }
};
struct Smallest : Add {
  template <class C>
  static constexpr C identity = highest<C>();
  template <class V>
  static V combine(V a, V b) {
    return extreme_of<false>(a, b);
  }
};
// 1 where a term is not 0, and 0 where one is.
struct Any : Largest {
  template <class C>
  static constexpr C identity = 0;
  template <class V>
  static V term(V x, V, V) {
    return x != Element<V>(0) ? broadcast(Element<V>(1)) : V{};
  }
};
struct All : Smallest {
  template <class C>
  static constexpr C identity = 1;
  template <class V>
  static V term(V x, V, V) {
    return x != Element<V>(0) ? broadcast(Element<V>(1)) : V{};
  }
};

template <int N, int... Lane>
struct LaneNumbers : LaneNumbers<N - 1, N - 1, Lane...> {};
template <int... Lane>
struct LaneNumbers<0, Lane...> {};

// The lanes of v, combined in the order of a binary tree: lane k with lane k + width.
template <class Op, int width, class V, int... Lane>
inline V halved(V v, LaneNumbers<0, Lane...> lanes) {
  v = Op::combine(v, __builtin_shufflevector(v, v, ((Lane + width) % int(sizeof...(Lane)))...));
  if constexpr (width > 1) return halved<Op, width / 2>(v, lanes);
  else return v;
}
template <class Op, class C>
inline C lanes_combined(Vec<C> v) {
  constexpr int lanes = kLanes<C>;
  if constexpr (sizeof(C) >= 4) {
    return halved<Op, lanes / 2>(v, LaneNumbers<lanes>{})[0];
  } else {
    C last[lanes];
    store(last, v);
    for (int width = lanes / 2; width > 0; width /= 2)
      for (int k = 0; k < width; ++k) last[k] = Op::combine(last[k], last[k + width]);
    return last[0];
  }
}

// a in the lanes below count, else b
template <class C>
inline Vec<C> first_of(Index count, Vec<C> a, Vec<C> b) {
  C numbers[kLanes<C>];
  for (int k = 0; k < kLanes<C>; ++k) numbers[k] = static_cast<C>(k);
  return load(numbers) < broadcast(static_cast<C>(count)) ? a : b;
}

// Eight vectors of partial results, and one of what is left; then a tree over them and over the lanes.
template <class Op, class C>
Total<C> row(const C* x, Index n, C p, C q) {
  using V = Vec<C>;
  constexpr Index lanes = kLanes<C>, unroll = 8;
  const V origin = broadcast(p), shift = broadcast(q), none = broadcast(Op::template identity<C>);
  V parts[unroll];
  for (V& part : parts) part = none;
  Index i = 0;
  for (; i + unroll * lanes <= n; i += unroll * lanes)
    for (Index k = 0; k < unroll; ++k)
      parts[k] = Op::combine(parts[k], Op::term(load_ahead(x + i + k * lanes), origin, shift));
  V rest = none;
  for (; i + lanes <= n; i += lanes) rest = Op::combine(rest, Op::term(load(x + i), origin, shift));
  if (i < n)  // spare lanes keep what they have
    rest = first_of<C>(n - i, Op::combine(rest, Op::term(load(x + i, n - i), origin, shift)), rest);
  for (Index width = unroll / 2; width > 0; width /= 2)
    for (Index k = 0; k < width; ++k) parts[k] = Op::combine(parts[k], parts[k + width]);
  return lanes_combined<Op, C>(Op::combine(parts[0], rest));
}

template <class Op, class C>
void start(C* sums, Index width) {
  for (Index i = 0; i < width; ++i) sums[i] = Op::template identity<C>;
}

// sums += the terms of R rows, which are combined with each other first.
template <class Op, int R, class C>
inline void add_rows(C* sums, const C* const* rows, Index width, const C* p, const C* q) {
  constexpr Index lanes = kLanes<C>;
  const auto add = [=](Index i, const auto& at) {
    const Vec<C> origin = p ? at(p + i) : Vec<C>{}, shift = q ? at(q + i) : Vec<C>{};
    const auto term = [&](int r) { return Op::term(at(rows[r] + i), origin, shift); };
    Vec<C> x = term(0);
    if constexpr (R == 4) x = Op::combine(Op::combine(x, term(1)), Op::combine(term(2), term(3)));
    store(sums + i, Op::combine(load(sums + i), x));
  };
  Index i = 0;
  for (; i + lanes <= width; i += lanes) add(i, [](const C* from) { return load_ahead(from); });
  if (i < width) add(i, [n = width - i](const C* from) { return load(from, n); });
}

template <class Op, class C>
void columns(C* sums, const C* const* rows, int count, Index width, const C* p, const C* q) {
  if (count == 4) return add_rows<Op, 4>(sums, rows, width, p, q);
  for (int k = 0; k < count; ++k) add_rows<Op, 1>(sums, rows + k, width, p, q);
}

template <class Op, class C>
void join(Total<C>* totals, const C* sums, Index width) {
  for (Index i = 0; i < width; ++i) totals[i] = Op::combine(totals[i], Total<C>(sums[i]));
}
template <class Op, class C>
void join_totals(Total<C>* totals, const Total<C>* more, Index width) {
  for (Index i = 0; i < width; ++i) totals[i] = Op::combine(totals[i], more[i]);
}

template <class Op, class C>
constexpr Combination<C> kCombination{.row = row<Op, C>,
                                      .start = start<Op, C>,
                                      .columns = columns<Op, C>,
                                      .join = join<Op, C>,
                                      .join_totals = join_totals<Op, C>,
                                      .identity = Op::template identity<Total<C>>,
                                      .ends = std::is_same_v<Op, Any> || std::is_same_v<Op, All>};

// Computed as unsigned, called as signed.
template <class Op, class C>
struct Unsigned {
  using U = typename Wrapping<C>::Type;
  static const U* u(const C* x) { return reinterpret_cast<const U*>(x); }
  static U* u(C* x) { return reinterpret_cast<U*>(x); }
  static constexpr Combination<C> kTable{
      .row = [](const C* x, Index n, C p, C q) { return C(row<Op, U>(u(x), n, U(p), U(q))); },
      .start = [](C* sums, Index width) { start<Op, U>(u(sums), width); },
      .columns =
          [](C* sums, const C* const* rows, int count, Index width, const C*, const C*) {
            const U* unsigned_rows[4] = {};
            for (int i = 0; i < count; ++i) unsigned_rows[i] = u(rows[i]);
            columns<Op, U>(u(sums), unsigned_rows, count, width, nullptr, nullptr);
          },
      .join = [](C* totals, const C* sums, Index width) { join<Op, U>(u(totals), u(sums), width); },
      .join_totals = [](C* totals, const C* more, Index width) { join_totals<Op, U>(u(totals), u(more), width); },
      .identity = Op::template identity<C>};
};

}  // namespace

template <class C>
const Combination<C>& combination(Combine how) {
  if constexpr (std::is_floating_point_v<C>) {
    switch (how) {
      case Combine::sum: return kCombination<Add, C>;
      case Combine::prod: return kCombination<Multiply, C>;
      case Combine::max: return kCombination<Largest, C>;
      case Combine::min: return kCombination<Smallest, C>;
      case Combine::sum_squares: return kCombination<AddSquares, C>;
      case Combine::sum_abs: return kCombination<AddAbsolute, C>;
      case Combine::any: return kCombination<Any, C>;
      case Combine::all: return kCombination<All, C>;
      case Combine::about: return kCombination<AddAbout, C>;
      case Combine::squares_about: return kCombination<AddSquaresAbout, C>;
    }
  } else {
    switch (how) {
      case Combine::prod: return Unsigned<Multiply, C>::kTable;
      case Combine::max: return kCombination<Largest, C>;
      case Combine::min: return kCombination<Smallest, C>;
      case Combine::sum_squares: return Unsigned<AddSquares, C>::kTable;
      case Combine::any: return kCombination<Any, C>;
      case Combine::all: return kCombination<All, C>;
      default: break;
    }
  }
  if constexpr (std::is_floating_point_v<C>) return kCombination<Add, C>;
  else return Unsigned<Add, C>::kTable;
}
template <>
const Combination<Byte>& combination(Combine how) {
  return how == Combine::any ? kCombination<Any, Byte> : kCombination<All, Byte>;
}
template const Combination<float>& combination(Combine);
template const Combination<double>& combination(Combine);
template const Combination<std::int64_t>& combination(Combine);
template const Combination<std::int32_t>& combination(Combine);

}  // namespace dd2424::cpu::DD2424_ISA
