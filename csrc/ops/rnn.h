#pragma once
#include "core/rnn.h"
#include "ops/random.h"

namespace dd2424::ops {

const char* op_name(RnnMode mode);

// Sequences packed in rows, step after step: see RnnSteps. `starts` (count + 1) is undefined where all are as long.
struct RnnSequence {
  Index count = 0, batch = 0;
  Tensor starts;
  RnnSteps steps() const { return {count, batch, starts.data<Index>()}; }
};

// One direction of a layer, G = summed_gates: ih (G * H, I), hh (G * H, H or P), biases (G * H) or undefined, and
// projection (P, H) or undefined.
struct RnnWeights {
  Tensor ih, hh, ih_bias, hh_bias, projection;
  Index hidden(RnnMode mode) const { return ih.size(0) / summed_gates(mode); }
};
using RnnDirections = SmallVector<RnnWeights, 2>;

struct RnnResult {  // y (rows, D * H), h and c (D, batch, H), D the directions; c of the LSTM alone
  Tensor y, h, c;
};

// A layer over all steps, in each of its directions: x (rows, I), h and c (D, batch, H). One kernel call a direction
// where the dtype and the weights allow it.
RnnResult rnn_layer(RnnMode mode, const Tensor& x, const RnnSequence& sequence, const Tensor& h, const Tensor& c,
                    const RnnDirections& directions);
// The same step by step, by operations.
RnnResult rnn_layer_composed(RnnMode mode, const Tensor& x, const RnnSequence& sequence, const Tensor& h,
                             const Tensor& c, const RnnDirections& directions);

struct RnnOptions {
  RnnMode mode = RnnMode::tanh;
  bool has_biases = true;
  Index num_layers = 1;
  double dropout = 0;  // between layers, in training
  bool training = false;
  bool bidirectional = false;
  bool batch_first = false;
};
// Layers one over the other: x (T, B, I), (B, T, I) or, with batch_sizes (T), packed (rows, I); h and c (L * D, B, H)
// or undefined for 0; weights layer by layer and direction by direction as in RnnWeights. Returns y, h and, of the
// LSTM, c.
Tensors rnn(const Tensor& x, const Tensor& batch_sizes, const Tensor& h, const Tensor& c, const Tensors& weights,
            const RnnOptions& options, Generator& generator);

// One step: x (B, I) and h, c (B, H), or without B. Returns h and, of the LSTM, c.
Tensors rnn_cell(RnnMode mode, const Tensor& x, const Tensor& h, const Tensor& c, const RnnWeights& weights);

}  // namespace dd2424::ops
