#pragma once
#include "cuda/resample_grid.h"

// The adjoint of sampling a grid, with sums in a fixed order: each pixel gathers, from the list of the taps that read
// it, in the order of their numbers. The lists are made by counting; which of a pixel's taps comes where in its list
// depends on who is first, so that each is sorted.
namespace dd2424::cuda {
namespace {

// In the workspace, for each image of the batch:
template <class T>
struct TapLists {
  T* weights;         // (places * taps), by number
  Index* numbers;     // (places * taps), by pixel
  Index* begin;       // (plane + 1), of the pixel's list
  int* counts;        // (plane)
  Index plane, taps;  // taps: of an image
  TapLists(const GridSizes& s, void* workspace) : plane(product_of(s.image)), taps(product_of(s.out) * taps_in_all(s)) {
    numbers = static_cast<Index*>(workspace);
    begin = numbers + s.batch * taps;
    weights = reinterpret_cast<T*>(begin + s.batch * (plane + 1));
    counts = reinterpret_cast<int*>(reinterpret_cast<double*>(weights) + s.batch * taps);
  }
};
inline std::size_t grid_scatter_workspace(const GridSizes& s) {
  const Index taps = product_of(s.out) * taps_in_all(s), plane = product_of(s.image);
  return static_cast<std::size_t>(s.batch * (2 * taps + plane + 1)) * sizeof(Index) +
         static_cast<std::size_t>(s.batch * plane) * sizeof(int);
}

template <class T>
__global__ void count_taps_kernel(GridScatter<T> a, TapLists<T> lists, Index n) {
  const Index places = product_of(a.sizes.out);
  const int each = taps_in_all(a.sizes);
  for_each_item(n, [&](Index p) {
    const Index image = quotient(p, places);
    for_pixels(a.sizes, a.grid, p, a.sizes.order, [&](int t, Index index, T weight) {
      lists.weights[p * each + t] = weight;
      if (weight != 0) atomicAdd(&lists.counts[image * lists.plane + index], 1);
    });
  });
}

// A block for each image: every thread counts a run of pixels; then each knows where its lists begin.
template <class T>
__global__ void place_lists_kernel(TapLists<T> lists) {
  __shared__ Index sums[kThreads];
  const Index thread = threadIdx.x, run = (lists.plane + kThreads - 1) / kThreads;
  const Index first = thread * run < lists.plane ? thread * run : lists.plane;
  const Index last = first + run < lists.plane ? first + run : lists.plane;
  const int* counts = lists.counts + blockIdx.x * lists.plane;
  Index* begin = lists.begin + blockIdx.x * (lists.plane + 1);
  Index sum = 0;
  for (Index i = first; i < last; ++i) sum += counts[i];
  sums[thread] = sum;
  __syncthreads();
  Index before = 0;
  for (Index i = 0; i < thread; ++i) before += sums[i];
  for (Index i = first; i < last; ++i) {
    begin[i] = before;
    before += counts[i];
  }
  if (thread == kThreads - 1) begin[lists.plane] = before;
}

template <class T>
__global__ void fill_lists_kernel(GridScatter<T> a, TapLists<T> lists, Index n) {
  const Index places = product_of(a.sizes.out);
  const int each = taps_in_all(a.sizes);
  for_each_item(n, [&](Index p) {
    const Index image = quotient(p, places);
    for_pixels(a.sizes, a.grid, p, a.sizes.order, [&](int t, Index index, T weight) {
      if (weight == 0) return;
      const int left = atomicAdd(&lists.counts[image * lists.plane + index], -1);
      const Index slot = lists.begin[image * (lists.plane + 1) + index] + left - 1;
      lists.numbers[image * lists.taps + slot] = (p - image * places) * each + t;
    });
  });
}

// Heapsort: a border's pixel may be read by every place there is.
__device__ inline void sink(Index* list, Index at, Index n) {
  const Index moved = list[at];
  for (Index child = 2 * at + 1; child < n; child = 2 * at + 1) {
    if (child + 1 < n && list[child + 1] > list[child]) ++child;
    if (list[child] <= moved) break;
    list[at] = list[child];
    at = child;
  }
  list[at] = moved;
}
template <class T>
__global__ void sort_lists_kernel(TapLists<T> lists, Index n) {
  for_each_item(n, [&](Index i) {
    const Index image = quotient(i, lists.plane), place = i + image;  // of `begin`, one longer for each image
    Index* list = lists.numbers + image * lists.taps + lists.begin[place];
    Index count = lists.begin[place + 1] - lists.begin[place];
    for (Index k = count / 2; k > 0; --k) sink(list, k - 1, count);
    for (; count > 1; --count) {
      const Index largest = list[0];
      list[0] = list[count - 1];
      list[count - 1] = largest;
      sink(list, 0, count - 1);
    }
  });
}

template <class T>
__global__ void gather_lists_kernel(GridScatter<T> a, TapLists<T> lists, Index n) {
  const Index places = product_of(a.sizes.out);
  const int each = taps_in_all(a.sizes);
  for_each_item(n, [&](Index i) {  // a pixel of a channel of an image
    const Index row = quotient(i, lists.plane), image = quotient(row, a.sizes.channels);
    const Index place = image * (lists.plane + 1) + i - row * lists.plane;
    T sum = 0;
    for (Index k = lists.begin[place]; k < lists.begin[place + 1]; ++k) {
      const Index number = lists.numbers[image * lists.taps + k];
      sum = fma(lists.weights[image * lists.taps + number], a.dy[row * places + quotient(number, each)], sum);
    }
    a.dx[i] = sum;
  });
}

template <class T>
Status grid_scatter(const Context& context, const GridScatter<T>& a) {
  const GridSizes& s = a.sizes;
  const TapLists<T> lists(s, context.workspace);
  const Index n = s.batch * product_of(s.out), pixels = s.batch * lists.plane;
  Status status = checked(cudaMemsetAsync(lists.counts, 0, static_cast<std::size_t>(pixels) * sizeof(int),
                                          static_cast<cudaStream_t>(context.stream)));
  if (status == Status::ok && n > 0) status = launch_items(context, n, count_taps_kernel<T>, a, lists, n);
  if (status == Status::ok)
    status = launch(context, dim3(static_cast<unsigned>(s.batch)), dim3(kThreads), place_lists_kernel<T>, lists);
  if (status == Status::ok && n > 0) status = launch_items(context, n, fill_lists_kernel<T>, a, lists, n);
  if (status == Status::ok) status = launch_items(context, pixels, sort_lists_kernel<T>, lists, pixels);
  if (status != Status::ok) return status;
  return launch_items(context, pixels * s.channels, gather_lists_kernel<T>, a, lists, pixels * s.channels);
}

}  // namespace
}  // namespace dd2424::cuda
