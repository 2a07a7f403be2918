#pragma once
// How an optimizer walks its parameters: in blocks that are numbered through, however the parameters are sized.
#include "core/optim.h"
#include "core/parallel.h"
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kBlock = 1 << 14;  // elements that a thread takes at a time
constexpr Index kGrain = 2;        // blocks worth a second thread

template <class T>
inline Vec<Lane<T>> load_some(const T* p, Index count) {
  return count < kLanes<Lane<T>> ? load(p, count) : load(p);
}
template <class T>
inline void store_some(T* p, Vec<Lane<T>> v, Index count) {
  if (count < kLanes<Lane<T>>) store(p, v, count);
  else store(p, v);
}

// Calls step(k, begin, end) until every element of parameters 0 ... count - 1, each with its `n`, was covered once.
template <class Parameter, class Step>
void for_blocks(const Parameter* parameters, Index count, const Step& step) {
  Index elements = 0, blocks = 0;
  for (Index k = 0; k < count; ++k) {
    elements += parameters[k].n;
    blocks += (parameters[k].n + kBlock - 1) / kBlock;
  }
  if (elements <= kBlock * kGrain) {
    for (Index k = 0; k < count; ++k) step(k, 0, parameters[k].n);
    return;
  }
  parallel_for(blocks, kGrain, [&](Index begin, Index end) {
    Index before = 0;
    for (Index k = 0; k < count && before < end; ++k) {
      const Index n = parameters[k].n, here = (n + kBlock - 1) / kBlock;
      const Index from = begin > before ? begin - before : 0, to = end - before < here ? end - before : here;
      if (from < to) step(k, from * kBlock, to * kBlock < n ? to * kBlock : n);
      before += here;
    }
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
