#include "cpu/reduce.h"

// Each output's terms in a row, block by block; the totals of chunks of blocks are combined in a binary tree.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kFewOutputs = 16;  // below it the chunks of one output are shared among threads

// Whether no further term of the output matters, because of these or, as is seen by all its chunks, of others.
template <class T>
inline bool ends_at(Total<Compute<T>> total, const Reduction<T>& r, bool* is_final) {
  if (total != r.combination->identity) __atomic_store_n(is_final, true, __ATOMIC_RELAXED);
  return __atomic_load_n(is_final, __ATOMIC_RELAXED);
}

template <class T>
Total<Compute<T>> reduce_chunk(const Reduction<T>& r, Index output, Index begin, Index end, bool* is_final) {
  using C = Compute<T>;
  const ReduceShape& at = *r.at;
  const T* x = r.x + offset_in(at, 0, at.kept, output);
  const C p = r.p ? r.p[output] : C(0), q = r.q ? r.q[output] : C(0);
  alignas(64) C buffer[kRowBlock<C>];
  Total<C> total = r.combination->identity;
  for (Index t = begin; t < end; t += kRowBlock<C>) {
    const Index n = end - t < kRowBlock<C> ? end - t : kRowBlock<C>;
    const Total<C> block = r.combination->row(terms_of(x, at, t, n, buffer), n, p, q);
    if (begin == t) total = block;
    else r.combination->join_totals(&total, &block, 1);
    if (r.combination->ends && ends_at(total, r, is_final)) break;
  }
  return total;
}

// Whether each output's terms are one run of one block, a stride from the next: no more need be asked of a row.
template <class T>
inline bool are_plain(const ReduceShape& at) {
  return std::is_same_v<T, Compute<T>> && at.kept == 1 && at.reduced == 1 && at.strides[1] == 1 && at.terms > 0 &&
         at.terms <= kRowBlock<Compute<T>>;
}
template <class T>
void reduce_plain_rows(const Reduction<T>& r, Index begin, Index end) {
  using C = Compute<T>;
  constexpr Index most = 64;  // that are finished together
  Total<C> totals[most];
  while (begin < end) {
    const Index count = end - begin < most ? end - begin : most;
    for (Index i = 0; i < count; ++i) {
      const Index o = begin + i;
      const C* x = reinterpret_cast<const C*>(r.x) + o * r.at->strides[0];
      totals[i] = r.combination->row(x, r.at->terms, r.p ? r.p[o] : C(0), r.q ? r.q[o] : C(0));
    }
    r.finish.function(r.finish.data, begin, totals, count);
    begin += count;
  }
}

template <class T>
Total<Compute<T>> tree(const Reduction<T>& r, Total<Compute<T>>* totals, Index count) {
  if (count == 0) return r.combination->identity;
  for (Index width = 1; width < count; width *= 2)
    for (Index i = 0; i + width < count; i += 2 * width) r.combination->join_totals(totals + i, totals + i + width, 1);
  return totals[0];
}

}  // namespace

template <class T>
void reduce_rows(const Reduction<T>& r) {
  using Sum = Total<Compute<T>>;
  const ReduceShape& at = *r.at;
  const Chunks chunks = reduction_chunks(at.terms, kRowBlock<Compute<T>>);
  const auto chunk_total = [&](Index output, Index chunk, bool* is_final) {
    const Index begin = chunk * chunks.size, end = begin + chunks.size;
    return reduce_chunk(r, output, begin, end < at.terms ? end : at.terms, is_final);
  };
  if (at.outputs < kFewOutputs && chunks.count > 1) {
    Sum totals[kFewOutputs * kMaxChunks];
    bool is_final[kFewOutputs] = {};
    parallel_for(at.outputs * chunks.count, (kReduceGrain + chunks.size - 1) / chunks.size,
                 [&](Index begin, Index end) {
                   for (Index i = begin; i < end; ++i)
                     totals[i / chunks.count * kMaxChunks + i % chunks.count] =
                         chunk_total(i / chunks.count, i % chunks.count, is_final + i / chunks.count);
                 });
    for (Index o = 0; o < at.outputs; ++o) {
      const Sum total = tree(r, totals + o * kMaxChunks, chunks.count);
      r.finish.function(r.finish.data, o, &total, 1);
    }
    return;
  }
  parallel_for(at.outputs, kReduceGrain / (at.terms + 1) + 1, [&](Index begin, Index end) {
    if (are_plain<T>(at)) return reduce_plain_rows(r, begin, end);
    for (Index o = begin; o < end; ++o) {
      Sum totals[kMaxChunks];
      bool is_final = false;
      for (Index chunk = 0; chunk < chunks.count; ++chunk) totals[chunk] = chunk_total(o, chunk, &is_final);
      const Sum total = tree(r, totals, chunks.count);
      r.finish.function(r.finish.data, o, &total, 1);
    }
  });
}

template void reduce_rows(const Reduction<float>&);
template void reduce_rows(const Reduction<double>&);
template void reduce_rows(const Reduction<bfloat16>&);
template void reduce_rows(const Reduction<std::int64_t>&);
template void reduce_rows(const Reduction<std::int32_t>&);
template void reduce_rows(const Reduction<std::int16_t>&);
template void reduce_rows(const Reduction<std::int8_t>&);
template void reduce_rows(const Reduction<std::uint8_t>&);
template void reduce_rows(const Reduction<bool>&);
template void reduce_rows(const Reduction<Byte>&);

}  // namespace dd2424::cpu::DD2424_ISA
