#pragma once
// What the elementwise files share: a block function computes a run of contiguous elements, walk() brings operands of
// any strides to it. Each operation is so compiled once per type, whatever the layout.
#include "core/elementwise.h"
#include "cpu/vec.h"

namespace dd2424::cpu::DD2424_ISA {

struct Block {
  void* y;
  const void* x[3];
  Index step[3];  // 1, or 0: the same whole vector of one value all along
  Index n;
  double p = 0, q = 0;           // the operation's own parameters
  bool* zero_divisor = nullptr;  // set where an integer is divided by zero
  bool around_caches = false;    // y may be stored so: it will not be there anyway when it is read
};
using BlockFunction = void (*)(const Block&);

constexpr int kMaxOperands = 4;  // the output and up to three inputs
struct Operand {
  void* data;            // of element 0
  const Index* strides;  // in elements
  int bytes;             // of an element, in memory
  bool is_bfloat16;      // a float in the block
};
struct Walk {
  int operands, ndim;
  const Index* shape;
  Operand operand[kMaxOperands];  // the output first
  BlockFunction function;
  Block block;
  Index grain;  // elements that are worth a thread
};
void walk(const Walk&);

// The functions for elements of T (bfloat16 computes in float); null where a type has no such operation.
template <class T>
BlockFunction unary_block(UnaryOp op);
template <class T>
BlockFunction binary_block(BinaryOp op);
template <class T>
BlockFunction compare_block(CompareOp op);  // any but gt and ge
template <class T>
BlockFunction test_block(TestOp op);
BlockFunction where_block(int bytes);

// y[i] = f(x0[i], ...) in whole vectors; a tail runs the same code on padded ones.
template <class Y, class F, class... X>
inline void run_block(const Block& b, const F& f, const X*... x) {
  constexpr Index lanes = kLanes<Y>;
  Y* y = static_cast<Y*>(b.y);
  Index n = b.n;
  const bool around = b.around_caches && is_aligned(y);
  const Index step[2] = {b.step[0] * lanes, b.step[1] * lanes};
  for (; n >= lanes; n -= lanes, y += lanes) {
    const Vec<Y> v = f(load_ahead(x)...);
    if (around) store_around(y, v);
    else store(y, v);
    int i = 0;
    ((x += step[i++]), ...);  // a comma's sides run in order
  }
  if (n > 0) store(y, f(load(x, n)...), n);
}
// The same lane by lane, for what has no vector code.
template <class T, class F>
inline void run_scalar(const Block& b, const F& f, const T* x) {
  for (Index i = 0; i < b.n; ++i) static_cast<T*>(b.y)[i] = f(x[i * b.step[0]]);
}
template <class T, class F>
inline void run_scalar(const Block& b, const F& f, const T* x0, const T* x1) {
  for (Index i = 0; i < b.n; ++i) static_cast<T*>(b.y)[i] = f(x0[i * b.step[0]], x1[i * b.step[1]]);
}

}  // namespace dd2424::cpu::DD2424_ISA
