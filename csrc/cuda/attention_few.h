#pragma once
#include <bit>

#include "cuda/attention_scores.h"

// Forward of a few queries, as of one token after the other: it takes as long as reading k and v does. Keys are cut
// into parts, each walked by a block of its own; a second kernel combines the parts in their order. Source: Dao et al.,
// "Flash-Decoding for long-context inference", 2023.
namespace dd2424::cuda {
namespace {

constexpr Index kFewQueries = 4;
constexpr int kFewThreads = 128, kKeysAhead = 4;      // keys that a lane reads at once
constexpr Index kFewBlocks = 4096, kLeastSpan = 256;  // blocks that fill a GPU; keys worth a block

template <class T>
constexpr int kInChunk = 16 / sizeof(T);

// How keys are cut: by the sizes alone.
struct KeyCut {
  Index parts, span;
  explicit KeyCut(const AttentionSizes& s) {
    const Index rows = s.batch * s.heads * s.queries, most = (s.keys + kLeastSpan - 1) / kLeastSpan;
    const Index wanted = rows > 0 ? (kFewBlocks + rows - 1) / rows : 1;
    parts = clamped(wanted, 1, most > 1 ? most : 1);
    span = (s.keys + parts - 1) / parts;
  }
};
template <class T>
std::size_t few_workspace(const AttentionSizes& s) {
  const Index rows = s.batch * s.heads * s.queries;
  if (s.queries > kFewQueries) return 0;
  return static_cast<std::size_t>(rows * KeyCut(s).parts * (s.value_features + 2)) * sizeof(Computed<T>);
}

// Neighbouring lanes share a key, each with a chunk of its features.
template <class T, int lanes>
struct FewShared {
  static constexpr int groups = kFewThreads / lanes;
  Computed<T> tops[groups], totals[groups], sums[groups][lanes * kInChunk<T>];
};

// 16 bytes of a row, as words: two of a short type share a register until they are used.
struct alignas(16) Chunk {
  std::uint32_t words[4];
};
__device__ inline Chunk chunk_at(const void* from, bool is_there) {
  return is_there ? *static_cast<const Chunk*>(from) : Chunk{};
}
template <class T>
__device__ inline Computed<T> value_in(const Chunk& chunk, int i) {
  if constexpr (sizeof(T) == 8)
    return std::bit_cast<double>(chunk.words[2 * i] | static_cast<std::uint64_t>(chunk.words[2 * i + 1]) << 32);
  else if constexpr (sizeof(T) == 4) return std::bit_cast<float>(chunk.words[i]);
  else return value(T{static_cast<std::uint16_t>(chunk.words[i / 2] >> i % 2 * 16)});
}

template <class T>
__device__ inline Computed<T> masked_score(Computed<T> score, const AttentionMask<T>& mask, Index place) {
  using C = Computed<T>;
  if (mask.seen) return mask.seen[place] ? score : kHidden<C>;
  if (!mask.added) return score;
  const C more = added<T>(mask.added[place]);
  return more == kHidden<C> ? more : score + more;
}

// Sums of one group of lanes over its keys of a part.
template <class T, int lanes>
__device__ void walk_keys(FewShared<T, lanes>& shared, const AttentionForward<T>& a, Index b, Index h, Index query,
                          Range range) {
  using C = Computed<T>;
  constexpr int n = kInChunk<T>, groups = FewShared<T, lanes>::groups;
  const AttentionSizes& s = a.sizes;
  const int group = static_cast<int>(threadIdx.x) / lanes, f = static_cast<int>(threadIdx.x) % lanes * n;
  const bool of_k = f < s.features, of_v = f < s.value_features;
  const Index key_head = h / (s.heads / s.key_heads), mask = b * a.mask.batch + h * a.mask.head + query * a.mask.query;
  const T *k = row_at(a.k, b, key_head, 0) + f, *v = row_at(a.v, b, key_head, 0) + f;
  const Chunk q = chunk_at(row_at(a.q, b, h, query) + f, of_k);
  C scaled[n], sums[n] = {}, top = kHidden<C>, total = 0;
  for (int e = 0; e < n; ++e) scaled[e] = value_in<T>(q, e) * static_cast<C>(s.scale * kLog2E);
  for (Index first = range.begin; first < range.end; first += groups * kKeysAhead) {
    Chunk keys[kKeysAhead], values[kKeysAhead];
    C scores[kKeysAhead];
#pragma unroll
    for (int j = 0; j < kKeysAhead; ++j) {
      const Index key = first + j * groups + group;
      keys[j] = chunk_at(k + key * a.k.row, of_k && key < range.end);
    }
#pragma unroll
    for (int j = 0; j < kKeysAhead; ++j) {
      const Index key = first + j * groups + group;
      values[j] = chunk_at(v + key * a.v.row, of_v && key < range.end);
    }
    C highest = top;
#pragma unroll
    for (int j = 0; j < kKeysAhead; ++j) {
      const Index key = first + j * groups + group;
      C score = 0;
#pragma unroll
      for (int e = 0; e < n; ++e) score = fma(scaled[e], value_in<T>(keys[j], e), score);
#pragma unroll
      for (int step = lanes / 2; step > 0; step /= 2) score += __shfl_xor_sync(0xffffffff, score, step);
      scores[j] = key < range.end ? masked_score(score, a.mask, mask + key * a.mask.key) : kHidden<C>;
      highest = scores[j] > highest ? scores[j] : highest;
    }
    const C shift = highest == kHidden<C> ? 0 : highest, factor = exp2(top - shift);
    top = highest;
    total *= factor;
#pragma unroll
    for (int e = 0; e < n; ++e) sums[e] *= factor;
#pragma unroll
    for (int j = 0; j < kKeysAhead; ++j) {
      const bool hidden = scores[j] == kHidden<C>;  // its value may be NaN
      const C weight = exp2(scores[j] - shift);
      total += weight;
#pragma unroll
      for (int e = 0; e < n; ++e) sums[e] = fma(weight, hidden ? C(0) : value_in<T>(values[j], e), sums[e]);
    }
  }
  shared.tops[group] = top, shared.totals[group] = total;
  for (int e = 0; e < n; ++e) shared.sums[group][f + e] = sums[e];
}

// What parts, in their order, come to: `read(i)` is one of part i's sums.
template <class C>
struct Together {
  C top = kHidden<C>, total = 0, sum = 0;
};
template <class C, class Top, class Total, class Sum>
__device__ Together<C> put_together(Index parts, const Top& top_of, const Total& total_of, const Sum& sum_of) {
  Together<C> all;
  for (Index i = 0; i < parts; ++i) all.top = top_of(i) > all.top ? top_of(i) : all.top;
  const C shift = all.top == kHidden<C> ? 0 : all.top;
  for (Index i = 0; i < parts; ++i) {
    const C factor = exp2(top_of(i) - shift);
    all.total = fma(total_of(i), factor, all.total);
    all.sum = fma(sum_of(i), factor, all.sum);
  }
  return all;
}
template <class T>
__device__ void finish_few(const AttentionForward<T>& a, Index row, Index f, const Together<Computed<T>>& all) {
  using C = Computed<T>;
  const AttentionSizes& s = a.sizes;
  const Index head = quotient(row, s.queries), query = row - head * s.queries, b = quotient(head, s.heads);
  row_at(a.y, b, head - b * s.heads, query)[f] = element<T>(all.total == C(0) ? C(0) : all.sum / all.total);
  if (f == 0 && a.lse) a.lse[row] = all.total == C(0) ? -kHidden<C> : all.top + log2(all.total);
}

template <class T, int lanes>
__global__ void __launch_bounds__(kFewThreads, sizeof(T) == 8 ? 3 : 4)
    attend_few(AttentionForward<T> a, KeyCut cut, Computed<T>* parts) {
  using C = Computed<T>;
  using Shared = FewShared<T, lanes>;
  __shared__ Shared shared;
  const AttentionSizes& s = a.sizes;
  const Index group = s.heads / s.key_heads, rows_of_head = group * s.queries;
  const Index of_part = quotient(blockIdx.x, rows_of_head), place = blockIdx.x - of_part * rows_of_head;
  const Index all_heads = quotient(of_part, cut.parts), part = of_part - all_heads * cut.parts;
  const Index row = all_heads * rows_of_head + place;  // queries of a head of k and v lie together
  const Index head = quotient(row, s.queries), query = row - head * s.queries, b = quotient(head, s.heads);
  Range range = seen_by(s, query);
  range.begin = clamped(range.begin, part * cut.span, s.keys);
  range.end = clamped(range.end, 0, (part + 1) * cut.span);
  walk_keys(shared, a, b, head - b * s.heads, query, range);
  __syncthreads();
  C* to = parts + (row * cut.parts + part) * (s.value_features + 2);
  for (Index f = threadIdx.x; f < s.value_features; f += kFewThreads) {
    const auto all = put_together<C>(
        Shared::groups, [&](Index i) { return shared.tops[i]; }, [&](Index i) { return shared.totals[i]; },
        [&](Index i) { return shared.sums[i][f]; });
    if (cut.parts == 1) {
      finish_few(a, row, f, all);
      continue;
    }
    if (f == 0) to[0] = all.top, to[1] = all.total;
    to[f + 2] = all.sum;
  }
}
template <class T>
__global__ void __launch_bounds__(kFewThreads)
    combine_few(AttentionForward<T> a, KeyCut cut, const Computed<T>* parts) {
  const Index features = a.sizes.value_features, row = blockIdx.x;
  const Computed<T>* from = parts + row * cut.parts * (features + 2);
  for (Index f = threadIdx.x; f < features; f += kFewThreads) {
    const auto at = [&](Index i, Index place) { return from[i * (features + 2) + place]; };
    finish_few(a, row, f,
               put_together<Computed<T>>(
                   cut.parts, [&](Index i) { return at(i, 0); }, [&](Index i) { return at(i, 1); },
                   [&](Index i) { return at(i, f + 2); }));
  }
}

template <class T>
bool in_chunks(const HeadRows<const T>& x, Index features) {
  return ((x.batch | x.head | x.row | features) % kInChunk<T>) == 0 &&
         reinterpret_cast<std::uintptr_t>(x.data) % 16 == 0;
}
template <class T>
bool is_few(const AttentionForward<T>& a) {
  const AttentionSizes& s = a.sizes;
  const Index most = Index{kWarp} * kInChunk<T>;
  return s.queries <= kFewQueries && s.features <= most && s.value_features <= most && s.dropout == 0 &&
         in_chunks(a.q, s.features) && in_chunks(a.k, s.features) && in_chunks(a.v, s.value_features);
}

template <class T>
Status forward_of_few(const Context& context, const AttentionForward<T>& a) {
  const AttentionSizes& s = a.sizes;
  const KeyCut cut(s);
  const Index rows = s.batch * s.heads * s.queries, chunk = kInChunk<T>,
              features = s.features > s.value_features ? s.features : s.value_features;
  auto* parts = static_cast<Computed<T>*>(context.workspace);
  const dim3 blocks(static_cast<unsigned>(rows * cut.parts));
  auto* const kernel = features <= 8 * chunk    ? attend_few<T, 8>
                       : features <= 16 * chunk ? attend_few<T, 16>
                                                : attend_few<T, 32>;
  const Status status = launch(context, blocks, dim3(kFewThreads), kernel, a, cut, parts);
  if (status != Status::ok || cut.parts == 1) return status;
  return launch(context, dim3(static_cast<unsigned>(rows)), dim3(kFewThreads), combine_few<T>, a, cut,
                static_cast<const Computed<T>*>(parts));
}

}  // namespace
}  // namespace dd2424::cuda
