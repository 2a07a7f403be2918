#pragma once
// What becomes of a tile's sums where the micro-kernel cannot store them itself: another type, odd strides, an
// activation.
#include "core/gemm.h"
#include "cpu/gemm_tile.h"
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
struct Output {
  using Acc = Accumulator<T>;
  T* c;
  Index c_row, c_column;
  const Acc* bias;  // element (i, j) takes bias[i * bias_row + j * bias_column]; or null
  Index bias_row, bias_column;
  Acc alpha, beta;
  Activation epilogue;
  Acc* sums = nullptr;  // what earlier blocks of k have summed, beta * c included; may be c itself
  Index sums_row = 0;
  bool ends_in_sums = false;  // these are partial sums: never stored to c
};

template <class T>
inline Accumulator<T> widen(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_float(x);
  else return x;
}
template <class T>
inline T narrow(Accumulator<T> x) {
  if constexpr (std::is_same_v<T, bfloat16>) return to_bfloat16(x);
  else return x;
}

template <class Acc>
inline void activate(Acc* x, Index n, Activation epilogue) {
  switch (epilogue) {
    case Activation::none: return;
    case Activation::relu: return map(x, n, [](auto v) { return v < Acc(0) ? decltype(v){} : v; }, x);
    case Activation::gelu: return map(x, n, [](auto v) { return gelu(v); }, x);
    case Activation::tanh: return map(x, n, [](auto v) { return tanh(v); }, x);
    case Activation::sigmoid: return map(x, n, [](auto v) { return sigmoid(v); }, x);
    case Activation::gelu_tanh: return map(x, n, [](auto v) { return gelu_tanh(v); }, x);
    case Activation::silu: return map(x, n, [](auto v) { return silu(v); }, x);
  }
}

// One run of a block of k for rows i.. and columns j.. of the output, at most kWidestTile vectors wide.
struct Part {
  Index i, j, rows, columns;
  bool first, last;
};

// Adds `sums` (rows, columns) to what is there; after the last block of k, stores the result.
template <class T>
void finish(const Output<T>& to, const Part& part, const Accumulator<T>* sums, Index sums_row) {
  using Acc = Accumulator<T>;
  for (Index i = 0; i < part.rows; ++i, sums += sums_row) {
    T* c = to.c + (part.i + i) * to.c_row + part.j * to.c_column;
    Acc* kept = to.sums + (part.i + i) * to.sums_row + part.j;
    Acc line[kWidestTile * kLanes<Acc>];
    map(line, part.columns, [&](auto v) { return v * to.alpha; }, sums);
    if (!part.first) {
      map(line, part.columns, [](auto v, auto before) { return fma(before, broadcast(Acc(1)), v); }, line, kept);
    } else if (to.beta != 0) {
      for (Index j = 0; j < part.columns; ++j) line[j] = fma(widen(c[j * to.c_column]), to.beta, line[j]);
    }
    if (!part.last || to.ends_in_sums) {
      map(kept, part.columns, [](auto v) { return v; }, line);
      continue;
    }
    const Acc* bias = to.bias + (part.i + i) * to.bias_row + part.j * to.bias_column;
    for (Index j = 0; to.bias && j < part.columns; ++j) line[j] += bias[j * to.bias_column];
    activate(line, part.columns, to.epilogue);
    if (to.c_column == 1) map(c, part.columns, [](auto v) { return v; }, line);
    else
      for (Index j = 0; j < part.columns; ++j) c[j * to.c_column] = narrow<T>(line[j]);
  }
}

// How the micro-kernel stores this part by itself, which it can where `stores_directly`.
template <class T>
inline bool stores_directly(const Output<T>& to, bool last) {
  if (to.ends_in_sums) return true;
  return std::is_same_v<T, Accumulator<T>> && to.c_column == 1 && (!last || to.epilogue <= Activation::relu);
}
template <class T>
inline TileOutput<Accumulator<T>> tile_output(const Output<T>& to, const Part& part) {
  const bool adds = !part.first || (to.beta != 0 && !to.ends_in_sums);
  TileOutput<Accumulator<T>> tile{.out = to.sums + part.i * to.sums_row + part.j, .out_row = to.sums_row};
  tile.before = adds ? tile.out : nullptr;
  tile.before_row = tile.out_row;
  tile.before_scale = part.first ? to.beta : 1;
  tile.alpha = to.alpha;
  if (part.last && !to.ends_in_sums) {
    if (to.bias && to.bias_column != 0) {  // where nothing else stands before the sums, one row does for all
      const Accumulator<T>* bias = to.bias + part.j * to.bias_column;
      if (adds) tile.bias = bias;
      else tile.before = bias, tile.before_row = 0, tile.before_scale = 1;
    }
    if (to.bias && to.bias_column == 0) tile.bias_by_row = to.bias + part.i * to.bias_row;
    tile.relu = to.epilogue == Activation::relu;
  }
  return tile;
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
