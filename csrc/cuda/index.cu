#include "core/index.h"

#include "cuda/index_mask.h"
#include "cuda/index_walk.h"
#include "cuda/index_words.h"
#include "cuda/offer.h"

// Elements that are picked and put where indices say.
namespace dd2424::cuda {
namespace {

// Widened from what stands there.
__global__ void range_kernel(IndexRange a) {
  std::int64_t low = 0, high = 0;
  for_each_item(a.n, [&](Index i) {
    const std::int64_t number = a.index[i];
    low = number < low ? number : low;
    high = number > high ? number : high;
  });
  for (int bits = 1; bits < kWarp; bits *= 2) {
    const std::int64_t lower = __shfl_xor_sync(0xffffffff, low, bits), higher = __shfl_xor_sync(0xffffffff, high, bits);
    low = lower < low ? lower : low;
    high = higher > high ? higher : high;
  }
  if (threadIdx.x % kWarp != 0) return;
  if (low < 0) atomicMin(reinterpret_cast<long long*>(a.range), static_cast<long long>(low));
  if (high > 0) atomicMax(reinterpret_cast<long long*>(a.range + 1), static_cast<long long>(high));
}
Status range(const Context& context, const IndexRange& a) { return launch_items(context, a.n, range_kernel, a); }

// Whole rows. A thread has some cells, whose loads are under way at once.
constexpr int kCells = 4;
template <class Cell>
__global__ void select_kernel(IndexSelect a, Index cells) {  // of a row
  const Cell* x = static_cast<const Cell*>(a.x);
  Cell* y = static_cast<Cell*>(a.y);
  const Index all = a.outer * a.n * cells, first = static_cast<Index>(blockIdx.x) * kThreads * kCells + threadIdx.x;
  Cell found[kCells];
  bool has[kCells];
#pragma unroll
  for (int k = 0; k < kCells; ++k) {
    const Index i = first + k * kThreads;
    has[k] = i < all;
    if (!has[k]) continue;
    const Index row = quotient(i, cells), cell = i - row * cells;
    const Index o = a.outer == 1 ? 0 : quotient(row, a.n), number = a.index[row - o * a.n];
    has[k] = number >= 0 && number < a.size;
    if (has[k]) found[k] = x[(o * a.size + number) * cells + cell];
    else if (a.outside) *a.outside = true;
  }
#pragma unroll
  for (int k = 0; k < kCells; ++k)
    if (has[k]) y[first + k * kThreads] = found[k];
}
Status select(const Context& context, const IndexSelect& a) {
  const Index bytes = a.inner * a.element_bytes, cell = widest(bytes, address(a.x), address(a.y));
  if (a.n == 0 || a.outer == 0 || bytes == 0) return Status::ok;
  return with_cell(cell, [&]<class Cell>(Cell) {
    const Index cells = bytes / static_cast<Index>(sizeof(Cell)), each = kThreads * kCells;
    const Index blocks = (a.outer * a.n * cells + each - 1) / each;
    return launch(context, dim3(static_cast<unsigned>(blocks)), dim3(kThreads), select_kernel<Cell>, a, cells);
  });
}

// Advanced indexing.

template <class Cell>
__global__ void read_kernel(const Cell* x, Cell* y, IndexWalk walk, Index count, Index along) {
  for_each_item(count * along, [&](Index i) {
    const Index item = quotient(i, along);
    const Offsets from = over_offsets(walk, item), further = offsets(walk.along, i - item * along);
    y[from.y + further.y] = x[from.x + further.x];
  });
}
Status read(const Context& context, const IndexedCopy& a) {
  IndexWalk walk = walk_of(a.at, a.indexed, a.outside);
  return with_cell(widened(walk, a.element_bytes, 16, a.x, a.y), [&]<class Cell>(Cell) {
    const Index count = walk.over.items(), along = walk.along.items();
    return launch_items(context, count * along, read_kernel<Cell>, static_cast<const Cell*>(a.x),
                        static_cast<Cell*>(a.y), walk, count, along);
  });
}

// The last of the items that go to one place stays.
template <class Cell>
__global__ void write_kernel(Cell* x, const Cell* y, IndexWalk walk, Sorted sorted, Index along) {
  for_each_item(sorted.count * along, [&](Index i) {
    const Index p = quotient(i, along);
    if (p + 1 < sorted.count && are_one(walk, sorted, p, p + 1)) return;
    const Offsets to = over_offsets(walk, place_of_word(sorted.words[p])), further = offsets(walk.along, i - p * along);
    x[to.x + further.x] = y[to.y + further.y];
  });
}
Status write(const Context& context, const IndexedCopy& a) {
  IndexWalk walk = walk_of(a.at, a.indexed, a.outside);
  Sorted sorted{nullptr, walk.over.items(), walk.bits > kKeyBits};
  const Status status = order_walk(context, walk, &sorted.words);
  if (status != Status::ok) return status;
  return with_cell(widened(walk, a.element_bytes, 16, a.x, a.y), [&]<class Cell>(Cell) {
    const Index along = walk.along.items();
    return launch_items(context, sorted.count * along, write_kernel<Cell>, static_cast<Cell*>(a.x),
                        static_cast<const Cell*>(a.y), walk, sorted, along);
  });
}
std::size_t write_workspace(const IndexedCopy& a) { return order_walk_bytes(walk_of(a.at, a.indexed, a.outside)); }

// Batches from a data set of bytes, each thread with `width` of them.
template <int width>
__global__ void gather_normalize_kernel(GatherNormalize a) {
  struct alignas(width) Bytes {
    std::uint8_t of[width];
  };
  struct alignas(width * 4) Floats {
    float of[width];
  };
  const Index words = a.inner / width;
  for_each_item(a.n * words, [&](Index i) {
    const Index j = quotient(i, words), first = (i - j * words) * width;
    const Bytes x = *reinterpret_cast<const Bytes*>(a.x + a.index[j] * a.inner + first);
    Floats y;
    for (int k = 0; k < width; ++k) {
      const Index c = quotient(first + k, a.spread);
      y.of[k] = (static_cast<float>(x.of[k]) - a.mean[c]) * a.rstd[c];
    }
    *reinterpret_cast<Floats*>(a.y + i * width) = y;
  });
}
Status gather_normalize(const Context& context, const GatherNormalize& a) {
  if (a.n == 0 || a.inner == 0) return Status::ok;
  const bool is_wide = widest(a.inner, address(a.x)) >= 4 && widest(address(a.y)) == 16;
  return is_wide ? launch_items(context, a.n * a.inner / 4, gather_normalize_kernel<4>, a)
                 : launch_items(context, a.n * a.inner, gather_normalize_kernel<1>, a);
}

constexpr IndexKernels kIndex{.range = range,
                              .select = select,
                              .read = read,
                              .write = write,
                              .gather_normalize = gather_normalize,
                              .count_true = count_true,
                              .select_true = select_true,
                              .find_true = find_true,
                              .write_workspace = write_workspace};

struct WalkPlaces {
  IndexWalk walk;
  __device__ Word operator()(Index, Index i) const { return static_cast<Word>(over_offsets(walk, i).x); }
};

}  // namespace

IndexWalk walk_of(const Strided<2>& at, const IndexedAt& indexed, bool* outside) {
  IndexWalk walk{.over = {}, .along = {}, .indexed = indexed, .outside = outside, .bits = 0};
  std::uint64_t last = 0;  // place of `over` in x
  for (int d = 0; d < at.ndim; ++d) {
    bool varies = at.strides[1][d] == 0;
    for (int t = 0; t < indexed.indices; ++t) varies = varies || indexed.index_strides[t][d] != 0;
    Dimensions& part = varies ? walk.over : walk.along;
    const int k = part.count++;
    part.shape[k] = at.shape[d], part.y[k] = at.strides[0][d], part.x[k] = at.strides[1][d];
    if (!varies) continue;
    for (int t = 0; t < indexed.indices; ++t) walk.indexed.index_strides[t][k] = indexed.index_strides[t][d];
    last += static_cast<std::uint64_t>((at.shape[d] - 1) * at.strides[1][d]);
  }
  for (int t = 0; t < indexed.indices; ++t)
    if (indexed.sizes[t] > 0) last += static_cast<std::uint64_t>((indexed.sizes[t] - 1) * indexed.steps[t]);
  while (walk.bits < 64 && last >> walk.bits != 0) ++walk.bits;
  return walk;
}

Status order_walk(const Context& context, const IndexWalk& walk, const Word** sorted) {
  return order_places(context, WalkPlaces{walk}, 1, walk.over.items(), walk.bits, sorted);
}

void offer_index(DeviceTables& tables) { offer(tables, kIndex); }

}  // namespace dd2424::cuda
