#include "cuda/attention_float.h"

// Forward of float32 without mask and dropout: keys are copied while values are multiplied, and values while keys are.
namespace dd2424::cuda {
namespace {

constexpr int kAcross = 4, kKeys = kSide * kAcross;  // of a thread, and of a tile

template <int features>
constexpr std::size_t kShared = ((kRows + 2 * kKeys) * Floats<features>::row + kRows * (kKeys + 4)) * sizeof(float);

__device__ inline float largest_of_side(float x) {
  for (int step = kSide / 2; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, step));
  return x;
}

template <int features>
struct OfQueries {  // of a thread
  float top[kDown], total[kDown], sums[kDown][features / 64][4];
};

// Scores become weights, in shared memory; what was summed before is brought to the new tops.
template <int features>
__device__ void keep_exponentials(float* weights, float (&scores)[kDown][kAcross], OfQueries<features>& rows,
                                  float scale) {
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    float top = rows.top[i];
#pragma unroll
    for (int j = 0; j < kAcross; ++j) top = fmaxf(top, scores[i][j]);
    top = largest_of_side(top);
    const float shift = top == kHidden<float> ? 0.f : top * scale;
    const float factor = exp2f(fmaf(rows.top[i], scale, -shift));
    rows.top[i] = top;
    float total = 0;
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const float weight = exp2f(fmaf(scores[i][j], scale, -shift));
      total += weight;
      keep<kAcross>(weights, i, j, weight);
    }
    rows.total[i] = fmaf(rows.total[i], factor, total);
#pragma unroll
    for (int c = 0; c < features / 64; ++c)
#pragma unroll
      for (int f = 0; f < 4; ++f) rows.sums[i][c][f] *= factor;
  }
}

__device__ inline void hide(float (&scores)[kDown][kAcross], const AttentionSizes& s, Index query, Index key) {
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    const Range seen = seen_by(s, query + down() * kDown + i);
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const Index k = key + across() + j * kSide;
      if (k < seen.begin || k >= seen.end) scores[i][j] = kHidden<float>;
    }
  }
}

template <int features>
__device__ void finish(const AttentionForward<float>& a, const Place& at, const OfQueries<features>& rows,
                       float scale) {
  const AttentionSizes& s = a.sizes;
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    float total = rows.total[i];
    for (int step = kSide / 2; step > 0; step /= 2) total += __shfl_xor_sync(0xffffffff, total, step);
    const Index query = at.query + down() * kDown + i;
    if (query >= s.queries) continue;
    if (a.lse && across() == 0)
      a.lse[(at.b * s.heads + at.h) * s.queries + query] =
          total == 0 ? -kHidden<float> : fmaf(rows.top[i], scale, log2f(total));
    const float factor = total == 0 ? 0 : 1 / total;
    float* to = row_at(a.y, at.b, at.h, query) + across() * 4;
#pragma unroll
    for (int c = 0; c < features / 64; ++c) {
      if (across() * 4 + c * 64 >= s.value_features) continue;
      Four y;
#pragma unroll
      for (int f = 0; f < 4; ++f) y.x[f] = rows.sums[i][c][f] * factor;
      *reinterpret_cast<Four*>(to + c * 64) = y;
    }
  }
}

template <int features>
__global__ void __launch_bounds__(kBlock, features == 128 ? 1 : 2) attend_floats(AttentionForward<float> a) {
  constexpr int row = Floats<features>::row;
  const AttentionSizes& s = a.sizes;
  const Index tiles = (s.queries + kRows - 1) / kRows, head = quotient(blockIdx.x, tiles);
  Place at{quotient(head, s.heads), 0, (tiles - 1 - (blockIdx.x - head * tiles)) * kRows, 0};
  at.h = head - at.b * s.heads;
  const Index key_head = at.h / (s.heads / s.key_heads);
  const Index last = at.query + kRows < s.queries ? at.query + kRows - 1 : s.queries - 1;
  const Index begin = seen_by(s, at.query).begin / kKeys * kKeys, end = seen_by(s, last).end;
  const Range all{seen_by(s, last).begin, seen_by(s, at.query).end};
  const float scale = static_cast<float>(s.scale * kLog2E);

  float *queries = reinterpret_cast<float*>(asked_shared()), *keys = queries + kRows * row,
        *values = keys + kKeys * row, *weights = values + kKeys * row;
  const auto load = [&](float* to, const HeadRows<const float>& x, Index key, Index has) {
    start_rows<features, kKeys>(to, row_at(x, at.b, key_head, key < end ? key : begin), x.row, end - key, has);
  };
  OfQueries<features> rows;
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    rows.top[i] = kHidden<float>, rows.total[i] = 0;
#pragma unroll
    for (int c = 0; c < features / 64; ++c)
#pragma unroll
      for (int f = 0; f < 4; ++f) rows.sums[i][c][f] = 0;
  }
  if (begin < end) {
    start_rows<features, kRows>(queries, row_at(a.q, at.b, at.h, at.query), a.q.row, s.queries - at.query, s.features);
    load(keys, a.k, begin, s.features);
  }
#pragma unroll 1
  for (at.key = begin; at.key < end; at.key += kKeys) {
    const bool cut = at.key < all.begin || at.key + kKeys > all.end;
    float scores[kDown][kAcross];
    wait_for_copies<0>();
    __syncthreads();  // keys are there, and everyone has done with the values before
    load(values, a.v, at.key, s.value_features);
    score_tile<features>(scores, queries, keys);
    if (cut) hide(scores, s, at.query, at.key);
    keep_exponentials(weights, scores, rows, scale);
    wait_for_copies<0>();
    const bool careful = __syncthreads_or(cut && copied_not_finite<features, kKeys>(values));
    load(keys, a.k, at.key + kKeys, s.features);
    if (careful) add_tile<features, kAcross, true>(rows.sums, weights, values);
    else add_tile<features, kAcross, false>(rows.sums, weights, values);
  }
  wait_for_copies<0>();
  finish(a, at, rows, scale);
}

template <int features>
Status attend_by_eights(const Context& context, const AttentionForward<float>& a) {
  const AttentionSizes& s = a.sizes;
  const dim3 blocks(static_cast<unsigned>(s.batch * s.heads * ((s.queries + kRows - 1) / kRows)));
  return launch_asking(context, blocks, dim3(kBlock), kShared<features>, false, attend_floats<features>, a);
}

}  // namespace

bool takes_floats(const AttentionForward<float>& a) {
  const AttentionSizes& s = a.sizes;
  return suits_floats(s) && !a.mask.seen && !a.mask.added && in_fours(a.q, s.features) && in_fours(a.k, s.features) &&
         in_fours(a.v, s.value_features) && in_fours(a.y, s.value_features);
}
Status forward_of_floats(const Context& context, const AttentionForward<float>& a) {
  const AttentionSizes& s = a.sizes;
  return s.features <= 64 && s.value_features <= 64 ? attend_by_eights<64>(context, a)
                                                    : attend_by_eights<128>(context, a);
}

}  // namespace dd2424::cuda
