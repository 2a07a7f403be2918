#pragma once
#include "core/isa.h"
#include "core/types.h"

// What the machine can do at most, found by loops that do nothing else: benchmarks hold every kernel to it.
namespace dd2424 {

// `chunks` times `rounds` rounds of independent fused multiply-adds that stay in registers; chunks run in parallel.
template <class T>
struct MultiplyAdds {
  Accumulator<T>* sink;  // (chunks): results, so that no compiler drops the loop
  Index chunks, rounds;
  Index flops = 0;  // out: of all chunks
};
// Walks arrays once: y = x[0] + x[1] + ... where y is given, else their sum into `sink`. y may be written
// around the caches. A few elements at the end of a chunk are left out: it is the pace that counts.
struct Stream {
  static constexpr int kMostReads = 4;
  const float* x[kMostReads];  // (n) each
  float* y;                    // (n), or null
  float* sink;                 // (chunks of reduction_chunks), where y is null
  Index n;
  int reads;
  bool bypasses_caches;
  Index repeats = 1;  // of every chunk, one after the other: what fits a cache is then read from it
};
// Two threads hand a number to each other: what it costs to reach what the other core has just written.
struct Handoffs {
  Index rounds;    // there and back
  Index done = 0;  // out: handoffs; 0 where one thread ran alone
};
struct MachineKernels {
  Status (*multiply_adds_float)(const Context&, MultiplyAdds<float>&);
  Status (*multiply_adds_double)(const Context&, MultiplyAdds<double>&);
  Status (*multiply_adds_bfloat16)(const Context&, MultiplyAdds<bfloat16>&);  // null where there is no such instruction
  Status (*stream)(const Context&, const Stream&);
  Status (*handoffs)(const Context&, Handoffs&);
};
template <>
inline constexpr bool has_bf16_level<MachineKernels> = true;

}  // namespace dd2424
