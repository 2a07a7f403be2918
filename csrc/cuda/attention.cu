#include <algorithm>

#include "cuda/attention_few.h"
#include "cuda/attention_scores.h"
#include "cuda/offer.h"

// Forward: a block has a tile of queries and walks along the keys, its softmax and its sums adjusted as larger scores
// come, so that no more than a tile of scores exists.
// Source: Dao et al., "FlashAttention", arXiv:2205.14135, algorithm 1; Dao, arXiv:2307.08691, section 3.1.
namespace dd2424::cuda {
namespace {

// Of the 16 threads that share rows of a tile: half a warp.
template <class C>
__device__ inline C largest_of_row(C x) {
  for (int step = kSide / 2; step > 0; step /= 2) {
    const C other = __shfl_xor_sync(0xffffffff, x, step);
    x = other > x ? other : x;
  }
  return x;
}
template <class C>
__device__ inline C sum_of_row(C x) {
  for (int step = kSide / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
  return x;
}

// What a thread knows of its rows: the largest score so far, and its part of the sum of 2^(score - top).
template <class C>
struct Softmax {
  static constexpr int per = Tile<C>::per;
  C top[per], total[per];
};

// Scores become weights; what was summed before is to be multiplied by `factors`.
template <class C>
__device__ inline void exponentiate(Square<C>& scores, Softmax<C>& softmax, C (&factors)[Tile<C>::per]) {
  constexpr int per = Tile<C>::per;
#pragma unroll
  for (int i = 0; i < per; ++i) {
    C top = softmax.top[i];
#pragma unroll
    for (int j = 0; j < per; ++j) top = scores.at[i][j] > top ? scores.at[i][j] : top;
    top = largest_of_row(top);
    factors[i] = exp2(softmax.top[i] - top);
    softmax.top[i] = top;
    C sum = 0;
#pragma unroll
    for (int j = 0; j < per; ++j) sum += scores.at[i][j] = exp2(scores.at[i][j] - top);
    softmax.total[i] = fma(softmax.total[i], factors[i], sum);
  }
}

// Multiplies sums by 1 / total and stores them, and the logarithm of the total.
template <class T, int chunks>
__device__ void finish_queries(const AttentionForward<T>& a, const Place& at, Index first,
                               const Softmax<Computed<T>>& softmax, const Sums<Computed<T>, chunks>& sums) {
  using C = Computed<T>;
  constexpr int per = Tile<C>::per;
  C scales[per];
#pragma unroll
  for (int i = 0; i < per; ++i) {
    const C total = sum_of_row(softmax.total[i]);
    scales[i] = total == C(0) ? C(0) : 1 / total;
    const Index query = at.query + down() * per + i;
    if (!a.lse || first != 0 || across() != 0 || query >= a.sizes.queries) continue;
    a.lse[(at.b * a.sizes.heads + at.h) * a.sizes.queries + query] =
        total == C(0) ? -kHidden<C> : softmax.top[i] + log2(total);
  }
  store_sums(a.y, at.b, at.h, at.query, a.sizes.queries, first, a.sizes.value_features, sums, scales);
}

template <class T, int chunks>
__global__ void __launch_bounds__(kBlock, chunks == 4 ? 1 : 2) attend(AttentionForward<T> a, Dropping dropping) {
  using C = Computed<T>;
  constexpr int per = Tile<C>::per, rows = Tile<C>::rows;
  __shared__ Shared<C> shared;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + rows - 1) / rows, head = quotient(blockIdx.x, tiles);
  const Index query = (tiles - 1 - (blockIdx.x - head * tiles)) * rows;  // the longest walks of a causal head first
  Place at{quotient(head, s.heads), 0, query, 0};
  at.h = head - at.b * s.heads;
  const Index key_head = at.h / (s.heads / s.key_heads), first = Index{blockIdx.y} * Sums<C, chunks>::width;
  const Index last = query + rows < s.queries ? query + rows - 1 : s.queries - 1, end = seen_by(s, last).end;
  const RowsOf<T> q = rows_of(a.q, at.b, at.h, query, s.queries, s.features);
  Softmax<C> softmax;
  for (int i = 0; i < per; ++i) softmax.top[i] = kLowest<C>, softmax.total[i] = 0;
  Sums<C, chunks> sums{};
  for (at.key = seen_by(s, query).begin / rows * rows; at.key < end; at.key += rows) {
    const RowsOf<T> k = rows_of(a.k, at.b, key_head, at.key, end, s.features);
    const RowsOf<T> v = rows_of(a.v, at.b, key_head, at.key, end, s.value_features);
    Square<C> scores = score(shared, q, k, static_cast<C>(s.scale * kLog2E));
    const bool cut = is_cut<C>(s, at);
    finish_scores<false>(scores, s, a.mask, at, cut);
    C factors[per];
    exponentiate(scores, softmax, factors);
#pragma unroll
    for (int i = 0; i < per; ++i)
#pragma unroll
      for (int c = 0; c < chunks; ++c)
#pragma unroll
        for (int f = 0; f < per; ++f) sums.at[i][c][f] *= factors[i];
    if (s.dropout > 0) multiply(scores, draw_factors<false, C>(s, dropping, at));
    keep_weights(shared, scores);
    add_product(sums, shared, v, first, cut || a.mask.seen || a.mask.added);
  }
  finish_queries(a, at, first, softmax, sums);
}

template <int chunks, class T>
Status attend_tiles(const Context& context, const AttentionForward<T>& a) {
  using C = Computed<T>;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + Tile<C>::rows - 1) / Tile<C>::rows, width = Sums<C, chunks>::width;
  const dim3 blocks(static_cast<unsigned>(s.batch * s.heads * tiles),
                    static_cast<unsigned>((s.value_features + width - 1) / width));
  return launch(context, blocks, dim3(kBlock), attend<T, chunks>, a, Dropping(s));
}

// As many features of y as a block can hold; more are shared by several, each of which makes the weights anew.
template <class T>
Status attention_forward(const Context& context, const AttentionForward<T>& a) {
  const AttentionSizes& s = a.sizes;
  if (s.batch * s.heads * s.queries * s.value_features == 0) return Status::ok;
  if (is_few(a)) return forward_of_few(context, a);
  if constexpr (std::is_same_v<T, float>)
    if (takes_floats(a)) return forward_of_floats(context, a);
  if (s.value_features <= Sums<Computed<T>, 1>::width) return attend_tiles<1>(context, a);
  if (s.value_features <= Sums<Computed<T>, 2>::width) return attend_tiles<2>(context, a);
  return attend_tiles<4>(context, a);
}

template <class T>
std::size_t attention_workspace(const AttentionSizes& s) {
  const std::size_t few = few_workspace<T>(s), deltas = static_cast<std::size_t>(s.batch * s.heads * s.queries);
  return std::max(few, deltas * sizeof(Computed<T>));  // deltas: backward's sums of dy * y
}

template <class T>
constexpr AttentionKernels<T> kAttention{.attention_fits = nullptr,
                                         .attention_forward = attention_forward<T>,
                                         .attention_backward = attention_backward<T>,
                                         .attention_workspace = attention_workspace<T>};

}  // namespace

void offer_attention(DeviceTables& tables) {
  offer(tables, kAttention<float>);
  offer(tables, kAttention<double>);
  offer_tensor_attention(tables);
}

}  // namespace dd2424::cuda
