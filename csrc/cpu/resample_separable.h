#pragma once
// Sparse matrices along the dimensions of an image. A row of outputs is made in two steps: the rows of x that it needs
// are added up, each with its weight; then the sum is combined along the row.
#include "core/parallel.h"
#include "core/resample.h"
#include "cpu/resample_pick.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

constexpr Index kSeparableGrain = 1 << 17;  // multiplications that are worth a thread
constexpr Index kSeparableTeams = 16;       // parts that may run at once, each with its own workspace
constexpr int kUnroll = 4;                  // vectors that are summed at once

// One term of a vector of outputs: what lane l reads of the row of sums, and its weight.
template <class Acc>
struct Term {
  Vec<Acc> weight;  // 0 where the lane has fewer terms
  Offsets<Acc> offset;
  Index base;      // offsets count from here
  bool is_near;    // all within two vectors of base
  bool is_ragged;  // some lane has no such term
};

// Adds up `terms` of (pointer, weight) over n elements: y[i] = sum of weight * pointer[i]. `terms` calls its argument
// with each in turn.
template <class Y, class Terms>
inline void combine(Y* y, Index n, const Terms& terms) {
  using Acc = Lane<Y>;
  constexpr Index step = kLanes<Acc>;
  Index i = 0;
  for (; i + kUnroll * step <= n; i += kUnroll * step) {
    Vec<Acc> sum[kUnroll] = {};
    bool is_first = true;
    terms([&](const auto* p, Acc weight) {
      const Vec<Acc> w = broadcast(weight);
      if (is_first) {
        for (int u = 0; u < kUnroll; ++u) sum[u] = w * load(p + i + u * step);
      } else {
        for (int u = 0; u < kUnroll; ++u) sum[u] = fma(w, load(p + i + u * step), sum[u]);
      }
      is_first = false;
    });
    for (int u = 0; u < kUnroll; ++u) store(y + i + u * step, sum[u]);
  }
  for (; i < n; i += step) {
    const bool is_whole = i + step <= n;
    Vec<Acc> sum{};
    bool is_first = true;
    terms([&](const auto* p, Acc weight) {
      const Vec<Acc> v = is_whole ? load(p + i) : load(p + i, n - i), w = broadcast(weight);
      sum = is_first ? w * v : fma(w, v, sum);
      is_first = false;
    });
    if (is_whole) {
      store(y + i, sum);
    } else {
      store(y + i, sum, n - i);
    }
  }
}

constexpr int kDirectTerms = 4;  // of an output: as few are added at once, without sums of whole rows

// y[i] = sum over the terms of weight * x[i], for N of them, each `n` elements.
template <int N, class T>
inline void add_direct(T* y, Index n, const T* const* x, const Accumulator<T>* weight) {
  using Acc = Accumulator<T>;
  constexpr Index step = kLanes<Acc>;
  Vec<Acc> w[N];
  for (int t = 0; t < N; ++t) w[t] = broadcast(weight[t]);
  Index i = 0;
  for (; i + step <= n; i += step) {
    Vec<Acc> sum = w[0] * load(x[0] + i);
    for (int t = 1; t < N; ++t) sum = fma(w[t], load(x[t] + i), sum);
    store(y + i, sum);
  }
  if (i == n) return;
  Vec<Acc> sum = w[0] * load(x[0] + i, n - i);
  for (int t = 1; t < N; ++t) sum = fma(w[t], load(x[t] + i, n - i), sum);
  store(y + i, sum, n - i);
}

template <class T>
class SeparableMap {
  using Acc = Accumulator<T>;
  static constexpr Index lanes = kLanes<Acc>;
  static constexpr int kLast = Separable<T>::kSpace - 1;

 public:
  SeparableMap(const Separable<T>& a, void* workspace)
      : a_(a),
        along_lanes_(a.inner < lanes),
        row_in_(a.in[kLast] * a.inner),
        row_out_(a.out[kLast] * a.inner),
        vectors_((row_out_ + lanes - 1) / lanes) {
    is_direct_ = !along_lanes_ && most_terms(0) * most_terms(1) * most_terms(kLast) <= kDirectTerms;
    Index terms = 0;
    for (Index v = 0; along_lanes_ && v < vectors_; ++v) terms += count_terms(v);
    sums_bytes_ = ((row_in_ + 2 * lanes) * Index(sizeof(Acc)) + 63) / 64 * 64;
    firsts_bytes_ = along_lanes_ ? ((vectors_ + 1) * Index(sizeof(Index)) + 63) / 64 * 64 : 0;
    terms_bytes_ = terms * Index(sizeof(Term<Acc>));
    char* place = static_cast<char*>(workspace);
    terms_ = reinterpret_cast<Term<Acc>*>(place);
    firsts_ = reinterpret_cast<Index*>(place + terms_bytes_);
    teams_ = place + terms_bytes_ + firsts_bytes_;
  }
  std::size_t bytes() const {
    return static_cast<std::size_t>(terms_bytes_ + firsts_bytes_ + kSeparableTeams * sums_bytes_);
  }

  void run() const {
    if (along_lanes_) make_terms();
    const Index rows = a_.planes * a_.out[0] * a_.out[1];
    const Index teams = rows < kSeparableTeams ? rows : kSeparableTeams;
    const Index cost = mean_terms(0) * mean_terms(1) * row_in_ + mean_terms(2) * row_out_;
    parallel_for(teams, 1 + kSeparableGrain / (cost * (rows / teams) + 1), [&](Index begin, Index end) {
      for (Index team = begin; team < end; ++team) {
        Acc* sums = reinterpret_cast<Acc*>(teams_ + team * sums_bytes_);
        for (Index i = 0; i < 2 * lanes; ++i) sums[row_in_ + i] = 0;  // what lies behind the row may be read
        for (Index r = team * rows / teams; r < (team + 1) * rows / teams; ++r) row(r, sums);
      }
    });
  }

 private:
  Index most_terms(int d) const {
    Index most = 0;
    for (Index i = 0; i < a_.out[d]; ++i) {
      const Index count = a_.first[d][i + 1] - a_.first[d][i];
      most = count > most ? count : most;
    }
    return most;
  }
  Index mean_terms(int d) const { return a_.first[d][a_.out[d]] / (a_.out[d] + 1) + 1; }

  // The most terms that any output of a vector of them has.
  Index count_terms(Index vector) const {
    Index most = 0;
    for (Index k = vector * lanes; k < (vector + 1) * lanes && k < row_out_; ++k) {
      const Index *first = a_.first[kLast] + k / a_.inner, count = first[1] - first[0];
      most = count > most ? count : most;
    }
    return most;
  }

  void make_terms() const {
    firsts_[0] = 0;
    for (Index v = 0; v < vectors_; ++v) {
      const Index count = count_terms(v);
      for (Index t = 0; t < count; ++t) terms_[firsts_[v] + t] = make_term(v, t);
      firsts_[v + 1] = firsts_[v] + count;
    }
  }

  Term<Acc> make_term(Index vector, Index t) const {
    Acc weight[lanes] = {};
    Index place[lanes], least = row_in_, most = 0;
    Term<Acc> term{};
    for (Index l = 0; l < lanes; ++l) {
      const Index k = vector * lanes + l;
      place[l] = -1;
      if (k >= row_out_) continue;
      const Index at = a_.first[kLast][k / a_.inner] + t;
      if (at >= a_.first[kLast][k / a_.inner + 1]) {
        term.is_ragged = true;
        continue;
      }
      place[l] = a_.index[kLast][at] * a_.inner + k % a_.inner;
      weight[l] = a_.weight[kLast][at];
      least = place[l] < least ? place[l] : least, most = place[l] > most ? place[l] : most;
    }
    term.is_near = most - least < 2 * lanes;
    term.base = term.is_near ? least : 0;
    for (Index l = 0; l < lanes; ++l) {
      term.weight[l] = weight[l];
      term.offset[l] = static_cast<typename SignedOf<sizeof(Acc)>::Type>(place[l] < 0 ? 0 : place[l] - term.base);
    }
    return term;
  }

  void row(Index r, Acc* sums) const {
    const Index j = r % a_.out[1], i = r / a_.out[1] % a_.out[0], plane = r / a_.out[1] / a_.out[0];
    const T* x = a_.x + plane * a_.in[0] * a_.in[1] * row_in_;
    T* y = a_.y + r * row_out_;
    if (is_direct_) return direct(x, y, i, j);
    const Index *first_0 = a_.first[0] + i, *first_1 = a_.first[1] + j;
    combine(sums, row_in_, [&](const auto& add) {
      for (Index p = first_0[0]; p < first_0[1]; ++p)
        for (Index q = first_1[0]; q < first_1[1]; ++q)
          add(x + (a_.index[0][p] * a_.in[1] + a_.index[1][q]) * row_in_, a_.weight[0][p] * a_.weight[1][q]);
    });
    if (along_lanes_) return along_lanes(sums, y);
    for (Index k = 0; k < a_.out[kLast]; ++k) {
      combine(y + k * a_.inner, a_.inner, [&](const auto& add) {
        for (Index p = a_.first[kLast][k]; p < a_.first[kLast][k + 1]; ++p)
          add(sums + a_.index[kLast][p] * a_.inner, a_.weight[kLast][p]);
      });
    }
  }

  void direct(const T* x, T* y, Index i, Index j) const {
    const T* rows[kDirectTerms];  // of x that this row is made of
    Acc weights[kDirectTerms];
    int count = 0;
    for (Index p = a_.first[0][i]; p < a_.first[0][i + 1]; ++p)
      for (Index q = a_.first[1][j]; q < a_.first[1][j + 1]; ++q, ++count) {
        rows[count] = x + (a_.index[0][p] * a_.in[1] + a_.index[1][q]) * row_in_;
        weights[count] = a_.weight[0][p] * a_.weight[1][q];
      }
    for (Index k = 0; k < a_.out[kLast]; ++k, y += a_.inner) {
      const T* from[kDirectTerms];
      Acc weight[kDirectTerms];
      int terms = 0;
      for (int t = 0; t < count; ++t)
        for (Index p = a_.first[kLast][k]; p < a_.first[kLast][k + 1]; ++p, ++terms)
          from[terms] = rows[t] + a_.index[kLast][p] * a_.inner, weight[terms] = weights[t] * a_.weight[kLast][p];
      switch (terms) {
        case 0: combine(y, a_.inner, [](const auto&) {}); break;
        case 1: add_direct<1>(y, a_.inner, from, weight); break;
        case 2: add_direct<2>(y, a_.inner, from, weight); break;
        case 3: add_direct<3>(y, a_.inner, from, weight); break;
        default: add_direct<4>(y, a_.inner, from, weight);
      }
    }
  }

  void along_lanes(const Acc* sums, T* y) const {
    for (Index v = 0; v < vectors_; ++v) {
      Vec<Acc> sum{};
      for (Index t = firsts_[v]; t < firsts_[v + 1]; ++t) {
        const Term<Acc>& term = terms_[t];
        Vec<Acc> picked = term.is_near ? pick_near(sums + term.base, term.offset) : pick(sums, term.offset);
        if (term.is_ragged) picked = term.weight != 0 ? picked : Vec<Acc>{};
        sum = t == firsts_[v] ? term.weight * picked : fma(term.weight, picked, sum);
      }
      const Index rest = row_out_ - v * lanes;
      if (rest >= lanes) {
        store(y + v * lanes, sum);
      } else {
        store(y + v * lanes, sum, rest);
      }
    }
  }

  const Separable<T>& a_;
  bool along_lanes_;  // a vector holds outputs along the row; else one output's channels
  bool is_direct_;
  Index row_in_, row_out_, vectors_;
  Index sums_bytes_, firsts_bytes_, terms_bytes_;
  Term<Acc>* terms_;
  Index* firsts_;  // of each vector's terms
  char* teams_;
};

template <class T>
Status separable(const Context& context, const Separable<T>& a) {
  SeparableMap<T>(a, context.workspace).run();
  return Status::ok;
}
template <class T>
std::size_t separable_workspace(const Separable<T>& a) {
  return SeparableMap<T>(a, nullptr).bytes();
}

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
