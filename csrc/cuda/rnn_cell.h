#pragma once
#include "core/rnn.h"
#include "cuda/elementwise_functions.h"

// What a step does to one unit of one sequence once its sums are known, and the way back.
namespace dd2424::cuda {
namespace {

struct Span {  // the rows of a step, one for each sequence that is that long
  Index row, count;
};
struct Step {
  Span at, before, after;  // and of the steps walked before and after it; none: no rows
};
struct Unit {
  Index sequence, unit;
};

template <class T>
__device__ inline const T* row_or_first(const Span& span, Index sequence, const T* rows, Index stride, const T* first,
                                        Index hidden) {
  return sequence < span.count ? rows + (span.row + sequence) * stride : first + sequence * hidden;
}

// sums: of every gate, four of a GRU.
template <class T>
__device__ void forward_cell(const RnnForward<T>& a, const Step& step, const Unit& u, const T (&sums)[4]) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  T* gates = a.gates + row * a.gates_row + u.unit;
  T h = 0;
  if (a.mode == RnnMode::lstm) {
    const T in = sigmoid(sums[0]), forget = sigmoid(sums[1]), candidate = tanh(sums[2]), out = sigmoid(sums[3]);
    const T before = u.sequence < step.before.count ? a.cn[state] : a.c0[state];
    const T c = fma(forget, before, in * candidate);
    h = out * tanh(c);
    gates[0] = in, gates[n] = forget, gates[2 * n] = candidate, gates[3 * n] = out;
    a.cn[state] = c;
    if (a.cells) a.cells[row * n + u.unit] = c;
  } else if (a.mode == RnnMode::gru) {
    const T reset = sigmoid(sums[0]), update = sigmoid(sums[1]), candidate = tanh(fma(reset, sums[3], sums[2]));
    const T before = row_or_first<T>(step.before, u.sequence, a.y, a.y_row, a.h0, n)[u.unit];
    h = fma(update, before - candidate, candidate);
    gates[0] = reset, gates[n] = update, gates[2 * n] = candidate, gates[3 * n] = sums[3];
  } else {
    h = a.mode == RnnMode::tanh ? tanh(sums[0]) : sums[0] < T(0) ? T(0) : sums[0];
  }
  a.y[row * a.y_row + u.unit] = h;
  if (u.sequence >= step.after.count) a.hn[state] = h;
}

// dh: the gradient by the state after the step, but for dy. Returns what of it reaches the state before unmultiplied.
template <class T>
__device__ T backward_cell(const RnnBackward<T>& a, const Step& step, const Unit& u, T dh) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  const T* gates = a.gates ? a.gates + row * a.gates_row + u.unit : nullptr;
  T *d = a.dgates + row * a.dgates_row + u.unit, *recurrent = a.drecurrent + row * a.dgates_row + u.unit;
  const T before = row_or_first<T>(step.after, u.sequence, a.y, a.y_row, a.h0, n)[u.unit];
  if (a.before) a.before[row * a.before_row + u.unit] = before;
  if (a.dy) dh += a.dy[row * a.dy_row + u.unit];
  if (a.mode == RnnMode::lstm) {
    const T in = gates[0], forget = gates[n], candidate = gates[2 * n], out = gates[3 * n];
    const T c = tanh(a.cells[row * n + u.unit]);
    const T c_before = row_or_first<T>(step.after, u.sequence, a.cells, n, a.c0, n)[u.unit];
    const T arrived = u.sequence < step.before.count ? a.dc0[state] : a.dcn ? a.dcn[state] : T(0);
    const T dc = fma(dh * out, T(1) - c * c, arrived);
    d[0] = dc * candidate * in * (T(1) - in);
    d[n] = dc * c_before * forget * (T(1) - forget);
    d[2 * n] = dc * in * (T(1) - candidate * candidate);
    d[3 * n] = dh * c * out * (T(1) - out);
    a.dc0[state] = dc * forget;
    return T(0);
  }
  if (a.mode == RnnMode::gru) {
    const T reset = gates[0], update = gates[n], candidate = gates[2 * n];
    const T dn = dh * (T(1) - update) * (T(1) - candidate * candidate);
    d[0] = recurrent[0] = dn * gates[3 * n] * reset * (T(1) - reset);
    d[n] = recurrent[n] = dh * (before - candidate) * update * (T(1) - update);
    d[2 * n] = dn, recurrent[2 * n] = dn * reset;
    return dh * update;
  }
  const T y = a.y[row * a.y_row + u.unit];
  d[0] = a.mode == RnnMode::tanh ? dh * (T(1) - y * y) : y <= T(0) ? T(0) : dh;
  return T(0);
}

}  // namespace
}  // namespace dd2424::cuda
