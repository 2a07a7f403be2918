#pragma once
#include "core/types.h"

namespace dd2424 {

enum class RnnMode : std::uint8_t { tanh, relu, gru, lstm };

// How many numbers a unit keeps from its forward pass, each gate's for all units side by side: i f g o of an LSTM; r z
// n of a GRU and, fourth, what r multiplies. And how many of them the input and the state are multiplied for.
constexpr Index kept_gates(RnnMode mode) { return mode >= RnnMode::gru ? 4 : 1; }
constexpr Index summed_gates(RnnMode mode) { return mode == RnnMode::lstm ? 4 : mode == RnnMode::gru ? 3 : 1; }

// Sequences side by side, the longer first. Step t has the rows [start(t), start(t + 1)) of every array of `rows`, one
// for each sequence that is that long.
struct RnnSteps {
  Index count, batch;
  const Index* starts;  // (count + 1), in the host's memory, or null: every step has `batch` rows
  constexpr Index start(Index t) const { return starts ? starts[t] : t * batch; }
  constexpr Index size(Index t) const { return starts ? starts[t + 1] - starts[t] : batch; }
  Index rows() const { return start(count); }
};

// One layer in one direction over all steps, where the products of the inputs, biases included, stand in `gates`.
//   tanh, relu: h = f(gates + W h)
//   lstm: i f g o = sigmoid, sigmoid, tanh, sigmoid of (gates + W h);  c = f c + i g;  h = o tanh(c)
//   gru:  r z = sigmoid(gates + W h);  n = tanh(gates + r (W h + bias));  h = (1 - z) n + z h
// An LSTM's h may be projected: then h = P (o tanh(c)).
// Without `weight` there is one step, and W h has been added already (of the GRU: W h + bias is the fourth gate).
template <class T>
struct RnnForward {
  RnnMode mode;
  bool reverse;  // from the last step to the first; a shorter sequence begins at its own last
  RnnSteps steps;
  Index hidden, outputs;  // units, and elements of h: as many, but for projections
  T* gates;  // (rows, kept_gates * hidden), gates_row apart: sums; then, but for tanh and relu, for backward
  Index gates_row;
  const T* weight;      // (summed_gates * hidden, outputs), or null
  const T* bias;        // (hidden), of the GRU, or null
  const T* projection;  // (outputs, hidden), or null; never without `weight`
  const T *h0, *c0;     // (batch, outputs) and (batch, hidden); c0, cells and cn of the LSTM alone
  T* y;                 // (rows, outputs), y_row apart
  Index y_row;
  T* cells;        // (rows, hidden): c after each step, for backward, or null
  T* unprojected;  // (rows, hidden): o tanh(c) of each step; null without `projection`
  T *hn, *cn;      // as h0 and c0: the states after each sequence's last step
};

// dgates is the gradient of the products of the inputs, drecurrent that of the products of the states.
template <class T>
struct RnnBackward {
  RnnMode mode;
  bool reverse;
  RnnSteps steps;
  Index hidden, outputs;
  const T *gates, *weight, *projection, *h0, *c0, *y, *cells;  // of forward; gates of LSTM and GRU alone
  Index gates_row;
  const T* dy;  // as y, dy_row apart, or null for 0
  Index y_row, dy_row;
  const T *dhn, *dcn;  // as h0 and c0, or null for 0
  T* dgates;           // (rows, summed_gates * hidden), dgates_row apart
  T* drecurrent;       // likewise, of the GRU; for the others it is dgates
  Index dgates_row;
  T* before;  // (rows, outputs), before_row apart: h before each step, which the weights met; or null
  Index before_row;
  T* dprojected;  // (rows, outputs): the gradient of h after each step, of which it is all; null without `projection`
  T *dh0, *dc0;   // as h0 and c0; without `weight`, dh0 lacks the product of drecurrent and the weights
};

template <class T>
struct RnnKernels {  // float, double
  Status (*forward)(const Context&, const RnnForward<T>&);
  Status (*backward)(const Context&, const RnnBackward<T>&);
  std::size_t (*forward_workspace)(
      const RnnForward<T>&);  // bytes; reads sizes, the mode, and whether there is a weight
  std::size_t (*backward_workspace)(const RnnBackward<T>&);
};

}  // namespace dd2424
