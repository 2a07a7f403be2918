#include "core/sort.h"

#include <bit>
#include <type_traits>

#include "cuda/offer.h"
#include "cuda/sort_select.h"
#include "cuda/sort_words.h"

// Rows in order, by their keys: unsigned numbers of the elements' order. And what needs an order and makes none.
namespace dd2424::cuda {
namespace {

template <class T>
struct Keys {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  static constexpr Bits kSign = Bits(1) << (8 * sizeof(T) - 1);
  const T* x;
  Index n;
  Bits flip;  // all ones turns the order round

  __device__ static Bits key_of(T v) {
    if constexpr (std::is_integral_v<T>) {
      return static_cast<Bits>(v) ^ kSign;
    } else {
      const Bits bits = v == 0 ? 0 : std::bit_cast<Bits>(v);
      return v != v ? ~Bits(0) : bits & kSign ? ~bits : bits | kSign;
    }
  }
  __device__ Word operator()(Index row, Index i) const { return static_cast<Bits>(key_of(x[row * n + i]) ^ flip); }
};

// How many elements of an ordered row come before its NaN.
template <class T>
__device__ inline Index count_numbers(const T* x, const Word* words, Index n) {
  Index low = 0, high = n;
  while (low < high) {
    const Index middle = (low + high) / 2;
    const T v = x[place_of_word(words[middle])];
    if (v == v) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Of rows whose places are in order, or some `chosen` ones.
template <class T>
__global__ void pick_kernel(Sort<T> a, const Word* words, const std::uint32_t* chosen) {
  const Index count = a.last - a.first;
  for_each_item(a.rows * count, [&](Index i) {
    const Index row = quotient(i, count);
    const T* const x = a.x + row * a.n;
    const Word* const ordered = words + row * (chosen ? count : a.n);
    Index rank = a.first + i - row * count;
    if (a.rank != Rank::stated) {
      const Index numbers = count_numbers(x, ordered, a.n);
      rank = a.rank == Rank::median && numbers < a.n ? numbers : numbers > 0 ? (numbers - 1) / 2 : 0;
    }
    const Index at = place_of_word(ordered[rank]), place = chosen ? chosen[row * count + at] : at;
    a.indices[i] = place;
    a.values[i] = x[place];
  });
}

// The same of rows that a block sorts, of stated ranks.
template <class T>
struct Pick {
  Sort<T> a;
  const std::uint32_t* chosen;
  __device__ void operator()(Index row, Index i, Word word) const {
    if (i < a.first || i >= a.last) return;
    const Index count = a.last - a.first, at = place_of_word(word), place = chosen ? chosen[row * count + at] : at;
    const Index to = row * count + i - a.first;
    a.indices[to] = place;
    a.values[to] = a.x[row * a.n + place];
  }
};
template <class T, class Keys>
Status sort_picked(const Context& context, const Sort<T>& a, const Keys& keys, Index n, const std::uint32_t* chosen) {
  constexpr int bits = 8 * sizeof(T);
  if constexpr (bits <= kKeyBits)
    if (n <= kInBlock && a.rank == Rank::stated)
      return sort_in_blocks(context, keys, Pick<T>{a, chosen}, a.rows, n, bits);
  const Word* words = nullptr;
  const Status status = order_places(context, keys, a.rows, n, bits, &words);
  if (status != Status::ok) return status;
  return launch_items(context, a.rows * (a.last - a.first), pick_kernel<T>, a, words, chosen);
}

// The first few, which are chosen and then put in order.
constexpr Index kLong = 1024;
std::size_t chosen_bytes(Index rows, Index n) { return static_cast<std::size_t>(rows * n / 8 * 8 + 8); }
template <class T>
std::size_t sort_workspace(Index rows, Index n) {  // `chosen`, at most a quarter of n, and words of these; or of n
  return order_bytes(rows, n, 8 * sizeof(T));
}
template <class T>
Status sort(const Context& context, const Sort<T>& a) {
  using Bits = typename Keys<T>::Bits;
  const Keys<T> keys{a.x, a.n, a.descending ? ~Bits(0) : Bits(0)};
  if (a.rank != Rank::stated || a.first != 0 || a.n < kLong || a.last > a.n / 4)
    return sort_picked(context, a, keys, a.n, nullptr);
  auto* const chosen = static_cast<std::uint32_t*>(context.workspace);  // (rows, last)
  Context rest = context;
  rest.workspace = static_cast<std::byte*>(context.workspace) + chosen_bytes(a.rows, a.n);
  const Status status =
      launch(context, dim3(static_cast<unsigned>(a.rows)), dim3(kSelectThreads), select_first_kernel<Keys<T>>, keys,
             a.n, static_cast<std::uint32_t>(a.last), 8 * static_cast<int>(sizeof(T)), chosen);
  if (status != Status::ok) return status;
  return sort_picked(rest, a, ChosenKeys<Keys<T>>{keys, chosen, a.last}, a.last, chosen);
}

// NaN as the largest.
template <class T>
__device__ inline bool before(T a, T b) {
  return a < b || (b != b && a == a);
}
template <class T>
__global__ void search_kernel(Search<T> a) {
  for_each_item(a.rows * a.m, [&](Index i) {
    const T* const sorted = a.sorted + quotient(i, a.m) * a.sorted_step;
    const T wanted = a.x[i];
    Index low = 0, high = a.n;
    while (low < high) {
      const Index middle = (low + high) / 2;
      const bool is_right = a.right ? !before(wanted, sorted[middle]) : before(sorted[middle], wanted);
      if (is_right) low = middle + 1;
      else high = middle;
    }
    a.y[i] = low;
  });
}
template <class T>
Status search(const Context& context, const Search<T>& a) {
  return launch_items(context, a.rows * a.m, search_kernel<T>, a);
}

// One thread walks a line.
template <class T>
__global__ void running_extreme_kernel(RunningExtreme<T> a) {
  for_each_item(a.outer * a.inner, [&](Index line) {
    const Index outer = quotient(line, a.inner);
    Index at = outer * a.n * a.inner + (line - outer * a.inner), place = 0;
    T best = a.x[at];
    for (Index t = 0; t < a.n; ++t, at += a.inner) {
      const T x = a.x[at];
      if ((a.largest ? x >= best : x <= best) || x != x) best = x, place = t;
      a.values[at] = best;
      a.indices[at] = place;
    }
  });
}
template <class T>
Status running_extreme(const Context& context, const RunningExtreme<T>& a) {
  return launch_items(context, a.outer * a.inner, running_extreme_kernel<T>, a);
}

template <class T>
constexpr SortKernels<T> kSort{
    .sort = sort<T>, .sort_workspace = sort_workspace<T>, .search = search<T>, .running_extreme = running_extreme<T>};

}  // namespace

void offer_sort(DeviceTables& tables) {
  offer(tables, kSort<float>);
  offer(tables, kSort<double>);
  offer(tables, kSort<std::int64_t>);
  offer(tables, kSort<std::int32_t>);
}

}  // namespace dd2424::cuda
