#pragma once
// From scores to weights, a vector of queries at a time: what is not seen, the mask, the softmax as it goes along,
// dropout, and the gradient by the scores. Scores are in powers of two: 2^score is what softmax exponentiates.
#include "cpu/attention_block.h"
#include "cpu/math.h"
#include "cpu/philox.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr double kLog2E = 1.44269504088896340736;
template <class T>
constexpr T kHidden = -__builtin_inff();  // the score of a key that is not seen
template <class T>
constexpr T kLowest = T(sizeof(T) == 4 ? -3.40282346638528859812e38 : -1.79769313486231570815e308);

// 2^x for x < 128 (1024), to one rounding; 0 where it would not be a normal number. x + kShift ends in the bits of the
// exponent of 2^n, n being x rounded, which are 0, as those of 0 are, for the least n; the polynomial is that of the
// rest.
inline Floats power_of_two(Floats x) {
  constexpr float kShift = 0x1.8p23f + 127;
  x = larger(x, broadcast(-127.0f));
  const Floats shifted = x + kShift, rest = x - (shifted - kShift);
  const Floats p =
      polynomial(rest, 1.0f, 0.6931472f, 0.2402265f, 0.05550357f, 0.009618083f, 0.0013390863f, 0.00015453163f);
  return p * from_bits(bits_of(shifted) << 23);
}
inline Doubles power_of_two(Doubles x) {
  constexpr double kShift = 0x1.8p52 + 1023;
  x = larger(x, broadcast(-1023.0));
  const Doubles shifted = x + kShift, rest = x - (shifted - kShift);
  const Doubles p =
      polynomial(rest, 1.0, 0.6931471805599453, 0.24022650695910097, 0.0555041086648216, 0.009618129107606888,
                 0.0013333558146416936, 0.0001540353044173605, 1.525273382983612e-05, 1.321544258792169e-06,
                 1.0178062445845774e-07, 7.072585949269223e-09, 4.4549605981865186e-10);
  return p * from_bits(bits_of(shifted) << 52);
}

// Gives kHidden to what the lanes' queries do not see by their place. Keys that all of them see are left alone.
template <class T>
void hide(const Block& block, Index first, Range seen, T* scores) {
  if (!block.is_cut) return;
  constexpr int lanes = kLanes<T>;
  const Index last = block.queries() - 1;
  T begin[lanes], end[lanes];
  for (int i = 0; i < lanes; ++i) {
    const Range of_lane = block.seen_by(smaller(first + i, last), 1);
    begin[i] = static_cast<T>(of_lane.begin), end[i] = static_cast<T>(of_lane.end);
  }
  const Vec<T> from = load(begin), to = load(end);
  const auto hide_in = [&](Index j, Index stop) {
    for (; j < stop; ++j) {
      T* x = scores + j * kRow + first;
      const Vec<T> at = broadcast(static_cast<T>(j));
      store(x, ((at >= from) & (at < to)) ? load(x) : broadcast(kHidden<T>));
    }
  };
  hide_in(seen.begin, smaller(block.seen_by(smaller(first + lanes - 1, last), 1).begin, seen.end));
  hide_in(larger(block.seen_by(first, 1).end, seen.begin), seen.end);
}

// What the mask adds for one query.
template <class T>
void mask_line(const AttentionMask<T>& mask, Index at, Index keys, T* line) {
  if (mask.seen) {
    for (Index j = 0; j < keys; ++j) line[j] = mask.seen[at + j * mask.key] ? T(0) : kHidden<T>;
    return;
  }
  for (Index j = 0; j < keys; ++j) {
    const T x = mask.added[at + j * mask.key], y = x * static_cast<T>(kLog2E);
    line[j] = y < kLowest<T> && x >= kLowest<T> ? kLowest<T> : y;  // finite stays finite, if only just
  }
}
// extra[key][query] from lines of keys, made by line(query, to).
template <class T, class Line>
void fill_extra(const Block& block, const Work<T>& w, const Line& line) {
  for (Index i = 0; i < block.queries(); i += kLanes<T>) {
    const Index count = smaller(kLanes<T>, block.queries() - i);
    for (Index r = 0; r < count; ++r) line(i + r, w.lines + r * kKeys);
    turn<T>({w.lines, kKeys}, count, block.keys(), T(1), w.extra + i);
  }
}
template <class T>
void fill_mask(const Block& block, const AttentionMask<T>& mask, Index b, Index h, const Work<T>& w) {
  const Index at = b * mask.batch + h * mask.head + block.key.begin * mask.key;
  if (mask.query != 0)
    return fill_extra<T>(block, w, [&](Index i, T* line) {
      mask_line(mask, at + (block.query.begin + i) * mask.query, block.keys(), line);
    });
  mask_line(mask, at, block.keys(), w.lines);  // one for all queries
  for (Index j = 0; j < block.keys(); ++j)
    for (Index i = 0; i < block.queries(); i += kLanes<T>) store(w.extra + j * kRow + i, broadcast(w.lines[j]));
}
// extra = 0 where dropout takes the weight, else 1 / (1 - p). The block's first key is a multiple of 4.
template <class T>
void fill_dropout(const Block& block, const AttentionSizes& s, Index b, Index h, const Work<T>& w) {
  const Threshold kept(1 - s.dropout);
  const T scale = kept.none ? T(0) : static_cast<T>(1 / (1 - s.dropout));
  const Index row = (b * s.heads + h) * s.queries + block.query.begin;
  fill_extra<T>(block, w, [&](Index i, T* line) {
    std::uint32_t words[kKeys + kBlockStep];
    philox_words(s.bits, (row + i) * ceil_div(s.keys, 4) * 4 + block.key.begin, block.keys(), words);
    for (Index j = 0; j < block.keys(); ++j) line[j] = words[j] <= kept.last ? scale : T(0);
  });
}
template <class T>
void multiply_by_extra(const Block& block, const Work<T>& w, T* x) {
  for (Index j = 0; j < block.keys(); ++j)
    for (Index i = 0; i < block.queries(); i += kLanes<T>) {
      const Index at = j * kRow + i;
      store(x + at, load(x + at) * load(w.extra + at));
    }
}

// The scores of keys `seen` by some of a vector of queries become final: hidden, and masked.
template <class T>
void finish_scores(const Block& block, Index first, Range seen, bool is_masked, const Work<T>& w) {
  hide(block, first, seen, w.weights);
  if (!is_masked) return;
  for (Index j = seen.begin; j < seen.end; ++j) {
    T* x = w.weights + j * kRow + first;
    const Vec<T> added = load(w.extra + j * kRow + first);
    store(x, added == kHidden<T> ? added : load(x) + added);  // a hidden score may be NaN
  }
}
template <class T>
void clear_unseen(const Block& block, Index first, Range seen, T* x) {
  for (Index j = 0; j < seen.begin; ++j) store(x + j * kRow + first, Vec<T>{});
  for (Index j = seen.end; j < block.keys(); ++j) store(x + j * kRow + first, Vec<T>{});
}

// Scores become 2^(score - top), whose sum joins the total. The old top serves while the new one is less than
// kHeadroom above it, for nothing overflows; where it does not, `factor` is what older sums are to be multiplied with.
template <class T>
void exponentiate(const Block& block, Index first, bool is_masked, const Work<T>& w) {
  constexpr int kHeadroom = 8;
  const Range seen = block.seen_by(first, kLanes<T>);
  finish_scores(block, first, seen, is_masked, w);
  T* x = w.weights + first;
  const Vec<T> before = load(w.top + first);
  Vec<T> top = before, other = before;  // two, for a maximum waits for the last
  Index j = seen.begin;
  for (; j + 1 < seen.end; j += 2) {
    top = larger(top, load(x + j * kRow));
    other = larger(other, load(x + (j + 1) * kRow));
  }
  if (j < seen.end) top = larger(top, load(x + j * kRow));
  top = larger(top, other);
  top = top > before + T(kHeadroom) ? top : before;
  Vec<T> sum{};
  for (j = seen.begin; j < seen.end; ++j) {
    const Vec<T> weight = power_of_two(load(x + j * kRow) - top);
    sum += weight;
    store(x + j * kRow, weight);
  }
  clear_unseen(block, first, seen, w.weights);
  const Vec<T> factor = power_of_two(before - top);
  store(w.factor + first, factor);
  store(w.total + first, fma(load(w.total + first), factor, sum));
  store(w.top + first, top);
}

// Backward: scores become weights P, and slopes, which hold dP, become dS = P (dP - delta). `top` holds the logarithms
// of the sums, `total` the deltas.
template <class T, bool hides>
void differentiate(const Block& block, Index first, bool is_masked, const Work<T>& w) {
  const Range seen = block.seen_by(first, kLanes<T>);
  finish_scores(block, first, seen, is_masked, w);
  const Vec<T> lse = load(w.top + first), delta = load(w.total + first);
  T *p = w.weights + first, *s = w.slopes + first;
  for (Index j = seen.begin; j < seen.end; ++j) {
    const Vec<T> weight = power_of_two(load(p + j * kRow) - lse);
    Vec<T> slope = weight * (load(s + j * kRow) - delta);
    if constexpr (hides) slope = weight == T(0) ? Vec<T>{} : slope;  // a hidden value may be NaN
    store(p + j * kRow, weight);
    store(s + j * kRow, slope);
  }
  clear_unseen(block, first, seen, w.weights);
  clear_unseen(block, first, seen, w.slopes);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
