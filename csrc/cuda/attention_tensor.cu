#include "cuda/attention_tensor.h"

#include <algorithm>

#include "cuda/attention_few.h"
#include "cuda/offer.h"

// Forward of the short types on tensor cores: a block of four warps has 128 queries, a warp 32 of them, and walks along
// the keys, 64 at a time; the next tile is on its way while this one is multiplied.
namespace dd2424::cuda {
namespace {

constexpr int kForwardThreads = 128, kForwardQueries = 128, kOfWarp = 32, kDown = kOfWarp / 16,
              kAcross = kTensorRows / 8;

using Scores = float[kDown][kAcross][4];

// The first query and key of a warp's scores; `row` and `column` count from there.
template <bool masked, class T>
__device__ void hide(Scores& scores, const AttentionForward<T>& a, const Place& at) {
  const AttentionSizes& s = a.sizes;
#pragma unroll
  for (int m = 0; m < kDown; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Index query = at.query + m * 16 + half * 8 + lane() / 4;
      const Range seen = seen_by(s, query);
      const int begin = static_cast<int>(clamped(seen.begin - at.key, 0, kTensorRows)),
                end = static_cast<int>(clamped(seen.end - at.key, 0, kTensorRows));
      const bool* mask = a.mask.seen + at.b * a.mask.batch + at.h * a.mask.head +
                         (query < s.queries ? query : 0) * a.mask.query + at.key * a.mask.key;
#pragma unroll
      for (int n = 0; n < kAcross; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int column = n * 8 + lane() % 4 * 2 + i;
          float& score = scores[m][n][2 * half + i];
          if (column < begin || column >= end || (masked && !mask[column * a.mask.key])) score = kHidden<float>;
        }
    }
}

// Of the rows of a lane: about the largest score so far, and the lane's part of the sum of 2^(scale (score - top)).
struct RowSums {
  float top[kDown][2], total[kDown][2];
  __device__ RowSums() {
#pragma unroll
    for (int m = 0; m < kDown; ++m) top[m][0] = top[m][1] = kHidden<float>, total[m][0] = total[m][1] = 0;
  }
};

// Tops follow the largest scores, and sums follow the tops; but not for less than a factor of 2^8, which sums can bear.
template <int features>
__device__ void raise_tops(const Scores& scores, RowSums& rows, float (&sums)[kDown][features / 8][4], float scale) {
  float tops[kDown][2];
  bool rises = false;
#pragma unroll
  for (int m = 0; m < kDown; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float top = rows.top[m][half];
#pragma unroll
      for (int n = 0; n < kAcross; ++n) top = fmaxf(fmaxf(top, scores[m][n][2 * half]), scores[m][n][2 * half + 1]);
      top = largest_of_four(top);
      const bool rises_far = (top - rows.top[m][half]) * scale > 8;
      tops[m][half] = rises_far ? top : rows.top[m][half];
      rises |= rises_far;
    }
  if (!__any_sync(kWholeWarp, rises)) return;
#pragma unroll
  for (int m = 0; m < kDown; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float before = rows.top[m][half], top = tops[m][half];
      const float factor = before == top ? 1.f : power_of_two((before - top) * scale);
      rows.top[m][half] = top, rows.total[m][half] *= factor;
#pragma unroll
      for (int n = 0; n < features / 8; ++n) sums[m][n][2 * half] *= factor, sums[m][n][2 * half + 1] *= factor;
    }
}
// Scores become weights.
__device__ inline void exponentiate(Scores& scores, RowSums& rows, float scale) {
#pragma unroll
  for (int m = 0; m < kDown; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float top = rows.top[m][half], shift = top == kHidden<float> ? 0.f : top * scale;
#pragma unroll
      for (int n = 0; n < kAcross; ++n)
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[m][n][2 * half + i];
          rows.total[m][half] += score = power_of_two(fmaf(score, scale, -shift));
        }
    }
}

template <int features, class T>
__device__ void finish_rows(const AttentionForward<T>& a, const Place& at, std::byte* queries, RowSums& rows,
                            const float (&sums)[kDown][features / 8][4], float scale) {
  const AttentionSizes& s = a.sizes;
  float scales[kDown][2];
#pragma unroll
  for (int m = 0; m < kDown; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = sum_of_four(rows.total[m][half]);
      scales[m][half] = total == 0 ? 0 : 1 / total;
      const Index query = at.query + warp() * kOfWarp + m * 16 + half * 8 + lane() / 4;
      if (a.lse && lane() % 4 == 0 && query < s.queries)
        a.lse[(at.b * s.heads + at.h) * s.queries + query] =
            total == 0 ? -kHidden<float> : fmaf(rows.top[m][half], scale, log2f(total));
    }
  store_rows<features>(queries, warp() * kOfWarp, a.y, at.b, at.h, at.query, s.queries, s.value_features, sums, scales);
}

template <int features>
constexpr std::size_t kForwardShared = (kForwardQueries + 4 * kTensorRows) * Lines<features>::row_bytes;

template <class T, int features, bool masked>
__global__ void __launch_bounds__(kForwardThreads, 2) attend_on_tensor_cores(AttentionForward<T> a) {
  using L = Lines<features>;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + kForwardQueries - 1) / kForwardQueries, head = quotient(blockIdx.x, tiles);
  const Index query = (tiles - 1 - (blockIdx.x - head * tiles)) * kForwardQueries;  // the longest walks of a head first
  Place at{quotient(head, s.heads), 0, query, 0};
  at.h = head - at.b * s.heads;
  const Index key_head = at.h / (s.heads / s.key_heads);
  const Index last = query + kForwardQueries < s.queries ? query + kForwardQueries - 1 : s.queries - 1;
  const Span seen = span_of<false>(s, query, last), seen_by_all = span_of<false>(s, last, query);
  const int begin = seen.begin / kTensorRows * kTensorRows, end = seen.end;
  const float scale = static_cast<float>(s.scale * kLog2E);

  auto* queries = reinterpret_cast<std::byte*>(asked_shared());
  constexpr int tile_bytes = kTensorRows * L::row_bytes;
  std::byte* tiles_shared = queries + kForwardQueries * L::row_bytes;  // keys and values, twice
  const auto load = [&](int key, int stage) {
    std::byte* to = tiles_shared + stage * 2 * tile_bytes;
    start_rows<features, kTensorRows, kForwardThreads>(to, row_at(a.k, at.b, key_head, key), a.k.row, end - key,
                                                       s.features);
    start_rows<features, kTensorRows, kForwardThreads>(to + tile_bytes, row_at(a.v, at.b, key_head, key), a.v.row,
                                                       end - key, s.value_features);
    close_copies();
  };
  start_rows<features, kForwardQueries, kForwardThreads>(queries, row_at(a.q, at.b, at.h, query), a.q.row,
                                                         s.queries - query, s.features);
  close_copies();
  if (begin < end) load(begin, 0);

  RowSums rows;
  float sums[kDown][features / 8][4] = {};
  const Index first_of_warp = query + warp() * kOfWarp, last_of_warp = first_of_warp + kOfWarp - 1;
  const Span any = span_of<false>(s, first_of_warp, last_of_warp), all = span_of<false>(s, last_of_warp, first_of_warp);
  int stage = 0;
#pragma unroll 1
  for (int key = begin; key < end; key += kTensorRows, stage ^= 1) {
    const std::byte* keys = tiles_shared + stage * 2 * tile_bytes;
    wait_for_copies<0>();
    bool unhidden = false;  // does a value that is not finite meet weights that hide it?
    if (masked || !seen_by_all.has(key, kTensorRows))
      unhidden = __syncthreads_or(copied_not_finite<T, features, kTensorRows, kForwardThreads>(keys + tile_bytes));
    else __syncthreads();
    if (key + kTensorRows < end) load(key + kTensorRows, stage ^ 1);
    if (!any.meets(key, kTensorRows)) continue;
    Scores scores;
    multiply_rows<T, features>(scores, queries, warp() * kOfWarp, keys);
    if (masked || !all.has(key, kTensorRows)) hide<masked>(scores, a, {at.b, at.h, first_of_warp, key});
    raise_tops<features>(scores, rows, sums, scale);
    exponentiate(scores, rows, scale);
    const Weights<T, kDown, kAcross> weights(scores);
    if (unhidden) add_rows_unhidden<features>(sums, weights, keys + tile_bytes);
    else add_rows<features>(sums, weights, keys + tile_bytes);
  }
  wait_for_copies<0>();
  __syncthreads();  // where there was no key, queries are still on their way
  finish_rows<features>(a, at, queries, rows, sums, scale);
}

template <int features, class T>
Status attend_tiles(const Context& context, const AttentionForward<T>& a) {
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + kForwardQueries - 1) / kForwardQueries;
  const dim3 blocks(static_cast<unsigned>(s.batch * s.heads * tiles));
  auto* const kernel =
      a.mask.seen ? attend_on_tensor_cores<T, features, true> : attend_on_tensor_cores<T, features, false>;
  return launch_asking(context, blocks, dim3(kForwardThreads), kForwardShared<features>, false, kernel, a);
}

bool fits_tensor_cores(const AttentionSizes& s) {
  const auto fits = [](Index features) { return features > 0 && features % 8 == 0 && features <= kTensorFeatures; };
  return uses_tensor_cores<bfloat16>() && fits(s.features) && fits(s.value_features) && s.scale > 0 && s.dropout == 0 &&
         s.keys < Index{1} << 30 && s.queries < Index{1} << 30;
}

std::size_t workspace_on_tensor_cores(const AttentionSizes& s) {
  const std::size_t deltas = static_cast<std::size_t>(s.batch * s.heads * s.queries) * sizeof(float);
  return std::max(few_workspace<bfloat16>(s), deltas);  // of float16 it takes as much
}

template <class T>
Status forward_on_tensor_cores(const Context& context, const AttentionForward<T>& a) {
  const AttentionSizes& s = a.sizes;
  if (s.batch * s.heads * s.queries == 0) return Status::ok;
  if (is_few(a)) return forward_of_few(context, a);
  return s.features <= 64 && s.value_features <= 64 ? attend_tiles<64>(context, a) : attend_tiles<128>(context, a);
}

template <class T>
constexpr AttentionKernels<T> kTensorAttention{.attention_fits = fits_tensor_cores,
                                               .attention_forward = forward_on_tensor_cores<T>,
                                               .attention_backward = backward_on_tensor_cores<T>,
                                               .attention_workspace = workspace_on_tensor_cores};

}  // namespace

void offer_tensor_attention(DeviceTables& tables) {
  offer(tables, kTensorAttention<bfloat16>);
  offer(tables, kTensorAttention<float16>);
}

}  // namespace dd2424::cuda
