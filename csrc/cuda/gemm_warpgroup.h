#pragma once
#include <type_traits>

#include "cuda/cooperative.h"
#include "cuda/gemm_tile.h"
#include "cuda/warpgroup.h"

// The main loop of products on the tensor cores of compute capability 9.0. One warpgroup of a block carries
// slices of the operands into a ring of places in shared memory, the others multiply them there; barriers say which
// places are full and which are empty. Slices are blocks of 64 lines of 128 bytes, along k or along the rows as the
// operand lies in memory (warpgroup.h). Every sum is one chain over k, whatever the tile.
namespace dd2424::cuda {

constexpr int kRingBytes = 192 << 10, kProducts = 4;  // of 32 bytes along k, in a slice
template <class T>
constexpr int kGroupSlice = 8 * kChunk<T>;

// A place of the ring, and in which turn: both sides count alike.
struct Turn {
  int place = 0;
  unsigned parity = 0;
};
template <int places>
__device__ void go_on(Turn& turn) {
  if (++turn.place == places) turn = {0, turn.parity ^ 1};
}

// One operand's part of slices, carried by the threads of a warpgroup: 16 bytes by each at a time.
template <class T, class Operand, int rows>
class BlockCarrier {
 public:
  using Row = typename Operand::Row;

  __device__ BlockCarrier(const Operand& x, Row (&places)[rows], Index first_row, Index first_k)
      : x_(x), places_(places) {
    for (int r = thread(); r < rows; r += kWarpgroup) places[r] = x.row(first_row + r);
    step_ = x.step(first_k + (x.k_first ? chunk() * kChunk<T> : line()));
  }
  // Starts to copy the next slice.
  __device__ void load(std::byte* slice) {
    std::byte* y = slice + line() * 128 + ((chunk() ^ line() % 8) << 4);  // 16 lines on, the same place within a line
    if (x_.k_first) {
#pragma unroll
      for (int r = 0; r < rows; r += 16 * kAtOnce) {
        Row row[kAtOnce];
#pragma unroll
        for (int i = 0; i < kAtOnce; ++i) row[i] = places_[line() + r + 16 * i];
        copy(y + r * 128, 16 * 128, row, line() + r, 16);
      }
      for (int k = 0; k < kGroupSlice<T>; k += 32) x_.advance(step_, 32);
    } else {
      Row row[blocks];
#pragma unroll
      for (int i = 0; i < blocks; ++i) row[i] = places_[i * kBlockLines + chunk() * kChunk<T>];
#pragma unroll 1
      for (int k = 0; k < kGroupSlice<T>; k += 16) {
        copy(y + k * 128, kBlockBytes, row, chunk() * kChunk<T>, kBlockLines);
        x_.advance(step_, 16);
      }
    }
  }

 private:
  static constexpr int blocks = rows / kBlockLines;
  static constexpr int kAtOnce = rows == 64 || sizeof(Row) > 16 ? 4 : 8;  // as many as registers are left for

  __device__ static int thread() { return static_cast<int>(threadIdx.x) % kWarpgroup; }
  __device__ static int line() { return thread() / 8; }
  __device__ static int chunk() { return thread() % 8; }
  // Of some rows, the first of which is number `first`: what is copied stands `apart` bytes apart. All addresses are
  // there before the first copy starts, so that no one waits for another.
  template <int count>
  __device__ void copy(std::byte* y, int apart, const Row (&row)[count], int first, int rows_apart) const {
    if (!x_.vector) {
#pragma unroll 1
      for (int i = 0; i < count; ++i) gather(reinterpret_cast<T*>(y + i * apart), first + i * rows_apart);
      return;
    }
    const T* from[count];
    bool inside[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
      inside[i] = x_.inside(row[i], step_);
      from[i] = inside[i] ? x_.data + x_.offset(row[i], step_) : x_.data;
    }
#pragma unroll
    for (int i = 0; i < count; ++i) start_copy(y + i * apart, from[i], inside[i]);
  }
  __device__ void gather(T* y, int r) const {
    auto step = step_;
#pragma unroll 1
    for (int i = 0; i < kChunk<T>; ++i) {
      const Row row = places_[x_.k_first ? r : r + i];
      y[i] = x_.inside(row, step) ? x_.data[x_.offset(row, step)] : T{};
      if (x_.k_first) x_.advance(step, 1);
    }
  }

  const Operand& x_;
  Row (&places_)[rows];  // in shared memory
  typename Operand::Step step_;
};

// A problem whose operands are plain matrices, which can be copied by boxes.
template <class Problem>
struct Boxed : Problem {
  Boxes a_boxes, b_boxes;
  bool a_is_batch, b_is_batch;
};
template <class Problem>
constexpr bool kIsBoxed = false;
template <class Problem>
constexpr bool kIsBoxed<Boxed<Problem>> = true;

template <class T, int rows_, int columns_>
struct WarpgroupLoop {
  static constexpr int rows = rows_, columns = columns_, slice = kGroupSlice<T>;
  static constexpr int consumers = 2, threads = (1 + consumers) * kWarpgroup;
  static constexpr int high = rows / kBlockLines / consumers;  // blocks of rows of a consumer
  static constexpr int a_bytes = rows / kBlockLines * kBlockBytes, b_bytes = columns / kBlockLines * kBlockBytes;
  static constexpr int stages = kRingBytes / (a_bytes + b_bytes);
  static constexpr std::size_t ring_bytes = stages * (a_bytes + b_bytes);
  static constexpr std::size_t shared_bytes = ring_bytes + (2 * stages + 1) * sizeof(Barrier) + kSwizzle;
  using Sums = float[high][columns / 2];    // of a thread
  static constexpr int ahead = stages - 2;  // slices that are under way, while the consumers keep hold of two

  struct Ring {
    std::byte* slices;
    Barrier *full, *empty, *meeting;
    Turn turn;
    unsigned meetings = 0;
    __device__ std::byte* slice() const { return slices + turn.place * (a_bytes + b_bytes); }
  };

  // A warp's lanes have done with something: says so once.
  __device__ static void arrive_together(Barrier& barrier) {
    __syncwarp();
    if (threadIdx.x % kWarp == 0) arrive(barrier);
  }
  __device__ static void meet(Ring& ring) {  // the producers, each for itself, as it reads what others wrote
    arrive(*ring.meeting);
    wait_for_phase(*ring.meeting, ring.meetings++ % 2);
  }

  template <class A, class B>
  __device__ static void carry(const A& a, const B& b, Index row, Index column, Index begin, int slices, Ring& ring) {
    __shared__ typename A::Row a_rows[rows];
    __shared__ typename B::Row b_rows[columns];
    meet(ring);  // nobody reads the last tile's rows any more
    BlockCarrier<T, A, rows> left(a, a_rows, row, begin);
    BlockCarrier<T, B, columns> right(b, b_rows, column, begin);
    meet(ring);
    Turn copied = ring.turn;
#pragma unroll 1
    for (int i = 0; i < slices + ahead; ++i) {
      if (i < slices) {
        wait_for_phase(ring.empty[ring.turn.place], ring.turn.parity ^ 1);
        left.load(ring.slice());
        right.load(ring.slice() + a_bytes);
        go_on<stages>(ring.turn);
      }
      close_copies();  // an empty group too: what is waited for is counted
      if (i < ahead) continue;
      wait_for_copies<ahead>();
      show_to_tensor_cores();
      arrive_together(ring.full[copied.place]);
      go_on<stages>(copied);
    }
  }

  template <class Problem>
  __device__ static void carry_boxes(const Problem& problem, Index item, Index row, Index column, Index begin,
                                     int slices, Ring& ring) {
    const auto start = [&](std::byte* y, const Boxes& boxes, bool k_first, Index r, Index k, bool is_batch) {
      const int line = static_cast<int>(r), step = static_cast<int>(k), z = is_batch ? static_cast<int>(item) : 0;
      start_box(y, boxes, k_first ? step : line, k_first ? line : step, z, ring.full[ring.turn.place]);
    };
#pragma unroll 1
    for (int i = 0; i < slices; ++i) {
      const Index k = begin + Index{i} * slice;
      wait_for_phase(ring.empty[ring.turn.place], ring.turn.parity ^ 1);
      arrive_and_announce(ring.full[ring.turn.place], a_bytes + b_bytes);
#pragma unroll
      for (int block = 0; block < rows / kBlockLines; ++block)
        start(ring.slice() + block * kBlockBytes, problem.a_boxes, problem.a.k_first, row + block * kBlockLines, k,
              problem.a_is_batch);
#pragma unroll
      for (int block = 0; block < columns / kBlockLines; ++block)
        start(ring.slice() + a_bytes + block * kBlockBytes, problem.b_boxes, problem.b.k_first,
              column + block * kBlockLines, k, problem.b_is_batch);
      go_on<stages>(ring.turn);
    }
  }

  __device__ static int consumer() { return static_cast<int>(threadIdx.x) / kWarpgroup - 1; }
  __device__ static int row_of(int block) {
    const int thread = static_cast<int>(threadIdx.x) % kWarpgroup;
    return (consumer() * high + block) * kBlockLines + thread / kWarp * 16 + thread % kWarp / 4;
  }
  // sums += a b over so many slices, of the rows of this warpgroup.
  __device__ static void multiply(bool a_along_k, bool b_along_k, int slices, Ring& ring, Sums& y) {
    if constexpr (kIsShort<T>) {
      if (a_along_k) b_along_k ? multiply<true, true>(slices, ring, y) : multiply<true, false>(slices, ring, y);
      else b_along_k ? multiply<false, true>(slices, ring, y) : multiply<false, false>(slices, ring, y);
    } else {
      multiply<true, true>(slices, ring, y);
    }
  }
  template <bool a_along_k, bool b_along_k>
  __device__ static void multiply(int slices, Ring& ring, Sums& y) {
    const int mine = consumer() * high * kBlockBytes;
    int last = 0;
#pragma unroll 1
    for (int i = 0; i < slices; ++i) {
      wait_for_phase(ring.full[ring.turn.place], ring.turn.parity);
      const std::uint64_t b = described(ring.slice() + a_bytes);
      open_products();
#pragma unroll
      for (int k = 0; k < kProducts; ++k)
#pragma unroll
        for (int block = 0; block < high; ++block)
          start_product<T, !a_along_k, !b_along_k>(
              y[block], steps_on<!a_along_k>(described(ring.slice() + mine + block * kBlockBytes), k),
              steps_on<!b_along_k>(b, k));
      close_products();
      wait_for_products<1>(y);
      if (i > 0) arrive_together(ring.empty[last]);
      last = ring.turn.place;
      go_on<stages>(ring.turn);
    }
    wait_for_products<0>(y);
    if (slices > 0) arrive_together(ring.empty[last]);
  }
};

}  // namespace dd2424::cuda
