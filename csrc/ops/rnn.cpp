#include "ops/rnn.h"

#include <algorithm>

#include "autograd/engine.h"
#include "core/gemm.h"
#include "ops/copy.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace dd2424::ops {

const char* op_name(RnnMode mode) {
  switch (mode) {
    case RnnMode::tanh: return "rnn_tanh";
    case RnnMode::relu: return "rnn_relu";
    case RnnMode::gru: return "gru";
    case RnnMode::lstm: return "lstm";
  }
  return "rnn";
}

namespace {

bool has_kernel(DType dtype) { return dtype == DType::float32 || dtype == DType::float64; }

template <class F>
void dispatch(DType dtype, const F& f) {
  if (dtype == DType::float64) f(double());
  else f(float());
}

// c = a b + bias + beta c, for matrices whose rows are so far apart; a or b may be the transpose of what is given.
template <class T>
struct Matrix {
  T* data;
  Index row, column = 1;
};
template <class T>
Matrix<T> transposed(const Matrix<T>& x) {
  return {x.data, x.column, x.row};
}
template <class T>
void multiply(const char* op, Index m, Index n, Index k, const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& c,
              double beta = 0, const T* bias = nullptr) {
  const Gemm<T> g{.a = a.data,
                  .b = b.data,
                  .c = c.data,
                  .bias = bias,
                  .m = m,
                  .n = n,
                  .k = k,
                  .a_row = a.row,
                  .a_column = a.column,
                  .b_row = b.row,
                  .b_column = b.column,
                  .c_row = c.row,
                  .c_column = c.column,
                  .beta = beta};
  const auto& table = kernels<GemmKernels<T>>(Device::cpu);
  if (m > 0 && n > 0) run(op, table.gemm, m * n * (k / 8 + 1), table.gemm_workspace(g), g);
}

// What is added to the products of the inputs: both biases, but for the one that a GRU's r multiplies.
Tensor input_bias(RnnMode mode, const RnnWeights& w) {
  if (!w.ih_bias.defined()) return {};
  const Tensor sum = empty(w.ih_bias.shape(), w.ih_bias.dtype());
  const Tensor x = contiguous(w.ih_bias), y = contiguous(w.hh_bias);
  const Index both = (mode == RnnMode::gru ? 2 : summed_gates(mode)) * w.hidden(mode);
  dispatch(x.dtype(), [&]<class T>(T) {
    for (Index i = 0; i < x.numel(); ++i) sum.data<T>()[i] = x.data<T>()[i] + (i < both ? y.data<T>()[i] : T(0));
  });
  return sum;
}

// Work of one step's products, in elements touched.
Index step_work(const RnnSteps& steps, Index hidden, Index summed) { return steps.rows() * summed * (hidden / 8 + 1); }

// (rows, columns), the rows a little apart where they would share cache sets.
Tensor empty_rows(Index rows, Index columns, DType dtype) {
  constexpr Index gap = 64, collides = 1024;  // bytes
  const Index size = item_bytes(dtype), row = columns + (columns * size % collides == 0 ? gap / size : 0);
  return narrow(empty({rows, row}, dtype), 1, 0, columns);
}

struct Kept {  // by the forward pass of a direction
  Tensor gates, cells;
};

// One direction. It reads h and c, and writes its columns of y and its part of hn and cn.
template <class T>
Kept forward(RnnMode mode, bool reverse, const Tensor& x, const RnnSequence& sequence, const T* h0, const T* c0,
             const RnnWeights& w, Matrix<T> y, T* hn, T* cn, bool keeps) {
  const char* op = op_name(mode);
  const Index hidden = w.hidden(mode), rows = x.size(0), width = kept_gates(mode) * hidden;
  const Index summed = summed_gates(mode) * hidden, inputs = x.size(1);
  const Tensor ih = contiguous(w.ih), hh = contiguous(w.hh), bias = input_bias(mode, w);
  const Tensor hh_bias = w.hh_bias.defined() ? contiguous(w.hh_bias) : Tensor();
  const bool is_gru = mode == RnnMode::gru;
  const T* candidate_bias = is_gru && hh_bias.defined() ? hh_bias.data<T>() + 2 * hidden : nullptr;
  Kept kept{.gates = empty_rows(rows, width, x.dtype()), .cells = {}};
  if (keeps && mode == RnnMode::lstm) kept.cells = empty({rows, hidden}, x.dtype());
  const Matrix<T> gates{kept.gates.data<T>(), kept.gates.strides()[0]}, state{const_cast<T*>(h0), hidden},
      weight{hh.data<T>(), hidden};
  multiply(op, rows, summed, inputs, {x.data<T>(), inputs}, transposed(Matrix<T>{ih.data<T>(), inputs}), gates, 0,
           bias.data<T>());
  const bool single = sequence.count == 1;  // its weights are not worth packing
  if (single) {
    const Index first = is_gru ? 2 * hidden : summed;
    multiply(op, rows, first, hidden, state, transposed(weight), gates, 1);
    if (is_gru)
      multiply(op, rows, hidden, hidden, state, transposed(Matrix<T>{weight.data + first * hidden, hidden}),
               {gates.data + 3 * hidden, gates.row}, 0, candidate_bias);
  }
  const RnnForward<T> call{.mode = mode,
                           .reverse = reverse,
                           .steps = sequence.steps(),
                           .hidden = hidden,
                           .gates = gates.data,
                           .gates_row = gates.row,
                           .weight = single ? nullptr : weight.data,
                           .bias = candidate_bias,
                           .h0 = h0,
                           .c0 = c0,
                           .y = y.data,
                           .y_row = y.row,
                           .cells = kept.cells.data<T>(),
                           .hn = hn,
                           .cn = cn};
  const auto& table = kernels<RnnKernels<T>>(x.device());
  run(op, table.forward, step_work(call.steps, hidden, summed), table.forward_workspace(call), call);
  if (!keeps || mode < RnnMode::gru) kept.gates = Tensor();
  return kept;
}

struct RnnNode final : Node {
  struct Direction {
    Saved ih, hh, ih_bias, hh_bias, gates, cells;
    explicit Direction(Node* node) : ih(node), hh(node), ih_bias(node), hh_bias(node), gates(node), cells(node) {}
    RnnWeights weights() const { return {ih.get(), hh.get(), ih_bias.get(), hh_bias.get(), {}}; }
  };
  static constexpr int kFirstWeight = 3, kWeights = 4;  // among the inputs: x, h, c, then these of each direction
  static constexpr Index kManyRows = 128;  // packing the gradients of the sums twice costs more than two transpositions
  RnnMode mode;
  RnnSequence sequence;
  int count;  // of directions
  Saved x{this}, h{this}, c{this}, y{this};
  Direction directions[2]{Direction(this), Direction(this)};
  RnnNode(RnnMode mode, const RnnSequence& sequence, int count) : mode(mode), sequence(sequence), count(count) {}
  const char* name() const override { return op_name(mode); }

  Tensors backward(const Tensors& grads, const Needs& needs) override {
    if (grad_enabled()) return composed(grads, needs);
    Tensors result;
    result.resize(static_cast<std::size_t>(kFirstWeight + kWeights * count));
    const Tensor input = x.get(), state = h.get();
    if (needs[0]) result[0] = empty(input.shape(), input.dtype());
    result[1] = empty(state.shape(), state.dtype());
    if (mode == RnnMode::lstm) result[2] = empty(state.shape(), state.dtype());
    Tensors arrived;
    for (std::size_t i = 0; i < 3; ++i)
      arrived.push_back(i < grads.size() && grads[i].defined() ? contiguous(grads[i]) : Tensor());
    dispatch(input.dtype(), [&]<class T>(T) {
      for (int d = 0; d < count; ++d) direction<T>(d, arrived, needs, result);
    });
    for (std::size_t i = 1; i < kFirstWeight; ++i)
      if (!needs[i]) result[i] = Tensor();
    return result;
  }

  template <class T>
  void direction(int d, const Tensors& grads, const Needs& needs, Tensors& result) {
    const Tensor states = h.get(), cells = c.get(), hh = contiguous(directions[d].hh.get());
    const Index hidden = states.size(2), rows = x.get().size(0), part = d * states.size(1) * hidden;
    const Index summed = summed_gates(mode) * hidden;
    const std::size_t first = static_cast<std::size_t>(kFirstWeight + kWeights * d);
    const bool single = sequence.count == 1;
    const DType dtype = states.dtype();
    const auto at = [](const Tensor& t, Index offset) { return t.defined() ? t.data<T>() + offset : nullptr; };
    const Tensor dgates = empty_rows(rows, summed, dtype), gates = directions[d].gates.get();
    const Tensor drecurrent = mode == RnnMode::gru ? empty_rows(rows, summed, dtype) : dgates;
    const Index dgates_row = dgates.strides()[0];
    // What the weights met: the states and, where the same gradients meet both and are many, the inputs before them.
    // For one of the two gradients too: its bits must not depend on whether the other is wanted.
    const bool wants = needs[first] || needs[first + 1];
    const bool has_inputs = mode != RnnMode::gru && wants && rows >= kManyRows;
    const Index inputs = has_inputs ? x.get().size(1) : 0, met_row = inputs + hidden;
    const Tensor met = has_inputs || needs[first + 1] ? empty({rows, met_row}, dtype) : Tensor();
    if (has_inputs) copy_into(narrow(met, 1, 0, inputs), x.get());
    const RnnBackward<T> call{.mode = mode,
                              .reverse = d == 1,
                              .steps = sequence.steps(),
                              .hidden = hidden,
                              .gates = gates.data<T>(),
                              .weight = single ? nullptr : hh.data<T>(),
                              .h0 = states.data<T>() + part,
                              .c0 = at(cells, part),
                              .y = y.get().data<T>() + d * hidden,
                              .cells = directions[d].cells.get().data<T>(),
                              .gates_row = gates.defined() ? gates.strides()[0] : 0,
                              .dy = at(grads[0], d * hidden),
                              .y_row = count * hidden,
                              .dy_row = count * hidden,
                              .dhn = at(grads[1], part),
                              .dcn = at(grads[2], part),
                              .dgates = dgates.data<T>(),
                              .drecurrent = drecurrent.data<T>(),
                              .dgates_row = dgates_row,
                              .before = at(met, inputs),
                              .before_row = met_row,
                              .dh0 = result[1].data<T>() + part,
                              .dc0 = at(result[2], part)};
    const auto& table = kernels<RnnKernels<T>>(states.device());
    run(name(), table.backward, step_work(call.steps, hidden, summed), table.backward_workspace(call), call);
    if (single)
      multiply<T>(name(), rows, hidden, summed, {drecurrent.data<T>(), dgates_row}, {hh.data<T>(), hidden},
                  {call.dh0, hidden}, mode == RnnMode::gru);
    products<T>(d, dgates, drecurrent, met, needs, result);
  }

  // The gradients that are products over all steps at once. Where `met` holds inputs and states one product serves
  // both, the other way round, so that the gradients of the sums are packed but once.
  template <class T>
  void products(int d, const Tensor& dgates, const Tensor& drecurrent, const Tensor& met, const Needs& needs,
                Tensors& result) {
    const Tensor input = x.get(), ih = contiguous(directions[d].ih.get());
    const Index rows = input.size(0), inputs = input.size(1), summed = dgates.size(1), hidden = h.get().size(2);
    const std::size_t first = static_cast<std::size_t>(kFirstWeight + kWeights * d);
    const Matrix<T> of_inputs{dgates.data<T>(), dgates.strides()[0]};
    const Matrix<T> of_states{drecurrent.data<T>(), drecurrent.strides()[0]};
    if (needs[0])
      multiply<T>(name(), rows, inputs, summed, of_inputs, {ih.data<T>(), inputs}, {result[0].data<T>(), inputs}, d);
    if (met.defined() && met.size(1) > hidden) {
      const Tensor both = empty_rows(inputs + hidden, summed, ih.dtype());
      multiply<T>(name(), inputs + hidden, summed, rows, transposed(Matrix<T>{met.data<T>(), inputs + hidden}),
                  of_inputs, {both.data<T>(), both.strides()[0]});
      const auto turned = [&](Index begin, Index count) {
        return clone_contiguous(transpose(narrow(both, 0, begin, count), 0, 1));
      };
      if (needs[first]) result[first] = turned(0, inputs);
      if (needs[first + 1]) result[first + 1] = turned(inputs, hidden);
    } else {
      const auto gradient = [&](const Matrix<T>& sums, T* with, Index columns) {
        const Tensor dweight = empty({summed, columns}, ih.dtype());
        multiply<T>(name(), summed, columns, rows, transposed(sums), {with, columns}, {dweight.data<T>(), columns});
        return dweight;
      };
      if (needs[first]) result[first] = gradient(of_inputs, input.data<T>(), inputs);
      if (needs[first + 1]) result[first + 1] = gradient(of_states, met.data<T>(), hidden);
    }
    if (needs[first + 2]) result[first + 2] = sum(dgates, {0});
    if (!needs[first + 3]) return;
    const bool is_same = dgates.same(drecurrent) && result[first + 2].defined();
    result[first + 3] = is_same ? clone(result[first + 2]) : sum(drecurrent, {0});
  }

  // The gradient's own gradient: through the same layer made of operations, from stand-ins for what is asked about, at
  // which the walk back ends.
  Tensors composed(const Tensors& grads, const Needs& needs) const {
    Tensors inputs{x.get(), h.get(), c.get()}, stand_ins, roots, given, result;
    for (int d = 0; d < count; ++d) {
      const RnnWeights w = directions[d].weights();
      for (const Tensor& t : {w.ih, w.hh, w.ih_bias, w.hh_bias}) inputs.push_back(t);
    }
    result.resize(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined() || !needs[i]) continue;
      inputs[i] = view(inputs[i], inputs[i].shape());
      stand_ins.push_back(inputs[i]);
    }
    RnnDirections weights;
    for (std::size_t i = kFirstWeight; i < inputs.size(); i += kWeights)
      weights.push_back({inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3], {}});
    const RnnResult again = rnn_layer_composed(mode, inputs[0], sequence, inputs[1], inputs[2], weights);
    const Tensor outputs[]{again.y, again.h, again.c};
    for (std::size_t i = 0; i < grads.size(); ++i) {
      if (!grads[i].defined() || !needs_grad(outputs[i])) continue;
      roots.push_back(outputs[i]);
      given.push_back(grads[i]);
    }
    const Tensors found = run_grad(roots, given, stand_ins, {.retain_graph = true, .create_graph = true});
    for (std::size_t i = 0, next = 0; i < inputs.size(); ++i)
      if (inputs[i].defined() && needs[i]) result[i] = found[next++];
    return result;
  }
};

// The node of a layer, where any input needs a gradient. Its edges first: a stale view's is made with them.
RnnNode* record_layer(RnnMode mode, const RnnSequence& sequence, const Tensors& inputs, const RnnResult& result) {
  if (!grad_enabled() || std::ranges::none_of(inputs, [](const Tensor& t) { return t.defined() && needs_grad(t); }))
    return nullptr;
  Edges edges;
  for (const Tensor& t : inputs) edges.push_back(t.defined() ? edge_to(t) : Edge());
  const int count = static_cast<int>(inputs.size() - RnnNode::kFirstWeight) / RnnNode::kWeights;
  Ref<RnnNode> node = make_ref<RnnNode>(mode, sequence, count);
  node->edges = std::move(edges);
  node->outputs = mode == RnnMode::lstm ? 3 : 2;
  set_node(result.y, node, 0);
  set_node(result.h, node, 1);
  if (mode == RnnMode::lstm) set_node(result.c, node, 2);
  return node.get();
}

// A layer of bfloat16, which keeps its states and sums in float32 from the first step to the last.
RnnResult in_float32(RnnMode mode, const Tensor& x, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                     const RnnDirections& directions) {
  const auto wide = [](const Tensor& t) { return t.defined() ? to(t, DType::float32) : t; };
  const auto back = [&](const Tensor& t) { return t.defined() ? to(t, x.dtype()) : t; };
  RnnDirections weights;
  for (const RnnWeights& w : directions)
    weights.push_back({wide(w.ih), wide(w.hh), wide(w.ih_bias), wide(w.hh_bias), {}});
  const RnnResult found = rnn_layer(mode, wide(x), sequence, wide(h), wide(c), weights);
  return {.y = back(found.y), .h = back(found.h), .c = back(found.c)};
}

}  // namespace

RnnResult rnn_layer(RnnMode mode, const Tensor& input, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                    const RnnDirections& directions) {
  const bool has_projection = directions[0].projection.defined(), is_narrow = input.dtype() == DType::bfloat16;
  // A GPU has no kernel for whole sequences yet.
  if (mode_is_active() || input.device() != Device::cpu || has_projection || (!is_narrow && !has_kernel(input.dtype())))
    return rnn_layer_composed(mode, input, sequence, h, c, directions);
  if (is_narrow) return in_float32(mode, input, sequence, h, c, directions);
  const Tensor x = contiguous(input), h0 = contiguous(h), c0 = c.defined() ? contiguous(c) : Tensor();
  Tensors inputs{x, h0, c0};
  for (const RnnWeights& w : directions)
    for (const Tensor& t : {w.ih, w.hh, w.ih_bias, w.hh_bias}) inputs.push_back(t);
  const Index hidden = h0.size(2), count = static_cast<Index>(directions.size());
  const RnnResult result{.y = empty({x.size(0), count * hidden}, x.dtype()),
                         .h = empty(h0.shape(), x.dtype()),
                         .c = c0.defined() ? empty(h0.shape(), x.dtype()) : Tensor()};
  RnnNode* node = record_layer(mode, sequence, inputs, result);
  Kept kept[2];
  dispatch(x.dtype(), [&]<class T>(T) {
    const auto at = [](const Tensor& t, Index offset) { return t.defined() ? t.data<T>() + offset : nullptr; };
    for (Index d = 0; d < count; ++d) {
      const Index part = d * sequence.batch * hidden;
      kept[d] =
          forward<T>(mode, d == 1, x, sequence, at(h0, part), at(c0, part), directions[static_cast<std::size_t>(d)],
                     {at(result.y, d * hidden), count * hidden}, at(result.h, part), at(result.c, part), node);
    }
  });
  if (!node) return result;
  node->x.save(x);
  node->h.save(h0);
  node->c.save(c0);
  node->y.save_output(result.y);
  for (Index d = 0; d < count; ++d) {
    RnnNode::Direction& saved = node->directions[d];
    const RnnWeights& w = directions[static_cast<std::size_t>(d)];
    saved.ih.save(w.ih), saved.hh.save(w.hh), saved.ih_bias.save(w.ih_bias), saved.hh_bias.save(w.hh_bias);
    saved.gates.save(kept[d].gates), saved.cells.save(kept[d].cells);
  }
  return result;
}

}  // namespace dd2424::ops
