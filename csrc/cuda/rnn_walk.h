#pragma once
#include "core/rnn.h"
#include "cuda/launch.h"
#include "cuda/pack.h"
#include "cuda/rnn_cell.h"
#include "cuda/rnn_letters.h"
#include "cuda/tensor_core.h"

// All steps of a layer in one launch, whose blocks run at once. A block has some units, whose weights stay in its
// shared memory from the first step to the last, and tiles of sequences; what it finds others need is posted
// (cooperative.h), and tagged with the step. Forward, that is the state: every block multiplies all of it, and a warp a
// part of the depth. Backward, a block multiplies the gradients of its own units' sums, and posts to each block what
// this adds to the gradients of that one's units, which are added block by block.
namespace dd2424::cuda {
namespace {

constexpr int kWalkThreads = 256, kWalkWarps = kWalkThreads / kWarp;
// A warp multiplies a tile: its lanes share rows and columns, and the two halves the depth. A thread's large square
// matters: a number read from shared memory costs as much as four multiplications.
constexpr int kRowLanes = 2, kColumnLanes = 8, kDepthLanes = 2;
constexpr int kThreadRows = kWalkRows / kRowLanes, kOwnRows = kThreadRows / kDepthLanes;
struct TilePlace {
  int row, column, depth;
  __device__ explicit TilePlace(int lane)
      : row(lane % kRowLanes), column(lane / kRowLanes % kColumnLanes), depth(lane / (kRowLanes * kColumnLanes)) {}
  __device__ int own_row(int i) const { return (i * kDepthLanes + depth) * kRowLanes + row; }  // once sums are joined
};
// The halves' sums joined: each thread has every other row of its square.
template <int each, class T>
__device__ void join_halves(const TilePlace& place, const T (&sums)[kThreadRows][each], T (&own)[kOwnRows][each]) {
#pragma unroll
  for (int i = 0; i < kOwnRows; ++i)
#pragma unroll
    for (int j = 0; j < each; ++j) {
      const T keep = place.depth ? sums[2 * i + 1][j] : sums[2 * i][j];
      const T give = place.depth ? sums[2 * i][j] : sums[2 * i + 1][j];
      own[i][j] = keep + __shfl_xor_sync(0xffffffff, give, kRowLanes * kColumnLanes);
    }
}

// What lies in shared memory: the weights, a gate's units side by side, depth by depth; forward, a tile of states and
// each warp's part of the sums; backward, two tiles of gradients. Rows are apart for the sake of the banks.
template <class T, int gates, int units>
struct WalkRoom {
  static constexpr int size = kPack<T>, columns = gates * units;
  static constexpr int sums_row = columns % 16 == 8 ? columns : columns + 8, gradients_row = columns + size;
  Index packs, row;
  __host__ __device__ explicit WalkRoom(Index hidden) : packs((hidden + size - 1) / size), row((packs | 1) * size) {}
  std::size_t forward_bytes() const {
    return static_cast<std::size_t>((columns + kWalkRows) * row + kWalkWarps * kWalkRows * sums_row) * sizeof(T);
  }
  std::size_t backward_bytes() const {
    return static_cast<std::size_t>(columns * row + 2 * kWalkRows * gradients_row) * sizeof(T);
  }
  __device__ T* weights() const { return reinterpret_cast<T*>(asked_shared()); }
  __device__ T* states() const { return weights() + columns * row; }
  __device__ T* sums() const { return states() + kWalkRows * row; }
  __device__ T* gradients(Index pass) const { return states() + pass % 2 * kWalkRows * gradients_row; }
};

// Nobody has posted yet, the weights are there, and the states' room is zero.
template <class T, int gates, int units>
__device__ void begin_walk(const WalkRoom<T, gates, units>& room, const Letters& letters, const T* weight, Index n,
                           Index cleared) {
  constexpr int size = kPack<T>;
  const Index first_unit = Index{blockIdx.x} * units;
  [[maybe_unused]] const bool vectors = reinterpret_cast<std::uintptr_t>(weight) % 16 == 0 && n % size == 0;
  for (Index i = threadIdx.x; i < Index{room.columns} * room.packs; i += kWalkThreads) {
    const Index column = quotient(i, room.packs), k = (i - column * room.packs) * size;
    const Index unit = first_unit + column % units, row = column / units * n + unit;
    T* to = room.weights() + column * room.row + k;
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800  // as tensor_core.h has it
    if (vectors) {
      start_copy(to, weight + (unit < n ? row * n + k : 0), unit < n);
      continue;
    }
#endif
#pragma unroll
    for (int e = 0; e < size; ++e) to[e] = unit < n && k + e < n ? weight[row * n + k + e] : T(0);
  }
  close_copies();
  const Index threads = Index{gridDim.x} * gridDim.y * kWalkThreads;
  const Index block = Index{blockIdx.y} * gridDim.x + blockIdx.x;
  for (Index i = (block * kWalkThreads + threadIdx.x) * 2; i < 2 * letters.each; i += 2 * threads)
    post(letters.all + i, TwoLetters{});
  for (Index i = threadIdx.x; i < cleared; i += kWalkThreads) room.states()[i] = T(0);
  wait_for_copies<0>();
  wait_for_grid();
}

// The warp's packs of the depth, of all rows of the tile, from letters of `tag`.
template <class T>
__device__ void take_states(T* states, Index row, Index first_pack, Index last_pack, const Letter* from, Index from_row,
                            Index rows, Index numbers, std::uint32_t tag) {
  const Index words = numbers * kWords<T>, pairs = (words + 1) / 2;
  const Index end = last_pack * 2 < pairs ? last_pack * 2 : pairs;
  for (Index pair = first_pack * 2 + threadIdx.x % kWarp; pair < end; pair += kWarp) {
    const bool is_half = 2 * pair + 1 == words;
    TwoLetters got[kWalkRows];
    unsigned missing = first_bits(rows);
    for (int looks = 1; missing; ++looks) {
#pragma unroll
      for (int r = 0; r < kWalkRows; ++r)
        if (missing >> r & 1) got[r] = look_at_two(from + r * from_row + 2 * pair);
#pragma unroll
      for (int r = 0; r < kWalkRows; ++r)
        if (is_of(tag, got[r].of[0]) && (is_half || is_of(tag, got[r].of[1]))) missing &= ~(1u << r);
      if (missing) found_none(looks);
    }
#pragma unroll
    for (int r = 0; r < kWalkRows; ++r)
      if (r < rows)
        reinterpret_cast<std::uint64_t*>(states + r * row)[pair] =
            (is_half ? 0 : got[r].of[1] << 32) | (got[r].of[0] & 0xffffffff);
  }
}
// The same from memory: the first states.
template <class T>
__device__ void load_first(T* states, Index row, Index first_pack, Index last_pack, const T* from, Index rows,
                           Index n) {
  const Index first = first_pack * kPack<T>, end = last_pack * kPack<T>;
  for (Index k = first + threadIdx.x % kWarp; k < end && k < n; k += kWarp)
#pragma unroll 8
    for (Index r = 0; r < rows; ++r) states[r * row + k] = from[r * n + k];
}

// sums[i][j] += the warp's part of the depth: the thread's rows of the states by its columns of the weights.
template <int each, class T, int gates, int units>
__device__ void multiply_states(const WalkRoom<T, gates, units>& room, const TilePlace& place, Index first_pack,
                                Index last_pack, T (&sums)[kThreadRows][each]) {
  constexpr int size = kPack<T>;
  const T *states = room.states() + place.row * room.row, *weights = room.weights() + place.column * room.row;
  for (Index k = (first_pack + place.depth) * size; k < last_pack * size; k += kDepthLanes * size) {
    Pack<T, kPack<T>> x[kThreadRows], w[each];
#pragma unroll
    for (int i = 0; i < kThreadRows; ++i) x[i] = load_pack<kPack<T>>(states + i * kRowLanes * room.row + k, true);
#pragma unroll
    for (int j = 0; j < each; ++j) w[j] = load_pack<kPack<T>>(weights + j * kColumnLanes * room.row + k, true);
#pragma unroll
    for (int e = 0; e < size; ++e)
#pragma unroll
      for (int i = 0; i < kThreadRows; ++i)
#pragma unroll
        for (int j = 0; j < each; ++j) sums[i][j] = fma(x[i].of[e], w[j].of[e], sums[i][j]);
  }
}

template <class T, int gates, int units>
__global__ void __launch_bounds__(kWalkThreads, 1) walk_forward(RnnForward<T> a, Letters letters) {
  using Room = WalkRoom<T, gates, units>;
  constexpr int each = Room::columns / kColumnLanes;
  const Room room(a.hidden);
  const Index n = a.hidden, batch = a.steps.batch, letters_row = letters_of_row<T>(n);
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const TilePlace place(lane);
  const Index first_pack = warp * room.packs / kWalkWarps, last_pack = (warp + 1) * room.packs / kWalkWarps;
  // The thread's own sum: eight units of four rows to a warp.
  const int own_row = warp % 4 * 4 + lane / 8, own_column = warp / 4 * 8 + lane % 8;
  begin_walk(room, letters, a.weight, n, kWalkRows * room.row);
  for (Index s = 0; s < a.steps.count; ++s) {
    const Step step = step_of(a.steps, a.reverse, s);
    const auto tag = static_cast<std::uint32_t>(s);
    let_others_post();
    for (Index first_row = Index{blockIdx.y} * kWalkRows; first_row < batch;
         first_row += Index{gridDim.y} * kWalkRows) {
      const Unit u{first_row + own_row, Index{blockIdx.x} * units + own_column};
      const bool is_own = own_column < units && u.sequence < batch && u.unit < n;
      Met<T> met;
      if (is_own) met = meet(a, step, u);
      const Index rows = batch - first_row < kWalkRows ? batch - first_row : kWalkRows;
      if (s == 0) load_first(room.states(), room.row, first_pack, last_pack, a.h0 + first_row * n, rows, n);
      else
        take_states(room.states(), room.row, first_pack, last_pack, letters.of(s) + first_row * letters_row,
                    letters_row, rows, n, tag);
      __syncwarp();
      T sums[kThreadRows][each] = {}, own[kOwnRows][each];
      multiply_states(room, place, first_pack, last_pack, sums);
      join_halves(place, sums, own);
#pragma unroll
      for (int i = 0; i < kOwnRows; ++i)
#pragma unroll
        for (int j = 0; j < each; ++j)
          room.sums()[(warp * kWalkRows + place.own_row(i)) * Room::sums_row + j * kColumnLanes + place.column] =
              own[i][j];
      __syncthreads();
      T products[gates] = {};
      if (is_own) {
#pragma unroll
        for (int w = 0; w < kWalkWarps; ++w)
#pragma unroll
          for (int g = 0; g < gates; ++g)
            products[g] += room.sums()[(w * kWalkRows + own_row) * Room::sums_row + g * units + own_column];
      }
      __syncthreads();
      if (!is_own) continue;
      add_products(a, u, products, met);
      forward_cell(a, step, u, met, [&](T h) {
        if (s + 1 < a.steps.count)
          post_number(letters.of(s + 1) + u.sequence * letters_row + u.unit * kWords<T>, h, tag + 1);
      });
    }
  }
}

// dh of one unit: what each block has posted, block by block.
template <class T>
__device__ T take_gradient(const Letter* from, Index step, Index blocks, std::uint32_t tag) {
  constexpr int looked = 32 / kWords<T>;  // together: one after another they would last
  T sum = 0;
  for (Index first = 0; first < blocks; first += looked) {
    Mail<T> got[looked];
    unsigned missing = first_bits(blocks - first < looked ? blocks - first : looked);
    for (int looks = 1; missing; ++looks) {
#pragma unroll
      for (int i = 0; i < looked; ++i)
        if (missing >> i & 1) got[i].look(from + (first + i) * step);
#pragma unroll
      for (int i = 0; i < looked; ++i)
        if (got[i].is_there(tag)) missing &= ~(1u << i);
      if (missing) found_none(looks);
    }
#pragma unroll
    for (int i = 0; i < looked; ++i)
      if (first + i < blocks) sum += got[i].number();
  }
  return sum;
}

// The tile's gradients times the weights, posted to the blocks whose units they reach; `spans` packs of the depth to a
// thread.
template <int spans, class T, int gates, int units>
__device__ void post_products(const WalkRoom<T, gates, units>& room, const T* gradients, Letter* to, Index rows,
                              Index n, std::uint32_t tag) {
  constexpr int size = kPack<T>, span = kColumnLanes * size, columns = gates * units, each = spans * size;
  const TilePlace place(static_cast<int>(threadIdx.x) % kWarp);
  const T* x = gradients + place.row * room.gradients_row;
  for (Index first = Index{threadIdx.x / kWarp} * spans * span; first < n; first += kWalkWarps * spans * span) {
    T sums[kThreadRows][each] = {}, own[kOwnRows][each];
    Index at[spans];
#pragma unroll
    for (int j = 0; j < spans; ++j) at[j] = first + j * span + place.column * size;
    for (int c = place.depth * size; c < columns; c += kDepthLanes * size) {
      Pack<T, kPack<T>> left[kThreadRows];
#pragma unroll
      for (int i = 0; i < kThreadRows; ++i)
        left[i] = load_pack<kPack<T>>(x + i * kRowLanes * room.gradients_row + c, true);
#pragma unroll
      for (int e = 0; e < size; ++e)
#pragma unroll
        for (int j = 0; j < spans; ++j) {
          const Pack<T, kPack<T>> w =
              load_pack<kPack<T>>(room.weights() + (c + e) * room.row + (at[j] < n ? at[j] : 0), true);
#pragma unroll
          for (int i = 0; i < kThreadRows; ++i)
#pragma unroll
            for (int f = 0; f < size; ++f) sums[i][j * size + f] = fma(left[i].of[e], w.of[f], sums[i][j * size + f]);
        }
    }
    join_halves(place, sums, own);
#pragma unroll
    for (int j = 0; j < spans; ++j) {
      if (at[j] >= n) continue;
      Letter* to_block =
          to + (at[j] / units * gridDim.x * kWalkRows * units + posted_at<T, units>(at[j] % units)) * kWords<T>;
#pragma unroll
      for (int i = 0; i < kOwnRows; ++i) {
        if (place.own_row(i) >= rows) continue;
        Pack<T, kPack<T>> pack;
#pragma unroll
        for (int f = 0; f < size; ++f) pack.of[f] = own[i][j * size + f];
        post_pack(to_block + place.own_row(i) * units * kWords<T>, units / 2 * kWords<T>, pack.of, tag);
      }
    }
  }
}

// It ends one beyond the last step, where only the gradient of the first state is left to be summed.
template <class T, int gates, int units>
__global__ void __launch_bounds__(kWalkThreads, 1) walk_backward(RnnBackward<T> a, Letters letters) {
  using Room = WalkRoom<T, gates, units>;
  const Room room(a.hidden);
  const Index n = a.hidden, batch = a.steps.batch, blocks = gridDim.x;
  constexpr Index from_block = kWalkRows * units * kWords<T>;
  const int own_row = static_cast<int>(threadIdx.x) / units, own_column = static_cast<int>(threadIdx.x) % units;
  Index pass = 0;
  begin_walk(room, letters, a.weight, n, 2 * kWalkRows * Room::gradients_row);
  for (Index s = 0; s <= a.steps.count; ++s) {
    const Step step = step_of(a.steps, !a.reverse, s);
    const auto tag = static_cast<std::uint32_t>(s);
    let_others_post();
    for (Index tile = blockIdx.y; tile * kWalkRows < batch; tile += gridDim.y, ++pass) {
      const Index first_row = tile * kWalkRows, of_tile = tile * blocks * blocks * from_block;
      const Unit u{first_row + own_row, Index{blockIdx.x} * units + own_column};
      const bool is_own = own_row < kWalkRows && u.sequence < batch && u.unit < n, is_last = s == a.steps.count;
      MetBack<T> met;
      T *state = a.dh0 + u.sequence * n + u.unit, dh = 0, products[4] = {};
      if (is_own) {
        if (!is_last) met = meet(a, step, u);
        const T kept = s > 0 && a.mode == RnnMode::gru ? *state : T(0);
        if (s > 0) {
          const Letter* from = letters.of(s) + of_tile + blockIdx.x * blocks * from_block +
                               (own_row * units + posted_at<T, units>(own_column)) * kWords<T>;
          dh = take_gradient<T>(from, from_block, blocks, tag) + kept;
        } else if (a.dhn) {
          dh = a.dhn[u.sequence * n + u.unit];
        }
        if (is_last) {
          *state = dh;
        } else {
          const T to_keep = backward_cell(a, step, u, met, dh, products);
          if (a.mode == RnnMode::gru) *state = to_keep;
        }
      }
      if (is_last) continue;
      T* gradients = room.gradients(pass);
      if (own_row < kWalkRows) {
#pragma unroll
        for (int g = 0; g < gates; ++g) gradients[own_row * Room::gradients_row + g * units + own_column] = products[g];
      }
      __syncthreads();
      Letter* to = letters.of(s + 1) + of_tile + blockIdx.x * from_block;
      const Index rows = batch - first_row < kWalkRows ? batch - first_row : kWalkRows;
      if (n > kWalkWarps * kColumnLanes * Room::size) post_products<2>(room, gradients, to, rows, n, tag + 1);
      else post_products<1>(room, gradients, to, rows, n, tag + 1);
    }
  }
}

}  // namespace
}  // namespace dd2424::cuda
