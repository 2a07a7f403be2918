#include "cuda/attention_deltas.h"
#include "cuda/attention_tensor.h"

// Backward of the short types on tensor cores, with the names and the two kernels of attention_backward.cu: a block of
// four warps has keys and walks along the queries for dK and dV; another has queries and walks along the keys for dQ.
namespace dd2424::cuda {
namespace {

constexpr int kBackwardThreads = 128, kWarps = kBackwardThreads / kWarp;

// Scores and slopes of `down` times 16 rows and `across` times 8 columns of a warp.
template <int down, int across>
using Fragment = float[down][across][4];

// Hides scores. Rows are keys where keys lead, else queries; `at` is the first of each.
template <bool keys_lead, bool masked, class T, int down, int across>
__device__ void hide(Fragment<down, across>& scores, const AttentionBackward<T>& a, const Place& at) {
  const AttentionSizes& s = a.sizes;
  const Index first_row = keys_lead ? at.key : at.query, first_column = keys_lead ? at.query : at.key;
  const Index down_step = keys_lead ? a.mask.key : a.mask.query, across_step = keys_lead ? a.mask.query : a.mask.key;
#pragma unroll
  for (int m = 0; m < down; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Index row = first_row + m * 16 + half * 8 + lane() / 4;
      const bool exists = row < (keys_lead ? s.keys : s.queries);
      const Range seen = keys_lead ? that_see(s, row) : seen_by(s, row);
      const int begin = static_cast<int>(clamped(seen.begin - first_column, 0, across * 8)),
                end = exists ? static_cast<int>(clamped(seen.end - first_column, 0, across * 8)) : 0;
      const bool* mask =
          a.mask.seen + at.b * a.mask.batch + at.h * a.mask.head + row * down_step + first_column * across_step;
#pragma unroll
      for (int n = 0; n < across; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = n * 8 + lane() % 4 * 2 + i;
          float& score = scores[m][n][2 * half + i];
          if (column < begin || column >= end || (masked && !mask[column * across_step])) score = kHidden<float>;
        }
    }
}

// dP becomes dS. What a weight of 0 hides may be NaN.
template <int down, int across, class Delta>
__device__ void differentiate(Fragment<down, across>& slopes, const Fragment<down, across>& weights, bool hides,
                              const Delta& delta) {
#pragma unroll
  for (int m = 0; m < down; ++m)
#pragma unroll
    for (int n = 0; n < across; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float weight = weights[m][n][e], slope = weight * (slopes[m][n][e] - delta(m, n, e));
        slopes[m][n][e] = hides && weight == 0 ? 0.f : slope;
      }
}

template <int features>
struct OfKeys {  // how the block of dK and dV is laid out
  static constexpr int down = features == 128 ? 1 : 2, across = 8 / down;
  static constexpr int own = 16 * down, rows = kWarps * own;  // keys of a warp and of a block
  static constexpr int tile_bytes = kTensorRows * Lines<features>::row_bytes,
                       rows_bytes = rows * Lines<features>::row_bytes;
  static constexpr int stage_bytes = 2 * tile_bytes + 2 * kTensorRows * static_cast<int>(sizeof(float));
  static constexpr std::size_t shared_bytes = 2 * (rows_bytes + stage_bytes);
};

// Where a block of dK and dV stands. It walks along tiles of the queries of all heads of its group, one after the
// other.
struct KeyBlock {
  Index b, key_head, key, first_head, first_query;
  int tiles, count;  // of a head, of all
  __device__ KeyBlock(const AttentionSizes& s, Index rows) {
    const Index blocks = (s.keys + rows - 1) / rows, head = quotient(blockIdx.x, blocks), group = s.heads / s.key_heads;
    key = (blockIdx.x - head * blocks) * rows;  // causal: what is seen most comes first
    b = quotient(head, s.key_heads), key_head = head - b * s.key_heads;
    const Index last = key + rows < s.keys ? key + rows - 1 : s.keys - 1, end = that_see(s, last).end;
    first_head = key_head * group, first_query = that_see(s, key).begin / kTensorRows * kTensorRows;
    tiles = first_query < end ? static_cast<int>((end - first_query + kTensorRows - 1) / kTensorRows) : 0;
    count = tiles * static_cast<int>(group);
  }
};
struct Step {  // of that walk
  Index head;
  int tile = 0;
  __device__ Index query(const KeyBlock& block) const { return block.first_query + tile * kTensorRows; }
  __device__ Step next(const KeyBlock& block) const {
    return tile + 1 < block.tiles ? Step{head, tile + 1} : Step{head + 1, 0};
  }
};

// lse and delta of the queries of a tile, by a thread each; a weight of a query that is not there is 0.
template <class T>
__device__ float of_query(const AttentionBackward<T>& a, const float* deltas, Index b, Index h, Index query) {
  const AttentionSizes& s = a.sizes;
  const int thread = static_cast<int>(threadIdx.x);
  const Index q = query + thread % kTensorRows, row = (b * s.heads + h) * s.queries + q;
  if (q >= s.queries) return thread < kTensorRows ? -kHidden<float> : 0.f;
  return thread < kTensorRows ? a.lse[row] : deltas[row];
}

template <int features, class T>
__device__ void start_queries(std::byte* stage, const AttentionBackward<T>& a, const KeyBlock& block,
                              const Step& step) {
  const Index h = step.head, query = step.query(block), left = a.sizes.queries - query;
  start_rows<features, kTensorRows, kBackwardThreads>(stage, row_at(a.q, block.b, h, query), a.q.row, left,
                                                      a.sizes.features);
  start_rows<features, kTensorRows, kBackwardThreads>(
      stage + OfKeys<features>::tile_bytes, row_at(a.dy, block.b, h, query), a.dy.row, left, a.sizes.value_features);
  close_copies();
}

template <int features>
struct KeySums {
  float dk[OfKeys<features>::down][features / 8][4], dv[OfKeys<features>::down][features / 8][4];
};
// Adds what some queries bring to the keys of a warp; `at` is the first of each.
template <int features, bool masked, class T>
__device__ __forceinline__ void add_queries(KeySums<features>& sums, const AttentionBackward<T>& a, const Place& at,
                                            const std::byte* keys, const std::byte* values, int own,
                                            const std::byte* queries, const float* lse, float scale, bool hides) {
  constexpr int down = OfKeys<features>::down, across = OfKeys<features>::across;
  const std::byte* slopes_of_y = queries + OfKeys<features>::tile_bytes;
  const float* delta = lse + kTensorRows;
  Fragment<down, across> weights, slopes;
  multiply_rows<T, features>(weights, keys, own, queries);
  if (hides) hide<true, masked>(weights, a, at);
#pragma unroll
  for (int n = 0; n < across; ++n)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const float of_column = lse[n * 8 + lane() % 4 * 2 + j];
#pragma unroll
      for (int m = 0; m < down; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float& weight = weights[m][n][2 * half + j];
          weight = power_of_two(fmaf(weight, scale, -of_column));
        }
    }
  add_rows<features>(sums.dv, Weights<T, down, across>(weights), slopes_of_y);
  multiply_rows<T, features>(slopes, values, own, slopes_of_y);
  differentiate(slopes, weights, hides, [&](int, int n, int e) { return delta[n * 8 + lane() % 4 * 2 + e % 2]; });
  add_rows<features>(sums.dk, Weights<T, down, across>(slopes), queries);
}

template <class T, int features, bool masked>
__global__ void __launch_bounds__(kBackwardThreads, 2)
    differentiate_keys_on_tensor_cores(AttentionBackward<T> a, const float* deltas) {
  using S = OfKeys<features>;
  constexpr int down = S::down, part_rows = S::across * 8;
  const AttentionSizes& s = a.sizes;
  const KeyBlock block(s, S::rows);
  const float scale = static_cast<float>(s.scale * kLog2E);
  auto* keys = reinterpret_cast<std::byte*>(asked_shared());
  std::byte *values = keys + S::rows_bytes, *stages = values + S::rows_bytes;
  const auto lse_of = [&](int i) {
    return reinterpret_cast<float*>(stages + i % 2 * S::stage_bytes + 2 * S::tile_bytes);
  };
  start_rows<features, S::rows, kBackwardThreads>(keys, row_at(a.k, block.b, block.key_head, block.key), a.k.row,
                                                  s.keys - block.key, s.features);
  start_rows<features, S::rows, kBackwardThreads>(values, row_at(a.v, block.b, block.key_head, block.key), a.v.row,
                                                  s.keys - block.key, s.value_features);
  close_copies();
  Step next{block.first_head};
  if (block.count > 0) {
    start_queries<features>(stages, a, block, next);
    lse_of(0)[threadIdx.x] = of_query(a, deltas, block.b, next.head, next.query(block));
  }
  KeySums<features> sums{};
  const int own = warp() * S::own;
  const Index first_key = block.key + own, last_key = first_key + S::own - 1;
  const Span any = span_of<true>(s, first_key, last_key), all = span_of<true>(s, last_key, first_key);
#pragma unroll 1
  for (int i = 0; i < block.count; ++i) {
    const Step step = next;
    wait_for_copies<0>();
    __syncthreads();
    float of_next = 0;
    if (i + 1 < block.count) {
      next = step.next(block);
      start_queries<features>(stages + (i + 1) % 2 * S::stage_bytes, a, block, next);
      of_next = of_query(a, deltas, block.b, next.head, next.query(block));
    }
#pragma unroll 1
    for (int part = 0; part < down; ++part) {
      const int query = static_cast<int>(step.query(block)) + part * part_rows;
      if (!any.meets(query, part_rows)) continue;
      const std::byte* queries = stages + i % 2 * S::stage_bytes + part * part_rows * Lines<features>::row_bytes;
      add_queries<features, masked>(sums, a, {block.b, step.head, query, first_key}, keys, values, own, queries,
                                    lse_of(i) + part * part_rows, scale, masked || !all.has(query, part_rows));
    }
    if (i + 1 < block.count) lse_of(i + 1)[threadIdx.x] = of_next;
  }
  wait_for_copies<0>();
  __syncthreads();
  float scales[down][2], ones[down][2];
#pragma unroll
  for (int m = 0; m < down; ++m) scales[m][0] = scales[m][1] = static_cast<float>(s.scale), ones[m][0] = ones[m][1] = 1;
  if (a.dk.data)
    store_rows<features>(keys, own, a.dk, block.b, block.key_head, block.key, s.keys, s.features, sums.dk, scales);
  if (a.dv.data)
    store_rows<features>(values, own, a.dv, block.b, block.key_head, block.key, s.keys, s.value_features, sums.dv,
                         ones);
}

template <int features>
struct OfQueryBlock {  // how the block of dQ is laid out
  static constexpr int down = 2, across = 4, keys = across * 8;
  static constexpr int own = 16 * down, rows = kWarps * own;
  static constexpr int tile_bytes = keys * Lines<features>::row_bytes, rows_bytes = rows * Lines<features>::row_bytes;
  static constexpr std::size_t shared_bytes = 2 * rows_bytes + 4 * tile_bytes;
};

struct OfRows {  // of a lane
  float lse[2][2], delta[2][2];
};
template <class T>
__device__ OfRows rows_of_lane(const AttentionBackward<T>& a, const float* deltas, Index head, Index first) {
  OfRows found;
#pragma unroll
  for (int m = 0; m < 2; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Index query = first + m * 16 + half * 8 + lane() / 4, row = head * a.sizes.queries + query;
      found.lse[m][half] = query < a.sizes.queries ? a.lse[row] : -kHidden<float>;
      found.delta[m][half] = query < a.sizes.queries ? deltas[row] : 0;
    }
  return found;
}
// Adds what a tile of keys brings to the queries of a warp. `unhidden`: a key that is not finite meets weights of 0.
template <int features, bool masked, class T>
__device__ __forceinline__ void add_keys(float (&dq)[2][features / 8][4], const AttentionBackward<T>& a,
                                         const Place& at, const std::byte* queries, const std::byte* slopes_of_y,
                                         int own, const std::byte* keys, const OfRows& rows, float scale, bool hides,
                                         bool unhidden) {
  using S = OfQueryBlock<features>;
  constexpr int down = S::down, across = S::across;
  Fragment<down, across> weights, slopes;
  multiply_rows<T, features>(weights, queries, own, keys);
  if (hides) hide<false, masked>(weights, a, at);
#pragma unroll
  for (int m = 0; m < down; ++m)
#pragma unroll
    for (int n = 0; n < across; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) weights[m][n][e] = power_of_two(fmaf(weights[m][n][e], scale, -rows.lse[m][e / 2]));
  multiply_rows<T, features>(slopes, slopes_of_y, own, keys + S::tile_bytes);
  differentiate(slopes, weights, hides, [&](int m, int, int e) { return rows.delta[m][e / 2]; });
  const Weights<T, down, across> rounded(slopes);
  if (unhidden) add_rows_unhidden<features>(dq, rounded, keys);
  else add_rows<features>(dq, rounded, keys);
}

template <class T, int features, bool masked>
__global__ void __launch_bounds__(kBackwardThreads, 2)
    differentiate_queries_on_tensor_cores(AttentionBackward<T> a, const float* deltas) {
  using S = OfQueryBlock<features>;
  const AttentionSizes& s = a.sizes;
  const Index blocks = (s.queries + S::rows - 1) / S::rows, head = quotient(blockIdx.x, blocks);
  const Index query = (blocks - 1 - (blockIdx.x - head * blocks)) * S::rows, b = quotient(head, s.heads);
  const Index h = head - b * s.heads, key_head = h / (s.heads / s.key_heads);
  const Index last = query + S::rows < s.queries ? query + S::rows - 1 : s.queries - 1;
  const Span seen = span_of<false>(s, query, last), seen_by_all = span_of<false>(s, last, query);
  const int begin = seen.begin / S::keys * S::keys, end = seen.end;
  const float scale = static_cast<float>(s.scale * kLog2E);

  auto* queries = reinterpret_cast<std::byte*>(asked_shared());
  std::byte *slopes_of_y = queries + S::rows_bytes, *tiles = slopes_of_y + S::rows_bytes;
  const auto load = [&](int key, int stage) {
    std::byte* to = tiles + stage * 2 * S::tile_bytes;
    start_rows<features, S::keys, kBackwardThreads>(to, row_at(a.k, b, key_head, key), a.k.row, end - key, s.features);
    start_rows<features, S::keys, kBackwardThreads>(to + S::tile_bytes, row_at(a.v, b, key_head, key), a.v.row,
                                                    end - key, s.value_features);
    close_copies();
  };
  start_rows<features, S::rows, kBackwardThreads>(queries, row_at(a.q, b, h, query), a.q.row, s.queries - query,
                                                  s.features);
  start_rows<features, S::rows, kBackwardThreads>(slopes_of_y, row_at(a.dy, b, h, query), a.dy.row, s.queries - query,
                                                  s.value_features);
  close_copies();
  if (begin < end) load(begin, 0);

  const int own = warp() * S::own;
  float dq[S::down][features / 8][4] = {};
  const OfRows rows = rows_of_lane(a, deltas, head, query + own);
  const Index first_of_warp = query + own, last_of_warp = first_of_warp + S::own - 1;
  const Span any = span_of<false>(s, first_of_warp, last_of_warp), all = span_of<false>(s, last_of_warp, first_of_warp);
  int stage = 0;
#pragma unroll 1
  for (int key = begin; key < end; key += S::keys, stage ^= 1) {
    const std::byte* keys = tiles + stage * 2 * S::tile_bytes;
    wait_for_copies<0>();
    bool unhidden = false;
    if (masked || !seen_by_all.has(key, S::keys))
      unhidden = __syncthreads_or(copied_not_finite<T, features, S::keys, kBackwardThreads>(keys));
    else __syncthreads();
    if (key + S::keys < end) load(key + S::keys, stage ^ 1);
    if (!any.meets(key, S::keys)) continue;
    add_keys<features, masked>(dq, a, {b, h, first_of_warp, key}, queries, slopes_of_y, own, keys, rows, scale,
                               masked || !all.has(key, S::keys), unhidden);
  }
  wait_for_copies<0>();
  __syncthreads();
  float scales[S::down][2];
#pragma unroll
  for (int m = 0; m < S::down; ++m) scales[m][0] = scales[m][1] = static_cast<float>(s.scale);
  store_rows<features>(queries, own, a.dq, b, h, query, s.queries, s.features, dq, scales);
}

template <int features, bool masked, class T>
Status differentiate_tiles(const Context& context, const AttentionBackward<T>& a) {
  const AttentionSizes& s = a.sizes;
  const auto* deltas = static_cast<const float*>(context.workspace);
  const auto grid = [](Index heads, Index count, Index rows) {
    return dim3(static_cast<unsigned>(heads * ((count + rows - 1) / rows)));
  };
  Status status = Status::ok;
  if ((a.dk.data || a.dv.data) && s.keys > 0)
    status = launch_asking(context, grid(s.batch * s.key_heads, s.keys, OfKeys<features>::rows), dim3(kBackwardThreads),
                           OfKeys<features>::shared_bytes, false,
                           differentiate_keys_on_tensor_cores<T, features, masked>, a, deltas);
  if (status != Status::ok || !a.dq.data || s.queries == 0) return status;
  return launch_asking(context, grid(s.batch * s.heads, s.queries, OfQueryBlock<features>::rows),
                       dim3(kBackwardThreads), OfQueryBlock<features>::shared_bytes, false,
                       differentiate_queries_on_tensor_cores<T, features, masked>, a, deltas);
}

}  // namespace

template <class T>
Status backward_on_tensor_cores(const Context& context, const AttentionBackward<T>& a) {
  const AttentionSizes& s = a.sizes;
  if (s.batch * s.heads == 0) return Status::ok;
  if (const Status status = make_deltas(context, a); status != Status::ok) return status;
  if (s.features <= 64 && s.value_features <= 64)
    return a.mask.seen ? differentiate_tiles<64, true>(context, a) : differentiate_tiles<64, false>(context, a);
  return a.mask.seen ? differentiate_tiles<128, true>(context, a) : differentiate_tiles<128, false>(context, a);
}
template Status backward_on_tensor_cores(const Context&, const AttentionBackward<bfloat16>&);
template Status backward_on_tensor_cores(const Context&, const AttentionBackward<float16>&);

}  // namespace dd2424::cuda
