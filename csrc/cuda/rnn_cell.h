#pragma once
#include "core/rnn.h"
#include "cuda/elementwise_functions.h"

// What a step does to one unit of one sequence once its sums are known, and the way back. What it reads of memory it
// has met before, so that a walk can ask for that early.
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

__host__ __device__ inline Span span_of(const RnnSteps& steps, Index t) {
  return t >= 0 && t < steps.count ? Span{steps.start(t), steps.size(t)} : Span{0, 0};
}
// The s-th step of a walk, which may have gone one beyond the last.
__host__ __device__ inline Step step_of(const RnnSteps& steps, bool from_last, Index s) {
  const Index t = from_last ? steps.count - 1 - s : s, move = from_last ? -1 : 1;
  return {span_of(steps, t), span_of(steps, t - move), span_of(steps, t + move)};
}

template <class T>
__device__ inline const T* row_or_first(const Span& span, Index sequence, const T* rows, Index stride, const T* first,
                                        Index hidden) {
  return sequence < span.count ? rows + (span.row + sequence) * stride : first + sequence * hidden;
}

template <class T>
struct Met {
  T sums[4] = {};  // what the input gave each gate; four of a GRU
  T before = 0;    // c of an LSTM, h of a GRU
};
template <class T>
__device__ Met<T> meet(const RnnForward<T>& a, const Step& step, const Unit& u) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  const T* gates = a.gates + row * a.gates_row + u.unit;
  Met<T> met;
  met.sums[0] = gates[0];
  if (a.mode < RnnMode::gru) return met;
  met.sums[1] = gates[n], met.sums[2] = gates[2 * n];
  if (a.mode == RnnMode::lstm || !a.weight) met.sums[3] = gates[3 * n];
  met.before = a.mode == RnnMode::lstm ? (u.sequence < step.before.count ? a.cn : a.c0)[state]
                                       : row_or_first<T>(step.before, u.sequence, a.y, a.y_row, a.h0, n)[u.unit];
  return met;
}
// And the products of the state.
template <class T, int gates>
__device__ void add_products(const RnnForward<T>& a, const Unit& u, const T (&products)[gates], Met<T>& met) {
  constexpr int plain = gates == 3 ? 2 : gates;
#pragma unroll
  for (int g = 0; g < plain; ++g) met.sums[g] += products[g];
  if (gates == 3 && a.weight) met.sums[3] = products[gates - 1] + (a.bias ? a.bias[u.unit] : T(0));
}

// `post` is told h after the step before anything is written.
template <class T, class Post>
__device__ void forward_cell(const RnnForward<T>& a, const Step& step, const Unit& u, const Met<T>& met,
                             const Post& post) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  T* gates = a.gates + row * a.gates_row + u.unit;
  const T(&sums)[4] = met.sums;
  T h = 0;
  if (a.mode == RnnMode::lstm) {
    const T in = sigmoid(sums[0]), forget = sigmoid(sums[1]), candidate = tanh(sums[2]), out = sigmoid(sums[3]);
    const T c = fma(forget, met.before, in * candidate);
    h = out * tanh(c);
    post(h);
    gates[0] = in, gates[n] = forget, gates[2 * n] = candidate, gates[3 * n] = out;
    a.cn[state] = c;
    if (a.cells) a.cells[row * n + u.unit] = c;
  } else if (a.mode == RnnMode::gru) {
    const T reset = sigmoid(sums[0]), update = sigmoid(sums[1]), candidate = tanh(fma(reset, sums[3], sums[2]));
    h = fma(update, met.before - candidate, candidate);
    post(h);
    gates[0] = reset, gates[n] = update, gates[2 * n] = candidate, gates[3 * n] = sums[3];
  } else {
    h = a.mode == RnnMode::tanh ? tanh(sums[0]) : sums[0] < T(0) ? T(0) : sums[0];
    post(h);
  }
  a.y[row * a.y_row + u.unit] = h;
  if (u.sequence >= step.after.count) a.hn[state] = h;
}

template <class T>
struct MetBack {
  T gates[4] = {};
  T before = 0, y = 0, dy = 0;         // h before and after the step
  T c = 0, c_before = 0, arrived = 0;  // of an LSTM, which has a gradient of c from the step walked before
};
template <class T>
__device__ MetBack<T> meet(const RnnBackward<T>& a, const Step& step, const Unit& u) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  MetBack<T> met;
  met.before = row_or_first<T>(step.after, u.sequence, a.y, a.y_row, a.h0, n)[u.unit];
  if (a.dy) met.dy = a.dy[row * a.dy_row + u.unit];
  if (a.mode < RnnMode::gru) {
    met.y = a.y[row * a.y_row + u.unit];
    return met;
  }
  const T* gates = a.gates + row * a.gates_row + u.unit;
#pragma unroll
  for (int g = 0; g < 4; ++g) met.gates[g] = gates[g * n];
  if (a.mode == RnnMode::gru) return met;
  met.c = a.cells[row * n + u.unit];
  met.c_before = row_or_first<T>(step.after, u.sequence, a.cells, n, a.c0, n)[u.unit];
  met.arrived = u.sequence < step.before.count ? a.dc0[state] : a.dcn ? a.dcn[state] : T(0);
  return met;
}

// dh: the gradient by the state after the step, but for dy. Gives those of the products of the state, and returns what
// of dh reaches the state before unmultiplied.
template <class T>
__device__ T backward_cell(const RnnBackward<T>& a, const Step& step, const Unit& u, const MetBack<T>& met, T dh,
                           T (&products)[4]) {
  const Index n = a.hidden, row = step.at.row + u.sequence, state = u.sequence * n + u.unit;
  T *d = a.dgates + row * a.dgates_row + u.unit, *recurrent = a.drecurrent + row * a.dgates_row + u.unit, kept = 0;
  dh += met.dy;
  if (a.mode == RnnMode::lstm) {
    const T in = met.gates[0], forget = met.gates[1], candidate = met.gates[2], out = met.gates[3];
    const T c = tanh(met.c), dc = fma(dh * out, T(1) - c * c, met.arrived);
    products[0] = dc * candidate * in * (T(1) - in);
    products[1] = dc * met.c_before * forget * (T(1) - forget);
    products[2] = dc * in * (T(1) - candidate * candidate);
    products[3] = dh * c * out * (T(1) - out);
    d[0] = products[0], d[n] = products[1], d[2 * n] = products[2], d[3 * n] = products[3];
    a.dc0[state] = dc * forget;
  } else if (a.mode == RnnMode::gru) {
    const T reset = met.gates[0], update = met.gates[1], candidate = met.gates[2];
    const T dn = dh * (T(1) - update) * (T(1) - candidate * candidate);
    products[0] = dn * met.gates[3] * reset * (T(1) - reset);
    products[1] = dh * (met.before - candidate) * update * (T(1) - update);
    products[2] = dn * reset;
    d[0] = recurrent[0] = products[0], d[n] = recurrent[n] = products[1];
    d[2 * n] = dn, recurrent[2 * n] = products[2];
    kept = dh * update;
  } else {
    d[0] = products[0] = a.mode == RnnMode::tanh ? dh * (T(1) - met.y * met.y) : met.y <= T(0) ? T(0) : dh;
  }
  if (a.before) a.before[row * a.before_row + u.unit] = met.before;
  return kept;
}

}  // namespace
}  // namespace dd2424::cuda
