#include "ops/rnn.h"

#include <algorithm>

#include "ops/copy.h"
#include "ops/elementwise.h"
#include "ops/rnn_layer.h"
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

Tensor empty_rows(Index rows, Index columns, const Tensor& x) {
  constexpr Index gap = 64, collides = 1024;  // bytes
  const Index size = item_bytes(x.dtype()), row = columns + (columns * size % collides == 0 ? gap / size : 0);
  return narrow(empty({rows, row}, x.dtype(), x.device()), 1, 0, columns);
}

namespace {

bool has_kernel(DType dtype) { return dtype == DType::float32 || dtype == DType::float64; }

// What is added to the products of the inputs: both biases, but for the one that a GRU's r multiplies.
Tensor input_bias(RnnMode mode, const RnnWeights& w) {
  if (!w.ih_bias.defined()) return {};
  const Index both = (mode == RnnMode::gru ? 2 : summed_gates(mode)) * w.hidden(mode);
  const Tensor x = contiguous(detach(w.ih_bias)), y = contiguous(detach(w.hh_bias));
  if (x.device() != Device::cpu) {
    const Tensor total = add(x, y);
    if (both < x.numel()) copy_into(narrow(total, 0, both, x.numel() - both), narrow(x, 0, both, x.numel() - both));
    return total;
  }
  const Tensor sum = empty(x.shape(), x.dtype());
  dispatch_rnn(x.dtype(), [&]<class T>(T) {
    for (Index i = 0; i < x.numel(); ++i) sum.data<T>()[i] = x.data<T>()[i] + (i < both ? y.data<T>()[i] : T(0));
  });
  return sum;
}

struct Kept {  // by the forward pass of a direction
  Tensor gates, cells, unprojected;
};

// One direction. It reads h and c, and writes its columns of y and its part of hn and cn.
template <class T>
Kept forward(RnnMode mode, bool reverse, const Tensor& x, const RnnSequence& sequence, const T* h0, const T* c0,
             const RnnWeights& w, RnnMatrix<T> y, T* hn, T* cn, bool keeps) {
  const char* op = op_name(mode);
  const Index hidden = w.hidden(mode), outputs = w.hh.size(1), rows = x.size(0), width = kept_gates(mode) * hidden;
  const Index summed = summed_gates(mode) * hidden, inputs = x.size(1);
  const Tensor ih = contiguous(w.ih), hh = contiguous(w.hh), bias = input_bias(mode, w);
  const auto dense = [](const Tensor& t) { return t.defined() ? contiguous(t) : t; };
  const Tensor hh_bias = dense(w.hh_bias), projection = dense(w.projection);
  const bool is_gru = mode == RnnMode::gru, projects = projection.defined();
  const T* candidate_bias = is_gru && hh_bias.defined() ? hh_bias.data<T>() + 2 * hidden : nullptr;
  Kept kept{.gates = empty_rows(rows, width, x), .cells = {}, .unprojected = {}};
  if (keeps && mode == RnnMode::lstm) kept.cells = empty({rows, hidden}, x.dtype(), x.device());
  if (projects) kept.unprojected = empty({rows, hidden}, x.dtype(), x.device());
  const RnnMatrix<T> gates{kept.gates.data<T>(), kept.gates.strides()[0]}, state{const_cast<T*>(h0), hidden},
      weight{hh.data<T>(), outputs};
  rnn_product(op, x.device(), rows, summed, inputs, {x.data<T>(), inputs},
              transposed(RnnMatrix<T>{ih.data<T>(), inputs}), gates, 0, bias.data<T>());
  const bool single = is_single(sequence, w);
  if (single) {
    const Index first = is_gru ? 2 * hidden : summed;
    rnn_product(op, x.device(), rows, first, hidden, state, transposed(weight), gates, 1);
    if (is_gru)
      rnn_product(op, x.device(), rows, hidden, hidden, state,
                  transposed(RnnMatrix<T>{weight.data + first * hidden, hidden}), {gates.data + 3 * hidden, gates.row},
                  0, candidate_bias);
  }
  const RnnForward<T> call{.mode = mode,
                           .reverse = reverse,
                           .steps = sequence.steps(),
                           .hidden = hidden,
                           .outputs = outputs,
                           .gates = gates.data,
                           .gates_row = gates.row,
                           .weight = single ? nullptr : weight.data,
                           .bias = candidate_bias,
                           .projection = projection.data<T>(),
                           .h0 = h0,
                           .c0 = c0,
                           .y = y.data,
                           .y_row = y.row,
                           .cells = kept.cells.data<T>(),
                           .unprojected = kept.unprojected.data<T>(),
                           .hn = hn,
                           .cn = cn};
  const auto& table = kernels<RnnKernels<T>>(x.device());
  run(op, table.forward, step_work(call.steps, outputs, summed), Scratch(table.forward_workspace(call), x.device()),
      call);
  if (!keeps || mode < RnnMode::gru) kept.gates = Tensor();
  return kept;
}

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

// A layer of a short type, which keeps its states and sums in float32 from the first step to the last.
RnnResult in_float32(RnnMode mode, const Tensor& x, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                     const RnnDirections& directions) {
  const auto wide = [](const Tensor& t) { return t.defined() ? to(t, DType::float32) : t; };
  const auto back = [&](const Tensor& t) { return t.defined() ? to(t, x.dtype()) : t; };
  RnnDirections weights;
  for (const RnnWeights& w : directions)
    weights.push_back({wide(w.ih), wide(w.hh), wide(w.ih_bias), wide(w.hh_bias), wide(w.projection)});
  const RnnResult found = rnn_layer(mode, wide(x), sequence, wide(h), wide(c), weights);
  return {.y = back(found.y), .h = back(found.h), .c = back(found.c)};
}

}  // namespace

RnnResult rnn_layer(RnnMode mode, const Tensor& input, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                    const RnnDirections& directions) {
  const bool is_narrow = is_short(input.dtype()), projects_to_none = h.size(2) == 0 && c.defined();
  const bool projects_on_gpu = input.device() != Device::cpu && directions[0].projection.defined();  // no kernel for it
  if (mode_is_active() || projects_on_gpu || projects_to_none || (!is_narrow && !has_kernel(input.dtype())))
    return rnn_layer_composed(mode, input, sequence, h, c, directions);
  if (is_narrow) return in_float32(mode, input, sequence, h, c, directions);
  const Tensor x = contiguous(input), h0 = contiguous(h), c0 = c.defined() ? contiguous(c) : Tensor();
  Tensors inputs{x, h0, c0};
  for (const RnnWeights& w : directions)
    for (const Tensor& t : {w.ih, w.hh, w.ih_bias, w.hh_bias, w.projection}) inputs.push_back(t);
  const Index outputs = h0.size(2), hidden = directions[0].hidden(mode), count = static_cast<Index>(directions.size());
  const RnnResult result{.y = empty({x.size(0), count * outputs}, x.dtype(), x.device()),
                         .h = empty(h0.shape(), x.dtype(), x.device()),
                         .c = c0.defined() ? empty(c0.shape(), x.dtype(), x.device()) : Tensor()};
  RnnNode* node = record_layer(mode, sequence, inputs, result);
  Kept kept[2];
  dispatch_rnn(x.dtype(), [&]<class T>(T) {
    const auto at = [](const Tensor& t, Index offset) { return t.defined() ? t.data<T>() + offset : nullptr; };
    for (Index d = 0; d < count; ++d) {
      const Index part = d * sequence.batch * outputs, c_part = d * sequence.batch * hidden;
      kept[d] =
          forward<T>(mode, d == 1, x, sequence, at(h0, part), at(c0, c_part), directions[static_cast<std::size_t>(d)],
                     {at(result.y, d * outputs), count * outputs}, at(result.h, part), at(result.c, c_part), node);
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
    saved.projection.save(w.projection), saved.unprojected.save(kept[d].unprojected);
    saved.gates.save(kept[d].gates), saved.cells.save(kept[d].cells);
  }
  return result;
}

}  // namespace dd2424::ops
