#pragma once
#include "core/types.h"

namespace dd2424 {

// Along the classes of x, which is (outer, classes, inner) and contiguous: inner is 1 for (N, classes) and H * W for
// segmentation. Shifted by the maximum; a row of -inf gives NaN, as in PyTorch.
template <class T>
struct Softmax {
  const T* x;
  T* y;
  Index outer, classes, inner;
};
template <class T>
struct SoftmaxBackward {
  const T* y;  // what the forward made (softmax or log-softmax)
  const T* dy;
  T* dx;
  Index outer, classes, inner;
};
template <class T>
struct LogSumExp {
  const T* x;
  Accumulator<T>* y;  // (outer, inner)
  Index outer, classes, inner;
};

enum class Reduction : std::uint8_t { none, mean, sum };

// loss_i = -weight[t] * ((1 - smoothing) * log p_t + smoothing / classes * sum over c of (weight[c] / weight[t]) log
// p_c), with p = softmax(x_i). `mean` divides by the sum of the targets' weights. Probabilities are never stored:
// backward makes them again from x and `lse`.
template <class T>
struct CrossEntropy {
  const T* x;                    // (outer, classes, inner)
  const std::int64_t* target;    // (outer, inner): 0 <= target < classes, or ignore_index
  const Accumulator<T>* weight;  // (classes), or null
  Accumulator<T>* lse;           // (outer, inner): log sum exp of each row
  Accumulator<T>* losses;        // (outer, inner): each row's loss, 0 where ignored
  Accumulator<T>* total_weight;  // (1): what `mean` divides by
  T* loss;                       // (1) for mean and sum, null for none
  Index outer, classes, inner;
  std::int64_t ignore_index;
  double smoothing;
  Reduction reduction;
  bool* outside = nullptr;  // set where a target is none of these, by a GPU; a processor is given none
};
template <class T>
struct CrossEntropyBackward {
  const T* x;
  const std::int64_t* target;
  const Accumulator<T>* weight;
  const Accumulator<T>* lse;
  const Accumulator<T>* total_weight;
  const T* dloss;  // (1), or (outer, inner) for Reduction::none
  T* dx;           // may be x where inner is 1 and there are more than 64 classes
  Index outer, classes, inner;
  std::int64_t ignore_index;
  double smoothing;
  Reduction reduction;
};

template <class T>
struct LossKernels {  // float, double, bfloat16, float16
  Status (*softmax)(const Context&, const Softmax<T>&);
  Status (*log_softmax)(const Context&, const Softmax<T>&);
  Status (*softmax_backward)(const Context&, const SoftmaxBackward<T>&);
  Status (*log_softmax_backward)(const Context&, const SoftmaxBackward<T>&);
  Status (*logsumexp)(const Context&, const LogSumExp<T>&);
  Status (*cross_entropy)(const Context&, const CrossEntropy<T>&);
  Status (*cross_entropy_backward)(const Context&, const CrossEntropyBackward<T>&);
  std::size_t (*workspace)(Index classes, Index inner);  // bytes, for each of them
};

}  // namespace dd2424
