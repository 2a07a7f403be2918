#pragma once
// What a layer's pass there (rnn.cpp) and back (rnn_gradient.cpp) share.
#include "autograd/node.h"
#include "core/gemm.h"
#include "ops/common.h"
#include "ops/rnn.h"

namespace dd2424::ops {

template <class F>
void dispatch_rnn(DType dtype, const F& f) {
  if (dtype == DType::float64) f(double());
  else f(float());
}

// c = a b + bias + beta c, for matrices whose rows are so far apart; a or b may be the transpose of what is given.
template <class T>
struct RnnMatrix {
  T* data;
  Index row, column = 1;
};
template <class T>
RnnMatrix<T> transposed(const RnnMatrix<T>& x) {
  return {x.data, x.column, x.row};
}
template <class T>
void rnn_product(const char* op, Device device, Index m, Index n, Index k, const RnnMatrix<T>& a, const RnnMatrix<T>& b,
                 const RnnMatrix<T>& c, double beta = 0, const T* bias = nullptr) {
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
  const auto& table = kernels<GemmKernels<T>>(device);
  if (m > 0 && n > 0) run(op, table.gemm, m * n * (k / 8 + 1), Scratch(table.gemm_workspace(g), device), g);
}

// Work of one step's products, in elements touched.
inline Index step_work(const RnnSteps& steps, Index hidden, Index summed) {
  return steps.rows() * summed * (hidden / 8 + 1);
}

// (rows, columns) of x's dtype and device, the rows a little apart where they would share cache sets.
Tensor empty_rows(Index rows, Index columns, const Tensor& x);

// A step without another: its weights are not worth packing.
inline bool is_single(const RnnSequence& sequence, const RnnWeights& w) {
  return sequence.count == 1 && !w.projection.defined();
}

struct RnnNode final : Node {
  struct Direction {
    Saved ih, hh, ih_bias, hh_bias, projection, gates, cells, unprojected;
    explicit Direction(Node* node)
        : ih(node),
          hh(node),
          ih_bias(node),
          hh_bias(node),
          projection(node),
          gates(node),
          cells(node),
          unprojected(node) {}
    RnnWeights weights() const { return {ih.get(), hh.get(), ih_bias.get(), hh_bias.get(), projection.get()}; }
  };
  static constexpr int kFirstWeight = 3, kWeights = 5;  // among the inputs: x, h, c, then these of each direction
  RnnMode mode;
  RnnSequence sequence;
  int count;  // of directions
  Saved x{this}, h{this}, c{this}, y{this};
  Direction directions[2]{Direction(this), Direction(this)};
  RnnNode(RnnMode mode, const RnnSequence& sequence, int count) : mode(mode), sequence(sequence), count(count) {}
  const char* name() const override { return op_name(mode); }
  Tensors backward(const Tensors& grads, const Needs& needs) override;

 private:
  struct Products;
  template <class T>
  void direction(int d, const Tensors& grads, const Needs& needs, Tensors& result);
  template <class T>
  void products(int d, const Products& of, const Needs& needs, Tensors& result);
  Tensors composed(const Tensors& grads, const Needs& needs) const;
};

}  // namespace dd2424::ops
