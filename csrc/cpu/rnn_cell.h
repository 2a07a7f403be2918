#pragma once
// What a step does to each unit once its sums are known, and the way back. Rows are sequences.
#include "core/rnn.h"
#include "cpu/math.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

// A vector, or the `left` elements that are left of a row: one copy of the arithmetic serves both.
template <class T>
inline Vec<T> read(const T* p, Index left) {
  return left >= kLanes<T> ? load(p) : load(p, left);
}
template <class T>
inline void write(T* p, Vec<T> v, Index left) {
  if (left >= kLanes<T>) store(p, v);
  else store(p, v, left);
}
template <class T, class F>
inline void each_vector(Index n, const F& f) {
  for (Index j = 0; j < n; j += kLanes<T>) f(j, n - j);
}

template <class T>
struct ForwardRow {  // each of `hidden` elements, gates of as many times that as are kept
  T* gates;
  T* h;  // the state, replaced
  T* y;
  T* c;     // of the LSTM: likewise
  T* cell;  // where c is kept for backward, or null
};

template <class T>
void forward_lstm(const ForwardRow<T>& row, Index hidden) {
  T *i = row.gates, *f = i + hidden, *g = f + hidden, *o = g + hidden;
  each_vector<T>(hidden, [&](Index j, Index left) {
    const Vec<T> in = sigmoid(read(i + j, left)), forget = sigmoid(read(f + j, left)), out = sigmoid(read(o + j, left));
    const Vec<T> candidate = tanh(read(g + j, left)), c = fma(forget, read(row.c + j, left), in * candidate);
    const Vec<T> h = out * tanh(c);
    write(i + j, in, left), write(f + j, forget, left), write(g + j, candidate, left), write(o + j, out, left);
    write(row.c + j, c, left);
    if (row.cell) write(row.cell + j, c, left);
    write(row.h + j, h, left), write(row.y + j, h, left);
  });
}

template <class T>
void forward_gru(const ForwardRow<T>& row, Index hidden) {
  T *r = row.gates, *z = r + hidden, *n = z + hidden, *recurrent = n + hidden;
  each_vector<T>(hidden, [&](Index j, Index left) {
    const Vec<T> reset = sigmoid(read(r + j, left)), update = sigmoid(read(z + j, left));
    const Vec<T> candidate = tanh(fma(reset, read(recurrent + j, left), read(n + j, left)));
    const Vec<T> h = fma(update, read(row.h + j, left) - candidate, candidate);
    write(r + j, reset, left), write(z + j, update, left), write(n + j, candidate, left);
    write(row.h + j, h, left), write(row.y + j, h, left);
  });
}

template <class T>
void forward_plain(bool is_tanh, const ForwardRow<T>& row, Index hidden) {
  each_vector<T>(hidden, [&](Index j, Index left) {
    const Vec<T> x = read(row.gates + j, left), h = is_tanh ? tanh(x) : x < T(0) ? Vec<T>{} : x;
    write(row.h + j, h, left), write(row.y + j, h, left);
  });
}

template <class T>
void forward_row(RnnMode mode, const ForwardRow<T>& row, Index hidden) {
  if (mode == RnnMode::lstm) return forward_lstm(row, hidden);
  if (mode == RnnMode::gru) return forward_gru(row, hidden);
  forward_plain(mode == RnnMode::tanh, row, hidden);
}

template <class T>
struct BackwardRow {
  const T *gates, *y, *cell;
  const T *h_before, *c_before;  // the states that the step began with
  const T* dy;                   // or null
  T *dh, *dc;                    // of the state after the step; then of what reaches the one before unmultiplied
  T *dgates, *drecurrent;
  T* sums;  // drecurrent once more, where the product that follows reads it
};

template <class T>
void backward_lstm(const BackwardRow<T>& row, Index hidden) {
  const T *i = row.gates, *f = i + hidden, *g = f + hidden, *o = g + hidden;
  each_vector<T>(hidden, [&](Index j, Index left) {
    Vec<T> dh = read(row.dh + j, left);
    if (row.dy) dh += read(row.dy + j, left);
    const Vec<T> in = read(i + j, left), forget = read(f + j, left), out = read(o + j, left);
    const Vec<T> candidate = read(g + j, left), c = tanh(read(row.cell + j, left));
    const Vec<T> dc = fma(dh * out, T(1) - c * c, read(row.dc + j, left));
    const auto give = [&](Index gate, Vec<T> d) {
      write(row.dgates + gate * hidden + j, d, left);
      write(row.sums + gate * hidden + j, d, left);
    };
    give(0, dc * candidate * in * (T(1) - in));
    give(1, dc * read(row.c_before + j, left) * forget * (T(1) - forget));
    give(2, dc * in * (T(1) - candidate * candidate));
    give(3, dh * c * out * (T(1) - out));
    write(row.dc + j, dc * forget, left);
  });
}

template <class T>
void backward_gru(const BackwardRow<T>& row, Index hidden) {
  const T *r = row.gates, *z = r + hidden, *n = z + hidden, *recurrent = n + hidden;
  each_vector<T>(hidden, [&](Index j, Index left) {
    Vec<T> dh = read(row.dh + j, left);
    if (row.dy) dh += read(row.dy + j, left);
    const Vec<T> reset = read(r + j, left), update = read(z + j, left), candidate = read(n + j, left);
    const Vec<T> dn = dh * (T(1) - update) * (T(1) - candidate * candidate);
    const auto give = [&](Index gate, Vec<T> d, Vec<T> recurrent_d) {
      write(row.dgates + gate * hidden + j, d, left);
      write(row.drecurrent + gate * hidden + j, recurrent_d, left);
      write(row.sums + gate * hidden + j, recurrent_d, left);
    };
    const Vec<T> dr = dn * read(recurrent + j, left) * reset * (T(1) - reset);
    const Vec<T> dz = dh * (read(row.h_before + j, left) - candidate) * update * (T(1) - update);
    give(0, dr, dr), give(1, dz, dz), give(2, dn, dn * reset);
    write(row.dh + j, dh * update, left);
  });
}

template <class T>
void backward_plain(bool is_tanh, const BackwardRow<T>& row, Index hidden) {
  each_vector<T>(hidden, [&](Index j, Index left) {
    Vec<T> dh = read(row.dh + j, left);
    if (row.dy) dh += read(row.dy + j, left);
    const Vec<T> y = read(row.y + j, left);
    const Vec<T> d = is_tanh ? dh * (T(1) - y * y) : y <= T(0) ? Vec<T>{} : dh;
    write(row.dgates + j, d, left), write(row.sums + j, d, left);
  });
}

template <class T>
void backward_row(RnnMode mode, const BackwardRow<T>& row, Index hidden) {
  if (mode == RnnMode::lstm) return backward_lstm(row, hidden);
  if (mode == RnnMode::gru) return backward_gru(row, hidden);
  backward_plain(mode == RnnMode::tanh, row, hidden);
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
