#include "core/activation.h"

#include "core/float_mode.h"
#include "core/parallel.h"
#include "core/table.h"
#include "cpu/activation_slopes.h"

// Gates, and the way back through a bias and an activation. Rows are cut into lines that stay in the first-level cache,
// so that a line may be passed over several times; functions of lines are compiled for float and double alone.
namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kLine = 512;      // elements
constexpr Index kGrain = 4096;    // elements worth a second thread
constexpr Index kChunkRows = 64;  // of a sum over rows, at least
constexpr Index kBlockRows = 32;  // rows that are added up before they join the total

inline Index smaller(Index a, Index b) { return a < b ? a : b; }

struct Sigmoid {
  template <class V>
  static V value(V x) {
    return sigmoid(x);
  }
  template <class V>
  static V slope(V x) {
    const V s = sigmoid(x);
    return s * (Element<V>(1) - s);
  }
};
struct Silu {
  template <class V>
  static V value(V x) {
    return silu(x);
  }
  template <class V>
  static V slope(V x) {
    return silu_slope(x);
  }
};
struct Gelu {
  template <class V>
  static V value(V x) {
    return gelu(x);
  }
  template <class V>
  static V slope(V x) {
    return gelu_slope(x);
  }
};
struct GeluTanh {
  template <class V>
  static V value(V x) {
    return gelu_tanh(x);
  }
  template <class V>
  static V slope(V x) {
    return gelu_tanh_slope(x);
  }
};

// Functions of lines of n <= kLine elements.
template <class L>
struct GateLines {
  void (*forward)(L* y, Index n, const L* a, const L* b);
  void (*backward)(L* da, L* db, Index n, const L* a, const L* b, const L* dy);
};
template <class L, class F>
constexpr GateLines<L> kGate{
    .forward = [](L* y, Index n, const L* a,
                  const L* b) { map(y, n, [](Vec<L> a, Vec<L> b) { return F::value(a) * b; }, a, b); },
    .backward =
        [](L* da, L* db, Index n, const L* a, const L* b, const L* dy) {
          map(da, n, [](Vec<L> a, Vec<L> b, Vec<L> dy) { return dy * b * F::slope(a); }, a, b, dy);
          map(db, n, [](Vec<L> a, Vec<L> dy) { return dy * F::value(a); }, a, dy);
        }};

template <class L>
const GateLines<L>* gate_lines(Activation activation) {
  switch (activation) {
    case Activation::sigmoid: return &kGate<L, Sigmoid>;
    case Activation::silu: return &kGate<L, Silu>;
    case Activation::gelu: return &kGate<L, Gelu>;
    case Activation::gelu_tanh: return &kGate<L, GeluTanh>;
    default: return nullptr;
  }
}

template <class L>
using SlopeLine = void (*)(L* dz, Index n, const L* dy, const L* saved);
template <class L, class F>
constexpr SlopeLine<L> kOfInput = [](L* dz, Index n, const L* dy, const L* z) {
  map(dz, n, [](Vec<L> dy, Vec<L> z) { return dy * F::slope(z); }, dy, z);
};
template <class L>
SlopeLine<L> slope_line(Activation activation) {
  using V = Vec<L>;
  switch (activation) {
    case Activation::relu:
      return [](L* dz, Index n, const L* dy, const L* y) {
        map(dz, n, [](V dy, V y) { return y <= L(0) ? V{} : dy; }, dy, y);
      };
    case Activation::tanh:
      return [](L* dz, Index n, const L* dy, const L* y) {
        map(dz, n, [](V dy, V y) { return dy * fma(-y, y, broadcast(L(1))); }, dy, y);
      };
    case Activation::sigmoid:
      return [](L* dz, Index n, const L* dy, const L* y) {
        map(dz, n, [](V dy, V y) { return dy * (y * (L(1) - y)); }, dy, y);
      };
    case Activation::gelu: return kOfInput<L, Gelu>;
    case Activation::gelu_tanh: return kOfInput<L, GeluTanh>;
    case Activation::silu: return kOfInput<L, Silu>;
    default: return nullptr;
  }
}

// n elements as the lines take them: where they lie, or for bfloat16 widened into a buffer.
struct alignas(64) Buffer {
  float at[kLine];
};
template <class T>
inline const Lane<T>* widened(const T* p, Index n, Buffer& buffer) {
  if constexpr (std::is_same_v<T, Lane<T>>) return p;
  else return map(buffer.at, n, [](auto v) { return v; }, p), buffer.at;
}
// Where the lines write n elements of p, and how those get there.
template <class T>
inline Lane<T>* target(T* p, Buffer& buffer) {
  if constexpr (std::is_same_v<T, Lane<T>>) return p;
  else return buffer.at;
}
template <class T>
inline void put(T* p, Index n, const Lane<T>* line) {
  if constexpr (!std::is_same_v<T, Lane<T>>) map(p, n, [](auto v) { return v; }, line);
}

// Calls body(row, first column, columns) for every line, on all threads.
template <class Body>
void for_lines(Index rows, Index cols, const Body& body) {
  const Index per_row = (cols + kLine - 1) / kLine;
  parallel_for(rows * per_row, kGrain / smaller(cols, kLine) + 1, [&](Index begin, Index end) {
    for (Index i = begin; i < end; ++i) {
      const Index first = i % per_row * kLine;
      body(i / per_row, first, smaller(kLine, cols - first));
    }
  });
}

template <class T>
Status gated(const Context&, const Gated<T>& g) {
  const GateLines<Lane<T>>* lines = gate_lines<Lane<T>>(g.activation);
  if (!lines) return Status::unsupported;
  if (g.cols == 0) return Status::ok;
  const FloatMode mode;
  for_lines(g.rows, g.cols, [&](Index row, Index i, Index n) {
    Buffer buffers[3];
    T* to = g.y + row * g.cols + i;
    Lane<T>* y = target(to, buffers[0]);
    lines->forward(y, n, widened(g.a + row * g.a_row + i, n, buffers[1]),
                   widened(g.b + row * g.b_row + i, n, buffers[2]));
    put(to, n, y);
  });
  return Status::ok;
}

template <class T>
Status gated_backward(const Context&, const GatedBackward<T>& g) {
  const GateLines<Lane<T>>* lines = gate_lines<Lane<T>>(g.activation);
  if (!lines) return Status::unsupported;
  if (g.cols == 0) return Status::ok;
  const FloatMode mode;
  for_lines(g.rows, g.cols, [&](Index row, Index i, Index n) {
    Buffer buffers[5];
    T *to_da = g.da + row * g.da_row + i, *to_db = g.db + row * g.db_row + i;
    Lane<T>*da = target(to_da, buffers[0]), *db = target(to_db, buffers[1]);
    lines->backward(da, db, n, widened(g.a + row * g.a_row + i, n, buffers[2]),
                    widened(g.b + row * g.b_row + i, n, buffers[3]), widened(g.dy + row * g.cols + i, n, buffers[4]));
    put(to_da, n, da);
    put(to_db, n, db);
  });
  return Status::ok;
}

// A chunk's sums over its rows: blocks of them in L, which join the totals in double.
template <class L>
struct ColumnSums {
  Index cols;
  double* totals;
  L* block;
  static Index bytes(Index cols) { return 2 * cols * Index(sizeof(double)); }
  ColumnSums(void* workspace, Index chunk, Index cols)
      : cols(cols),
        totals(static_cast<double*>(workspace) + 2 * chunk * cols),
        block(reinterpret_cast<L*>(totals + cols)) {}
  void clear() const {
    for (Index i = 0; i < cols; ++i) totals[i] = 0, block[i] = 0;
  }
  void join() const {
    for (Index i = 0; i < cols; ++i) totals[i] += static_cast<double>(block[i]), block[i] = 0;
  }
};

inline Chunks chunks_of_rows(Index rows, Index cols) {
  const Index least = kGrain / (cols + 1) + 1;
  return reduction_chunks(rows, least < kChunkRows ? kChunkRows : least);
}

template <class T, class L = Lane<T>>
void bias_rows(const BiasBackward<T>& a, SlopeLine<L> slope, Index begin, Index end, const ColumnSums<L>& to) {
  Buffer buffers[3];
  to.clear();
  for (Index row = begin; row < end;) {
    for (const Index stop = smaller(end, row + kBlockRows); row < stop; ++row)
      for (Index i = 0; i < a.cols; i += kLine) {
        const Index n = smaller(kLine, a.cols - i), at = row * a.cols + i;
        L *dz = target(a.dz + at, buffers[0]), *sums = to.block + i;
        slope(dz, n, widened(a.dy + at, n, buffers[1]), widened(a.saved + at, n, buffers[2]));
        map(sums, n, [](Vec<L> sum, Vec<L> v) { return sum + v; }, sums, dz);
        put(a.dz + at, n, dz);
      }
    to.join();
  }
}

// The chunks' totals, joined in the order of a binary tree.
template <class T, class L = Lane<T>>
void join_sums(const BiasBackward<T>& a, Index chunks, void* workspace) {
  double* sums = ColumnSums<L>(workspace, 0, a.cols).totals;
  for (Index width = 1; width < chunks; width *= 2)
    for (Index i = 0; i + width < chunks; i += 2 * width) {
      double* sum = ColumnSums<L>(workspace, i, a.cols).totals;
      const double* other = ColumnSums<L>(workspace, i + width, a.cols).totals;
      for (Index c = 0; c < a.cols; ++c) sum[c] += other[c];
    }
  for (Index c = 0; c < a.cols; ++c) {
    const L total = static_cast<L>(sums[c]);
    if constexpr (std::is_same_v<T, L>) a.dbias[c] = total;
    else a.dbias[c] = to_bfloat16(total);
  }
}

template <class T, class L = Lane<T>>
Status bias_backward(const Context& context, const BiasBackward<T>& a) {
  const SlopeLine<L> slope = slope_line<L>(a.activation);
  if (!slope) return Status::unsupported;
  const FloatMode mode;
  const Chunks chunks = chunks_of_rows(a.rows, a.cols);
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk)
      bias_rows<T>(a, slope, chunk * chunks.size, smaller((chunk + 1) * chunks.size, a.rows),
                   {context.workspace, chunk, a.cols});
  });
  if (chunks.count == 0) ColumnSums<L>(context.workspace, 0, a.cols).clear();
  join_sums<T>(a, chunks.count, context.workspace);
  return Status::ok;
}

std::size_t bias_backward_workspace(Index rows, Index cols) {
  const Index chunks = chunks_of_rows(rows, cols).count;
  return static_cast<std::size_t>((chunks > 0 ? chunks : 1) * ColumnSums<double>::bytes(cols));
}

template <class T>
constexpr ActivationKernels<T> kActivation{.gated = gated<T>,
                                           .gated_backward = gated_backward<T>,
                                           .bias_backward = bias_backward<T>,
                                           .bias_backward_workspace = bias_backward_workspace};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA

namespace dd2424 {

DD2424_TABLE(ActivationKernels<float>, cpu::DD2424_ISA::kActivation<float>)
DD2424_TABLE(ActivationKernels<double>, cpu::DD2424_ISA::kActivation<double>)
DD2424_TABLE(ActivationKernels<bfloat16>, cpu::DD2424_ISA::kActivation<bfloat16>)

}  // namespace dd2424
