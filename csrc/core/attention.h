#pragma once
#include "core/philox.h"
#include "core/types.h"

namespace dd2424 {

// y = softmax(scale * q k^T + mask) v for every item of a batch and every head. Query heads come in groups, one for
// each head of k and v. A query that sees no key gives 0. What a query does not see, even a NaN, does not reach it.
struct AttentionSizes {
  Index batch, heads, key_heads;   // key_heads divides heads
  Index queries, keys;             // rows of q and of y; of k and v
  Index features, value_features;  // of q and k; of v and y
  double scale;
  Index offset = 0;        // query i stands at position i + offset among the keys
  Index window = 0;        // a query sees the keys less than so far from it; 0: all
  bool is_causal = false;  // and none after it
  double dropout = 0;      // weights are zero with this probability, and divided by the rest
  Philox bits{};    // the weight of key j for row r of all queries: word j % 4 of block r * ceil(keys / 4) + j / 4
  Index teams = 1;  // threads that may work at once, each in a workspace of its own; moves no bit
};

// A tensor (batch, heads, rows, features), of which the features of a row lie together.
template <class T>
struct HeadRows {
  T* data;
  Index batch, head, row;  // strides
  T* at(Index b, Index h, Index r) const { return data + b * batch + h * head + r * row; }
};
// A tensor (batch, heads, queries, keys) with strides for all, 0 where it is the same for all: which keys are seen, or
// what is added to the scores. Neither where there is no mask.
template <class T>
struct AttentionMask {
  const bool* seen = nullptr;
  const T* added = nullptr;
  Index batch = 0, head = 0, query = 0, key = 0;
};

template <class T>
struct AttentionForward {
  AttentionSizes sizes;
  HeadRows<const T> q, k, v;
  AttentionMask<T> mask;
  HeadRows<T> y;
  // (batch, heads, queries), for backward, or null: log2 of the sum of exp(score); inf where no key is seen.
  Accumulator<T>* lse;
};
template <class T>
struct AttentionBackward {
  AttentionSizes sizes;
  HeadRows<const T> q, k, v;
  AttentionMask<T> mask;
  HeadRows<const T> y, dy;
  const Accumulator<T>* lse;
  HeadRows<T> dq, dk, dv;  // data null: not wanted
  T* dmask;                // (batch, heads, queries, keys), zeros where no query sees a key by its place; or null
};

template <class T>
struct AttentionKernels {                         // float, double; bfloat16 on a GPU with tensor cores
  bool (*attention_fits)(const AttentionSizes&);  // what there are kernels for; null: all
  Status (*attention_forward)(const Context&, const AttentionForward<T>&);
  Status (*attention_backward)(const Context&, const AttentionBackward<T>&);
  std::size_t (*attention_workspace)(const AttentionSizes&);  // bytes, for either
};

}  // namespace dd2424
