#pragma once
// Backward: weights are computed again, block by block. With P the weights, dS the gradient by the scores,
//   dV = P^T dY, dP = dY V^T, delta = sum of dY Y over features, dS = P (dP - delta), dQ = scale dS K, dK = scale dS^T
//   Q
// Source: Dao et al., "FlashAttention", arXiv:2205.14135, algorithm 4.
#include "cpu/attention_forward.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// What one item of work covers. Many heads: each of k and v whole, in one pass. Few: parts of the keys, for their
// gradients, and parts of the queries for theirs, which takes 7 products instead of 5.
struct Part {
  Index b, key_head;
  Range heads, queries, keys;
  bool of_keys, of_queries;
};
constexpr Index kHeadsForOnePass = 4;

inline bool is_one_pass(const AttentionSizes& s) { return s.batch * s.key_heads >= kHeadsForOnePass; }

template <class T>
void scale_rows(Rows<T> x, Index rows, Index features, T scale) {
  for (Index i = 0; i < rows; ++i) map(x.at(i), features, [=](Vec<T> v) { return v * scale; }, x.at(i));
}
template <class T>
void clear_rows(Rows<T> x, Index rows, Index features) {
  for (Index i = 0; i < rows; ++i) fill(x.at(i), features, T(0));
}

template <class T>
Answers<T> answers_of_q(const AttentionBackward<T>& a, Index b, Index h, Index query, const Work<T>& w) {
  return {head_rows(a.q, b, h, query), w.q_across, static_cast<T>(a.sizes.scale * kLog2E)};
}
template <class T>
Answers<T> answers_of_dy(const AttentionBackward<T>& a, Index b, Index h, Index query, const Work<T>& w) {
  return {head_rows(a.dy, b, h, query), w.dy_across, T(1)};
}

// total[i] = sum over features of dy * y; top[i] = the logarithm of the sum.
template <class T>
void load_queries(const AttentionBackward<T>& a, Index b, Index h, Range query, const Work<T>& w) {
  const AttentionSizes& s = a.sizes;
  fill(w.total, kQueries, T(0)), fill(w.top, kQueries, T(0));
  const T* lse = a.lse + (b * s.heads + h) * s.queries;
  for (Index i = 0; i < query.count(); ++i) w.top[i] = lse[query.begin + i];
  for (Index first = 0; first < query.count(); first += kLanes<T>) {
    Vec<T> sums[kLanes<T>] = {};
    for (Index i = first; i < smaller(first + kLanes<T>, query.count()); ++i) {
      const T *dy = a.dy.at(b, h, query.begin + i), *y = a.y.at(b, h, query.begin + i);
      Vec<T>& sum = sums[i - first];
      for (Index d = 0; d < s.value_features; d += kLanes<T>) {
        const Index left = s.value_features - d;
        sum = left < kLanes<T> ? fma(load(dy + d, left), load(y + d, left), sum) : fma(load(dy + d), load(y + d), sum);
      }
    }
    store(w.total + first, sums_of_lanes<T>(sums));
  }
  const Answers<T> q = answers_of_q(a, b, h, query.begin, w), dy_across = answers_of_dy(a, b, h, query.begin, w);
  turn<T>(q.rows, query.count(), s.features, q.scale, w.q_across);
  turn<T>(dy_across.rows, query.count(), s.value_features, dy_across.scale, w.dy_across);
}

template <class T>
void store_mask_gradient(const AttentionBackward<T>& a, Index b, Index h, const Block& block, const T* slopes) {
  const AttentionSizes& s = a.sizes;
  for (Index i = 0; i < block.queries(); ++i) {
    T* to = a.dmask + ((b * s.heads + h) * s.queries + block.query.begin + i) * s.keys + block.key.begin;
    for (Index j = 0; j < block.keys(); ++j) to[j] = slopes[j * kRow + i];
  }
}

// Weights and slopes of a block.
template <class T>
void differentiate_block(const AttentionBackward<T>& a, const Part& part, Index h, const Block& block,
                         const Work<T>& w) {
  const AttentionSizes& s = a.sizes;
  const bool is_masked = a.mask.seen || a.mask.added;
  const Answers<T> q = answers_of_q(a, part.b, h, block.query.begin, w),
                   dy = answers_of_dy(a, part.b, h, block.query.begin, w);
  score<T>(w, block, head_rows(a.k, part.b, part.key_head, block.key.begin), s.features, q, w.weights);
  score<T>(w, block, head_rows(a.v, part.b, part.key_head, block.key.begin), s.value_features, dy, w.slopes);
  if (s.dropout > 0) fill_dropout(block, s, part.b, h, w), multiply_by_extra(block, w, w.slopes);
  if (is_masked) fill_mask(block, a.mask, part.b, h, w);
  for (Index i = 0; i < block.queries(); i += kLanes<T>) {
    if (is_masked || block.is_cut) differentiate<T, true>(block, i, is_masked, w);
    else differentiate<T, false>(block, i, is_masked, w);
  }
  if (s.dropout == 0) return;
  if (is_masked) fill_dropout(block, s, part.b, h, w);  // else it is still there
  multiply_by_extra(block, w, w.weights);
}

template <class T>
void add_gradients(const AttentionBackward<T>& a, const Part& part, Index h, Range query, const Work<T>& w) {
  const AttentionSizes& s = a.sizes;
  const Band band(s);
  const Index width = padded<T>(s.features), step = key_block_backward(s.queries);
  const Index begin = larger(band.seen_by(query.begin).begin, part.keys.begin);
  const Index end = smaller(band.seen_by(query.end - 1).end, part.keys.end);
  fill(w.sums, query.count() * width, T(0));
  if (begin < end) load_queries(a, part.b, h, query, w);
  const auto q = whole<T>(head_rows(a.q, part.b, h, query.begin), query.count(), s.features, w.q_rows);
  const auto dy = whole<T>(head_rows(a.dy, part.b, h, query.begin), query.count(), s.value_features, w.dy_rows);
  for (Index j = begin / step * step; j < end; j += step) {
    const Block block(band, query, {j, smaller(j + step, end)});
    differentiate_block(a, part, h, block, w);
    if (part.of_keys && a.dv.data)
      add_by_key<T>(block, w.weights, dy, s.value_features, head_rows(a.dv, part.b, part.key_head, j));
    if (part.of_keys && a.dk.data)
      add_by_key<T>(block, w.slopes, q, s.features, head_rows(a.dk, part.b, part.key_head, j));
    if (part.of_queries && a.dmask) store_mask_gradient(a, part.b, h, block, w.slopes);
    if (!part.of_queries || !a.dq.data) continue;
    const auto k = whole<T>(head_rows(a.k, part.b, part.key_head, j), block.keys(), s.features, w.k_rows);
    const bool hides = a.mask.seen || a.mask.added || block.is_cut;
    add_by_query<T>(block, hides, w.slopes, k, s.features, {w.sums, width});
  }
  if (!part.of_queries || !a.dq.data) return;
  const T scale = static_cast<T>(s.scale);
  for (Index i = 0; i < query.count(); ++i)
    map(a.dq.at(part.b, h, query.begin + i), s.features, [=](Vec<T> x) { return x * scale; }, w.sums + i * width);
}

template <class T>
void differentiate_part(const AttentionBackward<T>& a, const Part& part, const Work<T>& w) {
  const AttentionSizes& s = a.sizes;
  const Index rows = part.keys.count(), step = query_block(s.queries);
  const auto dk = [&] { return head_rows(a.dk, part.b, part.key_head, part.keys.begin); };
  if (part.of_keys && a.dk.data) clear_rows(dk(), rows, s.features);
  if (part.of_keys && a.dv.data)
    clear_rows(head_rows(a.dv, part.b, part.key_head, part.keys.begin), rows, s.value_features);
  for (Index h = part.heads.begin; h < part.heads.end; ++h)
    for (Index i = part.queries.begin; i < part.queries.end; i += step)
      add_gradients(a, part, h, {i, smaller(i + step, part.queries.end)}, w);
  if (part.of_keys && a.dk.data) scale_rows(dk(), rows, s.features, static_cast<T>(s.scale));
}

// The parts, by number: of keys first, then of queries.
inline Part part_of(const AttentionSizes& s, Index item, Index key_parts) {
  const Index group = s.heads / s.key_heads;
  const Range all_queries{0, s.queries}, all_keys{0, s.keys};
  if (is_one_pass(s)) {
    const Index head = item % s.key_heads;
    return {item / s.key_heads, head, {head * group, (head + 1) * group}, all_queries, all_keys, true, true};
  }
  const Index in_parts = key_parts * s.batch * s.key_heads;
  if (item < in_parts) {
    const Index at = item / key_parts, head = at % s.key_heads, step = key_block_backward(s.queries);
    const Index first = item % key_parts * step;
    const Range keys{first, smaller(first + step, s.keys)};
    return {at / s.key_heads, head, {head * group, (head + 1) * group}, all_queries, keys, true, false};
  }
  const Index step = query_block(s.queries), query_parts = ceil_div(s.queries, step);
  const Index at = (item - in_parts) / query_parts, head = at % s.heads, first = (item - in_parts) % query_parts * step;
  const Range queries{first, smaller(first + step, s.queries)};
  return {at / s.heads, head / group, {head, head + 1}, queries, all_keys, false, true};
}

template <class T>
Status attention_backward(const Context& context, const AttentionBackward<T>& a) {
  const FloatMode mode;
  const AttentionSizes& s = a.sizes;
  const bool wants_keys = a.dk.data || a.dv.data, wants_queries = a.dq.data || a.dmask;
  const Index key_parts = wants_keys ? ceil_div(s.keys, key_block_backward(s.queries)) : 0;
  const Index query_parts = wants_queries ? ceil_div(s.queries, query_block(s.queries)) : 0;
  const Index items =
      is_one_pass(s) ? s.batch * s.key_heads : s.batch * (s.key_heads * key_parts + s.heads * query_parts);
  for_items<T>(context, s, items,
               [&](Index item, const Work<T>& w) { differentiate_part(a, part_of(s, item, key_parts), w); });
  return Status::ok;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
