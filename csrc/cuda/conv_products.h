#pragma once
#include "cuda/conv_correlation.h"
#include "cuda/gemm_product.h"

// A correlation as a problem of gemm_product.h, whatever its operands are: the pixels of y are the rows, its channels
// the columns, and taps and channels of x the steps.
namespace dd2424::cuda {

template <class T, class Problem, class A, class B>
struct CorrelationPart {
  const Problem& problem;
  A a;
  B b;
  Index columns, group;
  using Element = T;

  __device__ bool is_dense() const { return problem.is_dense; }
  __device__ T* line(Index row) const {
    return problem.y + problem.places.offset(digits_of(problem.places.counts, row)) + group * columns * problem.channel;
  }
  __device__ T result(const T*, Index column, Computed<T> sum) const {
    if (problem.bias) sum += problem.bias[group * columns + column];
    return element<T>(problem.relu && sum < 0 ? Computed<T>(0) : sum);
  }
  __device__ void store(T* line, Index column, Computed<T> sum) const {
    line[column * problem.channel] = result(line, column, sum);
  }
};

template <class T, class A, class B>
struct CorrelationProblem {
  static constexpr Limits limits{.widest = A::kWidest};
  using Part = CorrelationPart<T, CorrelationProblem, A, B>;
  using Element = T;
  A a;  // of the first group
  B b;
  T* y;
  Walk<true> places;  // in y
  const Accumulator<T>* bias;
  bool relu;
  Index rows, columns, steps, count;
  Index channel, a_group, b_group;
  bool is_dense;

  explicit CorrelationProblem(const Correlation<T>& c)
      : a(c),
        b(c),
        y(c.y),
        places(places_of(c)),
        bias(c.bias),
        relu(c.relu),
        rows(length(places)),
        columns(c.outputs),
        steps(c.inputs * c.axes[0].taps * c.axes[1].taps * c.axes[2].taps),
        count(c.groups),
        channel(c.y_at.channel),
        a_group(c.inputs * c.x_at.channel),
        b_group(c.weight_group) {
    is_dense = channel == 1 && columns % kUnit == 0 && can_load(y, kUnit, places.start);
    for (int step : places.step) is_dense = is_dense && can_load(y, kUnit, Index{step});
  }
  __device__ Part part(Index group) const {
    Part part{*this, a, b, columns, group};
    part.a.data += group * a_group;
    part.b.data += group * b_group;
    return part;
  }

 private:
  static Walk<true> places_of(const Correlation<T>& c) {
    Walk<true> places{.counts = counts(c.batch, c.axes[0].out, c.axes[1].out, c.axes[2].out)};
    places.step[0] = narrow(c.y_at.image);
    for (int d = 0; d < kSpace; ++d) {
      places.start += c.axes[d].origin * c.y_at.pixel[d];
      places.step[d + 1] = narrow(c.axes[d].apart * c.y_at.pixel[d]);
    }
    return places;
  }
};

}  // namespace dd2424::cuda
