#include "cuda/attention_deltas.h"
#include "cuda/attention_float.h"

// Backward of float32 without mask and dropout, with the names of attention_backward.cu. One kernel is both of its two:
// a block has rows of its own, keys and values or queries and dY, and walks along the others.
namespace dd2424::cuda {
namespace {

constexpr int kAcross = 2, kTile = kSide * kAcross;  // others of a thread, and of a tile

template <int features>
struct Buffers {  // in shared memory, in floats
  static constexpr int row = Floats<features>::row, own = kRows * row, tile = kTile * row;
  static constexpr int stage = 2 * tile + 2 * kTile, weights = kRows * (kTile + 4);  // two of others, lse and delta
  static constexpr std::size_t shared_bytes = (2 * own + 2 * stage + weights) * sizeof(float);
};

__device__ inline bool all_seen(const AttentionSizes& s, Index query, Index queries, Index key, Index keys) {
  const Index last = query + queries - 1;
  return last < s.queries && seen_by(s, query).end >= key + keys && seen_by(s, last).begin <= key;
}

// Hides what is not seen: of rows from `row` on, columns from `column` on.
template <bool keys_lead>
__device__ void hide(float (&scores)[kDown][kAcross], const AttentionSizes& s, Index row, Index column) {
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    const Index r = row + down() * kDown + i;
    const Range seen = keys_lead ? that_see(s, r) : seen_by(s, r);
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const Index c = column + across() + j * kSide;
      if (c < seen.begin || c >= seen.end) scores[i][j] = kHidden<float>;
    }
  }
}

// lse of queries, then their deltas, by a thread each of the first two times so many.
__device__ inline float of_query(const AttentionBackward<float>& a, const float* deltas, Index head, Index query,
                                 bool is_lse) {
  if (query >= a.sizes.queries) return is_lse ? -kHidden<float> : 0;
  return (is_lse ? a.lse : deltas)[head * a.sizes.queries + query];
}

template <int features>
__device__ void store(const HeadRows<float>& y, Index b, Index h, Index first, Index rows, Index has,
                      const float (&sums)[kDown][features / 64][4], float scale) {
#pragma unroll
  for (int i = 0; i < kDown; ++i) {
    const Index r = first + down() * kDown + i;
    if (r >= rows) continue;
#pragma unroll
    for (int c = 0; c < features / 64; ++c) {
      const int f = across() * 4 + c * 64;
      if (f >= has) continue;
      Four y4;
#pragma unroll
      for (int e = 0; e < 4; ++e) y4.x[e] = sums[i][c][e] * scale;
      *reinterpret_cast<Four*>(row_at(y, b, h, r) + f) = y4;
    }
  }
}

// Where a block stands, and the tiles that it walks along: of the heads of a group, one after the other, where keys
// lead.
template <bool keys_lead>
struct Walk {
  Index b, head, own_rows, first, first_head, begin, end;  // first of its rows; of what it walks along
  int tiles, count;                                        // of a head, of all
  __device__ explicit Walk(const AttentionSizes& s) : own_rows(keys_lead ? s.keys : s.queries) {
    const Index blocks = (own_rows + kRows - 1) / kRows, heads = keys_lead ? s.key_heads : s.heads,
                all = quotient(blockIdx.x, blocks), block = blockIdx.x - all * blocks, group = s.heads / s.key_heads;
    first = (keys_lead ? block : blocks - 1 - block) * kRows;  // causal: what sees, or is seen, most comes first
    b = quotient(all, heads), head = all - b * heads;
    const Index last = first + kRows < own_rows ? first + kRows - 1 : own_rows - 1;
    begin = (keys_lead ? that_see(s, first) : seen_by(s, first)).begin / kTile * kTile;
    end = (keys_lead ? that_see(s, last) : seen_by(s, last)).end;
    tiles = begin < end ? static_cast<int>((end - begin + kTile - 1) / kTile) : 0;
    count = keys_lead ? tiles * static_cast<int>(group) : tiles;
    first_head = keys_lead ? head * group : head / group;
  }
  __device__ Index head_of(int i) const { return keys_lead ? first_head + i / tiles : first_head; }
  __device__ Index place(int i) const { return begin + i % tiles * kTile; }
};

template <int features, bool keys_lead>
__device__ void start_others(float* stage, const AttentionBackward<float>& a, const Walk<keys_lead>& walk, int i) {
  const auto &x = keys_lead ? a.q : a.k, &y = keys_lead ? a.dy : a.v;
  const Index h = walk.head_of(i), place = walk.place(i), left = walk.end - place;
  start_rows<features, kTile>(stage, row_at(x, walk.b, h, place), x.row, left, a.sizes.features);
  start_rows<features, kTile>(stage + Buffers<features>::tile, row_at(y, walk.b, h, place), y.row, left,
                              a.sizes.value_features);
}

template <int features>
struct Gradients {  // of a thread's rows: dK and dV, or dQ
  float sums[kDown][features / 64][4], dv[kDown][features / 64][4];
};
struct OfQueries {  // lse and deltas: of a thread's rows or, where keys lead, of its columns in shared memory
  float lse[kDown], delta[kDown];
  const float* columns;
};

// Adds what a tile brings. Rows of weights are of half a warp, which alone reads them.
template <int features, bool keys_lead>
__device__ __forceinline__ void add_others(Gradients<features>& to, const AttentionSizes& s, Index first, Index place,
                                           const float* left, const float* right, float* weights,
                                           const OfQueries& of_queries, bool hides, bool careful) {
  using S = Buffers<features>;
  const float scale = static_cast<float>(s.scale * kLog2E);
  float scores[kDown][kAcross], slopes[kDown][kAcross];
  score_tile<features>(scores, left, right);
  if (hides) hide<keys_lead>(scores, s, first, place);
#pragma unroll
  for (int r = 0; r < kDown; ++r)
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const float lse = keys_lead ? of_queries.columns[j * kSide] : of_queries.lse[r];
      scores[r][j] = exp2f(fmaf(scores[r][j], scale, -lse));
      if (keys_lead) keep<kAcross>(weights, r, j, scores[r][j]);
    }
  __syncwarp();
  if (keys_lead) add_tile<features, kAcross, false>(to.dv, weights, right + S::tile);
  score_tile<features>(slopes, left + S::own, right + S::tile);
  __syncwarp();
#pragma unroll
  for (int r = 0; r < kDown; ++r)
#pragma unroll
    for (int j = 0; j < kAcross; ++j) {
      const float delta = keys_lead ? of_queries.columns[kTile + j * kSide] : of_queries.delta[r];
      const float weight = scores[r][j];
      keep<kAcross>(weights, r, j, hides && weight == 0 ? 0.f : weight * (slopes[r][j] - delta));
    }
  __syncwarp();
  if (careful) add_tile<features, kAcross, true>(to.sums, weights, right);
  else add_tile<features, kAcross, false>(to.sums, weights, right);
  __syncwarp();
}

template <int features, bool keys_lead>
__global__ void __launch_bounds__(kBlock, 1) differentiate_floats(AttentionBackward<float> a, const float* deltas) {
  using S = Buffers<features>;
  const AttentionSizes& s = a.sizes;
  const Walk<keys_lead> walk(s);
  float *left = reinterpret_cast<float*>(asked_shared()), *stages = left + 2 * S::own, *weights = stages + 2 * S::stage;
  const int thread = static_cast<int>(threadIdx.x);
  const auto stage_of = [&](int i) { return stages + i % 2 * S::stage; };
  const auto of_column = [&](int i) {
    if (!keys_lead || thread >= 2 * kTile) return 0.f;
    return of_query(a, deltas, walk.b * s.heads + walk.head_of(i), walk.place(i) + thread % kTile, thread < kTile);
  };
  const auto &own = keys_lead ? a.k : a.q, &own_of_slopes = keys_lead ? a.v : a.dy;
  start_rows<features, kRows>(left, row_at(own, walk.b, walk.head, walk.first), own.row, walk.own_rows - walk.first,
                              s.features);
  start_rows<features, kRows>(left + S::own, row_at(own_of_slopes, walk.b, walk.head, walk.first), own_of_slopes.row,
                              walk.own_rows - walk.first, s.value_features);
  OfQueries of_queries{};
  if (!keys_lead)
#pragma unroll
    for (int i = 0; i < kDown; ++i) {
      const Index head = walk.b * s.heads + walk.head, query = walk.first + down() * kDown + i;
      of_queries.lse[i] = of_query(a, deltas, head, query, true);
      of_queries.delta[i] = of_query(a, deltas, head, query, false);
    }
  float next = 0;
  if (walk.count > 0) start_others<features>(stages, a, walk, 0), next = of_column(0);
  Gradients<features> to{};
#pragma unroll 1
  for (int i = 0; i < walk.count; ++i) {
    const Index place = walk.place(i);
    const bool hides =
        keys_lead ? !all_seen(s, place, kTile, walk.first, kRows) : !all_seen(s, walk.first, kRows, place, kTile);
    if (keys_lead && thread < 2 * kTile) stage_of(i)[2 * S::tile + thread] = next;
    wait_for_copies<0>();
    const bool careful = __syncthreads_or(!keys_lead && hides && copied_not_finite<features, kTile>(stage_of(i)));
    if (i + 1 < walk.count) start_others<features>(stage_of(i + 1), a, walk, i + 1), next = of_column(i + 1);
    of_queries.columns = stage_of(i) + 2 * S::tile + across();
    add_others<features, keys_lead>(to, s, walk.first, place, left, stage_of(i), weights, of_queries, hides, careful);
  }
  wait_for_copies<0>();
  const float scale = static_cast<float>(s.scale);
  const auto& of_own = keys_lead ? a.dk : a.dq;
  if (of_own.data) store<features>(of_own, walk.b, walk.head, walk.first, walk.own_rows, s.features, to.sums, scale);
  if (keys_lead && a.dv.data)
    store<features>(a.dv, walk.b, walk.head, walk.first, walk.own_rows, s.value_features, to.dv, 1);
}

template <int features, bool keys_lead>
Status differentiate(const Context& context, const AttentionBackward<float>& a, Index rows) {
  const AttentionSizes& s = a.sizes;
  const Index heads = s.batch * (keys_lead ? s.key_heads : s.heads);
  return launch_asking(context, dim3(static_cast<unsigned>(heads * ((rows + kRows - 1) / kRows))), dim3(kBlock),
                       Buffers<features>::shared_bytes, false, differentiate_floats<features, keys_lead>, a,
                       static_cast<const float*>(context.workspace));
}
template <int features>
Status differentiate_all(const Context& context, const AttentionBackward<float>& a) {
  Status status = Status::ok;
  if (a.dk.data || a.dv.data) status = differentiate<features, true>(context, a, a.sizes.keys);
  if (status != Status::ok || !a.dq.data) return status;
  return differentiate<features, false>(context, a, a.sizes.queries);
}

}  // namespace

bool takes_floats(const AttentionBackward<float>& a) {
  const AttentionSizes& s = a.sizes;
  return suits_floats(s) && s.keys > kRows / 2 && !a.mask.seen && !a.mask.added && !a.dmask &&
         in_fours(a.q, s.features) && in_fours(a.k, s.features) && in_fours(a.v, s.value_features) &&
         in_fours(a.dy, s.value_features) && in_fours(a.dq, s.features) && in_fours(a.dk, s.features) &&
         in_fours(a.dv, s.value_features);
}
// After make_deltas.
Status backward_of_floats(const Context& context, const AttentionBackward<float>& a) {
  const AttentionSizes& s = a.sizes;
  return s.features <= 64 && s.value_features <= 64 ? differentiate_all<64>(context, a)
                                                    : differentiate_all<128>(context, a);
}

}  // namespace dd2424::cuda
