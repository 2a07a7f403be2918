#pragma once
// Layer norm and root mean square norm, of a sum of two where asked for. A row is read from memory once; the passes
// over it that follow find it in the cache. As in batch norm, its mean is rounded, and what that left out is kept
// beside it.
#include "core/float_mode.h"
#include "core/norm.h"
#include "cpu/norm_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// x[i] - about in the lanes below count, 0 in the others
template <class T, class L = Lane<T>>
inline Vec<L> distance(const T* x, Index count, L about) {
  if (count >= kLanes<L>) return load(x) - about;
  return keep_lanes<L>(count) ? load(x, count) - about : Vec<L>{};
}

template <class T, class L = Lane<T>>
void row_statistics(const T* x, Index cols, double eps, bool centred, L& mean, L& low, L& rstd) {
  const L n = static_cast<L>(cols);
  mean = 0;
  if (centred) {
    Vec<L> sum[1]{};
    const L origin = load_some(x, 1)[0];
    add_row<L>(cols, sum, [&](Index i, Index count, Vec<L>* part) { part[0] += distance<T>(x + i, count, origin); });
    mean = origin + lanes_sum<L>(sum[0]) / n;
  }
  Vec<L> sums[2]{};
  add_row<L>(cols, sums, [&](Index i, Index count, Vec<L>* part) {
    const Vec<L> d = distance<T>(x + i, count, mean);
    part[0] += d;
    part[1] = fma(d, d, part[1]);
  });
  low = centred ? lanes_sum<L>(sums[0]) / n : L(0);
  rstd = 1 / sqrt(lanes_sum<L>(sums[1]) / n - low * low + static_cast<L>(eps));
}

template <class T, class L = Lane<T>>
void normalize_rows(const RowNormForward<T>& a, bool around, Index begin, Index end) {
  const Index n = a.cols;
  for (Index row = begin; row < end; ++row) {
    const T* x = a.x + row * n;
    T* y = a.y + row * n;
    if (a.residual) {
      T* sum = a.sum + row * n;
      map(sum, n, [](Vec<L> v, Vec<L> r) { return v + r; }, x, a.residual + row * n);
      x = sum;
    }
    L mean, low, rstd;
    row_statistics(x, n, a.eps, a.centred, mean, low, rstd);
    const L back = -low * rstd;
    const auto normal = [=](Vec<L> v) { return fma(v - mean, broadcast(rstd), broadcast(back)); };
    if (a.weight && a.bias) {
      map_out(around, y, n, [=](Vec<L> v, Vec<L> w, Vec<L> b) { return fma(normal(v), w, b); }, x, a.weight, a.bias);
    } else if (a.weight) {
      map_out(around, y, n, [=](Vec<L> v, Vec<L> w) { return normal(v) * w; }, x, a.weight);
    } else if (a.bias) {
      map_out(around, y, n, [=](Vec<L> v, Vec<L> b) { return normal(v) + b; }, x, a.bias);
    } else {
      map_out(around, y, n, normal, x);
    }
    if (!a.rstd) continue;
    a.rstd[row] = rstd;
    if (a.centred) a.mean[row] = mean, a.low[row] = low;
  }
  end_stores_around();
}

template <class T>
Status row_norm_forward(const Context&, const RowNormForward<T>& a) {
  const FloatMode mode;
  if (a.cols == 0) return Status::ok;
  const bool around = goes_around(a.y, a.rows * a.cols, a.cols);
  parallel_for(a.rows, kGrain / a.cols + 1, [&](Index begin, Index end) { normalize_rows(a, around, begin, end); });
  return Status::ok;
}

// Backward. With n = (x - mean) * rstd and g = dy * weight,
//   dx = rstd * (g - E[g] - n * E[g * n]), dweight = sum of dy * n, dbias = sum of dy over the rows.

inline Chunks chunks_of_rows(Index rows, Index cols) {
  const Index least = kGrain / (cols + 1) + 1;
  return reduction_chunks(rows, least < kChunkRows ? kChunkRows : least);
}

// The sums over a chunk of rows: blocks of them in L, which join the totals in double.
template <class L>
struct RowSums {
  Index cols, width;  // of a padded row of sums
  double* totals;     // (2, width): of dweight, of dbias
  L* block;           // (2, width)
  static Index padded(Index cols) { return (cols + kLanes<float> - 1) / kLanes<float> * kLanes<float>; }
  static std::size_t bytes(Index cols) { return static_cast<std::size_t>(padded(cols)) * 4 * sizeof(double); }
  RowSums(void* workspace, Index chunk, Index cols)
      : cols(cols),
        width(padded(cols)),
        totals(static_cast<double*>(workspace) + chunk * 4 * width),
        block(reinterpret_cast<L*>(totals + 2 * width)) {}
  void clear() const {
    for (Index i = 0; i < 2 * width; ++i) totals[i] = 0, block[i] = 0;
  }
  void join() const {
    for (Index i = 0; i < 2 * width; ++i) totals[i] += static_cast<double>(block[i]), block[i] = 0;
  }
};

// dx of a row, and, where `to` is given, what the row adds to its sums.
template <class T, class L = Lane<T>>
void row_gradient(const RowNormBackward<T>& a, bool around, Index row, const RowSums<L>* to) {
  const T *x = a.x + row * a.cols, *dy = a.dy + row * a.cols;
  const L mean = a.centred ? a.mean[row] : L(0), rstd = a.rstd[row], back = a.centred ? -a.low[row] * rstd : L(0);
  const L n = static_cast<L>(a.cols);
  const auto normal = [=](Vec<L> v) { return fma(v - mean, broadcast(rstd), broadcast(back)); };
  Vec<L> total[2]{};
  add_row<L>(a.cols, total, [&](Index i, Index count, Vec<L>* part) {
    Vec<L> y = normal(load_some(x + i, count)), g = load_some(dy + i, count);
    if (count < kLanes<L>) y = keep_lanes<L>(count) ? y : Vec<L>{};
    if (to) {
      L *dweight = to->block + i, *dbias = dweight + to->width;
      store(dweight, fma(g, y, load(dweight)));
      store(dbias, load(dbias) + g);
    }
    if (a.weight) g *= load_some(a.weight + i, count);
    part[0] += g;
    part[1] = fma(g, y, part[1]);
  });
  if (!a.dx) return;
  const Vec<L> slope = broadcast(rstd), shift = broadcast(a.centred ? rstd * (lanes_sum<L>(total[0]) / n) : L(0)),
               tilt = broadcast(rstd * (lanes_sum<L>(total[1]) / n));
  const auto dx = [=](Vec<L> v, Vec<L> g) { return fma(g, slope, -fma(normal(v), tilt, shift)); };
  T* to_dx = a.dx + row * a.cols;
  if (a.weight)
    map_out(around, to_dx, a.cols, [=](Vec<L> v, Vec<L> g, Vec<L> w) { return dx(v, g * w); }, x, dy, a.weight);
  else map_out(around, to_dx, a.cols, dx, x, dy);
  if (a.dsum) map(to_dx, a.cols, [](Vec<L> v, Vec<L> more) { return v + more; }, to_dx, a.dsum + row * a.cols);
}

template <class T, class L = Lane<T>>
void row_gradients(const RowNormBackward<T>& a, Index begin, Index end, const RowSums<L>* to) {
  const bool around = !a.dsum && goes_around(a.dx, a.rows * a.cols, a.cols);
  if (to) to->clear();
  for (Index row = begin; row < end;) {
    for (const Index stop = smaller(end, row + kBlockRows); row < stop; ++row) row_gradient(a, around, row, to);
    if (to) to->join();
  }
  end_stores_around();
}

// The chunks' totals, joined in the order of a binary tree.
template <class T, class L = Lane<T>>
void join_row_sums(const RowNormBackward<T>& a, Index chunks, void* workspace) {
  parallel_for(a.cols, kGrain / (2 * chunks) + 1, [&](Index begin, Index end) {
    const RowSums<L> first(workspace, 0, a.cols);
    for (int s = 0; s < 2; ++s) {
      for (Index width = 1; width < chunks; width *= 2)
        for (Index i = 0; i + width < chunks; i += 2 * width) {
          double* sum = RowSums<L>(workspace, i, a.cols).totals + s * first.width;
          const double* other = RowSums<L>(workspace, i + width, a.cols).totals + s * first.width;
          for (Index c = begin; c < end; ++c) sum[c] += other[c];
        }
      L* to = s == 0 ? a.dweight : a.dbias;
      if (!to) continue;
      for (Index c = begin; c < end; ++c) to[c] = static_cast<L>(first.totals[s * first.width + c]);
    }
  });
}

template <class T, class L = Lane<T>>
Status row_norm_backward(const Context& context, const RowNormBackward<T>& a) {
  const FloatMode mode;
  if (a.cols == 0) return Status::ok;
  if (!a.dweight && !a.dbias) {
    const RowSums<L>* nowhere = nullptr;
    parallel_for(a.rows, kGrain / a.cols + 1, [&](Index begin, Index end) { row_gradients(a, begin, end, nowhere); });
    return Status::ok;
  }
  const Chunks chunks = chunks_of_rows(a.rows, a.cols);
  parallel_for(chunks.count, 1, [&](Index begin, Index end) {
    for (Index chunk = begin; chunk < end; ++chunk) {
      const RowSums<L> to(context.workspace, chunk, a.cols);
      row_gradients(a, chunk * chunks.size, smaller((chunk + 1) * chunks.size, a.rows), &to);
    }
  });
  if (chunks.count == 0) RowSums<L>(context.workspace, 0, a.cols).clear();
  join_row_sums(a, chunks.count > 0 ? chunks.count : 1, context.workspace);
  return Status::ok;
}

inline std::size_t row_norm_workspace(Index rows, Index cols) {
  const Index chunks = chunks_of_rows(rows, cols).count;
  return static_cast<std::size_t>(chunks > 0 ? chunks : 1) * RowSums<double>::bytes(cols);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
