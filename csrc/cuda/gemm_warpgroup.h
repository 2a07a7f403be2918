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

constexpr int kRingBytes = 192 << 10;
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
      for (int k = 0; k < 4; ++k)
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

template <class T, int count>
struct alignas(sizeof(T) * count < 16 ? sizeof(T) * count : 16) Run {
  T at[count];
};

// Lane t of four that follow each other has words t of four runs; it gets the words of run t.
__device__ inline void turn_words(std::uint32_t (&words)[4]) {
  const unsigned t = threadIdx.x % 4;
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const bool upper = t & static_cast<unsigned>(bit);
      const std::uint32_t other = __shfl_xor_sync(0xffffffff, upper ? words[i] : words[i + bit], bit);
      (upper ? words[i] : words[i + bit]) = other;
    }
  }
}

struct alignas(16) FourWords {
  std::uint32_t at[4];
};
struct alignas(8) TwoWords {
  std::uint32_t at[2];
};
// Eight columns of a line, of which its columns are multiples of four.
template <class T>
__device__ void store_words(T* line, Index c, Index columns, const std::uint32_t (&words)[4]) {
  if (c >= columns) return;
  if (reinterpret_cast<std::uintptr_t>(line + c) % 16 == 0 && c + 8 <= columns) {
    *reinterpret_cast<FourWords*>(line + c) = {words[0], words[1], words[2], words[3]};
    return;
  }
  *reinterpret_cast<TwoWords*>(line + c) = {words[0], words[1]};
  if (c + 4 < columns) *reinterpret_cast<TwoWords*>(line + c + 4) = {words[2], words[3]};
}

// What a part makes of its sums may be little, a bias and relu at most: is_simple(), bias(), has_relu().
template <class Part>
__device__ bool is_simple(const Part& part) {
  if constexpr (requires { part.is_simple(); }) return part.is_simple();
  else return true;  // its result() is short
}
template <class Part, int sums>
__device__ void finish_simple(const Part& part, Index column, float (&y)[sums]) {
  if constexpr (requires { part.is_simple(); }) {
    if (const float* bias = part.bias()) {
#pragma unroll
      for (int i = 0; i < sums; i += 4) {
        const float first = bias[column + i * 2], second = bias[column + i * 2 + 1];
        y[i] += first, y[i + 2] += first, y[i + 1] += second, y[i + 3] += second;
      }
    }
    if (part.has_relu()) {
#pragma unroll
      for (int i = 0; i < sums; ++i) y[i] = y[i] < 0 ? 0 : y[i];
    }
  }
}
template <class T, class Part>
__device__ std::uint32_t pair_of(const Part& part, const T* line, Index c, float first, float second) {
  if constexpr (requires { part.is_simple(); }) return two_of<T>(first, second);
  else return part.result(line, c, first).bits | std::uint32_t{part.result(line, c + 1, second).bits} << 16;
}

// Stores a block of 64 rows: of rows r and r + 8, sums 4 j and the next and 4 j + 2 and the next, of columns 8 j + 2 t
// and the next from `column` on, for each j.
template <int sums, class Part>
__device__ void store_block(const Part& part, Index rows, Index r, Index column, float (&y)[sums]) {
  typename Part::Element* const lines[2] = {part.line(r < rows ? r : 0), part.line(r + 8 < rows ? r + 8 : 0)};
  const Index mine = column + threadIdx.x % 4 * 2, turned = column + threadIdx.x % 4 * 8;
  if (part.is_dense() && column + sums * 2 <= part.columns && is_simple(part)) {  // without a question for each sum
    finish_simple(part, mine, y);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const bool is_row = r + 8 * half < rows;
      auto* const line = lines[half] + turned;
      const bool by_four = reinterpret_cast<std::uintptr_t>(line) % 16 == 0;
#pragma unroll
      for (int i = 0; i < sums; i += 16) {
        std::uint32_t words[4];
#pragma unroll
        for (int run = 0; run < 4; ++run) {
          const int at = i + run * 4 + half * 2;
          words[run] = pair_of(part, lines[half], mine + i * 2 + run * 8, y[at], y[at + 1]);
        }
        turn_words(words);
        if (is_row && by_four) {
          *reinterpret_cast<FourWords*>(line + i * 2) = {words[0], words[1], words[2], words[3]};
        } else if (is_row) {
          *reinterpret_cast<TwoWords*>(line + i * 2) = {words[0], words[1]};
          *reinterpret_cast<TwoWords*>(line + i * 2 + 4) = {words[2], words[3]};
        }
      }
    }
    return;
  }
#pragma unroll 1
  for (int turn = 0; turn < sums / 8; ++turn) {  // what is written once serves all sums: they move up to be the first
    const int half = turn % 2;
    typename Part::Element* const line = half ? lines[1] : lines[0];
    const Index first = mine + turn / 2 * 32;
    const bool is_row = r + 8 * half < rows;
    std::uint32_t words[4] = {};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const Index c = first + i / 2 * 8 + i % 2;
      if (!is_row || c >= part.columns) continue;
      const float sum = y[i / 2 * 4 + i % 2];
      if (part.is_dense()) words[i / 2] |= std::uint32_t{part.result(line, c, sum).bits} << i % 2 * 16;
      else part.store(line, c, sum);
    }
    if (part.is_dense()) {
      turn_words(words);
      if (is_row) store_words(line, turned + turn / 2 * 32, part.columns, words);
    }
#pragma unroll
    for (int i = 0; i < 16; ++i)
      if (i % 4 < 2) {
        const float other = y[i];
        y[i] = y[i + 2], y[i + 2] = other;
      }
    if (half == 0) continue;
#pragma unroll
    for (int i = 0; i < sums - 16; ++i) y[i] = y[i + 16];
  }
}
// The same where results are of 32 bits: two neighbours at a time.
template <int sums, class Part>
__device__ void store_pairs(const Part& part, Index rows, Index r, Index column, float (&y)[sums]) {
  using T = typename Part::Element;
  const Index mine = column + threadIdx.x % 4 * 2;
  if (part.is_dense() && column + sums * 2 <= part.columns && is_simple(part)) {
    finish_simple(part, mine, y);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (r + 8 * half >= rows) break;
      T* const line = part.line(r + 8 * half) + mine;
#pragma unroll
      for (int i = 2 * half; i < sums; i += 4) *reinterpret_cast<Run<float, 2>*>(line + i / 4 * 8) = {y[i], y[i + 1]};
    }
    return;
  }
#pragma unroll 1
  for (int turn = 0; turn < sums / 4; ++turn) {  // what is written once serves all sums: they move up to be the first
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const Index row = r + i / 2 * 8, c = mine + turn * 8 + i % 2;
      if (row < rows && c < part.columns) part.store(part.line(row), c, y[i]);
    }
#pragma unroll
    for (int i = 0; i < sums - 4; ++i) y[i] = y[i + 4];
  }
}
template <int sums>
__device__ void store_partial(float* partial, Index rows, Index columns, Index r, Index column,
                              const float (&y)[sums]) {
  const Index mine = column + threadIdx.x % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    if (r + 8 * half >= rows) break;
    float* line = partial + (r + 8 * half) * columns;
    if (columns % 2 == 0) {
#pragma unroll
      for (int i = 2 * half; i < sums; i += 4)
        if (const Index c = mine + i / 4 * 8; c < columns)
          *reinterpret_cast<Run<float, 2>*>(line + c) = {y[i], y[i + 1]};
    } else {
#pragma unroll
      for (int i = 2 * half; i < sums; ++i)
        if (const Index c = mine + i / 4 * 8 + i % 2; i / 2 % 2 == half && c < columns) line[c] = y[i];
    }
  }
}

}  // namespace dd2424::cuda
