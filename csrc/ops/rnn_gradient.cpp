#include "autograd/engine.h"
#include "ops/copy.h"
#include "ops/reduce.h"
#include "ops/rnn_layer.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

constexpr Index kManyRows = 128;  // packing the gradients of the sums twice costs more than two transpositions

template <class T>
T* at(const Tensor& t, Index offset) {
  return t.defined() ? t.data<T>() + offset : nullptr;
}

}  // namespace

// What the products over all steps are made of.
struct RnnNode::Products {
  Tensor dgates, drecurrent;  // (rows, summed gates)
  Tensor met;                 // (rows, inputs before outputs, or outputs alone): what the weights met
  Tensor dprojected;          // (rows, outputs), with projections
};

Tensors RnnNode::backward(const Tensors& grads, const Needs& needs) {
  if (grad_enabled()) return composed(grads, needs);
  Tensors result;
  result.resize(static_cast<std::size_t>(kFirstWeight + kWeights * count));
  const Tensor input = x.get(), state = h.get();
  if (needs[0]) result[0] = empty(input.shape(), input.dtype(), input.device());
  result[1] = empty(state.shape(), state.dtype(), state.device());
  if (mode == RnnMode::lstm) result[2] = empty(c.get().shape(), state.dtype(), state.device());
  Tensors arrived;
  for (std::size_t i = 0; i < 3; ++i)
    arrived.push_back(i < grads.size() && grads[i].defined() ? contiguous(grads[i]) : Tensor());
  dispatch_rnn(input.dtype(), [&]<class T>(T) {
    for (int d = 0; d < count; ++d) direction<T>(d, arrived, needs, result);
  });
  for (std::size_t i = 1; i < kFirstWeight; ++i)
    if (!needs[i]) result[i] = Tensor();
  return result;
}

template <class T>
void RnnNode::direction(int d, const Tensors& grads, const Needs& needs, Tensors& result) {
  const Direction& saved = directions[d];
  const RnnWeights w = saved.weights();
  const Tensor states = h.get(), cells = c.get(), hh = contiguous(w.hh);
  const Tensor projection = w.projection.defined() ? contiguous(w.projection) : Tensor();
  const Index outputs = states.size(2), hidden = w.hidden(mode), rows = x.get().size(0);
  const Index part = d * states.size(1) * outputs, c_part = d * states.size(1) * hidden;
  const Index summed = summed_gates(mode) * hidden;
  const std::size_t first = static_cast<std::size_t>(kFirstWeight + kWeights * d);
  const bool single = is_single(sequence, w);
  const DType dtype = states.dtype();
  const Device device = states.device();
  const Tensor dgates = empty_rows(rows, summed, states), gates = saved.gates.get();
  const Tensor drecurrent = mode == RnnMode::gru ? empty_rows(rows, summed, states) : dgates;
  const Tensor dprojected = projection.defined() ? empty({rows, outputs}, dtype, device) : Tensor();
  const Index dgates_row = dgates.strides()[0];
  // What the weights met: the states and, where the same gradients meet both and are many, the inputs before them.
  // For one of the two gradients too: its bits must not depend on whether the other is wanted.
  const bool wants = needs[first] || needs[first + 1];
  const bool has_inputs = mode != RnnMode::gru && wants && rows >= kManyRows;
  const Index inputs = has_inputs ? x.get().size(1) : 0, met_row = inputs + outputs;
  const Tensor met = has_inputs || needs[first + 1] ? empty({rows, met_row}, dtype, device) : Tensor();
  if (has_inputs) copy_into(narrow(met, 1, 0, inputs), x.get());
  const RnnBackward<T> call{.mode = mode,
                            .reverse = d == 1,
                            .steps = sequence.steps(),
                            .hidden = hidden,
                            .outputs = outputs,
                            .gates = gates.data<T>(),
                            .weight = single ? nullptr : hh.data<T>(),
                            .projection = projection.data<T>(),
                            .h0 = states.data<T>() + part,
                            .c0 = at<T>(cells, c_part),
                            .y = y.get().data<T>() + d * outputs,
                            .cells = saved.cells.get().data<T>(),
                            .gates_row = gates.defined() ? gates.strides()[0] : 0,
                            .dy = at<T>(grads[0], d * outputs),
                            .y_row = count * outputs,
                            .dy_row = count * outputs,
                            .dhn = at<T>(grads[1], part),
                            .dcn = at<T>(grads[2], c_part),
                            .dgates = dgates.data<T>(),
                            .drecurrent = drecurrent.data<T>(),
                            .dgates_row = dgates_row,
                            .before = at<T>(met, inputs),
                            .before_row = met_row,
                            .dprojected = dprojected.data<T>(),
                            .dh0 = result[1].data<T>() + part,
                            .dc0 = at<T>(result[2], c_part)};
  const auto& table = kernels<RnnKernels<T>>(states.device());
  run(name(), table.backward, step_work(call.steps, outputs, summed), Scratch(table.backward_workspace(call), device),
      call);
  if (single)
    rnn_product<T>(name(), device, rows, hidden, summed, {drecurrent.data<T>(), dgates_row}, {hh.data<T>(), hidden},
                   {call.dh0, hidden}, mode == RnnMode::gru);
  products<T>(d, {dgates, drecurrent, met, dprojected}, needs, result);
}

// The gradients that are products over all steps at once. Where `met` holds inputs and states one product serves both,
// the other way round, so that the gradients of the sums are packed but once.
template <class T>
void RnnNode::products(int d, const Products& of, const Needs& needs, Tensors& result) {
  const Tensor input = x.get(), ih = contiguous(directions[d].ih.get());
  const Index rows = input.size(0), inputs = input.size(1), summed = of.dgates.size(1), outputs = h.get().size(2);
  const Device device = input.device();
  const std::size_t first = static_cast<std::size_t>(kFirstWeight + kWeights * d);
  const RnnMatrix<T> of_inputs{of.dgates.data<T>(), of.dgates.strides()[0]};
  const auto gradient = [&](const RnnMatrix<T>& sums, Index count, T* with, Index columns) {
    const Tensor dweight = empty({count, columns}, ih.dtype(), device);
    rnn_product<T>(name(), device, count, columns, rows, transposed(sums), {with, columns},
                   {dweight.data<T>(), columns});
    return dweight;
  };
  if (needs[0])
    rnn_product<T>(name(), device, rows, inputs, summed, of_inputs, {ih.data<T>(), inputs},
                   {result[0].data<T>(), inputs}, d);
  if (of.met.defined() && of.met.size(1) > outputs) {
    const Tensor both = empty_rows(inputs + outputs, summed, ih);
    rnn_product<T>(name(), device, inputs + outputs, summed, rows,
                   transposed(RnnMatrix<T>{of.met.data<T>(), inputs + outputs}), of_inputs,
                   {both.data<T>(), both.strides()[0]});
    const auto turned = [&](Index begin, Index count) {
      return clone_contiguous(transpose(narrow(both, 0, begin, count), 0, 1));
    };
    if (needs[first]) result[first] = turned(0, inputs);
    if (needs[first + 1]) result[first + 1] = turned(inputs, outputs);
  } else {
    const RnnMatrix<T> of_states{of.drecurrent.data<T>(), of.drecurrent.strides()[0]};
    if (needs[first]) result[first] = gradient(of_inputs, summed, input.data<T>(), inputs);
    if (needs[first + 1]) result[first + 1] = gradient(of_states, summed, of.met.data<T>(), outputs);
  }
  if (needs[first + 2]) result[first + 2] = sum(of.dgates, {0});
  if (needs[first + 3]) {
    const bool is_same = of.dgates.same(of.drecurrent) && result[first + 2].defined();
    result[first + 3] = is_same ? clone(result[first + 2]) : sum(of.drecurrent, {0});
  }
  if (!needs[first + 4]) return;
  const Tensor unprojected = directions[d].unprojected.get();
  const RnnMatrix<T> dprojected{of.dprojected.data<T>(), outputs};
  result[first + 4] = gradient(dprojected, outputs, unprojected.data<T>(), unprojected.size(1));
}

// The gradient's own gradient: through the same layer made of operations, from stand-ins for what is asked about, at
// which the walk back ends.
Tensors RnnNode::composed(const Tensors& grads, const Needs& needs) const {
  Tensors inputs{x.get(), h.get(), c.get()}, stand_ins, roots, given, result;
  for (int d = 0; d < count; ++d) {
    const RnnWeights w = directions[d].weights();
    for (const Tensor& t : {w.ih, w.hh, w.ih_bias, w.hh_bias, w.projection}) inputs.push_back(t);
  }
  result.resize(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].defined() || !needs[i]) continue;
    inputs[i] = view(inputs[i], inputs[i].shape());
    stand_ins.push_back(inputs[i]);
  }
  RnnDirections weights;
  for (std::size_t i = kFirstWeight; i < inputs.size(); i += kWeights)
    weights.push_back({inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3], inputs[i + 4]});
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

}  // namespace dd2424::ops
