#pragma once
#include "core/elementwise.h"
#include "ops/common.h"

namespace dd2424::ops {

// A tensor or a Python number. Holds no ownership: for arguments only.
struct Operand {
  const Tensor* tensor = nullptr;
  Scalar scalar;
  Operand(const Tensor& t) : tensor(&t) {}
  Operand(const Scalar& s) : scalar(s) {}
  Operand(double s) : scalar(s) {}
};

DType result_type(const Operand& a, const Operand& b);
const char* op_name(UnaryOp op);
const char* op_name(BinaryOp op);

Tensor unary(UnaryOp op, const Tensor& x, double p = 0, double q = 0);
Tensor& unary_(UnaryOp op, Tensor& self, double p = 0, double q = 0);
Tensor binary(BinaryOp op, const Operand& a, const Operand& b, double scale = 1, double bound = 0);
Tensor& binary_(BinaryOp op, Tensor& self, const Operand& b, double scale = 1);
Tensor compare(CompareOp op, const Operand& a, const Operand& b);
Tensor test(TestOp op, const Tensor& x);
Tensor where(const Tensor& condition, const Operand& a, const Operand& b);

inline Tensor add(const Operand& a, const Operand& b) { return binary(BinaryOp::add, a, b); }
inline Tensor sub(const Operand& a, const Operand& b) { return binary(BinaryOp::sub, a, b); }
inline Tensor mul(const Operand& a, const Operand& b) { return binary(BinaryOp::mul, a, b); }
inline Tensor div(const Operand& a, const Operand& b) { return binary(BinaryOp::div, a, b); }
inline Tensor pow(const Operand& a, const Operand& b) { return binary(BinaryOp::pow, a, b); }
inline Tensor neg(const Tensor& x) { return unary(UnaryOp::neg, x); }

// dx of y = op(x): which of x and y it is made from, and the making, by operations.
bool saves_input(UnaryOp op);
bool saves_output(UnaryOp op);
Tensor unary_gradient(UnaryOp op, const Tensor& dy, const Tensor& x, const Tensor& y, double p, double q);

}  // namespace dd2424::ops
