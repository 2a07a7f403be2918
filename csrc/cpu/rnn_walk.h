#pragma once
// The walks over the steps of a sequence, there and back.
#include "cpu/rnn_cell.h"
#include "cpu/rnn_product.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

template <class T>
constexpr Index padded_row(Index n) {  // elements
  return (aligned(n * Index(sizeof(T))) + kRowGap) / Index(sizeof(T));
}

// Some of the sequences at one step.
struct Span {
  Index t, first, count, row;  // row: that of the first, among those of all steps
};
inline Span span_at(const RnnSteps& steps, Index t, Index begin, Index end) {
  return {t, begin, smaller(end, steps.size(t)) - begin, steps.start(t) + begin};
}

template <class T>
void copy_row(T* to, const T* from, Index n) {
  memcpy(to, from, static_cast<std::size_t>(n) * sizeof(T));
}

template <class T>
struct Forward {
  const RnnForward<T>& a;
  Weights<T> gates, candidate, projection;  // candidate: what a GRU's r multiplies
  T* states;                                // (batch, outputs), state_row apart
  T* packed;                                // the rows that meet the weights
  Index state_row, row_room;

  explicit Forward(const RnnForward<T>& a)
      : a(a),
        gates(weights_for<T>(a.steps.batch, a.outputs, (a.mode == RnnMode::gru ? 2 : summed_gates(a.mode)) * a.hidden,
                             false)),
        candidate(weights_for<T>(a.steps.batch, a.outputs, a.mode == RnnMode::gru ? a.hidden : 0, false)),
        projection(weights_for<T>(a.steps.batch, a.hidden, a.projection ? a.outputs : 0, false)),
        states(nullptr),
        packed(nullptr),
        state_row(padded_row<T>(a.outputs)),
        row_room(larger(Rows<T>::row_room(gates), Rows<T>::row_room(projection))) {}

  Index state_bytes() const { return aligned(a.steps.batch * state_row * Index(sizeof(T))); }
  Index packed_bytes() const { return aligned(a.steps.batch * row_room * Index(sizeof(T))); }
  Index bytes() const {
    const Index of_weights = gates.bytes() + candidate.bytes() + projection.bytes();
    return state_bytes() + (a.weight ? packed_bytes() + of_weights : 0);
  }

  void prepare(char* memory) {
    states = reinterpret_cast<T*>(memory);
    if (!a.weight) return;
    packed = reinterpret_cast<T*>(memory + state_bytes());
    memory = pack_weights(gates, {a.weight, a.outputs, 1}, memory + state_bytes() + packed_bytes());
    if (candidate.columns > 0) pack_weights(candidate, {a.weight + gates.columns * a.hidden, a.hidden, 1}, memory);
    if (a.projection) pack_weights(projection, {a.projection, a.hidden, 1}, memory);
  }

  void multiply_states(const Span& at) const {
    const Rows<T> h{states + at.first * state_row, state_row, at.count, packed + at.first * row_room};
    T* sums = a.gates + at.row * a.gates_row;
    h.pack(gates);
    multiply(gates, h, {.out = sums, .out_row = a.gates_row, .before = sums, .before_row = a.gates_row});
    if (candidate.columns == 0) return;
    multiply(candidate, h, {.out = sums + 3 * a.hidden, .out_row = a.gates_row, .bias = a.bias});
  }

  void finish_row(const Span& at, Index i) const {
    const Index sequence = at.first + i, row = at.row + i;
    T* unprojected = a.projection ? a.unprojected + row * a.hidden : nullptr;
    forward_row<T>(a.mode,
                   {.gates = a.gates + row * a.gates_row,
                    .h = unprojected ? unprojected : states + sequence * state_row,
                    .y = unprojected ? unprojected : a.y + row * a.y_row,
                    .c = a.cn ? a.cn + sequence * a.hidden : nullptr,
                    .cell = a.cells ? a.cells + row * a.hidden : nullptr},
                   a.hidden);
  }

  void project(const Span& at) const {
    const Rows<T> rows{a.unprojected + at.row * a.hidden, a.hidden, at.count, packed + at.first * row_room};
    T* h = states + at.first * state_row;
    rows.pack(projection);
    multiply(projection, rows, {.out = h, .out_row = state_row});
    for (Index i = 0; i < at.count; ++i) copy_row(a.y + (at.row + i) * a.y_row, h + i * state_row, a.outputs);
  }

  void walk(Index begin, Index end) const {
    const Index n = a.hidden, outputs = a.outputs;
    for (Index i = begin; i < end; ++i) {
      copy_row(states + i * state_row, a.h0 + i * outputs, outputs);
      if (a.mode == RnnMode::lstm) copy_row(a.cn + i * n, a.c0 + i * n, n);
    }
    for (Index s = 0; s < a.steps.count; ++s) {
      const Span at = span_at(a.steps, a.reverse ? a.steps.count - 1 - s : s, begin, end);
      if (at.count <= 0) continue;
      if (a.weight) multiply_states(at);
      parallel_for(at.count, row_grain(n), [&](Index first, Index last) {
        for (Index i = first; i < last; ++i) finish_row(at, i);
      });
      if (a.projection) project(at);
    }
    for (Index i = begin; i < end; ++i) copy_row(a.hn + i * outputs, states + i * state_row, outputs);
  }

  static Index row_grain(Index hidden) { return 1 + kStepGrain / (64 * (hidden + 1)); }  // a unit costs that much
};

template <class T>
struct Backward {
  const RnnBackward<T>& a;
  Weights<T> weights, projection;
  T* sums;    // (batch, summed gates), sums_row apart
  T* dunits;  // (batch, hidden), units_row apart: the gradient of what is projected
  T* packed;  // the rows that meet the weights
  Index sums_row, units_row, row_room;

  explicit Backward(const RnnBackward<T>& a)
      : a(a),
        weights(weights_for<T>(a.steps.batch, summed_gates(a.mode) * a.hidden, a.outputs, true)),
        projection(weights_for<T>(a.steps.batch, a.outputs, a.projection ? a.hidden : 0, true)),
        sums(nullptr),
        dunits(nullptr),
        packed(nullptr),
        sums_row(padded_row<T>(weights.depth)),
        units_row(padded_row<T>(projection.columns)),
        row_room(larger(Rows<T>::row_room(weights), Rows<T>::row_room(projection))) {}

  Index batch_bytes(Index row) const { return aligned(a.steps.batch * row * Index(sizeof(T))); }
  Index bytes() const {
    const Index of_weights = batch_bytes(row_room) + weights.bytes() + projection.bytes();
    return batch_bytes(sums_row) + batch_bytes(units_row) + (a.weight ? of_weights : 0);
  }

  void prepare(char* memory) {
    sums = reinterpret_cast<T*>(memory);
    dunits = reinterpret_cast<T*>(memory += batch_bytes(sums_row));
    packed = reinterpret_cast<T*>(memory += batch_bytes(units_row));
    if (!a.weight) return;
    memory = pack_weights(weights, {a.weight, 1, a.outputs}, memory + batch_bytes(row_room));
    if (a.projection) pack_weights(projection, {a.projection, 1, a.hidden}, memory);
  }

  // What a sequence's step began with: `rows` of the step before it in the walk's order, or the first of all.
  const T* before(const T* rows, Index stride, const T* first, Index first_stride, Index t, Index sequence) const {
    const Index last = a.reverse ? t + 1 : t - 1;
    const bool exists = last >= 0 && last < a.steps.count && sequence < a.steps.size(last);
    return exists ? rows + (a.steps.start(last) + sequence) * stride : first + sequence * first_stride;
  }

  void begin_row(const Span& at, Index i) const {
    const Index n = a.hidden, sequence = at.first + i, row = at.row + i;
    const bool is_lstm = a.mode == RnnMode::lstm;
    const T* h = before(a.y, a.y_row, a.h0, a.outputs, at.t, sequence);
    backward_row<T>(a.mode,
                    {.gates = a.gates ? a.gates + row * a.gates_row : nullptr,
                     .y = a.y + row * a.y_row,
                     .cell = is_lstm ? a.cells + row * n : nullptr,
                     .h_before = h,
                     .c_before = is_lstm ? before(a.cells, n, a.c0, n, at.t, sequence) : nullptr,
                     .dy = a.dy && !a.projection ? a.dy + row * a.dy_row : nullptr,
                     .dh = a.projection ? dunits + sequence * units_row : a.dh0 + sequence * n,
                     .dc = is_lstm ? a.dc0 + sequence * n : nullptr,
                     .dgates = a.dgates + row * a.dgates_row,
                     .drecurrent = a.drecurrent + row * a.dgates_row,
                     .sums = sums + sequence * sums_row},
                    n);
    if (a.before) copy_row(a.before + row * a.before_row, h, a.outputs);
  }
  // The gradient of h, which is then whole, and of what was projected to it.
  void unproject(const Span& at) const {
    T* dh = a.dprojected + at.row * a.outputs;
    for (Index i = 0; i < at.count; ++i) {
      copy_row(dh + i * a.outputs, a.dh0 + (at.first + i) * a.outputs, a.outputs);
      if (!a.dy) continue;
      const auto sum = [](auto x, auto y) { return x + y; };
      map(dh + i * a.outputs, a.outputs, sum, dh + i * a.outputs, a.dy + (at.row + i) * a.dy_row);
    }
    const Rows<T> rows{dh, a.outputs, at.count, packed + at.first * row_room};
    rows.pack(projection);
    multiply(projection, rows, {.out = dunits + at.first * units_row, .out_row = units_row});
  }
  // The next row's numbers lie in many short pieces, which no processor foresees.
  void fetch_row(Index row) const {
    const auto fetch = [](const T* x, Index n) {
      for (Index j = 0; j < n; j += 64 / Index(sizeof(T))) __builtin_prefetch(x + j);
    };
    if (a.gates) fetch(a.gates + row * a.gates_row, kept_gates(a.mode) * a.hidden);
    if (a.cells) fetch(a.cells + row * a.hidden, a.hidden);
    if (a.dy && !a.projection) fetch(a.dy + row * a.dy_row, a.hidden);
    prefetch_rows(a.dgates + row * a.dgates_row, 0, 1, weights.depth);
  }

  void walk(Index begin, Index end) const {
    start(a.dh0, a.dhn, begin * a.outputs, end * a.outputs);
    if (a.mode == RnnMode::lstm) start(a.dc0, a.dcn, begin * a.hidden, end * a.hidden);
    for (Index s = 0; s < a.steps.count; ++s) {
      const Span at = span_at(a.steps, a.reverse ? s : a.steps.count - 1 - s, begin, end);
      if (at.count <= 0) continue;
      if (a.projection) unproject(at);
      parallel_for(at.count, Forward<T>::row_grain(a.hidden), [&](Index first, Index last) {
        for (Index i = first; i < last; ++i) {
          if (i + 1 < last) fetch_row(at.row + i + 1);
          begin_row(at, i);
        }
      });
      if (a.weight) multiply_sums(at);
    }
  }
  void start(T* state, const T* given, Index begin, Index end) const {
    const std::size_t bytes = static_cast<std::size_t>(end - begin) * sizeof(T);
    if (given) memcpy(state + begin, given + begin, bytes);
    else memset(state + begin, 0, bytes);
  }
  void multiply_sums(const Span& at) const {
    T* dh = a.dh0 + at.first * a.outputs;
    const T* kept = a.mode == RnnMode::gru ? dh : nullptr;
    const Rows<T> rows{sums + at.first * sums_row, sums_row, at.count, packed + at.first * row_room};
    rows.pack(weights);
    multiply(weights, rows, {.out = dh, .out_row = a.outputs, .before = kept, .before_row = a.outputs});
  }
};

// Walks with all sequences, in parts where that pays.
template <class Walk>
void walk_parts(const Walk& walk, Index batch, Index macs) {
  const Index parts = parts_of(batch, macs);
  parallel_for(parts, 1, [&](Index begin, Index end) {
    for (Index part = begin; part < end; ++part) walk.walk(part * batch / parts, (part + 1) * batch / parts);
  });
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
