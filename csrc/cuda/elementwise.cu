#include "core/elementwise.h"

#include "cuda/elementwise_functions.h"
#include "cuda/launch.h"
#include "cuda/offer.h"

// One kernel a table's entry and type: which operation it is, all threads ask alike. Where the operands lie one after
// the other, memory is what it waits for.
namespace dd2424::cuda {
namespace {

template <class T>
__global__ void unary_kernel(UnaryOp op, Unary<T> a, Computed<T> p, Computed<T> q, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    a.y[place.at[0]] = element<T>(apply(op, value(a.x[place.at[1]]), p, q));
  });
}
template <class T>
__global__ void rare_unary_kernel(UnaryOp op, Unary<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    a.y[place.at[0]] = element<T>(rare_unary(op, value(a.x[place.at[1]]), a.p));
  });
}
template <class T>
Status unary(const Context& context, UnaryOp op, const Unary<T>& a) {
  using C = Computed<T>;
  if (!has<C>(op)) return Status::unsupported;
  const Index n = items(a.at);
  if constexpr (std::is_floating_point_v<C>)
    if (is_rare(op)) return launch_items(context, n, rare_unary_kernel<T>, op, a, n);
  return launch_items(context, n, unary_kernel<T>, op, a, parameter<C>(a.p), parameter<C>(a.q), n);
}

// An operand that is a number was read on the host.
template <class T>
struct Numbers {
  Computed<T> a, b;
};
template <class T>
__global__ void binary_kernel(BinaryOp op, Binary<T> a, Numbers<T> numbers, Computed<T> scale, Computed<T> bound,
                              Index n) {
  for_each_item(n, [&](Index i) {
    const Places<3> place = places(a.at, i);
    const Computed<T> left = a.a_is_number ? numbers.a : value(a.a[place.at[1]]);
    const Computed<T> right = a.b_is_number ? numbers.b : value(a.b[place.at[2]]);
    a.y[place.at[0]] = element<T>(apply(op, left, right, scale, bound));
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      const bool divides = op == BinaryOp::floor_div || op == BinaryOp::remainder || op == BinaryOp::fmod;
      if (divides && right == 0 && a.zero_divisor) *a.zero_divisor = true;
    }
  });
}
template <class T>
Status binary(const Context& context, BinaryOp op, const Binary<T>& a) {
  using C = Computed<T>;
  if (!has<C>(op)) return Status::unsupported;
  const Index n = items(a.at);
  const Numbers<T> numbers{a.a_is_number ? value(*a.a) : C(), a.b_is_number ? value(*a.b) : C()};
  return launch_items(context, n, binary_kernel<T>, op, a, numbers, static_cast<C>(a.scale), static_cast<C>(a.bound),
                      n);
}

template <class T>
__global__ void compare_kernel(CompareOp op, Compare<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<3> place = places(a.at, i);
    a.y[place.at[0]] = apply(op, value(a.a[place.at[1]]), value(a.b[place.at[2]]));
  });
}
template <class T>
Status compare(const Context& context, CompareOp op, const Compare<T>& a) {
  const Index n = items(a.at);
  return launch_items(context, n, compare_kernel<T>, op, a, n);
}

template <class T>
__global__ void test_kernel(TestOp op, Test<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<2> place = places(a.at, i);
    a.y[place.at[0]] = apply(op, value(a.x[place.at[1]]));
  });
}
template <class T>
Status test(const Context& context, TestOp op, const Test<T>& a) {
  const Index n = items(a.at);
  return launch_items(context, n, test_kernel<T>, op, a, n);
}

template <class T>
__global__ void where_kernel(Where<T> a, Index n) {
  for_each_item(n, [&](Index i) {
    const Places<4> place = places(a.at, i);
    a.y[place.at[0]] = a.condition[place.at[1]] ? a.a[place.at[2]] : a.b[place.at[3]];
  });
}
template <class T>
Status where(const Context& context, const Where<T>& a) {
  const Index n = items(a.at);
  return launch_items(context, n, where_kernel<T>, a, n);
}

template <class T>
constexpr ElementwiseKernels<T> kElementwise{
    .unary = unary<T>, .binary = binary<T>, .compare = compare<T>, .test = test<T>, .where = where<T>};

}  // namespace

void offer_elementwise(DeviceTables& tables) {
  offer(tables, kElementwise<float>);
  offer(tables, kElementwise<double>);
  offer(tables, kElementwise<bfloat16>);
  offer(tables, kElementwise<std::int64_t>);
  offer(tables, kElementwise<std::int32_t>);
  offer(tables, kElementwise<std::int16_t>);
  offer(tables, kElementwise<std::int8_t>);
  offer(tables, kElementwise<std::uint8_t>);
  offer(tables, kElementwise<bool>);
}

}  // namespace dd2424::cuda
