#include "ops/autocast.h"
#include "ops/copy.h"
#include "ops/rnn.h"
#include "ops/shape.h"

namespace dd2424::ops {
namespace {

// What the arguments say about sizes.
struct Network {
  const char* op;
  const RnnOptions& options;
  Index directions, weights_each;  // tensors of one direction of one layer
  RnnDirections weights;           // layer by layer
  Index hidden, output;            // units, and features of h: fewer with projections

  Network(const Tensors& all, const RnnOptions& options)
      : op(op_name(options.mode)), options(options), directions(options.bidirectional ? 2 : 1) {
    const Index given = static_cast<Index>(all.size());
    check<ValueError>(options.num_layers > 0, op, ": num_layers must be greater than zero, got ", options.num_layers);
    check(options.num_layers <= given, op, ": params must be tensors for each of ", options.num_layers, " layers, got ",
          given);  // and so nothing below overflows
    check<ValueError>(options.dropout >= 0 && options.dropout <= 1, op, ": dropout must be from 0 to 1, got ",
                      options.dropout);
    const Index total = options.num_layers * directions, plain = options.has_biases ? 4 : 2;
    weights_each = given == total * (plain + 1) && options.mode == RnnMode::lstm ? plain + 1 : plain;
    check(given == total * weights_each, op, ": params must be ", plain, " tensors for each of ", total,
          " layers and directions, got ", given);
    for (Index i = 0; i < total; ++i) weights.push_back(direction_at(all, i * weights_each));
    check(weights[0].ih.ndim() == 2 && weights[0].hh.ndim() == 2, op, ": weights must be matrices, got ",
          weights[0].ih.shape(), " and ", weights[0].hh.shape());
    hidden = weights[0].hidden(options.mode);
    output = weights[0].hh.size(1);
    for (Index i = 0; i < total; ++i) check_weights(weights[static_cast<std::size_t>(i)], i < directions);
  }

  RnnWeights direction_at(const Tensors& all, Index first) const {
    const auto at = [&](Index i) { return all[static_cast<std::size_t>(first + i)]; };
    const bool projects = weights_each % 2 == 1, has_biases = options.has_biases;
    return {.ih = at(0),
            .hh = at(1),
            .ih_bias = has_biases ? at(2) : Tensor(),
            .hh_bias = has_biases ? at(3) : Tensor(),
            .projection = projects ? at(weights_each - 1) : Tensor()};
  }

  void check_weights(const RnnWeights& w, bool is_first) const {
    const Index sums = summed_gates(options.mode) * hidden;
    const Index inputs = is_first ? weights[0].ih.size(1) : directions * output;
    const auto expect = [&](const char* name, const Tensor& t, const Shape& shape) {
      check(t.shape() == shape, op, ": ", name, " must have shape ", shape, ", got ", t.shape());
      check<ValueError>(t.dtype() == weights[0].ih.dtype(), op, ": ", name, " must have dtype ", weights[0].ih.dtype(),
                        " as the first weight, got ", t.dtype());
    };
    expect("weight_ih", w.ih, {sums, inputs});
    expect("weight_hh", w.hh, {sums, output});
    if (options.has_biases) expect("bias_ih", w.ih_bias, {sums}), expect("bias_hh", w.hh_bias, {sums});
    if (w.projection.defined()) expect("weight_hr", w.projection, {output, hidden});
    check(w.projection.defined() || output == hidden, op, ": weight_hh must have shape ", Shape{sums, hidden}, ", got ",
          w.hh.shape());
  }

  void check_input(const Tensor& x, int ndim) const {
    check(x.ndim() == ndim, op, ": input must have ", ndim, " dimensions, got shape ", x.shape());
    const Tensor& ih = weights[0].ih;
    check<ValueError>(x.dtype() == ih.dtype(), op, ": input must have the weights' dtype ", ih.dtype(), ", got ",
                      x.dtype());
    check(x.size(ndim - 1) == ih.size(1), op, ": input must have ", ih.size(1), " features, as weight_ih ", ih.shape(),
          " has, got ", x.shape());
  }

  Tensor state(const char* name, const Tensor& given, Index batch, Index features) const {
    const Shape shape{options.num_layers * directions, batch, features};
    const DType dtype = weights[0].ih.dtype();
    if (!given.defined()) return zeros(shape, dtype, weights[0].ih.device());
    check(given.shape() == shape, op, ": ", name, " must have shape ", shape, ", got ", given.shape());
    check<ValueError>(given.dtype() == dtype, op, ": ", name, " must have the weights' dtype ", dtype, ", got ",
                      given.dtype());
    return given;
  }
};

// Where packed rows begin, step by step.
RnnSequence packed(const char* op, const Tensor& batch_sizes, Index rows) {
  check(batch_sizes.ndim() == 1 && batch_sizes.dtype() == DType::int64 && batch_sizes.numel() > 0, op,
        ": batch_sizes must be int64, one for each step, got ", batch_sizes.dtype(), " ", batch_sizes.shape());
  check(batch_sizes.device() == Device::cpu, op, ": batch_sizes must be in the host's memory, got ",
        batch_sizes.device());
  const Tensor sizes = contiguous(batch_sizes);
  const Index* size = sizes.data<Index>();
  RnnSequence sequence{.count = sizes.numel(), .batch = size[0], .starts = empty({sizes.numel() + 1}, DType::int64)};
  Index* starts = sequence.starts.data<Index>();
  starts[0] = 0;
  for (Index t = 0; t < sequence.count; ++t) {
    check(size[t] > 0 && (t == 0 || size[t] <= size[t - 1]), op, ": batch_sizes must be positive and never grow, got ",
          size[t], " at step ", t);
    starts[t + 1] = starts[t] + size[t];
  }
  check(starts[sequence.count] == rows, op, ": batch_sizes must add up to the rows of input, ", rows, ", got ",
        starts[sequence.count]);
  return sequence;
}

// y, h, c of all layers over packed rows.
RnnResult run_layers(const Network& net, Tensor x, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                     Generator& generator) {
  const RnnOptions& options = net.options;
  const Index each = net.directions;
  Tensors last_h, last_c;
  for (Index layer = 0; layer < options.num_layers; ++layer) {
    if (layer > 0 && options.training && options.dropout > 0) x = dropout(x, options.dropout, false, generator);
    const auto of_layer = [&](const Tensor& all) {
      return !all.defined() || options.num_layers == 1 ? all : narrow(all, 0, layer * each, each);
    };
    RnnDirections directions;
    for (Index d = 0; d < each; ++d) directions.push_back(net.weights[static_cast<std::size_t>(layer * each + d)]);
    const RnnResult result = rnn_layer(options.mode, x, sequence, of_layer(h), of_layer(c), directions);
    x = result.y;
    last_h.push_back(result.h);
    last_c.push_back(result.c);
  }
  if (options.num_layers == 1) return {x, last_h[0], last_c[0]};
  return {x, cat(last_h, 0), c.defined() ? cat(last_c, 0) : Tensor()};
}

// Under autocast a sequence may come in the short dtype: the state is kept in that of the weights.
Tensor in_dtype_of(const Tensors& weights, const Tensor& x) {
  const bool converts = x.defined() && !weights.empty() && is_floating(x.dtype()) && Autocast::is_on(x.device());
  return converts ? to(x, weights[0].dtype()) : x;
}

}  // namespace

Tensors rnn(const Tensor& given, const Tensor& batch_sizes, const Tensor& h, const Tensor& c, const Tensors& weights,
            const RnnOptions& options, Generator& generator) {
  const Network net(weights, options);
  const Tensor input = in_dtype_of(weights, given);
  for (const Tensor& weight : weights) check_device(net.op, {&input, &h, &c, &weight});
  const bool is_packed = batch_sizes.defined(), is_lstm = options.mode == RnnMode::lstm;
  net.check_input(input, is_packed ? 2 : 3);
  const bool turns = options.batch_first && !is_packed;
  Tensor x = turns ? transpose(input, 0, 1) : input;
  RnnSequence sequence;
  if (is_packed) {
    sequence = packed(net.op, batch_sizes, x.size(0));
  } else {
    sequence = {.count = x.size(0), .batch = x.size(1), .starts = {}};
    check(sequence.count > 0, net.op, ": input must have at least one step, got shape ", input.shape());
    x = reshape(x, {sequence.count * sequence.batch, x.size(2)});
  }
  const Tensor h0 = net.state("hx", in_dtype_of(weights, h), sequence.batch, net.output);
  const Tensor c0 = is_lstm ? net.state("cx", in_dtype_of(weights, c), sequence.batch, net.hidden) : Tensor();
  const RnnResult result = run_layers(net, x, sequence, h0, c0, generator);
  Tensor y = result.y;
  if (!is_packed) y = reshape(y, {sequence.count, sequence.batch, net.directions * net.output});
  if (turns) y = transpose(y, 0, 1);
  return is_lstm ? Tensors{y, result.h, result.c} : Tensors{y, result.h};
}

Tensors rnn_cell(RnnMode mode, const Tensor& x, const Tensor& h, const Tensor& c, const RnnWeights& weights) {
  const bool has_batch = x.ndim() != 1;
  const auto with = [&](const Tensor& t) {  // a step and, where there is none, a batch
    return !t.defined() ? t : unsqueeze(has_batch ? t : unsqueeze(t, 0), 0);
  };
  const RnnOptions options{.mode = mode, .has_biases = weights.ih_bias.defined()};
  Tensors all{weights.ih, weights.hh};
  if (options.has_biases) all.push_back(weights.ih_bias), all.push_back(weights.hh_bias);
  const Tensors result = rnn(with(x), Tensor(), with(h), with(c), all, options, default_generator());
  const auto without = [&](const Tensor& t) {
    const Tensor rows = squeeze(t, {0});
    return has_batch ? rows : squeeze(rows, {0});
  };
  return mode == RnnMode::lstm ? Tensors{without(result[1]), without(result[2])} : Tensors{without(result[1])};
}

}  // namespace dd2424::ops
