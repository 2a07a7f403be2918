#include "ops/rnn.h"

#include "bindings/python.h"

namespace dd2424 {
namespace {

using namespace py::literals;
using ops::RnnOptions;

void bind_network(py::module_& m, RnnMode mode) {
  m.def(
      ops::op_name(mode),
      [mode](const Tensor& input, const Tensor& h, const Tensor& c, const Tensors& params, bool has_biases,
             Index num_layers, double dropout, bool training, bool bidirectional, bool batch_first,
             const Tensor& batch_sizes) {
        return ops::rnn(input, batch_sizes, h, c, params,
                        {.mode = mode,
                         .has_biases = has_biases,
                         .num_layers = num_layers,
                         .dropout = dropout,
                         .training = training,
                         .bidirectional = bidirectional,
                         .batch_first = batch_first},
                        ops::default_generator());
      },
      "input"_a, "h"_a, "c"_a, "params"_a, "has_biases"_a, "num_layers"_a, "dropout"_a, "training"_a, "bidirectional"_a,
      "batch_first"_a, "batch_sizes"_a = py::none());
}

void bind_cell(py::module_& m, RnnMode mode) {
  m.def((std::string(ops::op_name(mode)) + "_cell").c_str(),
        [mode](const Tensor& input, const Tensor& h, const Tensor& c, const Tensor& w_ih, const Tensor& w_hh,
               const Tensor& b_ih,
               const Tensor& b_hh) { return ops::rnn_cell(mode, input, h, c, {w_ih, w_hh, b_ih, b_hh, {}}); },
        "input"_a, "h"_a, "c"_a, "w_ih"_a, "w_hh"_a, "b_ih"_a = py::none(), "b_hh"_a = py::none());
}

}  // namespace

void bind_rnn(py::module_& m) {
  for (const RnnMode mode : {RnnMode::tanh, RnnMode::relu, RnnMode::gru, RnnMode::lstm}) {
    bind_network(m, mode);
    bind_cell(m, mode);
  }
}

}  // namespace dd2424
