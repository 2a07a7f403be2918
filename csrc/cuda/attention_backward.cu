#include "cuda/attention_deltas.h"
#include "cuda/attention_scores.h"

// Backward: weights are computed again, tile by tile. With P the weights, dS the gradient by the scores,
//   dV = P^T dY, dP = dY V^T, delta = sum of dY Y over features, dS = P (dP - delta), dQ = scale dS K, dK = scale dS^T
//   Q
// A block has a tile of keys and walks along the queries for dK and dV; another has a tile of queries and walks along
// the keys for dQ. That takes 7 products instead of 5, and no sum that threads would have to share.
// Source: Dao et al., "FlashAttention", arXiv:2205.14135, algorithm 4.
namespace dd2424::cuda {
namespace {

// What forward and sum_products left for a thread's queries; beyond the last one 0.
template <class C>
struct OfQueries {
  static constexpr int per = Tile<C>::per;
  C lse[per], delta[per];
};
template <class T>
__device__ OfQueries<Computed<T>> read_queries(const AttentionBackward<T>& a, const Computed<T>* deltas,
                                               const Place& at, Index query) {
  OfQueries<Computed<T>> found{};
  const Index first = (at.b * a.sizes.heads + at.h) * a.sizes.queries;
#pragma unroll
  for (int i = 0; i < found.per; ++i) {
    if (query + i >= a.sizes.queries) continue;
    found.lse[i] = a.lse[first + query + i];
    found.delta[i] = deltas[first + query + i];
  }
  return found;
}

// Scores become weights, as dropout leaves them, and dP becomes dS.
template <bool keys_lead, class T>
__device__ void differentiate(Square<Computed<T>>& weights, Square<Computed<T>>& slopes, const AttentionBackward<T>& a,
                              const Dropping& dropping, const OfQueries<Computed<T>>& of_queries, const Place& at,
                              bool hides) {
  using C = Computed<T>;
  using L = Layout<keys_lead, C>;
  const bool drops = a.sizes.dropout > 0;
  Square<C> factors;
  if (drops) {
    factors = draw_factors<keys_lead, C>(a.sizes, dropping, at);
    multiply(slopes, factors);
  }
#pragma unroll
  for (int q = 0; q < L::per; ++q)
#pragma unroll
    for (int k = 0; k < L::per; ++k) {
      C &weight = L::of(weights, q, k), &slope = L::of(slopes, q, k);
      weight = exp2(weight - of_queries.lse[q]);
      slope = hides && weight == C(0) ? C(0) : weight * (slope - of_queries.delta[q]);  // a hidden value may be NaN
    }
  if (drops) multiply(weights, factors);
}

template <class T>
__device__ inline bool is_masked(const AttentionBackward<T>& a) {
  return a.mask.seen || a.mask.added;
}
template <class T, class C>
__device__ inline void fill_scales(C (&scales)[Tile<C>::per], T scale) {
  for (int i = 0; i < Tile<C>::per; ++i) scales[i] = static_cast<C>(scale);
}

template <class T>
__device__ void store_mask_gradient(const AttentionBackward<T>& a, const Place& at, const Square<Computed<T>>& slopes) {
  using C = Computed<T>;
  const AttentionSizes& s = a.sizes;
  const Index query = Layout<false, C>::query(at), key = Layout<false, C>::key(at);
  T* to = a.dmask + ((at.b * s.heads + at.h) * s.queries + query) * s.keys + key;
#pragma unroll
  for (int i = 0; i < Tile<C>::per; ++i)
#pragma unroll
    for (int j = 0; j < Tile<C>::per; ++j)
      if (query + i < s.queries && key + j < s.keys) to[i * s.keys + j] = element<T>(slopes.at[i][j]);
}

template <class T, int chunks>
__global__ void __launch_bounds__(kBlock, 3 - chunks)
    differentiate_queries(AttentionBackward<T> a, Dropping dropping, const Computed<T>* deltas) {
  using C = Computed<T>;
  constexpr int per = Tile<C>::per, rows = Tile<C>::rows;
  __shared__ Shared<C> shared;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + rows - 1) / rows, head = quotient(blockIdx.x, tiles);
  const Index query = (tiles - 1 - (blockIdx.x - head * tiles)) * rows;
  Place at{quotient(head, s.heads), 0, query, 0};
  at.h = head - at.b * s.heads;
  const Index key_head = at.h / (s.heads / s.key_heads), first = Index{blockIdx.y} * Sums<C, chunks>::width;
  const Index last = query + rows < s.queries ? query + rows - 1 : s.queries - 1, end = seen_by(s, last).end;
  const RowsOf<T> q = rows_of(a.q, at.b, at.h, query, s.queries, s.features);
  const RowsOf<T> dy = rows_of(a.dy, at.b, at.h, query, s.queries, s.value_features);
  const OfQueries<C> of_queries = read_queries(a, deltas, at, Layout<false, C>::query(at));
  Sums<C, chunks> sums{};
  for (at.key = seen_by(s, query).begin / rows * rows; at.key < end; at.key += rows) {
    const RowsOf<T> k = rows_of(a.k, at.b, key_head, at.key, end, s.features);
    const RowsOf<T> v = rows_of(a.v, at.b, key_head, at.key, end, s.value_features);
    Square<C> weights = score(shared, q, k, static_cast<C>(s.scale * kLog2E));
    const bool cut = is_cut<C>(s, at), hides = cut || is_masked(a);
    finish_scores<false>(weights, s, a.mask, at, cut);
    Square<C> slopes = score(shared, dy, v, C(1));
    differentiate<false>(weights, slopes, a, dropping, of_queries, at, hides);
    if (a.dmask && first == 0) store_mask_gradient(a, at, slopes);
    if (!a.dq.data) continue;
    keep_weights(shared, slopes);
    add_product(sums, shared, k, first, hides);
  }
  if (!a.dq.data) return;
  C scales[per];
  fill_scales(scales, s.scale);
  store_sums(a.dq, at.b, at.h, query, s.queries, first, s.features, sums, scales);
}

template <class T, int chunks>
__global__ void __launch_bounds__(kBlock, 1)
    differentiate_keys(AttentionBackward<T> a, Dropping dropping, const Computed<T>* deltas) {
  using C = Computed<T>;
  constexpr int per = Tile<C>::per, rows = Tile<C>::rows;
  __shared__ Shared<C> shared;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.keys + rows - 1) / rows, head = quotient(blockIdx.x, tiles);
  const Index key = (blockIdx.x - head * tiles) * rows, group = s.heads / s.key_heads;  // causal: the first see most
  Place at{quotient(head, s.key_heads), 0, 0, key};
  const Index key_head = head - at.b * s.key_heads, first = Index{blockIdx.y} * Sums<C, chunks>::width;
  const Index last = key + rows < s.keys ? key + rows - 1 : s.keys - 1;
  const Range see{that_see(s, key).begin, that_see(s, last).end};
  const RowsOf<T> k = rows_of(a.k, at.b, key_head, key, s.keys, s.features);
  const RowsOf<T> v = rows_of(a.v, at.b, key_head, key, s.keys, s.value_features);
  const bool wants_k = a.dk.data && first < s.features, wants_v = a.dv.data && first < s.value_features;
  Sums<C, chunks> dk{}, dv{};
  for (at.h = key_head * group; at.h < (key_head + 1) * group; ++at.h)
    for (at.query = see.begin / rows * rows; at.query < see.end; at.query += rows) {
      const RowsOf<T> q = rows_of(a.q, at.b, at.h, at.query, s.queries, s.features);
      const RowsOf<T> dy = rows_of(a.dy, at.b, at.h, at.query, s.queries, s.value_features);
      Square<C> weights = score(shared, k, q, static_cast<C>(s.scale * kLog2E));
      const bool cut = is_cut<C>(s, at);
      finish_scores<true>(weights, s, a.mask, at, cut);
      Square<C> slopes = score(shared, v, dy, C(1));
      differentiate<true>(weights, slopes, a, dropping, read_queries(a, deltas, at, Layout<true, C>::query(at)), at,
                          cut || is_masked(a));
      if (wants_v) {
        keep_weights(shared, weights);
        add_product(dv, shared, dy, first, false);
      }
      if (wants_k) {
        keep_weights(shared, slopes);
        add_product(dk, shared, q, first, false);
      }
    }
  C scales[per];
  fill_scales(scales, s.scale);
  if (wants_k) store_sums(a.dk, at.b, key_head, key, s.keys, first, s.features, dk, scales);
  fill_scales(scales, 1);
  if (wants_v) store_sums(a.dv, at.b, key_head, key, s.keys, first, s.value_features, dv, scales);
}

template <int chunks, class T>
Status differentiate_tiles(const Context& context, const AttentionBackward<T>& a, Index features,
                           const Computed<T>* deltas) {
  using C = Computed<T>;
  constexpr Index rows = Tile<C>::rows, width = Sums<C, chunks>::width;
  const AttentionSizes& s = a.sizes;
  const auto grid = [](Index heads, Index count, Index columns) {
    const Index parts = (columns + width - 1) / width;
    return dim3(static_cast<unsigned>(heads * ((count + rows - 1) / rows)), static_cast<unsigned>(parts ? parts : 1));
  };
  Status status = Status::ok;
  if ((a.dk.data || a.dv.data) && s.keys > 0)
    status = launch(context, grid(s.batch * s.key_heads, s.keys, features), dim3(kBlock), differentiate_keys<T, chunks>,
                    a, Dropping(s), deltas);
  if (status != Status::ok || (!a.dq.data && !a.dmask) || s.queries == 0) return status;
  return launch(context, grid(s.batch * s.heads, s.queries, s.features), dim3(kBlock), differentiate_queries<T, chunks>,
                a, Dropping(s), deltas);
}

}  // namespace

template <class T>
Status attention_backward(const Context& context, const AttentionBackward<T>& a) {
  using C = Computed<T>;
  const AttentionSizes& s = a.sizes;
  const Index features = s.features > s.value_features ? s.features : s.value_features;
  if (s.batch * s.heads == 0) return Status::ok;
  const auto* deltas = static_cast<const C*>(context.workspace);
  if (const Status status = make_deltas(context, a); status != Status::ok) return status;
  if constexpr (std::is_same_v<T, float>)
    if (takes_floats(a)) return backward_of_floats(context, a);
  return features <= Sums<C, 1>::width ? differentiate_tiles<1>(context, a, features, deltas)
                                       : differentiate_tiles<2>(context, a, features, deltas);
}

template Status attention_backward<float>(const Context&, const AttentionBackward<float>&);
template Status attention_backward<double>(const Context&, const AttentionBackward<double>&);

}  // namespace dd2424::cuda
