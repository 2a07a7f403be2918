#include "cpu/elementwise.h"
#include "cpu/math.h"

// Comparisons, tests and where: what makes or reads bools, which are bytes of 0 or 1.
namespace dd2424::cpu::DD2424_ISA {
namespace {

#if defined(__AVX512BW__) && defined(__AVX512DQ__)
template <class Mask>
inline std::uint64_t bits_of_lanes(Mask mask) {
  if constexpr (sizeof mask[0] == 8) return _mm512_movepi64_mask((__m512i)mask);
  if constexpr (sizeof mask[0] == 4) return _mm512_movepi32_mask((__m512i)mask);
  if constexpr (sizeof mask[0] == 2) return _mm512_movepi16_mask((__m512i)mask);
  if constexpr (sizeof mask[0] == 1) return _mm512_movepi8_mask((__m512i)mask);
}
// As many lanes at a time as there are bytes in a vector; returns how many elements that did.
template <class T, class F, class... X>
inline Index test_whole_vectors(const Block& b, const F& f, const X*... x) {
  constexpr Index lanes = kLanes<T>, at_once = kVectorBytes;
  const T* from[] = {x...};
  const auto test = [&](Index i) {
    if constexpr (sizeof...(X) == 1) return f(load(from[0] + i * b.step[0]));
    else return f(load(from[0] + i * b.step[0]), load(from[1] + i * b.step[1]));
  };
  Index done = 0;
  for (; done + at_once <= b.n; done += at_once) {
    std::uint64_t bits = 0;
#pragma GCC unroll 8
    for (Index i = 0; i < at_once; i += lanes) bits |= bits_of_lanes(test(done + i)) << i;
    const __m512i bytes = _mm512_maskz_set1_epi8(bits, 1);
    __builtin_memcpy(static_cast<char*>(b.y) + done, &bytes, sizeof bytes);
  }
  return done;
}
#else
template <class T, class F, class... X>
inline Index test_whole_vectors(const Block&, const F&, const X*...) {
  return 0;
}
#endif

// y[i] = f(x[i], ...) != 0, where f answers lanes of all ones or zeros.
template <class T, class F, class... X>
inline void run_test(const Block& b, const F& f, const X*... x) {
  constexpr Index lanes = kLanes<T>;
  std::uint8_t* y = static_cast<std::uint8_t*>(b.y);
  const auto bytes = [](auto mask) { return __builtin_convertvector(mask, typename LaneBytes<T>::Type) & 1; };
  const Index step[2] = {b.step[0] * lanes, b.step[1] * lanes};
  const Index done = test_whole_vectors<T>(b, f, x...);
  Index n = b.n - done;
  y += done;
  int operand = 0;
  ((x += done * b.step[operand++]), ...);  // a comma's sides run in order
  for (; n >= lanes; n -= lanes, y += lanes) {
    const auto result = bytes(f(load(x)...));
    __builtin_memcpy(y, &result, sizeof result);
    int i = 0;
    ((x += step[i++]), ...);
  }
  if (n > 0) {
    const auto result = bytes(f(load(x, n)...));
    memcpy(y, &result, static_cast<std::size_t>(n));
  }
}

template <class T, class F>
BlockFunction comparison(F) {
  return [](const Block& b) { run_test<T>(b, F{}, static_cast<const T*>(b.x[0]), static_cast<const T*>(b.x[1])); };
}
template <class T, class F>
BlockFunction one_test(F) {
  return [](const Block& b) { run_test<T>(b, F{}, static_cast<const T*>(b.x[0])); };
}

template <class T>
BlockFunction find(CompareOp op) {
  using V = Vec<T>;
  switch (op) {
    case CompareOp::eq: return comparison<T>([](V a, V b) { return a == b; });
    case CompareOp::ne: return comparison<T>([](V a, V b) { return a != b; });
    case CompareOp::lt: return comparison<T>([](V a, V b) { return a < b; });
    case CompareOp::le: return comparison<T>([](V a, V b) { return a <= b; });
    case CompareOp::logical_and: return comparison<T>([](V a, V b) { return (a != T(0)) & (b != T(0)); });
    case CompareOp::logical_or: return comparison<T>([](V a, V b) { return (a != T(0)) | (b != T(0)); });
    case CompareOp::logical_xor: return comparison<T>([](V a, V b) { return (a != T(0)) ^ (b != T(0)); });
    default: return nullptr;
  }
}

template <class T>
BlockFunction find(TestOp op) {
  using V = Vec<T>;
  if (op == TestOp::logical_not) return one_test<T>([](V x) { return x == T(0); });
  if constexpr (std::is_floating_point_v<T>) {
    switch (op) {
      case TestOp::isnan: return one_test<T>([](V x) { return x != x; });
      case TestOp::isinf: return one_test<T>([](V x) { return absolute(x) == T(kInf); });
      default: return one_test<T>([](V x) { return absolute(x) < T(kInf); });
    }
  } else {
    return op == TestOp::isfinite ? one_test<T>([](V x) { return x == x; }) : one_test<T>([](V x) { return x != x; });
  }
}

template <class T>
void select(const Block& b) {
  constexpr Index lanes = kLanes<T>;
  using Bytes = typename LaneBytes<T>::Type;
  const std::uint8_t* condition = static_cast<const std::uint8_t*>(b.x[0]);
  const T *first = static_cast<const T*>(b.x[1]), *second = static_cast<const T*>(b.x[2]);
  T* y = static_cast<T*>(b.y);
  const auto choose = [](Bytes c, Vec<T> one, Vec<T> other) { return widen<T>(c) != T(0) ? one : other; };
  Index n = b.n;
  for (; n >= lanes; n -= lanes, y += lanes) {
    Bytes c;
    __builtin_memcpy(&c, condition, sizeof c);
    store(y, choose(c, load(first), load(second)));
    condition += b.step[0] * lanes, first += b.step[1] * lanes, second += b.step[2] * lanes;
  }
  if (n > 0) {
    Bytes c{};
    memcpy(&c, condition, static_cast<std::size_t>(n));
    store(y, choose(c, load(first, n), load(second, n)), n);
  }
}

}  // namespace

template <class T>
BlockFunction compare_block(CompareOp op) {
  return find<T>(op);
}
template <class T>
BlockFunction test_block(TestOp op) {
  return find<T>(op);
}

template BlockFunction compare_block<float>(CompareOp);
template BlockFunction compare_block<double>(CompareOp);
template BlockFunction compare_block<std::int64_t>(CompareOp);
template BlockFunction compare_block<std::int32_t>(CompareOp);
template BlockFunction compare_block<std::int16_t>(CompareOp);
template BlockFunction compare_block<std::int8_t>(CompareOp);
template BlockFunction compare_block<std::uint8_t>(CompareOp);
template BlockFunction test_block<float>(TestOp);
template BlockFunction test_block<double>(TestOp);
template BlockFunction test_block<std::int64_t>(TestOp);
template BlockFunction test_block<std::int32_t>(TestOp);
template BlockFunction test_block<std::int16_t>(TestOp);
template BlockFunction test_block<std::int8_t>(TestOp);
template BlockFunction test_block<std::uint8_t>(TestOp);

BlockFunction where_block(int bytes) {
  switch (bytes) {
    case 1: return select<std::int8_t>;
    case 2: return select<std::int16_t>;
    case 4: return select<std::int32_t>;
    default: return select<std::int64_t>;
  }
}

}  // namespace dd2424::cpu::DD2424_ISA
