#pragma once
#include <string_view>

#include "core/error.h"
#include "core/types.h"

namespace dd2424 {

std::string_view dtype_name(DType dtype);
std::ostream& operator<<(std::ostream& out, DType dtype);  // dd2424.float32
std::ostream& operator<<(std::ostream& out, Device device);

constexpr Index item_bytes(DType dtype) {
  constexpr Index bytes[kDTypes] = {4, 8, 2, 2, 8, 4, 2, 1, 1, 1};
  return bytes[static_cast<int>(dtype)];
}
constexpr bool is_floating(DType dtype) { return dtype <= DType::float16; }
constexpr bool is_integer(DType dtype) { return dtype > DType::float16 && dtype < DType::bool_; }
constexpr bool is_short(DType dtype) { return dtype == DType::bfloat16 || dtype == DType::float16; }
constexpr DType accumulator(DType dtype) { return is_short(dtype) ? DType::float32 : dtype; }
DType promote(DType a, DType b);  // of two tensors with dimensions
DType default_dtype();            // of Python's floats
void set_default_dtype(DType dtype);

// A Python number among tensors. Its kind, not its value, takes part in promotion.
struct Scalar {
  enum class Kind : std::uint8_t { boolean, integer, floating } kind = Kind::integer;
  double floating = 0;       // the value, whatever the kind
  std::int64_t integer = 0;  // the value, exact for integers and booleans
  Scalar() = default;
  Scalar(bool value) : kind(Kind::boolean), floating(value), integer(value) {}
  Scalar(int value) : Scalar(std::int64_t{value}) {}
  Scalar(std::int64_t value) : floating(static_cast<double>(value)), integer(value) {}
  Scalar(double value);
  DType dtype() const {  // of a tensor made from it
    return kind == Kind::floating ? default_dtype() : kind == Kind::integer ? DType::int64 : DType::bool_;
  }
  bool is_zero() const { return floating == 0 && integer == 0; }
};

// One element of any type, for a kernel that takes a pointer.
union Element {
  double as_double;
  std::int64_t as_integer;
  float as_float;
  std::byte bytes[8];
};
Element to_element(const Scalar& value, DType dtype);

// Calls f with a value of the C++ type of dtype: dispatch_all(dtype, [&]<class T>(T) { ... }).
template <class F>
decltype(auto) dispatch_all(DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float());
    case DType::float64: return f(double());
    case DType::bfloat16: return f(bfloat16());
    case DType::int64: return f(std::int64_t());
    case DType::int32: return f(std::int32_t());
    case DType::int16: return f(std::int16_t());
    case DType::int8: return f(std::int8_t());
    case DType::uint8: return f(std::uint8_t());
    case DType::bool_: return f(bool());
    case DType::float16: return f(float16());
  }
  __builtin_unreachable();
}
template <class F>
decltype(auto) dispatch_float(const char* op, DType dtype, F&& f) {
  switch (dtype) {
    case DType::float32: return f(float());
    case DType::float64: return f(double());
    case DType::bfloat16: return f(bfloat16());
    case DType::float16: return f(float16());
    default: break;
  }
  throw RuntimeError(message(op, ": input must have a floating dtype, got ", dtype));
}

}  // namespace dd2424
