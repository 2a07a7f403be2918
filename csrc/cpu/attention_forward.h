#pragma once
// Forward: a block of queries walks along the keys, its softmax and its sums adjusted as larger scores come.
// Source: Dao et al., "FlashAttention", arXiv:2205.14135, algorithm 1; Dao, arXiv:2307.08691, section 3.1.
#include "core/float_mode.h"
#include "core/parallel.h"
#include "cpu/attention_weights.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// Calls body(item, work) for all items, by as many threads as there are teams: each has a share of neighbouring ones,
// and then takes what others have left.
template <class T, class Body>
void for_items(const Context& context, const AttentionSizes& s, Index items, const Body& body) {
  constexpr Index kMostTeams = 64;
  const Index teams = smaller(smaller(s.teams, kMostTeams), items);
  if (teams == 0) return;
  Index next[kMostTeams];
  for (Index i = 0; i < teams; ++i) next[i] = i * items / teams;
  const Index macs = s.batch * s.heads * s.queries * s.keys * (s.features + s.value_features);
  parallel_for(teams, 1 + kGrainMacs / (macs / teams + 1), [&](Index begin, Index end) {
    for (Index team = begin; team < end; ++team) {
      Work<T> w;
      const Index bytes = lay_out(w, nullptr, s);
      lay_out(w, static_cast<char*>(context.workspace) + team * bytes, s);
      for (Index i = 0; i < teams; ++i) {
        const Index share = (team + i) % teams, last = (share + 1) * items / teams;
        for (Index item; (item = __atomic_fetch_add(&next[share], 1, __ATOMIC_RELAXED)) < last;) body(item, w);
      }
    }
  });
}

template <class T>
Rows<T> head_rows(const HeadRows<T>& x, Index b, Index h, Index row = 0) {
  return {x.at(b, h, row), x.row};
}
template <class T>
void fill(T* x, Index count, T value) {
  for (Index i = 0; i < count; ++i) x[i] = value;
}

// y = sums / total, and the logarithm of the total.
template <class T>
void finish_queries(const AttentionForward<T>& a, Index b, Index h, Range query, const Work<T>& w) {
  const Index width = padded<T>(a.sizes.value_features);
  for (Index i = 0; i < query.count(); ++i) {
    const T scale = w.total[i] == T(0) ? T(0) : 1 / w.total[i];
    map(a.y.at(b, h, query.begin + i), a.sizes.value_features, [=](Vec<T> x) { return x * scale; }, w.sums + i * width);
  }
  if (!a.lse) return;
  T* lse = a.lse + (b * a.sizes.heads + h) * a.sizes.queries + query.begin;
  map(
      lse, query.count(),
      [](Vec<T> top, Vec<T> total) { return total == T(0) ? -broadcast(kHidden<T>) : top + log2(total); }, w.top,
      w.total);
}

template <class T>
void attend(const AttentionForward<T>& a, Index b, Index h, Range query, const Work<T>& w) {
  const AttentionSizes& s = a.sizes;
  const Band band(s);
  const Index key_head = h / (s.heads / s.key_heads), width = padded<T>(s.value_features);
  const bool is_masked = a.mask.seen || a.mask.added;
  const Answers<T> q{head_rows(a.q, b, h, query.begin), w.q_across, static_cast<T>(s.scale * kLog2E)};
  turn<T>(q.rows, query.count(), s.features, q.scale, w.q_across);
  fill(w.sums, query.count() * width, T(0));
  fill(w.total, kQueries, T(0)), fill(w.top, kQueries, kLowest<T>);
  const Index begin = band.seen_by(query.begin).begin, end = band.seen_by(query.end - 1).end;
  const Index step = key_block_forward(s.queries);
  for (Index j = begin / step * step; j < end; j += step) {
    const Block block(band, query, {j, smaller(j + step, end)});
    score<T>(w, block, head_rows(a.k, b, key_head, j), s.features, q, w.weights);
    if (is_masked) fill_mask(block, a.mask, b, h, w);
    for (Index i = 0; i < block.queries(); i += kLanes<T>) exponentiate(block, i, is_masked, w);
    for (Index i = 0; j > begin && i < block.queries(); ++i) {
      const T factor = w.factor[i];
      T* sums = w.sums + i * width;
      if (factor != T(1)) map(sums, width, [=](Vec<T> x) { return x * factor; }, sums);
    }
    if (s.dropout > 0) fill_dropout(block, s, b, h, w), multiply_by_extra(block, w, w.weights);
    const auto v = whole<T>(head_rows(a.v, b, key_head, j), block.keys(), s.value_features, w.v_rows);
    add_by_query<T>(block, is_masked || block.is_cut, w.weights, v, s.value_features, {w.sums, width});
  }
  finish_queries(a, b, h, query, w);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
