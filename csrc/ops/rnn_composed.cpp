#include "ops/elementwise.h"
#include "ops/gemm.h"
#include "ops/rnn.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

struct State {
  Tensor h, c;
};

Tensor sigmoid(const Tensor& x) { return unary(UnaryOp::sigmoid, x); }
Tensor tanh(const Tensor& x) { return unary(UnaryOp::tanh, x); }

// One step from the products of the inputs, `from_x`.
State step(RnnMode mode, const Tensor& from_x, const State& before, const RnnWeights& w) {
  const Index hidden = w.hidden(mode);
  const Tensor from_h = linear(before.h, w.hh, w.hh_bias);
  const auto gate = [&](const Tensor& sums, Index number) { return narrow(sums, 1, number * hidden, hidden); };
  if (mode == RnnMode::gru) {
    const Tensor r = sigmoid(add(gate(from_x, 0), gate(from_h, 0))), z = sigmoid(add(gate(from_x, 1), gate(from_h, 1)));
    const Tensor n = tanh(add(gate(from_x, 2), mul(r, gate(from_h, 2))));
    return {add(n, mul(z, sub(before.h, n))), {}};
  }
  const Tensor sums = add(from_x, from_h);
  if (mode != RnnMode::lstm) return {mode == RnnMode::tanh ? tanh(sums) : unary(UnaryOp::relu, sums), {}};
  const Tensor in = sigmoid(gate(sums, 0)), forget = sigmoid(gate(sums, 1)), candidate = tanh(gate(sums, 2));
  const Tensor c = add(mul(forget, before.c), mul(in, candidate));
  const Tensor h = mul(sigmoid(gate(sums, 3)), tanh(c));
  return {w.projection.defined() ? linear(h, w.projection, Tensor()) : h, c};
}

// The first `count` rows replaced.
Tensor with_rows(const Tensor& state, const Tensor& rows, Index count) {
  if (!rows.defined() || count == state.size(0)) return rows;
  return cat({rows, narrow(state, 0, count, state.size(0) - count)}, 0);
}

struct Pass {
  Tensor y;
  State last;
};

Pass direction(RnnMode mode, bool reverse, const Tensor& x, const RnnSequence& sequence, State state,
               const RnnWeights& w) {
  const RnnSteps steps = sequence.steps();
  const Tensor from_x = linear(x, w.ih, w.ih_bias);
  Tensors outputs;
  outputs.resize(static_cast<std::size_t>(steps.count));
  for (Index s = 0; s < steps.count; ++s) {
    const Index t = reverse ? steps.count - 1 - s : s, size = steps.size(t);
    const auto active = [&](const Tensor& all) { return all.defined() ? narrow(all, 0, 0, size) : all; };
    const State next = step(mode, narrow(from_x, 0, steps.start(t), size), {active(state.h), active(state.c)}, w);
    outputs[static_cast<std::size_t>(t)] = next.h;
    state = {with_rows(state.h, next.h, size), with_rows(state.c, next.c, size)};
  }
  return {cat(outputs, 0), state};
}

}  // namespace

RnnResult rnn_layer_composed(RnnMode mode, const Tensor& x, const RnnSequence& sequence, const Tensor& h,
                             const Tensor& c, const RnnDirections& directions) {
  Tensors y, last_h, last_c;
  for (Index d = 0; d < static_cast<Index>(directions.size()); ++d) {
    const State first{select(h, 0, d), c.defined() ? select(c, 0, d) : Tensor()};
    const Pass pass = direction(mode, d == 1, x, sequence, first, directions[static_cast<std::size_t>(d)]);
    y.push_back(pass.y);
    last_h.push_back(pass.last.h);
    last_c.push_back(pass.last.c);
  }
  return {.y = y.size() == 1 ? y[0] : cat(y, 1),
          .h = stack(last_h, 0),
          .c = mode == RnnMode::lstm ? stack(last_c, 0) : Tensor()};
}

}  // namespace dd2424::ops
