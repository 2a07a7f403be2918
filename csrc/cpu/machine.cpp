#include "core/machine.h"

#include "core/parallel.h"
#include "core/table.h"
#include "cpu/gemm_tile.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr int kChains = kVectorBytes == 64 ? 24 : 12;  // more than latency times width, fewer than registers
constexpr Index kStreamChunk = 1 << 14;                // elements: a few first-level caches
constexpr Index kStreamStep = 64;  // elements: a multiple of what a turn of the loop takes, so that stores are aligned

template <class T>
Accumulator<T> chains(Index rounds, Packed<T> factor) {
  using Acc = Accumulator<T>;
  Vec<Acc> sums[kChains];
#pragma GCC unroll 24
  for (int i = 0; i < kChains; ++i) sums[i] = broadcast(Acc(i));
  Vec<Packed<T>> a = broadcast(factor), b = broadcast(factor);
  for (Index r = 0; r < rounds; ++r) {
    asm volatile("" : "+m"(a), "+m"(b));  // or the compiler would see that every round is alike
    const Vec<Packed<T>> x = a, y = b;
#pragma GCC unroll 24
    for (int i = 0; i < kChains; ++i) sums[i] = Multiply<T>::add(x, y, sums[i]);
  }
#pragma GCC unroll 24
  for (int i = 1; i < kChains; ++i) sums[0] += sums[i];
  return lanes_sum<Acc>(sums[0]);
}

template <class T>
Status multiply_adds(const Context&, MultiplyAdds<T>& a) {
  parallel_for(a.chunks, 1, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) a.sink[chunk] = chains<T>(a.rounds, Packed<T>(0));
  });
  a.flops = a.chunks * a.rounds * kChains * kLanes<Accumulator<T>> * 2 * Multiply<T>::kDepth;
  return Status::ok;
}

template <int Reads>
inline Vec<float> read_all(const Stream& s, Index i) {
  Vec<float> v = load_ahead(s.x[0] + i);
  for (int k = 1; k < Reads; ++k) v += load_ahead(s.x[k] + i);
  return v;
}

template <int Reads>
void stream_range(const Stream& s, Index begin, Index end, float* sink) {
  constexpr int lanes = kLanes<float>, unrolled = 4;
  Vec<float> sums[unrolled] = {};
  for (Index i = begin; i + unrolled * lanes <= end; i += unrolled * lanes) {
#pragma GCC unroll 4
    for (int u = 0; u < unrolled; ++u) {
      const Vec<float> v = read_all<Reads>(s, i + u * lanes);
      if (!s.y) sums[u] += v;
      else if (s.bypasses_caches) store_around(s.y + i + u * lanes, v);
      else store(s.y + i + u * lanes, v);
    }
  }
  if (s.bypasses_caches) end_stores_around();
  if (!s.y) *sink = lanes_sum<float>((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

Status stream(const Context&, const Stream& s) {
  Chunks chunks = reduction_chunks(s.n, kStreamChunk);
  chunks.size = (chunks.size + kStreamStep - 1) / kStreamStep * kStreamStep;
  chunks.count = (s.n + chunks.size - 1) / chunks.size;
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index c = begin; c < end; ++c) {
      const Index from = c * chunks.size, to = from + chunks.size < s.n ? from + chunks.size : s.n;
      for (Index r = 0; r < s.repeats; ++r) {
        if (s.reads == 1) stream_range<1>(s, from, to, s.sink + c);
        else if (s.reads == 2) stream_range<2>(s, from, to, s.sink + c);
        else if (s.reads == 3) stream_range<3>(s, from, to, s.sink + c);
        else stream_range<4>(s, from, to, s.sink + c);
        asm volatile("" ::: "memory");  // or the compiler would see that every repeat is alike
      }
    }
  });
  return Status::ok;
}

Status handoffs(const Context&, Handoffs& h) {
  Index turn = 0;  // even: the first thread's
  parallel_for(2, 1, [&](Index begin, Index end) {
    if (end - begin == 2) return;
    for (Index r = 0; r < h.rounds; ++r) {
      while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != 2 * r + begin) {}
      __atomic_store_n(&turn, 2 * r + begin + 1, __ATOMIC_RELEASE);
    }
  });
  h.done = turn;
  return Status::ok;
}

constexpr MachineKernels kMachine{.multiply_adds_float = multiply_adds<float>,
                                  .multiply_adds_double = multiply_adds<double>,
#if defined(DD2424_ISA_IS_avx512_bf16)
                                  .multiply_adds_bfloat16 = multiply_adds<bfloat16>,
#else
                                  .multiply_adds_bfloat16 = nullptr,
#endif
                                  .stream = stream,
                                  .handoffs = handoffs};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {
DD2424_TABLE(MachineKernels, cpu::DD2424_ISA::kMachine)
}  // namespace dd2424
