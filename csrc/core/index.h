#pragma once
#include "core/parallel.h"
#include "core/types.h"

namespace dd2424 {

// Indices are checked before a kernel is called, 0 <= index < size along the dimension, or on its way, where it may
// report that one is outside.

// y[o, j, i] = x[o, index[j], i]: whole rows of `inner` contiguous elements, of any type (element_bytes each).
struct IndexSelect {
  const void* x;              // (outer, size, inner)
  const std::int64_t* index;  // (n)
  void* y;                    // (outer, n, inner)
  Index outer, size, n, inner, element_bytes;
  bool* outside = nullptr;  // set by a GPU where an index is; a processor is given none
};
// The smallest and the largest of n indices and of what `range` holds, 0 to begin with.
struct IndexRange {
  const std::int64_t* index;  // (n)
  Index n;
  std::int64_t* range;  // (2)
};
// y[o, index[j], i] += scale * x[o, j, i], in the order of j, so that the sum's bits are fixed. Where there is a factor
// it takes the place of scale, and rows whose factor is 0 are not read; where there is a source, outer is 1 and row
// source[j] of x takes the place of row j.
template <class T>
struct IndexAdd {
  const T* x;                 // (outer, n, inner), or (*, inner)
  const std::int64_t* index;  // (n)
  T* y;                       // (outer, size, inner)
  Index outer, size, n, inner;
  double scale;
  const std::int64_t* source = nullptr;    // (n)
  const Accumulator<T>* factor = nullptr;  // (n)
};

// Advanced indexing: position i of the index space (walked by `at`) takes x at x_offset[i] = sum of index_t[i] *
// stride_t, plus the strides of the dimensions that are not indexed. Used for x[rows, columns], gather, take_along_dim.
constexpr int kMaxIndices = kMaxDims;
struct IndexedAt {
  int indices;  // how many index tensors
  const std::int64_t* index[kMaxIndices];
  Index index_strides[kMaxIndices][kMaxDims];  // of each index tensor in the index space; 0 to broadcast
  Index sizes[kMaxIndices];  // of the dimension each one indexes; negative indices are counted from it
  Index steps[kMaxIndices];  // elements of x that one step along that dimension moves
};
struct IndexedCopy {  // y[i] = x[indexed i] (read), or x[indexed i] = y[i] (write; the last of equal indices stays)
  void* x;
  void* y;
  Index element_bytes;
  Strided<2> at;  // y, x (0 for the dimensions that are indexed)
  IndexedAt indexed;
  bool* outside = nullptr;  // by one index that has not been checked: set where a number is not in [0, size)
};
template <class T>
struct IndexedAdd {  // x[indexed i] += y[i], in row-major order of i
  T* x;
  const T* y;
  Strided<2> at;
  IndexedAt indexed;
  bool* outside = nullptr;  // as in IndexedCopy
};
// y[index[j]] = the largest of the rows x[source[j]], column by column, and the rows they come from.
template <class T>
struct RowExtreme {
  const T* x;                  // (*, inner)
  const std::int64_t* source;  // (n)
  const std::int64_t* index;   // (n)
  T* y;                        // (rows, inner): what it holds where no row goes stays
  std::int64_t* from;          // (rows, inner): -1 to begin with
  Index rows, n, inner;
};
enum class ScatterOp : std::uint8_t { sum, prod, max, min };

// A mask of n elements, cut into reduction_chunks. before[c] true ones lie before chunk c, before[kMaxChunks] in all.
struct MaskCount {
  const bool* mask;
  Index n;
  Index* before;  // (kMaxChunks + 1): written by count_true, read by the others
};
struct MaskSelect {  // y = the elements of x, of `bytes` each, under a true element
  MaskCount of;
  const void* x;
  void* y;
  Index bytes;
};
struct MaskPlaces {  // y = the places of the true elements of a mask of this shape
  MaskCount of;
  std::int64_t* y;  // (count, ndim)
  int ndim;         // >= 1
  Index shape[kMaxDims];
};

// A batch from a data set of bytes: y[j, i] = (x[index[j], i] - mean[i / spread]) * rstd[i / spread].
struct GatherNormalize {
  const std::uint8_t* x;      // (size, inner)
  const std::int64_t* index;  // (n)
  const float *mean, *rstd;   // (inner / spread)
  float* y;                   // (n, inner)
  Index size, n, inner, spread;
};

struct IndexKernels {
  Status (*range)(const Context&, const IndexRange&);
  Status (*select)(const Context&, const IndexSelect&);
  Status (*read)(const Context&, const IndexedCopy&);
  Status (*write)(const Context&, const IndexedCopy&);
  Status (*gather_normalize)(const Context&, const GatherNormalize&);
  Status (*count_true)(const Context&, const MaskCount&);
  Status (*select_true)(const Context&, const MaskSelect&);
  Status (*find_true)(const Context&, const MaskPlaces&);
  std::size_t (*write_workspace)(const IndexedCopy&) = nullptr;  // bytes; null: none
};
template <class T>
struct IndexAddKernels {  // every type that can be added
  Status (*add)(const Context&, const IndexAdd<T>&);
  Status (*add_at)(const Context&, const IndexedAdd<T>&);
  Status (*scatter)(const Context&, ScatterOp, const IndexedAdd<T>&);
  Status (*largest_rows)(const Context&, const RowExtreme<T>&);  // floating types
  // What they want to work in, in bytes; null: nothing. `scatter` wants what `add_at` does.
  std::size_t (*add_workspace)(const IndexAdd<T>&) = nullptr;
  std::size_t (*add_at_workspace)(const IndexedAdd<T>&) = nullptr;
  std::size_t (*largest_rows_workspace)(const RowExtreme<T>&) = nullptr;
};

}  // namespace dd2424
