#include "cpu/math.h"
#include "cpu/reduce.h"

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
struct Largest : Add {
  template <class C>
  static constexpr C identity = lowest<C>();
  template <class V>
  static V combine(V a, V b) {
    const V larger = b <= a ? a : b;
    return a != a ? a : larger;  // a NaN stays
  }
};
struct Smallest : Add {
  template <class C>
  static constexpr C identity = highest<C>();
  template <class V>
  static V combine(V a, V b) {
    const V smaller = b >= a ? a : b;
    return a != a ? a : smaller;
  }
};
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

// Eight vectors of partial results, then a tree over them and over the lanes.
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
      parts[k] = Op::combine(parts[k], Op::term(load(x + i + k * lanes), origin, shift));
  for (Index k = 0; i < n; ++k, i += lanes) {
    if (i + lanes <= n) {
      parts[k] = Op::combine(parts[k], Op::term(load(x + i), origin, shift));
    } else {  // spare lanes keep what they have
      C kept[kLanes<C>], added[kLanes<C>];
      store(kept, parts[k]);
      store(added, Op::combine(parts[k], Op::term(load(x + i, n - i), origin, shift)));
      memcpy(kept, added, static_cast<std::size_t>(n - i) * sizeof(C));
      parts[k] = load(kept);
    }
  }
  for (Index width = unroll / 2; width > 0; width /= 2)
    for (Index k = 0; k < width; ++k) parts[k] = Op::combine(parts[k], parts[k + width]);
  C last[kLanes<C>];
  store(last, parts[0]);
  for (Index width = lanes / 2; width > 0; width /= 2)
    for (Index k = 0; k < width; ++k) last[k] = Op::combine(last[k], last[k + width]);
  return last[0];
}

template <class Op, class C>
void start(C* sums, Index width) {
  for (Index i = 0; i < width; ++i) sums[i] = Op::template identity<C>;
}

template <class Op, class C>
void columns(C* sums, const C* const* rows, int count, Index width, const C* p, const C* q) {
  const auto add = [=](auto sum, auto origin, auto shift, auto... x) {
    if constexpr (sizeof...(x) == 4) {
      const auto tree = [](auto a, auto b, auto c, auto d) {
        return Op::combine(Op::combine(a, b), Op::combine(c, d));
      };
      return Op::combine(sum, tree(Op::term(x, origin, shift)...));
    } else {
      return Op::combine(sum, Op::term(x..., origin, shift));
    }
  };
  constexpr Index lanes = kLanes<C>;
  for (int k = 0; k < count; k = count == 4 ? 4 : k + 1) {
    const C* x = rows[k];
    for (Index i = 0; i < width; i += lanes) {
      const Index n = width - i;
      const auto at = [=](const C* from) { return n >= lanes ? load(from + i) : load(from + i, n); };
      const Vec<C> origin = p ? at(p) : Vec<C>{}, shift = q ? at(q) : Vec<C>{}, sum = load(sums + i);
      store(sums + i, count == 4 ? add(sum, origin, shift, at(x), at(rows[1]), at(rows[2]), at(rows[3]))
                                 : add(sum, origin, shift, at(x)));
    }
  }
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
                                      .identity = Op::template identity<Total<C>>};

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
template const Combination<float>& combination(Combine);
template const Combination<double>& combination(Combine);
template const Combination<std::int64_t>& combination(Combine);
template const Combination<std::int32_t>& combination(Combine);

}  // namespace dd2424::cpu::DD2424_ISA
